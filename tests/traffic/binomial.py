"""How far a count may lie from what is expected by chance alone."""

from __future__ import annotations

import math


def bounds(trials: int, chance: float, risk: float) -> tuple[int, int]:
    """The least and the most hits of so many independent trials, outside of which they lie with at most `risk`.

    The exact binomial distribution, half of the risk at each end.
    """
    low = _quantile(trials, chance, risk / 2)
    return low, trials - _quantile(trials, 1 - chance, risk / 2)


def _quantile(trials: int, chance: float, risk: float) -> int:
    """The largest number of hits such that there are fewer with at most `risk`."""
    fewer = 0.0
    for hits in range(trials + 1):
        fewer += math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(hits + 1)
            - math.lgamma(trials - hits + 1)
            + hits * math.log(chance)
            + (trials - hits) * math.log1p(-chance)
        )
        if fewer > risk:
            return hits
    return trials
