"""The gRPC service around the streams: who may connect, whose snapshot it is, and how far each one is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from plait.resource import NO_DIFFERENCE, Layers, Snapshot
from plait.xds.messages import Event, Rejection, Request, Response, TypeStatus
from plait.xds.stream import Stream
from plait.xds.wire import METHOD, SERVICE, decode, encode

Offer = Callable[[], Snapshot | None]
"""Makes the snapshot of a node; None when there is none that could be sent, and the last one stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end, by its certificate; all empty when it showed none.

    `uris` and `dns_names` are the certificate's subject alternative names, `certificate` is PEM.
    """

    uris: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    common_name: str = ""
    certificate: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyStatus:
    """One proxy: since when it is connected (seconds since the epoch; None: it is not) and how its types stand."""

    node: str
    connected: float | None
    synced: bool
    types: tuple[TypeStatus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRejection:
    """A resource that a proxy refuses as it is now."""

    node: str
    rejection: Rejection


@dataclass(slots=True)
class Sent:
    """What was sent of one type, to all proxies, since the server was made."""

    pushes: int = 0
    resources: int = 0
    removed: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class _End:
    """Why a stream is closed from our side."""

    code: grpc.StatusCode
    reason: str


_TURNS, _TURN = 16, 1.0
"""So many proxies are written to at once what they have to be told first, and each has so many seconds to take it
before the next one's turn comes: of a thousand that connect at once each would have all of it in memory."""

_STOPPING = _End(grpc.StatusCode.UNAVAILABLE, "the control plane is stopping")
_EXPIRED = _End(grpc.StatusCode.UNAUTHENTICATED, "the certificate that opened this stream has expired")


@dataclass(slots=True)
class _Connection:
    stream: Stream
    end: asyncio.Future[_End | None]
    """Set when the stream is over; None when the proxy ended it."""
    since: float
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def close(self, end: _End | None) -> None:
        if not self.end.done():
            self.end.set_result(end)


@dataclass(slots=True)
class _Node:
    """`offered` makes the snapshot that takes the place of this one as soon as the proxy connects."""

    snapshot: Snapshot | None = None
    generation: int = 0
    offered: Offer | None = None
    connection: _Connection | None = None


class Server:
    """Serves each proxy the latest snapshot published for its node; to be used within one event loop.

    A proxy whose node has no snapshot yet waits for one for `patience` seconds: a replica may connect before it
    is reported.  `authorize` is asked with a node id and its peer before anything is sent, and returns the
    reason for a refusal, or None.  `expires` says when a peer's certificate ends (seconds since the epoch), and
    its stream with it: a connection would outlive it.  `notify` is told of every answer that a proxy gives.
    """

    def __init__(
        self,
        authorize: Callable[[str, Peer], str | None],
        *,
        expires: Callable[[Peer], float] | None = None,
        notify: Callable[[str, Event], None] | None = None,
        patience: float = 5.0,
    ) -> None:
        self._authorize = authorize
        self._expires = expires
        self._notify = notify
        self._patience = patience
        self._nodes: dict[str, _Node] = {}
        self._generation = 0
        self._sent: dict[str, Sent] = {}
        self._closing = False
        self._serving = 0
        self._turns = asyncio.Semaphore(_TURNS)
        self._arrival = asyncio.Event()
        self._progress = asyncio.Event()

    def generic_handler(self) -> grpc.GenericRpcHandler:
        """The service, to be added to a grpc.aio server."""
        method = grpc.stream_stream_rpc_method_handler(self._serve)
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})

    def publish(self, node: str, snapshot: Snapshot) -> None:
        """From now on this is what the node should have.  Nothing is sent if it is equal to the last one."""
        self.offer(node, lambda: snapshot)

    def offer(self, node: str, make: Offer) -> None:
        """From now on the node should have what this makes: at once when it is connected, else when it connects."""
        known = self._nodes.get(node)
        if known is None:
            self._nodes[node] = _Node(offered=make)
            self._arrival = _pulse(self._arrival)
            return
        known.offered = make
        if known.connection is not None:
            self._take(known)

    def _take(self, known: _Node) -> None:
        """Make what was offered, and tell the proxy if it is connected."""
        made = known.offered() if known.offered is not None else None
        known.offered = None
        if made is None:
            return
        changed = known.snapshot is None or not _same(known.snapshot, made)
        known.snapshot = made
        if changed:
            self._generation += 1
            known.generation = self._generation
        if known.connection is not None:
            # Equal in what is sent, its origins may be newer all the same.
            known.connection.stream.publish(made, known.generation)
            if changed:
                known.connection.wake.set()

    def forget(self, node: str) -> None:
        """The node is no more; its streams are closed."""
        known = self._nodes.pop(node, None)
        if known is not None and known.connection is not None:
            known.connection.close(
                _End(grpc.StatusCode.UNAVAILABLE, f"{node} is not part of the mesh any more")
            )
        self._progress = _pulse(self._progress)

    async def close(self) -> None:
        """End all streams and wait until they have ended; to be called before the grpc.aio server is stopped.

        That one, when it is stopped, does not wait for what is still being served, and cancels it loudly.
        """
        self._closing = True
        self._arrival = _pulse(self._arrival)
        for node in self._nodes.values():
            if node.connection is not None:
                node.connection.close(_STOPPING)
        while self._serving:
            await self._progress.wait()

    async def synced(self, timeout: float) -> tuple[str, ...]:  # noqa: ASYNC109 - it ends in an answer, not an error
        """Wait until each connected proxy has answered what was published for it before this call.

        Returns the nodes that had not after `timeout` seconds: none when all did.  A rejection is an answer.
        """
        asked = [(name, node.generation) for name, node in self._nodes.items() if node.connection is not None]
        deadline = asyncio.get_running_loop().time() + timeout
        while asked:
            if not self._is_behind(*asked[-1]):
                asked.pop()
                continue
            try:
                async with asyncio.timeout_at(deadline):
                    await self._progress.wait()
            except TimeoutError:
                return tuple(sorted(name for name, generation in asked if self._is_behind(name, generation)))
        return ()

    def proxies(self) -> tuple[ProxyStatus, ...]:
        """Every node that there is a snapshot for, by name."""
        return tuple(_status(name, node) for name, node in sorted(self._nodes.items()))

    def rejections(self) -> tuple[ProxyRejection, ...]:
        """All that is refused now; the resources carry the latest origins."""
        return tuple(
            ProxyRejection(node=name, rejection=rejection)
            for name, node in sorted(self._nodes.items())
            if node.connection is not None
            for rejection in node.connection.stream.rejections()
        )

    @property
    def sent(self) -> Mapping[str, Sent]:
        """What was sent so far, by type URL."""
        return self._sent

    def _is_behind(self, name: str, generation: int) -> bool:
        node = self._nodes.get(name)
        return (
            node is not None and node.connection is not None and not node.connection.stream.synced(generation)
        )

    async def _serve(self, _requests: Any, context: Any) -> None:
        """One stream, from its first request to its end."""
        opening = await _read(context)
        self._serving += 1
        try:
            end = await self._admit(opening, context) if isinstance(opening, Request) else opening
            if end is not None:
                await context.abort(end.code, end.reason)
        finally:
            self._serving -= 1
            self._progress = _pulse(self._progress)

    async def _admit(self, opening: Request, context: Any) -> _End | None:
        """Let in who may come in and talk to it; why the stream ends if it is our doing."""
        node = await self._known(opening.node)
        if self._closing:
            return _STOPPING
        if node is None:
            return _End(grpc.StatusCode.UNAVAILABLE, f"nothing is known of {opening.node} yet")
        peer = _peer(context)
        refusal = self._authorize(opening.node, peer)
        if refusal is not None:
            named = peer.uris or peer.dns_names or peer.common_name
            code = grpc.StatusCode.PERMISSION_DENIED if named else grpc.StatusCode.UNAUTHENTICATED
            return _End(code, refusal)
        self._take(node)  # nothing is made for whoever may not have it
        if node.snapshot is None:
            return _End(grpc.StatusCode.UNAVAILABLE, f"nothing can be sent to {opening.node} yet")
        remaining = None if self._expires is None else max(0.0, self._expires(peer) - time.time())
        return await self._converse(opening, node, context, remaining)

    async def _known(self, name: str) -> _Node | None:
        """The node, as soon as anything is offered to it; None when nothing is in time."""
        try:
            async with asyncio.timeout(self._patience):
                while name not in self._nodes and not self._closing:
                    await self._arrival.wait()
        except TimeoutError:
            return None
        return self._nodes.get(name)

    async def _converse(
        self, opening: Request, node: _Node, context: Any, remaining: float | None
    ) -> _End | None:
        """Listen and speak until one end is tired of it, a newer stream takes the node's place, or time is up."""
        assert node.snapshot is not None
        if node.connection is not None:
            node.connection.close(_End(grpc.StatusCode.ABORTED, f"{opening.node} has opened a newer stream"))
        connection = _Connection(
            stream=Stream(node.snapshot, node.generation),
            end=asyncio.get_running_loop().create_future(),
            since=time.time(),
        )
        node.connection = connection
        tasks = (
            asyncio.ensure_future(self._listen(opening, connection, context)),
            asyncio.ensure_future(self._speak(connection, context)),
        )
        try:
            waited = (*tasks, connection.end)
            done, _ = await asyncio.wait(waited, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                connection.close(_EXPIRED)
        finally:
            if node.connection is connection:
                node.connection = None
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, grpc.RpcError):
                raise outcome
        return connection.end.result() if connection.end.done() else None

    async def _listen(self, opening: Request, connection: _Connection, context: Any) -> None:
        request: Request | _End | None = opening
        while isinstance(request, Request):
            event = connection.stream.receive(request, time.monotonic())
            if event is not None and self._notify is not None:
                self._notify(opening.node, event)
            connection.wake.set()
            request = await _read(context)
        connection.close(request)

    async def _speak(self, connection: _Connection, context: Any) -> None:
        while True:
            await connection.wake.wait()
            connection.wake.clear()
            while not connection.stream.settled and await self._speak_in_turn(connection.stream, context):
                pass
            while (response := connection.stream.pull(time.monotonic())) is not None:
                await context.write(self._encoded(response))
            self._progress = _pulse(self._progress)

    async def _speak_in_turn(self, stream: Stream, context: Any) -> bool:
        """Say the next of all that a proxy has to be told first; whether there was something to say.

        Few do so at once.  Whoever is slow to take it does not keep the rest waiting.
        """
        async with self._turns:
            response = stream.pull(time.monotonic())
            if response is None:
                return False
            writing = asyncio.ensure_future(context.write(self._encoded(response)))
            try:
                await asyncio.wait((writing,), timeout=_TURN)
            except asyncio.CancelledError:
                writing.cancel()
                raise
        await writing
        return True

    def _encoded(self, response: Response) -> bytes:
        data = encode(response)
        sent = self._sent.setdefault(response.type_url, Sent())
        sent.pushes += 1
        sent.resources += len(response.resources)
        sent.removed += len(response.removed)
        sent.bytes += len(data)
        return data


def _pulse(event: asyncio.Event) -> asyncio.Event:
    """Wake whoever waits for the event; the one returned stands for the next time."""
    event.set()
    return asyncio.Event()


def _same(before: Snapshot, after: Snapshot) -> bool:
    """Whether the same is sent for both."""
    return before.keys() == after.keys() and all(
        (mine := Layers.of(before[kind])).same(theirs := Layers.of(after[kind]))
        or (theirs.table.since(mine.table) == NO_DIFFERENCE and mine.own == theirs.own)
        for kind in after
    )


def _status(name: str, node: _Node) -> ProxyStatus:
    if node.connection is None:
        return ProxyStatus(node=name, connected=None, synced=False, types=())
    stream = node.connection.stream
    return ProxyStatus(
        node=name,
        connected=node.connection.since,
        synced=stream.synced(node.generation),
        types=stream.status(),
    )


async def _read(context: Any) -> Request | _End | None:
    """The next request, None when the proxy has ended the stream, or why we do."""
    data = await context.read()
    if data is grpc.aio.EOF:
        return None
    try:
        return decode(data)
    except ValueError as error:
        return _End(grpc.StatusCode.INVALID_ARGUMENT, str(error))


def _peer(context: Any) -> Peer:
    properties: Mapping[str, list[bytes]] = context.auth_context() or {}

    def texts(key: str) -> tuple[str, ...]:
        return tuple(value.decode(errors="replace") for value in properties.get(key, ()))

    return Peer(
        uris=texts("peer_uri"),
        dns_names=texts("peer_dns"),
        common_name="".join(texts("x509_common_name")[:1]),
        certificate=b"".join(properties.get("x509_pem_cert", [])[:1]),
    )
