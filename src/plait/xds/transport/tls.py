"""TLS on an asyncio transport: the handshake, who the peer proved to be, and bytes in the clear.

asyncio's own TLS keeps 256 KB a connection to read into, all of it touched.  Here all connections read into one
small buffer of their loop.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from plait.xds.conversation import Peer

log = logging.getLogger(__name__)

_HANDSHAKE = 10.0
"""Seconds within which a handshake has to be over."""
_LINGER = 2.0
"""Seconds that the last words of a closed connection may take to leave."""
_RECORD = 16_384
"""Bytes of the largest record of TLS."""
_PIECE = 8192
"""Bytes that are read from a socket at once, and encrypted at once: OpenSSL's two buffers of a connection become a
third larger than the largest piece that has passed, and stay so."""
_HIGH_WATER = 16_384
"""Bytes that may wait for a socket before nothing more is composed."""
_MOST_WAITING = 1024 * 1024
"""Bytes of what has to be said all the same, such as answers to PINGs, after which a peer that reads none is left."""

_DEAD_PEERS = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 40_000))
"""A peer on TCP that is silently gone is noticed within a minute.  Seconds, a count, and milliseconds."""


class Credentials(Protocol):
    """A private key, the certificate chain for it, and the roots to trust: PEM texts."""

    @property
    def key(self) -> str: ...

    @property
    def chain(self) -> str: ...

    @property
    def roots(self) -> str: ...


class Clear(Protocol):
    """What is told of a secured connection: first of all `begun`, and nothing after `lost`."""

    def begun(self, link: Link) -> None:
        """The handshake is over."""

    def received(self, data: bytes) -> None:
        """The peer has sent this."""

    def writable(self) -> None:
        """What was written has left, down to a little."""

    def lost(self) -> None:
        """The connection is no more."""


class Link(Protocol):
    """What may be done with a secured connection."""

    @property
    def peer(self) -> Peer: ...

    @property
    def paused(self) -> bool:
        """Whether enough is waiting for the socket."""

    def write(self, data: bytes) -> None:
        """Send this; it is kept until the socket takes it."""

    def close(self) -> None:
        """End the connection once all was sent, or cannot be."""


def mutual(current: Callable[[], Credentials]) -> Callable[[], ssl.SSLContext]:
    """The context for the next handshake: the certificate of `current`, and one of the peer's under its roots.

    A new one is made when there are new credentials.  ssl.SSLError, ValueError for credentials that are none.
    """
    shown: Credentials | None = None
    context: ssl.SSLContext | None = None

    def latest() -> ssl.SSLContext:
        nonlocal shown, context
        credentials = current()
        if context is None or credentials is not shown:
            context, shown = _context(credentials), credentials
        return context

    return latest


def server_context() -> ssl.SSLContext:
    """A context that still lacks a certificate and roots: HTTP/2 over TLS 1.3.

    No session is ever resumed, since its certificate would not be looked at again: there are no tickets, and
    TLS 1.2, where a session may be resumed by its number, which Python can't forbid, is not spoken.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.set_alpn_protocols(["h2"])
    return context


def _context(credentials: Credentials) -> ssl.SSLContext:
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=credentials.roots)
    with _in_a_file((credentials.key + credentials.chain).encode()) as path:
        context.load_cert_chain(path)
    return context


@contextmanager
def _in_a_file(data: bytes) -> Iterator[str]:
    """A path for those that read files only: in memory where the system can, else for our user alone, and gone after."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("plait", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            yield f"/proc/self/fd/{descriptor}"
    else:  # pragma: no cover - not on Linux
        with tempfile.NamedTemporaryFile() as named:  # 0600
            named.write(data)
            named.flush()
            yield named.name


class Secured(asyncio.BufferedProtocol):
    """One connection of a TLS server.  `buffer` may be shared by all connections of a loop; `gone` is told the end."""

    __slots__ = (
        "_buffer",
        "_clear",
        "_closing",
        "_gone",
        "_incoming",
        "_outgoing",
        "_secure",
        "_timer",
        "_tls",
        "_transport",
        "paused",
    )

    def __init__(
        self, context: ssl.SSLContext, clear: Clear, buffer: memoryview, gone: Callable[[Secured], None]
    ) -> None:
        self._clear = clear
        self._buffer = buffer
        self._gone = gone
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._secure = False
        """Whether the handshake is over."""
        self._closing = False
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.paused = False

    @property
    def peer(self) -> Peer:
        return _peer(self._tls)

    def write(self, data: bytes) -> None:
        if not self._closing:
            self._encrypt(data)

    def close(self) -> None:
        if self._closing or self._transport is None:
            return
        if self._secure:
            with suppress(ssl.SSLError):  # it wants to hear the other's last word as well
                self._tls.unwrap()
        self._give_up()

    # What asyncio says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        _keep_alive(transport.get_extra_info("socket"))
        self._set_timer(_HANDSHAKE, transport.abort)

    def get_buffer(self, _sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._closing:
            return
        self._incoming.write(self._buffer[:nbytes])
        if not self._secure and not self._handshake():
            return
        self._decrypt()

    def eof_received(self) -> None:
        """Nobody has anything to hear after his last word: asyncio closes the transport."""

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        if self._secure and not self._closing:
            self._clear.writable()

    def connection_lost(self, _error: Exception | None) -> None:
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport = None
        if self._secure:
            self._clear.lost()
        self._gone(self)
        del self._tls, self._incoming, self._outgoing  # not left to whoever still knows this one

    def _handshake(self) -> bool:
        """Take the next step; whether it was the last."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            return False
        except ssl.SSLError as error:
            log.info("a peer is turned away: %s", error.reason or error)
            self._give_up()
            return False
        self._send()
        if self._tls.selected_alpn_protocol() != "h2":
            log.info("a peer is turned away: it does not speak HTTP/2")
            self.close()
            return False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._secure = True
        self._clear.begun(self)
        return not self._closing

    def _decrypt(self) -> None:
        while not self._closing and (self._incoming.pending or self._tls.pending()):
            try:
                data = self._tls.read(_RECORD)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError:
                data = b""
            if not data:
                self.close()
                return
            self._clear.received(data)
        self._send()  # what TLS itself has to say

    def _encrypt(self, data: bytes) -> None:
        assert self._transport is not None
        if self._transport.get_write_buffer_size() > _MOST_WAITING:
            log.info("a connection is ended: its peer asks and does not read")
            self._closing = True
            self._transport.abort()
            return
        rest, parts = memoryview(data), []
        try:
            while rest:
                rest = rest[self._tls.write(rest[:_PIECE]) :]
                parts.append(self._outgoing.read())
        except ssl.SSLError as error:
            log.info("a connection is given up: %s", error.reason or error)
            self._give_up()
            return
        self._transport.write(b"".join(parts) if len(parts) > 1 else parts[0])

    def _send(self) -> None:
        if self._outgoing.pending and self._transport is not None:
            self._transport.write(self._outgoing.read())

    def _give_up(self) -> None:
        """Close it as soon as the last words of TLS have left, such as an alert that says why."""
        self._closing = True
        self._send()
        if self._transport is not None:
            self._transport.close()
            self._set_timer(_LINGER, self._transport.abort)

    def _set_timer(self, seconds: float, action: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, action)


def reading_buffer() -> memoryview:
    """A buffer for all connections of a loop."""
    return memoryview(bytearray(_PIECE))


def _keep_alive(own: socket.socket) -> None:
    if own.family == socket.AF_UNIX:
        return
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _DEAD_PEERS:
        if hasattr(socket, name):
            own.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _peer(tls: ssl.SSLObject) -> Peer:
    binary = tls.getpeercert(binary_form=True)
    if binary is None:
        return Peer()
    said = tls.getpeercert() or {}
    names: Any = said.get("subjectAltName", ())
    subject: Any = [pair for part in said.get("subject", ()) for pair in part]
    return Peer(
        uris=tuple(str(value) for kind, value in names if kind == "URI"),
        dns_names=tuple(str(value) for kind, value in names if kind == "DNS"),
        common_name=next((str(value) for kind, value in subject if kind == "commonName"), ""),
        certificate=ssl.DER_cert_to_PEM_cert(binary).encode(),
    )
