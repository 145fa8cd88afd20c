"""When to act on changes that come in bursts: after a quiet moment, and never much later than the first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Settle:
    """Times are seconds on any clock that never goes back; the caller hands in what it reads."""

    quiet: float = 0.020
    longest: float = 0.200
    _first: float | None = None
    _last: float = 0.0
    _rested: float = 0.0

    def touch(self, now: float) -> None:
        """Something changed."""
        if self._first is None:
            self._first = now
        self._last = now

    def due(self, now: float) -> float | None:
        """Seconds until the changes should be acted on (0: now), None when there are none."""
        if self._first is None:
            return None
        settled = min(self._last + self.quiet, self._first + self.longest)
        return max(0.0, settled - now, self._rested - now)

    def clear(self) -> None:
        """The changes so far are being acted on; later ones begin a new burst."""
        self._first = None

    def acted(self, began: float, ended: float) -> None:
        """Acting on them took so long: as long again nothing is done, so that those it was done for can be served."""
        self._rested = ended + (ended - began)
