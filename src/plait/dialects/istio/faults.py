"""Faults in a VirtualService: delays and aborts of a share of the requests of a rule."""

from __future__ import annotations

from plait.dialects.checks import seconds
from plait.dialects.istio.answers import millionths, percent
from plait.model.document import Cursor
from plait.model.routing import Abort, Delay, Fault

_SHOWN = 80
GRPC_STATUSES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""The status codes of gRPC, by number."""


def fault(cursor: Cursor) -> Fault | None:
    """What is injected; None when nothing is, or it can't be read."""
    if not cursor.present:
        return None
    delay, abort = _delay(cursor.at("delay")), _abort(cursor.at("abort"))
    if not cursor.has("delay") and not cursor.has("abort") and not cursor.error_count():
        cursor.error("fault.empty", "neither a delay nor an abort")
    return Fault(delay=delay, abort=abort) if delay or abort else None


def _delay(cursor: Cursor) -> Delay | None:
    if not cursor.present:
        return None
    length = seconds(cursor.at("fixedDelay"), least=0.001)
    if length is None and not cursor.error_count():
        cursor.error("field.required", "a fixedDelay is missing")
    share = _share(cursor, "no request is delayed")
    return Delay(seconds=length, millionths=share) if length and share and not cursor.error_count() else None


def _abort(cursor: Cursor) -> Abort | None:
    if not cursor.present:
        return None
    http, grpc = cursor.at("httpStatus"), cursor.at("grpcStatus")
    if http.present == grpc.present and not cursor.error_count():
        cursor.error("fault.status", "either an httpStatus or a grpcStatus is wanted")
    status = http.integer(0, least=200, most=599)
    if grpc.present and grpc.is_text():
        if grpc.value in GRPC_STATUSES:
            status = GRPC_STATUSES.index(grpc.value)
        else:
            message = f"{grpc.value[:_SHOWN]!r} is none of {', '.join(GRPC_STATUSES)}"
            grpc.error("field.choice", message)
    share = _share(cursor, "no request is aborted")
    if not share or cursor.error_count():
        return None
    return Abort(status=status, grpc=grpc.present, millionths=share)


def _share(cursor: Cursor, otherwise: str) -> int:
    whole, part = cursor.at("percent"), cursor.at("percentage")
    if whole.present and part.present:
        whole.error("fault.percentage", "only one of percentage and percent can be given")
    share = percent(whole) if whole.present else millionths(part, 0)
    if not share and not cursor.error_count():
        cursor.warn("fault.never", f"without a percentage {otherwise}")
    return share
