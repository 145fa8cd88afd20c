"""One stream from its opening to its end, driven by what happens: no sockets, and no task of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from plait.resource import Snapshot
from plait.xds.messages import Event, Request, Response
from plait.xds.pushes import Pushes
from plait.xds.status import FINISHED, Code, End
from plait.xds.stream import Stream
from plait.xds.wire import decode

log = logging.getLogger(__name__)

_OPENING = 10.0
"""Seconds within which something of a stream's first request has to come, again and again until all of it is here.

In a large mesh it names all that a proxy has, and when all of them come back at once it is we who are slow to read.
"""
_OPENINGS = 12
"""So many times at most."""
_EARLY = 16 * 1024 * 1024
"""Bytes that a proxy may say before its node is known."""
_TURN = 1.0
"""Seconds that a response holds its turn at most, so that whoever is slow to take it keeps nobody waiting."""

_SILENT = End(Code.DEADLINE_EXCEEDED, "no request has come in time")
_TALKATIVE = End(Code.RESOURCE_EXHAUSTED, "too much is said before the node is known")
_EXPIRED = End(Code.UNAUTHENTICATED, "the certificate that opened this stream has expired")
_MISTAKEN = End(Code.INTERNAL, "the control plane has made a mistake; its log tells more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end, by its certificate; all empty when it showed none.

    `uris` and `dns_names` are the certificate's subject alternative names, `certificate` is PEM.
    """

    uris: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    common_name: str = ""
    certificate: bytes = field(default=b"", repr=False)


class Call(Protocol):
    """What a transport lets be done with a stream."""

    @property
    def peer(self) -> Peer:
        """Who has opened it."""

    @property
    def ready(self) -> bool:
        """Whether all that was sent has left, as far as we can tell, and more may be sent."""

    def send(self, message: Sequence[bytes]) -> None:
        """Send a message, which is these parts joined; only when ready."""

    def end(self, end: End) -> None:
        """End the stream, with a word on why; what has not left yet is dropped."""


class Exchange(Protocol):
    """What a transport tells of one stream; each method may be called until `closed` was, or `Call.end`."""

    @property
    def over(self) -> bool:
        """Whether it has been ended."""

    def hear(self, size: int) -> None:
        """So many bytes of something that the peer says have come."""

    def receive(self, message: bytes) -> None:
        """The peer has said something; whether there is an answer is seen by `speak`."""

    def speak(self) -> None:
        """Say what there is to say, as long as the transport takes it."""

    def finished(self) -> None:
        """The peer will say no more."""

    def closed(self) -> None:
        """The stream is no more."""

    def end(self, end: End) -> None:
        """End it, and say why."""


class House(Protocol):
    """What a conversation asks of the server."""

    def admit(self, conversation: Conversation) -> End | None:
        """Let it in (`begin`) or have it wait (`wait`); why not, if so."""

    def heard(self, conversation: Conversation, event: Event) -> None:
        """A proxy has answered."""

    def encoded(self, response: Response) -> tuple[Sequence[bytes], int]:
        """The bytes of a response in parts, and how many they are; it is counted as sent."""

    def progressed(self) -> None:
        """A proxy may have all that it should have."""

    def take_turn(self, conversation: Conversation) -> bool:
        """Whether it may speak now; `grant` is called in its turn if not."""

    def leave_turn(self) -> None:
        """Another may speak."""

    def gone(self, conversation: Conversation) -> None:
        """It is over."""


class Conversation:
    """A stream of xDS (`Exchange`)."""

    __slots__ = (
        "_call",
        "_due",
        "_early",
        "_has_turn",
        "_heard",
        "_hearing",
        "_house",
        "_loop",
        "_openings",
        "_timer",
        "_turn",
        "node",
        "over",
        "pushes",
        "since",
        "stream",
    )

    def __init__(self, house: House, call: Call) -> None:
        self.node = ""
        self.stream: Stream | None = None
        self.since = 0.0
        """When it began, in seconds since the epoch."""
        self.over = False
        self.pushes = Pushes()
        self._has_turn = False
        self._house = house
        self._call = call
        self._loop = asyncio.get_running_loop()
        self._early: list[Request] | None = None
        """What was said so far, while the node is waited for; the opening first."""
        self._heard = 0
        """Bytes that were said so far, until it began."""
        self._due = False
        self._turn: asyncio.TimerHandle | None = None
        self._hearing = False
        """Whether something of the first request has come since the time was last looked at."""
        self._openings = _OPENINGS
        self._timer: asyncio.TimerHandle | None = self._loop.call_later(_OPENING, self._look)

    @property
    def peer(self) -> Peer:
        return self._call.peer

    # What the transport says

    def hear(self, size: int) -> None:  # noqa: ARG002 - what counts is that something comes
        self._hearing = True

    def receive(self, message: bytes) -> None:
        if self.stream is None:
            self._heard += len(message)
            if self._heard > _EARLY:
                self.end(_TALKATIVE)
                return
        try:
            request = decode(message)
        except ValueError as error:
            self.end(End(Code.INVALID_ARGUMENT, str(error)))
            return
        try:
            self._take(request)
        except Exception as mistake:  # noqa: BLE001 - it is logged
            self._mistaken(mistake)

    def speak(self) -> None:
        self._due = False
        if self.over or self.stream is None:
            return
        try:
            self._speak(self.stream)
        except Exception as mistake:  # noqa: BLE001 - it is logged
            self._mistaken(mistake)

    def finished(self) -> None:
        self.end(FINISHED)

    def closed(self) -> None:
        if self.over:
            return
        self.over = True
        self._stop_timer()
        self._leave_turn()
        self._house.gone(self)
        self.stream = None

    # What the server says

    def wait(self, seconds: float, otherwise: End) -> None:
        """The node is not known yet: `retry` comes in time, or this is the end."""
        if self._timer is None:
            self._timer = self._loop.call_later(seconds, self.end, otherwise)

    def retry(self) -> None:
        """The node may be known by now."""
        try:
            self._admit()
        except Exception as mistake:  # noqa: BLE001 - it is logged
            self._mistaken(mistake)

    def begin(self, snapshot: Snapshot, generation: int, remaining: float | None) -> None:
        """Serve it this, and what is published from now on, for so many seconds."""
        self._stop_timer()
        if remaining is not None:
            self._timer = self._loop.call_later(remaining, self.end, _EXPIRED)
        self.since = time.time()
        self.stream = Stream(snapshot, generation)
        early, self._early = self._early or [], None
        for request in early:
            self._take(request)
        self.wake()

    def publish(self, snapshot: Snapshot, generation: int, *, changed: bool) -> None:
        """The proxy should have this from now on; it is told so soon if there is a change."""
        assert self.stream is not None
        self.stream.publish(snapshot, generation)
        if changed:
            self.wake()

    def grant(self) -> None:
        """It is this one's turn now."""
        self._has_turn = True
        self.wake()

    def wake(self) -> None:
        """Speak in a moment: whoever publishes to many is not kept by writing."""
        if not self._due:
            self._due = True
            self._loop.call_soon(self.speak)

    def end(self, end: End) -> None:
        if not self.over:
            self.closed()
            self._call.end(end)

    def _look(self) -> None:
        """Whether the first request is still coming."""
        self._openings -= 1
        if not self._hearing or not self._openings:
            self.end(_SILENT)
            return
        self._hearing = False
        self._timer = self._loop.call_later(_OPENING, self._look)

    def _take(self, request: Request) -> None:
        if self.over:
            return
        if self.stream is not None:
            event = self.stream.receive(request, time.monotonic())
            if event is not None:
                self.pushes.answered(event)
                self._house.heard(self, event)
        elif self._early is not None:
            self._early.append(request)
        else:
            self._early = [request]
            self.node = request.node
            self._stop_timer()
            self._admit()

    def _admit(self) -> None:
        if self.over or self.stream is not None:
            return
        end = self._house.admit(self)
        if end is not None:
            self.end(end)

    def _speak(self, stream: Stream) -> None:
        call = self._call
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        while not self.over and call.ready:
            if not stream.settled and not self._has_turn and not self._take_turn():
                return
            response = stream.pull(time.monotonic())
            if response is None:
                self._leave_turn()
                self._house.progressed()
                return
            parts, size = self._house.encoded(response)
            self.pushes.sent(response, size, time.time())
            call.send(parts)
            if call.ready:
                self._leave_turn()
        if self._has_turn and not self.over:
            self._turn = self._loop.call_later(_TURN, self._leave_turn)

    def _take_turn(self) -> bool:
        self._has_turn = self._house.take_turn(self)
        return self._has_turn

    def _leave_turn(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        if self._has_turn:
            self._has_turn = False
            self._house.leave_turn()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _mistaken(self, mistake: Exception) -> None:
        """A mistake of ours ends this stream, and no other."""
        log.error("the stream of %s is ended", self.node or "nobody", exc_info=mistake)
        self.end(_MISTAKEN)
