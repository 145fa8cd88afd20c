"""Responses are found again: what many proxies are sent is read once, and kept once even while it arrives."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.control_plane.simulated.discovery import News, Reader

_MOST = 64
_HEAD = 5
"""Bytes before each message of gRPC."""


@dataclass(slots=True, eq=False)
class _Known:
    """A message of some length, as far as any of those who are sent it has received it.

    Once it is whole, `news` and the place of its nonce hold; all else has to be equal for it to be the same message.
    """

    data: bytearray = field(default_factory=bytearray)
    news: News | None = None
    begin: int = 0
    end: int = 0

    def agrees(self, offset: int, part: bytes) -> bool:
        """Whether these bytes stand there, too; what is beyond the end of one that grows is taken over."""
        close = offset + len(part)
        if self.news is None:
            both = self.data[offset:close]
            if both != part[: len(both)]:
                return False
            self.data += part[len(both) :]
            return True
        if close <= self.begin or offset >= self.end:
            return self.data[offset:close] == part
        before, after = max(self.begin - offset, 0), max(self.end - offset, 0)
        return (
            self.data[offset : offset + before] == part[:before]
            and self.data[offset + after : close] == part[after:]
        )


class Library:
    """The last message of each length, for all proxies."""

    def __init__(self) -> None:
        self._reader = Reader()
        self._known: dict[int, _Known] = {}

    def begun(self, length: int) -> _Known:
        """What a message of this length may turn out to be."""
        return self._known.get(length) or self._keep(length, _Known())

    def whole(self, known: _Known) -> tuple[News, str]:
        """Read one that has just become whole."""
        response = self._reader.read(bytes(known.data))
        known.news, (known.begin, known.end) = response.news, response.place
        return response.news, response.nonce

    def found(self, data: bytes) -> tuple[News, str]:
        """A message that was like none before while it arrived."""
        known = self._known.get(len(data))
        if known is not None and known.news is not None and known.agrees(0, data):
            return known.news, data[known.begin : known.end].decode()
        return self.whole(self._keep(len(data), _Known(bytearray(data))))

    def _keep(self, length: int, known: _Known) -> _Known:
        self._known.pop(length, None)
        self._known[length] = known
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
        return known


class Incoming:
    """The messages of one stream, of which only what is like no other is kept while it arrives."""

    __slots__ = ("_begun", "_head", "_known", "_length", "_library", "_nonce", "_offset", "_own")

    def __init__(self, library: Library) -> None:
        self._library = library
        self._begun = False
        self._head = b""
        self._length = self._offset = 0
        self._known: _Known | None = None
        """What it is, for all that has come of it; None when it is like no other, and kept in `_own`."""
        self._own = bytearray()
        self._nonce = b""

    def take(self, piece: bytes) -> Iterator[tuple[News, str]]:
        """What has become whole with this piece of the stream: news and nonces."""
        while piece:
            if not self._begun:
                piece = self._head + piece
                if len(piece) < _HEAD:
                    self._head = piece
                    return
                self._begin(piece[:_HEAD])
                piece = piece[_HEAD:]
            part = piece[: self._length - self._offset]
            piece = piece[len(part) :]
            self._add(part)
            if self._offset == self._length:
                self._begun = False
                yield self._end()

    def _begin(self, head: bytes) -> None:
        if head[0]:
            raise ValueError("a compressed message")
        self._begun, self._head = True, b""
        self._length, self._offset = int.from_bytes(head[1:], "big"), 0
        self._known = self._library.begun(self._length)
        self._nonce = b""

    def _add(self, part: bytes) -> None:
        known, offset = self._known, self._offset
        self._offset += len(part)
        if known is None:
            self._own += part
        elif known.agrees(offset, part):
            if known.end > offset:
                self._nonce += part[max(known.begin - offset, 0) : known.end - offset]
        else:
            self._own, self._known = known.data[:offset], None
            read = min(known.end, offset)
            self._own[read - len(self._nonce) : read] = self._nonce
            self._own += part

    def _end(self) -> tuple[News, str]:
        known = self._known
        if known is None:
            data, self._own = bytes(self._own), bytearray()
            return self._library.found(data)
        if known.news is None:
            return self._library.whole(known)
        # What came of the nonce while the message still grew was equal.
        same = known.data[known.begin : known.end - len(self._nonce)]
        return known.news, (bytes(same) + self._nonce).decode()
