"""The service around the streams: who may connect, whose snapshot it is, and how far each one is.

It knows nothing of sockets, and has no tasks: a transport tells what proxies say (`opened`), and is told what
to answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from plait.resource import NO_DIFFERENCE, Layered, Snapshot
from plait.xds.conversation import Call, Conversation, Peer
from plait.xds.messages import Event, Rejected, Rejection, Response, TypeStatus
from plait.xds.pushes import Push
from plait.xds.status import Code, End
from plait.xds.stream import Stream
from plait.xds.wire import encode

Offer = Callable[[], Snapshot | None]
"""Makes the snapshot of a node; None when there is none that could be sent, and the last one stays."""


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


_TURNS = 16
"""So many proxies are told at once what they have to be told first, each until the transport has taken an answer of
ours: of a thousand that connect at once each would have all of it in memory."""

_TOGETHER = 0.005
"""Seconds in which what proxies answer is looked at once: a thousand may answer in a moment, one after the other."""

_STOPPING = End(Code.UNAVAILABLE, "the control plane is stopping")


@dataclass(slots=True)
class _Node:
    """`offered` makes the snapshot that takes the place of this one as soon as the proxy connects."""

    snapshot: Snapshot | None = None
    generation: int = 0
    offered: Offer | None = None
    conversation: Conversation | None = None


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
        self._conversations: set[Conversation] = set()
        self._refusing: set[str] = set()
        """The nodes that may refuse something."""
        self._expected: dict[str, list[Conversation]] = {}
        """Those that wait for a snapshot, by node."""
        self._turns = _TURNS
        """How many may still be taken."""
        self._waiting: dict[Conversation, None] = {}
        """Those that wait for a turn, the first first."""
        self._watching: list[asyncio.Future[None]] = []
        """Set, and forgotten, at the next progress."""

    def opened(self, call: Call) -> Conversation:
        """A stream was opened; its transport tells the conversation what happens to it."""
        conversation = Conversation(self, call)
        self._conversations.add(conversation)
        return conversation

    def publish(self, node: str, snapshot: Snapshot) -> None:
        """From now on this is what the node should have.  Nothing is sent if it is equal to the last one."""
        self.offer(node, lambda: snapshot)

    def offer(self, node: str, make: Offer) -> None:
        """From now on the node should have what this makes: at once when it is connected, else when it connects."""
        known = self._nodes.setdefault(node, _Node())
        known.offered = make
        if known.conversation is not None:
            self._take(known)
        for conversation in self._expected.pop(node, ()):
            asyncio.get_running_loop().call_soon(conversation.retry)

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
        if known.conversation is not None:
            # Equal in what is sent, its origins may be newer all the same.
            known.conversation.publish(made, known.generation, changed=changed)

    def forget(self, node: str) -> None:
        """The node is no more; its streams are closed."""
        known = self._nodes.pop(node, None)
        if known is not None and known.conversation is not None:
            known.conversation.end(End(Code.UNAVAILABLE, f"{node} is not part of the mesh any more"))
        self.progressed()

    def close(self) -> None:
        """End all streams; nobody is let in any more.  A transport sees to it that they hear of it."""
        self._closing = True
        for conversation in tuple(self._conversations):
            conversation.end(_STOPPING)

    async def synced(
        self,
        timeout: float,  # noqa: ASYNC109 - it ends in an answer, not an error
        *,
        absent: Collection[str] = (),
    ) -> tuple[str, ...]:
        """Wait until each connected proxy has answered what was published for it before this call.

        `absent`: nodes that are waited for though they are not connected; they are to come back and answer.
        Returns the nodes that had not after `timeout` seconds: none when all did.  A rejection is an answer.
        """
        asked = [
            (name, node.generation)
            for name, node in self._nodes.items()
            if node.conversation is not None or name in absent
        ]
        deadline = asyncio.get_running_loop().time() + timeout
        while asked:
            if not self._is_behind(*asked[-1], absent):
                asked.pop()
                continue
            progress = asyncio.get_running_loop().create_future()
            self._watching.append(progress)
            try:
                async with asyncio.timeout_at(deadline):
                    await progress
                    await asyncio.sleep(_TOGETHER)
            except TimeoutError:
                return tuple(
                    sorted(name for name, generation in asked if self._is_behind(name, generation, absent))
                )
        return ()

    def proxies(self) -> tuple[ProxyStatus, ...]:
        """Every node that there is a snapshot for, by name."""
        return tuple(_status(name, node) for name, node in sorted(self._nodes.items()))

    def proxy(self, node: str) -> ProxyStatus | None:
        """How one node stands; None when there is no snapshot for it."""
        known = self._nodes.get(node)
        return None if known is None else _status(node, known)

    def pushes(self, node: str) -> tuple[Push, ...]:
        """What a node was sent last, on the stream that it has now; the newest first."""
        known = self._nodes.get(node)
        stream = None if known is None else known.conversation
        return () if stream is None else tuple(stream.pushes)

    def standing(self) -> tuple[int, int]:
        """How many proxies are connected, and how many of them have yet to answer something."""
        found = [(stream, node.generation) for node in self._nodes.values() if (stream := _stream(node))]
        return len(found), sum(not stream.synced(generation) for stream, generation in found)

    @property
    def generation(self) -> int:
        """Another one as soon as something else was published for any node."""
        return self._generation

    def rejections(self) -> tuple[ProxyRejection, ...]:
        """All that is refused now; the resources carry the latest origins."""
        streams = {name: _stream(self._nodes.get(name)) for name in self._refusing}
        self._refusing = {name for name, stream in streams.items() if stream is not None and stream.refuses}
        return tuple(
            ProxyRejection(node=name, rejection=rejection)
            for name, stream in sorted(streams.items())
            if stream is not None
            for rejection in stream.rejections()
        )

    @property
    def sent(self) -> Mapping[str, Sent]:
        """What was sent so far, by type URL."""
        return self._sent

    # What conversations ask (`conversation.House`)

    def admit(self, conversation: Conversation) -> End | None:
        """Let in who may come in; why not, if so."""
        name = conversation.node
        if self._closing:
            return _STOPPING
        node = self._nodes.get(name)
        if node is None:
            self._expected.setdefault(name, []).append(conversation)
            conversation.wait(self._patience, End(Code.UNAVAILABLE, f"nothing is known of {name} yet"))
            return None
        peer = conversation.peer
        refusal = self._authorize(name, peer)
        if refusal is not None:
            named = peer.uris or peer.dns_names or peer.common_name
            return End(Code.PERMISSION_DENIED if named else Code.UNAUTHENTICATED, refusal)
        self._take(node)  # nothing is made for whoever may not have it
        if node.snapshot is None:
            return End(Code.UNAVAILABLE, f"nothing can be sent to {name} yet")
        if node.conversation is not None:
            node.conversation.end(End(Code.ABORTED, f"{name} has opened a newer stream"))
        node.conversation = conversation
        remaining = None if self._expires is None else max(0.0, self._expires(peer) - time.time())
        conversation.begin(node.snapshot, node.generation, remaining)
        return None

    def heard(self, conversation: Conversation, event: Event) -> None:
        if isinstance(event, Rejected):
            self._refusing.add(conversation.node)
        if self._notify is not None:
            self._notify(conversation.node, event)

    def encoded(self, response: Response) -> tuple[list[bytes], int]:
        parts = encode(response)
        size = sum(map(len, parts))
        sent = self._sent.setdefault(response.type_url, Sent())
        sent.pushes += 1
        sent.resources += len(response.resources)
        sent.removed += len(response.removed)
        sent.bytes += size
        return parts, size

    def progressed(self) -> None:
        watching, self._watching = self._watching, []
        for one in watching:
            if not one.done():
                one.set_result(None)

    def take_turn(self, conversation: Conversation) -> bool:
        if self._turns and not self._waiting:
            self._turns -= 1
            return True
        self._waiting[conversation] = None
        return False

    def leave_turn(self) -> None:
        if not self._waiting:
            self._turns += 1
            return
        first = next(iter(self._waiting))
        del self._waiting[first]
        first.grant()

    def gone(self, conversation: Conversation) -> None:
        self._conversations.discard(conversation)
        self._waiting.pop(conversation, None)
        node = self._nodes.get(conversation.node)
        if node is not None and node.conversation is conversation:
            node.conversation = None
        waiting = self._expected.get(conversation.node)
        if waiting is not None and conversation in waiting:
            waiting.remove(conversation)
            if not waiting:
                del self._expected[conversation.node]
        self.progressed()

    def _is_behind(self, name: str, generation: int, absent: Collection[str]) -> bool:
        stream = _stream(self._nodes.get(name))
        if stream is None:
            return name in absent and name in self._nodes
        return not stream.synced(generation)


def _stream(node: _Node | None) -> Stream | None:
    """That of the proxy which is connected, if one is."""
    return node.conversation.stream if node is not None and node.conversation is not None else None


def _same(before: Snapshot, after: Snapshot) -> bool:
    """Whether the same is sent for both."""
    mine, theirs = Layered.of(before), Layered.of(after)
    return mine.same(theirs) or (
        mine.keys() == theirs.keys()
        and all(
            (had := mine[kind]).same(has := theirs[kind])
            or (has.table.since(had.table) == NO_DIFFERENCE and had.own == has.own)
            for kind in theirs
        )
    )


def _status(name: str, node: _Node) -> ProxyStatus:
    stream = _stream(node)
    if node.conversation is None or stream is None:
        return ProxyStatus(node=name, connected=None, synced=False, types=())
    return ProxyStatus(
        node=name,
        connected=node.conversation.since,
        synced=stream.synced(node.generation),
        types=stream.status(),
    )
