"""The bounds of what chance allows."""

from __future__ import annotations

from tests.traffic.binomial import bounds


def test_the_bounds_are_those_of_the_binomial_distribution() -> None:
    """With ten coins, fewer than two or more than eight heads come up 22 times in 1024."""
    assert bounds(10, 0.5, 22 / 1024 + 1e-9) == (2, 8)
    assert bounds(10, 0.5, 22 / 1024 - 1e-9) == (1, 9)
