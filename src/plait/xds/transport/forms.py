"""In which form messages stand in a stream, and what both forms have in common: `grpc` is one, `plain` the other."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from plait.xds.status import Code, End

Headers = list[tuple[bytes, bytes]]
Said = Mapping[bytes, bytes]
"""The headers of a request."""

GZIP, IDENTITY = b"gzip", b"identity"

_OF_GZIP = 31
"""What zlib calls it."""


class Refused(Exception):  # noqa: N818 - what was said is in error, not we
    """The other end says what can't be taken; `end` is what it is told."""

    def __init__(self, end: End) -> None:
        super().__init__(end.reason)
        self.end = end


class Form(Protocol):
    """The messages of one stream."""

    @property
    def content_type(self) -> str:
        """Of what stands in a message."""

    @property
    def response(self) -> Headers:
        """The first headers of an answer that has a message."""

    def take(self, piece: bytes) -> list[bytes]:
        """The messages that this piece of what the peer says completes.  Refused."""

    def rest(self) -> list[bytes]:
        """The messages that the end of what the peer says completes.  Refused when it ends within one."""

    def framed(self, message: Sequence[bytes]) -> Iterable[bytes]:
        """The bytes that stand for a message of ours, which is these parts joined."""

    def ending(self, end: End, *, begun: bool) -> Headers:
        """The last headers of the stream; none where it just ends.  `begun`: the first ones were sent."""


def too_large(size: int, largest: int) -> Refused:
    return Refused(
        End(Code.RESOURCE_EXHAUSTED, f"a message of {size} bytes is larger than the {largest} that are taken")
    )


def inflated(data: bytes, largest: int) -> bytes:
    """What is packed by gzip, so many bytes at most.  Refused."""
    unpacking = zlib.decompressobj(_OF_GZIP)
    try:
        found = unpacking.decompress(data, largest + 1)
    except zlib.error as error:
        raise Refused(End(Code.INVALID_ARGUMENT, "what is said to be gzip is not")) from error
    if len(found) > largest:
        raise Refused(
            End(Code.RESOURCE_EXHAUSTED, f"a message has more than the {largest} bytes that are taken")
        )
    if not unpacking.eof or unpacking.unused_data:
        raise Refused(End(Code.INVALID_ARGUMENT, "what is said to be gzip ends elsewhere"))
    return found
