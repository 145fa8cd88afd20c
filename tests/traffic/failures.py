"""Kitchens that fail, each in a way of its own, and one that does not; all of them write down what they have done."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import RequestReceived, StreamEnded

from tests.envoy.support import workload_uri
from tests.streams import speaking
from tests.traffic.mesh import HTTP, Mesh

WELL, ILL, BARE = "kitchen-0", "kitchen-1", "kitchen-2"
"""The second has an application that fails, the third a sidecar."""


class Failure(Enum):
    """What goes wrong; by it either nobody can have done anything, or nobody can know."""

    NO_SIDECAR = "nothing listens where its sidecar should"
    DEAF_SIDECAR = "its sidecar resets every connection"
    FULL_SIDECAR = "its sidecar refuses every request"
    LEAVING_SIDECAR = "its sidecar says goodbye as the request comes"
    NO_APPLICATION = "its application does not listen"
    DYING_SIDECAR = "its sidecar dies over the request"
    DEAF_APPLICATION = "its application resets every connection"
    DYING_APPLICATION = "its application dies over the request"
    BUSY_APPLICATION = "its application answers 503"

    @property
    def who(self) -> str:
        return ILL if self.name.endswith("APPLICATION") else BARE


NEVER_SENT = (
    Failure.NO_SIDECAR,
    Failure.DEAF_SIDECAR,
    Failure.FULL_SIDECAR,
    Failure.LEAVING_SIDECAR,
    Failure.NO_APPLICATION,
)
"""Nobody has done anything."""
MAYBE_DONE = tuple(one for one in Failure if one not in NEVER_SENT)
"""What the others do not know."""


@dataclass(slots=True)
class Ledger:
    """Which requests were carried out, by their header `id`, and by whom; and how often the one that fails was met."""

    well: Counter[str] = field(default_factory=Counter)
    ill: Counter[str] = field(default_factory=Counter)
    met: int = 0


_Session = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def failing(mesh: Mesh, how: Failure, ledger: Ledger, folder: Path) -> AsyncIterator[None]:
    """The kitchen that is well, and one that fails."""
    well = partial(_application, Ledger(), ledger.well, b"200 OK")
    async with _listening(well, mesh.replicas[WELL].bindings[0].app_address), _ill(mesh, how, ledger, folder):
        yield


def _ill(
    mesh: Mesh, how: Failure, ledger: Ledger, folder: Path
) -> contextlib.AbstractAsyncContextManager[None]:
    binding = mesh.replicas[how.who].bindings[0]
    match how:
        case Failure.NO_SIDECAR | Failure.NO_APPLICATION:
            return contextlib.nullcontext()
        case Failure.DEAF_SIDECAR:
            return _listening(partial(_deaf, ledger), binding.address)
        case Failure.DEAF_APPLICATION:
            return _listening(partial(_deaf, ledger), binding.app_address)
        case Failure.DYING_APPLICATION:
            return _listening(partial(_application, ledger, ledger.ill, b""), binding.app_address)
        case Failure.BUSY_APPLICATION:
            return _listening(partial(_application, ledger, ledger.ill, b"503 Busy"), binding.app_address)
        case Failure.FULL_SIDECAR | Failure.LEAVING_SIDECAR | Failure.DYING_SIDECAR:
            return _listening(partial(_sidecar, ledger, how), binding.address, _tls(mesh, folder))


@asynccontextmanager
async def _listening(
    session: _Session, address: str, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await session(reader, writer)
        finally:
            writer.transport.abort()

    async with speaking(serve, address, HTTP, ssl=tls):
        yield


async def _deaf(ledger: Ledger, _: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
    ledger.met += 1


async def _application(
    ledger: Ledger,
    done: Counter[str],
    status: bytes,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Carries out request after request; without a status it dies over the first."""
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        await reader.readexactly(int(headers.get("content-length", "0")))
        done[headers["id"]] += 1
        ledger.met += 1
        if not status:
            return
        await asyncio.sleep(float(headers.get("seconds", "0")))
        writer.write(b"HTTP/1.1 %s\r\ncontent-length: 0\r\n\r\n" % status)


async def _sidecar(
    ledger: Ledger, how: Failure, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """A connection of HTTP/2 on which no request comes to a good end."""
    connection = H2Connection(H2Configuration(client_side=False))
    connection.initiate_connection()
    asked: dict[int, str] = {}
    while True:
        writer.write(connection.data_to_send())
        data = await reader.read(65536)
        if not data:
            return
        for event in connection.receive_data(data):
            if isinstance(event, RequestReceived):
                asked[event.stream_id] = dict(event.headers)[b"id"].decode()
            if not isinstance(event, StreamEnded):
                continue
            ledger.met += 1
            if how is Failure.DYING_SIDECAR:
                ledger.ill[asked[event.stream_id]] += 1
                return
            if how is Failure.LEAVING_SIDECAR:
                connection.close_connection(last_stream_id=0)
            else:
                connection.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)


def _tls(mesh: Mesh, folder: Path) -> ssl.SSLContext:
    """As a kitchen's own sidecar would show itself."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = folder / "kitchen.pem"
    file.touch(mode=0o600)
    file.write_text("".join(mesh.authority.issue(workload_uri("bistro", "kitchen"))))
    made.load_cert_chain(file)
    made.set_alpn_protocols(["h2"])
    return made
