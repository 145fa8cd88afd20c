"""What gRPC adds to HTTP/2, as bytes and headers: its protocol document, "gRPC over HTTP2"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from plait.xds.status import Code, End

LARGEST = 16 * 1024 * 1024
"""Bytes of the largest message that is taken."""
_PREFIX = 5
"""Bytes before each message: whether it is compressed, and its length."""
_PRINTED = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_LONGEST_REASON = 2048
"""Characters; clients refuse headers that are too long."""

Headers = list[tuple[bytes, bytes]]

RESPONSE: Headers = [
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
    (b"grpc-accept-encoding", b"identity"),
]
_NOT_GRPC: Headers = [(b":status", b"415")]


class Refused(Exception):  # noqa: N818 - what was said is in error, not we
    """The other end says what can't be taken; `end` is what it is told."""

    def __init__(self, end: End) -> None:
        super().__init__(end.reason)
        self.end = end


def trailers(end: End) -> Headers:
    """What ends a stream: its status, and why."""
    headers = [(b"grpc-status", b"%d" % end.code)]
    if end.reason:
        headers.append((b"grpc-message", quote(end.reason[:_LONGEST_REASON], safe=_PRINTED).encode()))
    return headers


def refusal(headers: Iterable[tuple[bytes, bytes]], path: bytes) -> Headers | None:
    """The whole answer to a request that is not one for a stream at this path; None when it is one."""
    said: Mapping[bytes, bytes] = dict(headers)
    kind = said.get(b"content-type", b"")
    if said.get(b":method") != b"POST" or not _is_grpc(kind):
        return _NOT_GRPC
    if said.get(b":path") != path:
        return [*RESPONSE, *trailers(End(Code.UNIMPLEMENTED, "there is no such method here"))]
    return None


def prefix(size: int) -> bytes:
    """What stands before a message of this size, which is not compressed."""
    return b"\0" + size.to_bytes(_PREFIX - 1, "big")


class Incoming:
    """The messages of one stream, out of the pieces in which they come."""

    __slots__ = ("_partial",)

    def __init__(self) -> None:
        self._partial = bytearray()

    @property
    def partial(self) -> bool:
        """Whether a message has begun and not come to its end."""
        return bool(self._partial)

    def take(self, piece: bytes) -> list[bytes]:
        """The messages that this piece completes.  Refused for one that is compressed or too large."""
        data: bytes | bytearray = piece
        if self._partial:
            self._partial += piece
            data = self._partial
        found, at = [], 0
        while len(data) - at >= _PREFIX:
            if data[at]:
                raise Refused(End(Code.UNIMPLEMENTED, "compressed messages are not read here"))
            size = int.from_bytes(data[at + 1 : at + _PREFIX], "big")
            if size > LARGEST:
                reason = f"a message of {size} bytes is larger than the {LARGEST} that are taken"
                raise Refused(End(Code.RESOURCE_EXHAUSTED, reason))
            end = at + _PREFIX + size
            if len(data) < end:
                break
            found.append(bytes(data[at + _PREFIX : end]))
            at = end
        if at or data is piece:
            self._partial = bytearray(data[at:])
        return found


def _is_grpc(kind: bytes) -> bool:
    return kind == b"application/grpc" or kind.startswith((b"application/grpc+", b"application/grpc;"))
