"""The sockets that xDS is served on."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from plait.xds.conversation import Call, Exchange
from plait.xds.exports import JSON, LARGEST, PROTOBUF, Exports
from plait.xds.server import Server
from plait.xds.transport.forms import Form, Said
from plait.xds.transport.grpc import Grpc, speaks
from plait.xds.transport.http2 import Connection, Service
from plait.xds.transport.plain import Plain
from plait.xds.transport.tls import Secured, reading_buffer
from plait.xds.wire import METHOD, SERVICE

PATH = f"/{SERVICE}/{METHOD}"

_BACKLOG = 1024
"""Connections that may wait to be accepted: a thousand proxies come at once."""
_STREAMS = 16
"""Streams that one connection may have at a time.  Envoy has one of xDS, and may open the next before we know that it is
over; and one for each thing that is exported and not answered yet."""
_FAREWELL = 3.0
"""Seconds that all connections may take to hear that this is the end."""


class Listener:
    """Serves a server's streams, and takes what is exported; `context` is asked for the TLS of each new connection."""

    def __init__(
        self,
        server: Server,
        context: Callable[[], ssl.SSLContext],
        *,
        exports: Exports | None = None,
        most_streams: int = _STREAMS,
    ) -> None:
        self._services: dict[bytes, Service] = {
            PATH.encode(): Service(lambda call, _: server.opened(call), _stream)
        }
        if exports is not None:
            self._services |= {path.encode(): _taking(exports, path) for path in exports.handlers}
        self._context = context
        self._most_streams = most_streams
        self._buffer = reading_buffer()
        self._sockets: list[asyncio.Server] = []
        self._connections: dict[Secured, Connection] = {}
        self._empty = asyncio.Event()

    async def listen(self, path: Path, mode: int = 0o600) -> None:
        """Listen on a Unix socket of a mode, in place of one left over there; OSError when that can't be done."""
        made = socket.socket(socket.AF_UNIX)
        try:
            _bind(made, path, mode)
            listening = await asyncio.get_running_loop().create_unix_server(
                self._connection, sock=made, backlog=_BACKLOG
            )
        except OSError as error:
            made.close()
            raise OSError(f"can't listen on {path}: {error}") from error
        self._sockets.append(listening)

    async def listen_tcp(self, address: str) -> int:
        """Listen at HOST:PORT; the port that it got.  OSError when that can't be done."""
        host, _, port = address.rpartition(":")
        try:
            listening = await asyncio.get_running_loop().create_server(
                self._connection, host.strip("[]") or None, int(port), backlog=_BACKLOG
            )
        except (OSError, ValueError, OverflowError) as error:
            raise OSError(f"can't listen at {address}: {error}") from error
        self._sockets.append(listening)
        taken: int = listening.sockets[0].getsockname()[1]
        return taken

    async def close(self) -> None:
        """Listen no more, and end every connection; to be called after the server's streams were ended."""
        for listening in self._sockets:
            listening.close()
        for secured, connection in tuple(self._connections.items()):
            connection.close()
            secured.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                while self._connections:
                    self._empty.clear()
                    await self._empty.wait()

    def _connection(self) -> Secured:
        connection = Connection(self._services, self._most_streams)
        secured = Secured(self._context(), connection, self._buffer, self._gone)
        self._connections[secured] = connection
        return secured

    def _gone(self, secured: Secured) -> None:
        del self._connections[secured]
        if not self._connections:
            self._empty.set()


def _stream(said: Said) -> Form | None:
    """That of xDS."""
    return Grpc() if speaks(said.get(b"content-type", b"")) else None


def _taking(exports: Exports, path: str) -> Service:
    """The messages that are exported to a path, over gRPC or as bodies of plain requests."""

    def opened(call: Call, form: Form) -> Exchange:
        return exports.opened(call, path, form.content_type)

    return Service(opened, _export)


def _export(said: Said) -> Form | None:
    kind = said.get(b"content-type", b"")
    if speaks(kind):
        return Grpc(LARGEST, said.get(b"grpc-encoding", b""))
    plain = kind.partition(b";")[0].strip().lower().decode("latin-1")
    if plain in {PROTOBUF, JSON}:
        return Plain(LARGEST, plain, said.get(b"content-encoding", b""))
    return None


def _bind(made: socket.socket, path: Path, mode: int) -> None:
    if path.is_socket():
        path.unlink()
    made.bind(str(path))
    path.chmod(mode)
