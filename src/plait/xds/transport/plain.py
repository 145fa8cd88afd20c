"""A message as the body of an HTTP request, answered by one as the body of the response: OTLP over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from plait.xds.status import Code, End
from plait.xds.transport.forms import Headers, Refused, inflated, too_large

NOT_FOUND, UNSUPPORTED = 404, 415

_STATUSES = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.DEADLINE_EXCEEDED: 408,
    Code.RESOURCE_EXHAUSTED: 413,
    Code.UNIMPLEMENTED: UNSUPPORTED,
    Code.UNAVAILABLE: 503,
}


def status(number: int) -> Headers:
    """A whole answer without a body."""
    return [(b":status", b"%d" % number)]


class Plain:
    """One message each way, of a content type (`forms.Form`); the peer's may be packed by `encoding`, if that is gzip."""

    __slots__ = ("_encoding", "_largest", "_partial", "content_type")

    def __init__(self, largest: int, content_type: str, encoding: bytes) -> None:
        self.content_type = content_type
        self._largest = largest
        self._encoding = encoding
        self._partial = bytearray()

    @property
    def response(self) -> Headers:
        return [*status(200), (b"content-type", self.content_type.encode())]

    def take(self, piece: bytes) -> list[bytes]:
        self._partial += piece
        if len(self._partial) > self._largest:
            raise too_large(len(self._partial), self._largest)
        return []

    def rest(self) -> list[bytes]:
        message, self._partial = bytes(self._partial), bytearray()
        match self._encoding:
            case b"" | b"identity":
                return [message]
            case b"gzip":
                return [inflated(message, self._largest)]
            case _:
                raise Refused(End(Code.UNIMPLEMENTED, "messages compressed like this are not read here"))

    def framed(self, message: Sequence[bytes]) -> Sequence[bytes]:
        return [part for part in message if part]

    def ending(self, end: End, *, begun: bool) -> Headers:
        return [] if begun else status(_STATUSES.get(end.code, 500))
