"""Bins of durations: as Envoy keeps them, two significant digits in base ten, and so at most 10 % wide.

A bin is a number: bins of longer durations are larger, and those of equal number are the same in every process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import floor, isinf, log10

_STEPS = 90
"""Bins in a decade: 1.0, 1.1, ... 9.9."""
_LEAST = -3
"""The decade of the smallest: 0.001 ms.  What is smaller is in bin 0."""


def bin_of(milliseconds: float) -> int:
    """The bin that a duration is in; its lower bound belongs to it."""
    if milliseconds < 10.0**_LEAST:
        return 0
    decade = floor(log10(milliseconds) + 1e-9)
    step = floor(milliseconds / 10.0 ** (decade - 1) + 1e-6) - 10
    return 1 + (decade - _LEAST) * _STEPS + step


def bounds(number: int) -> tuple[float, float]:
    """Where a bin begins and ends, in milliseconds."""
    if number == 0:
        return 0.0, 10.0**_LEAST
    decade, step = divmod(number - 1, _STEPS)
    unit = 10.0 ** (decade + _LEAST - 1)
    return (10 + step) * unit, (11 + step) * unit


def merged(some: Iterable[Iterable[tuple[int, int]]]) -> dict[int, int]:
    """Several histograms as one."""
    found: dict[int, int] = {}
    for bins in some:
        for number, count in bins:
            found[number] = found.get(number, 0) + count
    return found


def longer(bins: Mapping[int, int], milliseconds: float) -> int:
    """How many took longer, as far as bins tell: what is in the duration's own bin did not."""
    if isinf(milliseconds):
        return 0
    own = bin_of(milliseconds)
    return sum(count for number, count in bins.items() if number > own)


def quantile(bins: Mapping[int, int], share: float) -> float | None:
    """The duration in milliseconds that `share` (0 to 1) of all did not exceed; None of nothing.

    Within a bin it is the value that is nearest to both ends in proportion: whatever the durations were, it is off by
    less than 5 %.
    """
    total = sum(bins.values())
    if not total:
        return None
    wanted, seen = share * total, 0
    for number in sorted(bins):
        count = bins[number]
        if seen + count >= wanted:
            low, high = bounds(number)
            return 2 * low * high / (low + high)
        seen += count
    raise AssertionError("the parts are less than the whole")
