"""When a certificate is renewed.  All times in seconds; the clock and the dice are handed in.

Renewal is due at about half of a certificate's life, so that half of it is left for trying again; the jitter
keeps certificates that were made together from being renewed together.
"""

from __future__ import annotations

from plait.identity.trust import Held, Trust

_EARLIEST, _LATEST = 0.45, 0.55
"""The span of a certificate's life within which it is renewed."""

_LONGEST_RETRY = 60.0
_LONGEST_RUSH = 30.0
"""Within so many seconds everybody renews who is told to, and within a thirtieth of a certificate's life."""


def renewal_delay(*, issued: float, expires: float, now: float, jitter: float) -> float:
    """How long to wait before renewing; 0.0 when it is due.  `jitter` is a number in [0, 1)."""
    due = issued + (expires - issued) * (_EARLIEST + (_LATEST - _EARLIEST) * jitter)
    return max(0.0, due - now)


def retry_delay(failures: int, *, expires: float, now: float, jitter: float) -> float:
    """How long to wait after the n-th failure in a row (1, 2, ...).

    Doubles from 1 s up to a minute, but never takes more than a tenth of what is left of the certificate's
    life (and at least a quarter of a second); `jitter`, in [0, 1), takes off up to half.
    """
    longest = min(_LONGEST_RETRY, max(0.5, (expires - now) / 10))
    return min(float(2 ** min(failures - 1, 10)), longest) * (1.0 - jitter / 2)


def due_in(held: Held | None, trust: Trust | None, *, now: float, jitter: float) -> float:
    """How long to wait before asking for the next certificate: at once for who has none.

    One that the latest word on trust outdates is due within a few seconds, so that not all come at once.
    """
    if held is None:
        return 0.0
    due = renewal_delay(issued=held.issued, expires=held.expires, now=now, jitter=jitter)
    if trust is not None and held.outdated(trust):
        return min(due, jitter * min(_LONGEST_RUSH, (held.expires - held.issued) / 30))
    return due
