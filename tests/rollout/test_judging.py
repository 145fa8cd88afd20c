"""What numbers come to: verdicts, and the words that people read."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from plait.model.names import ObjectRef, Origin
from plait.model.rollout import Baseline, Bounds, Builtin, Metric
from plait.rollout.judging import Answers, bounded, compared, judged, over, unknown
from plait.rollout.sequential import NO_EVIDENCE, Block
from plait.rollout.status import Finding, Tally

ORIGIN = Origin(ObjectRef("flagger.app", "Canary", "shop", "menu"))
RATE = Metric(
    name="request-success-rate", builtin=Builtin.SUCCESS_RATE, bounds=Bounds(least=99), origin=ORIGIN
)
DURATION = Metric(name="request-duration", builtin=Builtin.DURATION, bounds=Bounds(most=500), origin=ORIGIN)
OTHER = Metric(name="queue", origin=ORIGIN)
BASELINE = Baseline(alpha=0.05, horizon=1000)
NOTHING = Block(canary=0, canary_bad=0, primary=0, primary_bad=0)


def answers(requests: int, failed: int = 0, p99_ms: float | None = 20.0) -> Answers:
    return Answers(requests=requests, failed=failed, p99_ms=p99_ms)


@pytest.mark.parametrize(
    ("metric", "seen", "finding", "text"),
    [
        (RATE, answers(1000, 68), "failed", "request-success-rate 93.2 % is under 99 %"),
        (RATE, answers(1000, 10), "passed", "request-success-rate 99 % is not under 99 %"),
        (RATE, answers(10_000, 101), "failed", "request-success-rate 98.99 % is under 99 %"),
        (RATE, answers(10, 0), "passed", "request-success-rate 100 % is not under 99 %"),
        (RATE, answers(10, 10), "failed", "request-success-rate 0 % is under 99 %"),
        (RATE, answers(0), "waiting", "waiting for traffic: 0 of 1 requests"),
        (replace(RATE, at_least=100), answers(12), "waiting", "waiting for traffic: 12 of 100 requests"),
        (
            replace(RATE, at_least=100),
            answers(100, 50),
            "failed",
            "request-success-rate 50 % is under 99 %",
        ),
        (DURATION, answers(9, p99_ms=612.3), "failed", "request-duration 612.3 ms is over 500 ms"),
        (DURATION, answers(9, p99_ms=500.0), "passed", "request-duration 500 ms is not over 500 ms"),
        (DURATION, answers(9, p99_ms=0.25), "passed", "request-duration 0.25 ms is not over 500 ms"),
        (
            DURATION,
            answers(5, 5, p99_ms=None),
            "waiting",
            "waiting for traffic: of 5 requests none has arrived",
        ),
    ],
)
def test_builtins(metric: Metric, seen: Answers, finding: str, text: str) -> None:
    found = judged(metric, seen)
    assert (found.metric, found.finding, found.text) == (metric.name, finding, text)
    assert (found.value is None) is (found.finding is Finding.WAITING)


@pytest.mark.parametrize(
    ("least", "most", "value", "finding", "text"),
    [
        (None, None, 3.0, "passed", "queue is 3"),
        (1, 20, 12.0, "passed", "queue 12 is within 1 to 20"),
        (1, 20, 20.0, "passed", "queue 20 is within 1 to 20"),
        (1, 20, 20.00001, "failed", "queue 20.00001 is over 20"),
        (1, 20, -4.0, "failed", "queue -4 is under 1"),
        (None, 0.05, 0.0512, "failed", "queue 0.0512 is over 0.05"),
    ],
)
def test_bounds_hold_at_their_ends(
    least: float | None, most: float | None, value: float, finding: str, text: str
) -> None:
    found = bounded(replace(OTHER, bounds=Bounds(least=least, most=most)), value)
    assert (found.finding, found.text, found.value) == (finding, text, value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_known_and_passes_nothing(value: float) -> None:
    for bounds in (Bounds(), Bounds(least=1), Bounds(most=1)):
        found = bounded(replace(OTHER, bounds=bounds), value)
        assert (found.finding, found.value) == (Finding.UNKNOWN, None)
        assert "no number" in found.text
    assert unknown(OTHER, "nobody says").text == "queue is not known: nobody says"


def test_a_comparison_stops_what_is_worse_whatever_little_there_was() -> None:
    metric = replace(RATE, at_least=100, bounds=Bounds())
    tally = Tally(metric=metric.name, until=100.0)
    first = compared(
        metric, BASELINE, tally, Block(canary=20, canary_bad=0, primary=180, primary_bad=2), until=105.0
    )
    assert (first.finding, first.text) == (Finding.WAITING, "waiting for traffic: 20 of 100 requests")
    assert first.tally is not None
    assert (first.tally.canary, first.tally.primary_bad, first.tally.until) == (20, 2, 105.0)
    worse = compared(
        metric,
        BASELINE,
        first.tally,
        Block(canary=20, canary_bad=15, primary=180, primary_bad=1),
        until=110.0,
    )
    assert worse.finding is Finding.STOPPED
    assert worse.text == (
        "request-success-rate: 37.5 % of 40 requests failed, and 0.83 % of 360 with the version that serves: "
        "worse, but for a chance of 5 % at most"
    )
    assert worse.value == 37.5


def test_a_comparison_passes_look_by_look_and_at_the_horizon_for_good() -> None:
    metric = replace(DURATION, bounds=Bounds())
    tally = Tally(metric=metric.name, until=100.0, slow_ms=43.04)
    block = Block(canary=100, canary_bad=1, primary=900, primary_bad=9)
    texts = []
    for look in range(1, 11):
        assert not over(BASELINE, tally)
        found = compared(metric, BASELINE, tally, block, until=100.0 + look, gap=30.0 if look == 2 else 4.0)
        assert found.finding is Finding.PASSED
        assert found.tally is not None
        tally = found.tally
        texts.append(found.text)
    assert texts[0] == (
        "request-duration: 1 % of 100 requests took longer than 43 ms, and 1 % of 900 with the version that "
        "serves: not seen to be worse"
    )
    assert texts[1].endswith("not seen to be worse; nothing was heard for 30 s")
    assert "heard" not in texts[2]
    assert texts[-1].endswith("of 9000 with the version that serves: not worse, after 1000 requests")
    assert over(BASELINE, tally)
    assert not over(replace(BASELINE, horizon=1001), tally)


def test_a_comparison_waits_as_long_as_one_of_the_two_has_no_traffic() -> None:
    tally = Tally(metric=RATE.name, until=100.0)
    alone = compared(
        RATE, BASELINE, tally, Block(canary=50, canary_bad=50, primary=0, primary_bad=0), until=105.0
    )
    assert (alone.finding, alone.text) == (
        Finding.WAITING,
        "waiting for traffic: none has come to the version that serves",
    )
    nobody = compared(RATE, BASELINE, tally, NOTHING, until=100.0)
    assert (nobody.finding, nobody.value) == (Finding.WAITING, None)


def test_evidence_by_another_list_of_alternatives_counts_for_nothing() -> None:
    old = Tally(metric=RATE.name, canary=50, primary=50, evidence=(9.0, 9.0), until=100.0)
    found = compared(RATE, BASELINE, old, NOTHING, until=100.0)
    assert found.finding is Finding.PASSED
    assert found.tally is not None
    assert found.tally.evidence == NO_EVIDENCE
