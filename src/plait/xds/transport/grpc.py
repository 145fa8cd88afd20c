"""What gRPC adds to HTTP/2, as bytes and headers: its protocol document, "gRPC over HTTP2"."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from plait.xds.exports import PROTOBUF
from plait.xds.status import Code, End
from plait.xds.transport.forms import GZIP, IDENTITY, Headers, Refused, inflated, too_large

LARGEST = 16 * 1024 * 1024
"""Bytes of the largest message that is taken of xDS."""
_PREFIX = 5
"""Bytes before each message: whether it is compressed, and its length."""
_PRINTED = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_LONGEST_REASON = 2048
"""Characters; clients refuse headers that are too long."""


def speaks(kind: bytes) -> bool:
    """Whether this is the content type of gRPC."""
    return kind == b"application/grpc" or kind.startswith((b"application/grpc+", b"application/grpc;"))


def prefix(size: int) -> bytes:
    """What stands before a message of this size, which is not compressed."""
    return b"\0" + size.to_bytes(_PREFIX - 1, "big")


def trailers(end: End) -> Headers:
    """What ends a stream: its status, and why."""
    headers = [(b"grpc-status", b"%d" % end.code)]
    if end.reason:
        headers.append((b"grpc-message", quote(end.reason[:_LONGEST_REASON], safe=_PRINTED).encode()))
    return headers


class Grpc:
    """The messages of a stream of gRPC (`forms.Form`).

    Those of the peer have `largest` bytes at most, and may be packed by `encoding`, if that is gzip.
    """

    __slots__ = ("_encoding", "_largest", "_partial")

    content_type = PROTOBUF

    def __init__(self, largest: int = LARGEST, encoding: bytes | None = None) -> None:
        self._largest = largest
        self._encoding = encoding
        self._partial = bytearray()

    @property
    def response(self) -> Headers:
        return _response(IDENTITY if self._encoding is None else IDENTITY + b"," + GZIP)

    def take(self, piece: bytes) -> list[bytes]:
        data: bytes | bytearray = piece
        if self._partial:
            self._partial += piece
            data = self._partial
        found, at = [], 0
        while len(data) - at >= _PREFIX:
            packed = data[at]
            if packed and self._encoding != GZIP:
                raise Refused(End(Code.UNIMPLEMENTED, "messages compressed like this are not read here"))
            size = int.from_bytes(data[at + 1 : at + _PREFIX], "big")
            if size > self._largest:
                raise too_large(size, self._largest)
            end = at + _PREFIX + size
            if len(data) < end:
                break
            message = bytes(data[at + _PREFIX : end])
            found.append(inflated(message, self._largest) if packed else message)
            at = end
        if at or data is piece:
            self._partial = bytearray(data[at:])
        return found

    def rest(self) -> list[bytes]:
        if self._partial:
            raise Refused(End(Code.INTERNAL, "the stream ends within a message"))
        return []

    def framed(self, message: Sequence[bytes]) -> Sequence[bytes]:
        return (prefix(sum(map(len, message))), *message)

    def ending(self, end: End, *, begun: bool) -> Headers:
        return trailers(end) if begun else [*self.response, *trailers(end)]


def no_such_method() -> Headers:
    """The whole answer to who asks for what is not served."""
    return [*_response(IDENTITY), *trailers(End(Code.UNIMPLEMENTED, "there is no such method here"))]


def _response(accepted: bytes) -> Headers:
    return [
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-accept-encoding", accepted),
    ]
