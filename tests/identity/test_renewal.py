"""When certificates are renewed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from plait.identity.renewal import renewal_delay, retry_delay

jitters = st.floats(0, 1, exclude_max=True)
times = st.floats(0, 4e9)
lifetimes = st.floats(1, 1e6)


@given(times, lifetimes, jitters)
def test_renewal_is_due_around_half_of_a_certificates_life(
    issued: float, lifetime: float, jitter: float
) -> None:
    delay = renewal_delay(issued=issued, expires=issued + lifetime, now=issued, jitter=jitter)
    assert 0.449 * lifetime <= delay <= 0.551 * lifetime


@given(times, lifetimes, jitters, st.floats(0, 2))
def test_the_delay_counts_down_to_zero_and_stays_there(
    issued: float, lifetime: float, jitter: float, lived: float
) -> None:
    now = issued + lived * lifetime
    delay = renewal_delay(issued=issued, expires=issued + lifetime, now=now, jitter=jitter)
    assert delay >= 0
    if lived > 0.56:
        assert delay == 0


def test_jitter_spreads_renewals_of_certificates_made_together() -> None:
    delays = {renewal_delay(issued=0, expires=86_400, now=0, jitter=part / 10) for part in range(10)}
    assert len(delays) == 10
    assert max(delays) - min(delays) > 7_000


def test_retries_back_off_to_a_minute() -> None:
    delays = [retry_delay(failures, expires=86_400, now=0, jitter=0) for failures in range(1, 12)]
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]


@given(st.integers(1, 10_000), st.floats(-1e6, 1e6), jitters)
def test_retries_hurry_as_the_end_comes_near_but_never_spin(
    failures: int, remaining: float, jitter: float
) -> None:
    delay = retry_delay(failures, expires=remaining, now=0, jitter=jitter)
    assert 0.25 <= delay <= max(0.5, remaining / 10)
