"""The last pushes of one stream, in little memory: there may be thousands of streams, and hardly anybody asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from plait.xds.messages import Event, Rejected, Response

KEPT = 10
"""So many of each stream."""
_LONGEST = 400
"""Characters that are kept of a reason; all of it is kept once, with what is refused for it."""


class Outcome(StrEnum):
    """How a proxy has answered a push; SENT: not yet."""

    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A response that was sent at a time (seconds since the epoch): how much it was, and how it was answered.

    `latency` is in seconds from then to the answer; `reason` says why it was rejected, cut where it is long.
    """

    at: float
    type_url: str
    resources: int
    removed: int
    bytes: int
    outcome: Outcome
    latency: float | None
    reason: str


_Kept = tuple[float, str, int, int, int, float | None, str | None]
"""A Push without its outcome: the reason is None unless it was rejected, the latency None until it is answered."""


class Pushes:
    """The last ones of a stream, the newest first; a type has at most one that is not answered, as on the stream."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: tuple[_Kept, ...] = ()

    def sent(self, response: Response, size: int, at: float) -> None:
        """A response of so many bytes has left, at so many seconds since the epoch."""
        counts = len(response.resources), len(response.removed), size
        self._kept = ((at, response.type_url, *counts, None, None), *self._kept[: KEPT - 1])

    def answered(self, event: Event) -> None:
        """The proxy has answered the response of this type that waited for it, which may be forgotten by now."""
        for index, (at, type_url, resources, removed, size, latency, _) in enumerate(self._kept):
            if type_url == event.type_url and latency is None:
                reason = event.reason[:_LONGEST] if isinstance(event, Rejected) else None
                now = (at, type_url, resources, removed, size, event.latency, reason)
                self._kept = (*self._kept[:index], now, *self._kept[index + 1 :])
                return

    def __iter__(self) -> Iterator[Push]:
        for at, type_url, resources, removed, size, latency, reason in self._kept:
            yield Push(
                at=at,
                type_url=type_url,
                resources=resources,
                removed=removed,
                bytes=size,
                outcome=_outcome(latency, reason),
                latency=latency,
                reason=reason or "",
            )


def _outcome(latency: float | None, reason: str | None) -> Outcome:
    if latency is None:
        return Outcome.SENT
    return Outcome.ACKNOWLEDGED if reason is None else Outcome.REJECTED
