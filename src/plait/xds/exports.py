"""What proxies tell beside their streams of xDS: single messages, each answered by one, such as spans and logs.

They come on connections of the same kind, and only from whom `identify` knows.  Nothing here knows what they say.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from plait.xds.conversation import Call, Peer
from plait.xds.status import FINISHED, Code, End

log = logging.getLogger(__name__)

LARGEST = 4 * 1024 * 1024
"""Bytes of the largest message that is taken, before and after it is unpacked."""
_PATIENCE = 10.0
"""Seconds that a message may take to come, and its answer to leave."""
_MOST_OF_ONE, _MOST = 2 * LARGEST, 16 * LARGEST
"""Bytes of messages that are not here as a whole yet: of one sender, and of all."""

PROTOBUF, JSON = "application/x-protobuf", "application/json"

_TOO_MUCH = End(Code.RESOURCE_EXHAUSTED, "too much is on its way that is not here as a whole")
_LATE = End(Code.DEADLINE_EXCEEDED, "the message has not come in time")
_NOT_ONE = End(Code.INVALID_ARGUMENT, "one message is expected, no less and no more")
_MISTAKEN = End(Code.INTERNAL, "the control plane has made a mistake; its log tells more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One message.  `sender` is who `identify` says it is, and `content_type` PROTOBUF (over gRPC always) or JSON."""

    sender: str
    content_type: str
    body: bytes = field(repr=False)


Handler = Callable[[Export], bytes]
"""Takes a message at once, and answers in the same content type.  ValueError for one that can't be read."""
Identify = Callable[[Peer], str | End]
"""Who a peer is, in words that handlers know; or why nothing is taken from it."""


class Exports:
    """Where messages go, by the path that they are sent to."""

    def __init__(self, handlers: Mapping[str, Handler], identify: Identify) -> None:
        self.handlers = handlers
        self.identify = identify
        self.unfinished: Counter[str] = Counter()
        """Bytes of messages that are not here as a whole yet, by sender."""

    def opened(self, call: Call, path: str, content_type: str) -> Exporting:
        """A message is about to come; its transport tells the exchange what happens to it."""
        sender = self.identify(call.peer)
        if isinstance(sender, End):
            exporting = Exporting(self, call, path, content_type, "")
            exporting.end(sender)
            return exporting
        return Exporting(self, call, path, content_type, sender)


class Exporting:
    """One message and its answer (`conversation.Exchange`)."""

    __slots__ = (
        "_answered",
        "_call",
        "_content_type",
        "_exports",
        "_message",
        "_path",
        "_sender",
        "_size",
        "_timer",
        "over",
    )

    def __init__(self, exports: Exports, call: Call, path: str, content_type: str, sender: str) -> None:
        self.over = False
        self._exports = exports
        self._call = call
        self._path = path
        self._content_type = content_type
        self._sender = sender
        self._message: bytes | None = None
        self._answered = False
        self._size = 0
        """Bytes that have come so far."""
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE, self.end, _LATE)

    def hear(self, size: int) -> None:
        unfinished = self._exports.unfinished
        self._size += size
        unfinished[self._sender] += size
        if unfinished[self._sender] > _MOST_OF_ONE or unfinished.total() > _MOST:
            self.end(_TOO_MUCH)

    def receive(self, message: bytes) -> None:
        if self._message is not None:
            self.end(_NOT_ONE)
            return
        self._message = message

    def finished(self) -> None:
        """All of it is here: answer it."""
        if self._message is None:
            self.end(_NOT_ONE)
            return
        answer = self._answer(self._message)
        if isinstance(answer, End):
            self.end(answer)
            return
        self._answered = True
        self._call.send([answer])
        self.speak()

    def speak(self) -> None:
        """Once the answer has left, that was all."""
        if self._answered and self._call.ready:
            self.end(FINISHED)

    def closed(self) -> None:
        if not self.over:
            self.over = True
            self._timer.cancel()
            self._forget()

    def end(self, end: End) -> None:
        if not self.over:
            self.closed()
            self._call.end(end)

    def _answer(self, message: bytes) -> bytes | End:
        export = Export(sender=self._sender, content_type=self._content_type, body=message)
        try:
            return self._exports.handlers[self._path](export)
        except ValueError as error:
            return End(Code.INVALID_ARGUMENT, str(error))
        except Exception:
            log.exception("a message of %s to %s is lost", self._sender, self._path)
            return _MISTAKEN

    def _forget(self) -> None:
        unfinished = self._exports.unfinished
        unfinished[self._sender] -= self._size
        if not unfinished[self._sender]:
            del unfinished[self._sender]
