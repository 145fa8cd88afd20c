"""When to act on changes that come in bursts: after a quiet moment, and never much later than the first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Settle:
    """Times are seconds on any clock that never goes back; the caller hands in what it reads.

    To act costs more than the moment it takes: those that it was done for are served afterwards.  So what was spent
    since (`spent`, seconds of CPU) counts, and no more than half of the time is: whoever changes things without end
    gets fewer and larger changes, not a queue that grows.  After `rest` seconds it is acted again all the same.
    """

    quiet: float = 0.020
    longest: float = 0.200
    rest: float = 1.0
    _first: float | None = None
    _last: float = 0.0
    _acted: tuple[float, float] | None = None
    """When it was last acted, and what had been spent then."""

    def touch(self, now: float) -> None:
        """Something changed."""
        if self._first is None:
            self._first = now
        self._last = now

    def due(self, now: float, spent: float = 0.0) -> float | None:
        """Seconds until the changes should be acted on (0: now, else ask again then), None when there are none."""
        if self._first is None:
            return None
        settled = min(self._last + self.quiet, self._first + self.longest)
        if self._acted is not None:
            acted, before = self._acted
            settled = max(settled, acted + min(2 * (spent - before), self.rest))
        return max(0.0, settled - now)

    def act(self, now: float, spent: float = 0.0) -> float:
        """The changes so far are being acted on, and later ones begin a new burst; when the first of them came."""
        first, self._first = self._first, None
        self._acted = now, spent
        return now if first is None else first
