"""How a stream ends: gRPC's status codes, and a reason in words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Code(IntEnum):
    """Those of gRPC's status codes that are used here, by the numbers that stand on the wire."""

    OK = 0
    DEADLINE_EXCEEDED = 4
    INVALID_ARGUMENT = 3
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True)
class End:
    """Why a stream is over."""

    code: Code
    reason: str = ""


FINISHED = End(Code.OK)
"""The proxy has said all that it had to say."""
