"""The sequential comparison: no version that is no worse is stopped too often, and one that is worse is, soon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import comb, exp, log, log1p
from random import Random
from statistics import median, quantiles

import pytest

from plait.rollout.sequential import (
    ALTERNATIVES,
    NO_EVIDENCE,
    Block,
    gathered,
    is_worse,
    log_evidence,
)

ALPHA, HORIZON = 0.05, 10_000
FEW, MANY = 200, 2000
"""Runs of each simulation: in the default run, and as a proof."""
RATE, SHARE = 200, 0.1
"""Requests of the canary between two looks, and which part of all they are."""


@dataclass(frozen=True)
class Ended:
    """How a run ended: after how many requests of the canary, and whether it was stopped."""

    requests: int
    stopped: bool


def bad_of(chance: Random, answers: int, share: float) -> int:
    """How many of so many answers are bad: from one to the next it is so far as chance has it."""
    if share <= 0:
        return 0
    found, at, scale = 0, 0, log1p(-share)
    while True:
        at += int(log(1 - chance.random()) / scale) + 1
        if at > answers:
            return found
        found += 1


def looks(chance: Random, canary: float, primary: float, rate: int = RATE) -> Iterator[Block]:
    """What is seen look by look at these shares of bad answers."""
    others = round(rate / SHARE) - rate
    for _ in range(HORIZON // rate):
        yield Block(
            canary=rate,
            canary_bad=bad_of(chance, rate, canary),
            primary=others,
            primary_bad=bad_of(chance, others, primary),
        )


def compared(blocks: Iterator[Block]) -> Ended:
    """The sequential comparison of a run."""
    evidence, requests = NO_EVIDENCE, 0
    for block in blocks:
        evidence, requests = gathered(evidence, block), requests + block.canary
        if is_worse(evidence, ALPHA):
            return Ended(requests, stopped=True)
    return Ended(requests, stopped=False)


def thresholds(least: float, allowed: int = 5) -> Callable[[Iterator[Block]], Ended]:
    """Flagger's default form: each look by itself is under a success rate or not, and so many that are end the run."""

    def judged(blocks: Iterator[Block]) -> Ended:
        failed = requests = 0
        for block in blocks:
            requests += block.canary
            failed += block.canary_bad > block.canary * (1 - least)
            if failed == allowed:
                return Ended(requests, stopped=True)
        return Ended(requests, stopped=False)

    return judged


def runs(
    number: int, canary: float, primary: float, judge: Callable[[Iterator[Block]], Ended] = compared
) -> list[Ended]:
    """So many runs.  Whoever judges, the same run sees the same."""
    return [judge(looks(Random(f"{seed} {canary} {primary}"), canary, primary)) for seed in range(number)]


def stopped(some: list[Ended]) -> float:
    """The part of the runs that were stopped."""
    return sum(one.stopped for one in some) / len(some)


def expected(block: Block, canary: float, primary: float, alternative: int) -> float:
    """The mean of an alternative's e-variable over all that may come of a block, at given shares of bad answers."""

    def likely(answers: int, bad: int, share: float) -> float:
        return comb(answers, bad) * share**bad * (1 - share) ** (answers - bad)

    return sum(
        likely(block.canary, bad, canary)
        * likely(block.primary, others, primary)
        * exp(
            gathered(
                NO_EVIDENCE,
                Block(canary=block.canary, canary_bad=bad, primary=block.primary, primary_bad=others),
            )[alternative]
        )
        for bad in range(block.canary + 1)
        for others in range(block.primary + 1)
    )


@pytest.mark.parametrize(("canary", "primary"), [(3, 9), (9, 3), (1, 12)])
def test_an_e_variable_has_a_mean_of_at_most_1_wherever_the_new_version_is_no_worse(
    canary: int, primary: int
) -> None:
    block = Block(canary=canary, canary_bad=0, primary=primary, primary_bad=0)
    for alternative in range(0, len(ALTERNATIVES), 5):
        for share in (0.0, 0.001, 0.02, 0.2, 0.5, 0.9, 1.0):
            for better in (0.0, 0.3, 0.9, 1.0):
                mean = expected(block, share * better, share, alternative)
                assert mean <= 1 + 1e-9, (ALTERNATIVES[alternative], share, better)
        share, worse = ALTERNATIVES[alternative]
        assert expected(block, worse, share, alternative) > 1


def test_alternatives_are_worse_and_each_is_there_once() -> None:
    assert len(set(ALTERNATIVES)) == len(ALTERNATIVES) == len(NO_EVIDENCE)
    assert all(0 < share < worse < 1 for share, worse in ALTERNATIVES)


def test_no_look_says_nothing_and_neither_does_one_of_one_version_alone() -> None:
    assert log_evidence(NO_EVIDENCE) == 0
    alone = Block(canary=100, canary_bad=100, primary=0, primary_bad=0)
    assert gathered(NO_EVIDENCE, alone) == NO_EVIDENCE
    assert gathered(NO_EVIDENCE, Block(canary=0, canary_bad=0, primary=9, primary_bad=9)) == NO_EVIDENCE


def test_evidence_grows_with_the_canarys_bad_answers_and_falls_with_the_others() -> None:
    def of(canary_bad: int, primary_bad: int) -> float:
        block = Block(canary=100, canary_bad=canary_bad, primary=900, primary_bad=primary_bad)
        return log_evidence(gathered(NO_EVIDENCE, block))

    assert of(0, 9) < of(1, 9) < of(5, 9) < of(20, 9)
    assert of(5, 0) > of(5, 9) > of(5, 45) > of(5, 300)
    assert not is_worse(
        gathered(NO_EVIDENCE, Block(canary=10, canary_bad=1, primary=90, primary_bad=0)), ALPHA
    )


def test_what_is_the_same_with_both_is_no_evidence_and_what_never_fails_with_one_is() -> None:
    half = Block(canary=500, canary_bad=250, primary=500, primary_bad=250)
    assert log_evidence(gathered(NO_EVIDENCE, half)) < 0
    broken = Block(canary=10, canary_bad=10, primary=90, primary_bad=0)
    assert is_worse(gathered(NO_EVIDENCE, broken), ALPHA)


EQUAL = (0.0, 0.001, 0.01, 0.05, 0.3)
"""Shares of bad answers at which both versions are the same."""


@pytest.mark.parametrize("share", EQUAL)
def test_an_equal_version_is_stopped_in_few_runs(share: float) -> None:
    assert stopped(runs(FEW, share, share)) <= ALPHA


def test_a_worse_version_is_stopped() -> None:
    found = runs(FEW, 0.03, 0.01)
    assert stopped(found) >= 0.95
    assert median(one.requests for one in found) < median(
        one.requests for one in runs(FEW, 0.03, 0.01, thresholds(0.99))
    )


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_a_version_that_fails_3_percent_where_1_percent_does_is_stopped_sooner_than_by_a_threshold(
    record_property: Callable[[str, object], None],
) -> None:
    found = runs(MANY, 0.03, 0.01)
    needed = [one.requests for one in found if one.stopped]
    record_property("runs", MANY)
    record_property("requests of the canary between two looks", RATE)
    record_property("stopped", f"{stopped(found):.1%}")
    record_property("requests needed, median", round(median(needed)))
    record_property("requests needed, 95th percentile", round(quantiles(needed, n=20)[-1]))
    for least in (0.99, 0.98):
        fixed = runs(MANY, 0.03, 0.01, thresholds(least))
        told = median(one.requests for one in fixed)
        record_property(f"success rate of {least:.0%}, 5 failed looks: requests needed, median", round(told))
        wrongly = stopped(runs(MANY, 0.01, 0.01, thresholds(least)))
        record_property(f"success rate of {least:.0%}: an equal version is stopped in", f"{wrongly:.1%}")
        assert median(needed) < told
    assert stopped(found) >= 0.95


@pytest.mark.prove
@pytest.mark.timeout(600)
@pytest.mark.parametrize("share", EQUAL)
def test_an_equal_version_is_stopped_in_at_most_5_percent_of_runs(
    share: float, record_property: Callable[[str, object], None]
) -> None:
    wrongly = stopped(runs(MANY, share, share))
    record_property("runs", MANY)
    record_property("stopped", f"{wrongly:.2%}")
    assert wrongly <= ALPHA


@pytest.mark.prove
@pytest.mark.timeout(600)
def test_a_better_version_and_one_whose_day_gets_worse_are_stopped_in_at_most_5_percent_of_runs(
    record_property: Callable[[str, object], None],
) -> None:
    better = stopped(runs(MANY, 0.005, 0.02))

    def changing(chance: Random) -> Iterator[Block]:
        """Both fail the more, the later it is, and the canary's part of the traffic grows."""
        for step in range(50):
            canary, primary, share = 20 + 10 * step, 2000 - 30 * step, 0.001 * 1.12**step
            yield Block(
                canary=canary,
                canary_bad=bad_of(chance, canary, share),
                primary=primary,
                primary_bad=bad_of(chance, primary, share),
            )

    drifting = stopped([compared(changing(Random(seed))) for seed in range(MANY)])
    record_property("a better version, stopped", f"{better:.2%}")
    record_property("both get worse while the share grows, stopped", f"{drifting:.2%}")
    assert max(better, drifting) <= ALPHA
