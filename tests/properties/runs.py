"""How many examples are tried: few that are always the same in the default run, many others by `make prove`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

PATIENT = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
]
"""Marks of what makes a small example of a large one when it fails."""
SECONDS = 3600
"""The longest that thousands of examples may take."""

_PHASES = (Phase.generate, Phase.shrink)

_ANY_SIZE = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)


def examples(number: int) -> settings:
    """So many, the same in every run."""
    return settings(
        max_examples=number,
        derandomize=True,
        database=None,
        deadline=None,
        phases=_PHASES,
        suppress_health_check=_ANY_SIZE,
    )


def tried(check: Callable[..., None], number: int, *strategies: st.SearchStrategy[Any]) -> int:
    """Try a check on so many examples, others in every run; how many there were."""
    count = 0

    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=_PHASES,
        suppress_health_check=_ANY_SIZE,
    )
    @given(st.tuples(*strategies))
    def each(drawn: tuple[Any, ...]) -> None:
        nonlocal count
        count += 1
        check(*drawn)

    each()
    return count
