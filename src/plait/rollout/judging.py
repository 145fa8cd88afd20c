"""What numbers say of a new version: verdicts, in plain words.  Pure: `run/rollouts/evidence` asks for the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from plait.model.rollout import Baseline, Bounds, Builtin, Metric
from plait.rollout.sequential import NO_EVIDENCE, Block, gathered, is_worse
from plait.rollout.status import Finding, Tally, Verdict

_GAP = 5.0
"""Seconds for which nothing was heard that are worth a word."""
_DIGITS = 6
_UNITS: Mapping[Builtin | None, str] = {None: "", Builtin.SUCCESS_RATE: " %", Builtin.DURATION: " ms"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a version was asked: how often, how often that failed, and what 99 of 100 did not take longer than."""

    requests: int
    failed: int
    p99_ms: float | None


def waiting(metric: Metric, requests: int) -> Verdict:
    """There are too few requests to say anything."""
    text = f"waiting for traffic: {requests} of {metric.at_least} requests"
    return Verdict(metric=metric.name, finding=Finding.WAITING, text=text)


def unknown(metric: Metric, reason: str) -> Verdict:
    """Nobody could say."""
    return Verdict(metric=metric.name, finding=Finding.UNKNOWN, text=f"{metric.name} is not known: {reason}")


def judged(metric: Metric, answers: Answers) -> Verdict:
    """What a builtin metric says by its bounds."""
    value: float | None
    if metric.builtin is Builtin.SUCCESS_RATE:
        value = 100 * (1 - answers.failed / answers.requests) if answers.requests else None
    else:
        value = answers.p99_ms
    if answers.requests < metric.at_least:
        return waiting(metric, answers.requests)
    if value is None:
        text = f"waiting for traffic: of {answers.requests} requests none has arrived"
        return Verdict(metric=metric.name, finding=Finding.WAITING, text=text)
    return bounded(metric, value)


def of_this_step(verdict: Verdict, *, seen: float, wanted: float) -> Verdict:
    """A verdict on what was seen up to a time: it is good as soon as enough of this step is among it, and bad before."""
    if verdict.finding is not Finding.PASSED or seen >= wanted:
        return verdict
    text = f"{verdict.text}; waits for what is counted at this step"
    return replace(verdict, finding=Finding.WAITING, text=text)


def bounded(metric: Metric, value: float) -> Verdict:
    """What a value says by the metric's bounds; a value on a bound passes."""
    least, most = metric.bounds.least, metric.bounds.most
    if not math.isfinite(value):
        return unknown(metric, f"its value is no number that can be compared ({value})")
    failed = (least is not None and value < least) or (most is not None and value > most)
    return Verdict(
        metric=metric.name,
        finding=Finding.FAILED if failed else Finding.PASSED,
        text=f"{metric.name} {_placed(value, metric.bounds, _UNITS[metric.builtin])}",
        value=value,
    )


def compared(  # noqa: PLR0913 - what there is to know of a look
    metric: Metric, baseline: Baseline, before: Tally, block: Block, *, until: float, gap: float = 0.0
) -> Verdict:
    """What a comparison says after one more look, and all that it has seen by now.

    `until`: up to when requests are counted now; for `gap` seconds of the time before nothing was heard.
    """
    tally = replace(
        before,
        canary=before.canary + block.canary,
        canary_bad=before.canary_bad + block.canary_bad,
        primary=before.primary + block.primary,
        primary_bad=before.primary_bad + block.primary_bad,
        until=until,
        evidence=gathered(_evidence(before), block),
    )
    finding, text = _compared(metric, baseline, tally)
    if gap >= _GAP:
        text += f"; nothing was heard for {gap:.0f} s"
    value = 100 * tally.canary_bad / tally.canary if tally.canary else None
    return Verdict(metric=metric.name, finding=finding, text=text, value=value, tally=tally)


def over(baseline: Baseline, tally: Tally) -> bool:
    """Whether a comparison has seen so much that it has passed for good."""
    return tally.canary >= baseline.horizon and not is_worse(_evidence(tally), baseline.alpha)


def _compared(metric: Metric, baseline: Baseline, tally: Tally) -> tuple[Finding, str]:
    bad = (
        "failed" if metric.builtin is Builtin.SUCCESS_RATE else f"took longer than {_plain(tally.slow_ms)} ms"
    )
    seen = (
        f"{_share(tally.canary_bad, tally.canary)} of {tally.canary} requests {bad}, "
        f"and {_share(tally.primary_bad, tally.primary)} of {tally.primary} with the version that serves"
    )
    if is_worse(_evidence(tally), baseline.alpha):
        risk = f"worse, but for a chance of {_plain(100 * baseline.alpha)} % at most"
        return Finding.STOPPED, f"{metric.name}: {seen}: {risk}"
    if tally.canary < metric.at_least:
        return Finding.WAITING, waiting(metric, tally.canary).text
    if not tally.primary:
        return Finding.WAITING, "waiting for traffic: none has come to the version that serves"
    if tally.canary >= baseline.horizon:
        return Finding.PASSED, f"{metric.name}: {seen}: not worse, after {baseline.horizon} requests"
    return Finding.PASSED, f"{metric.name}: {seen}: not seen to be worse"


def _evidence(tally: Tally) -> tuple[float, ...]:
    """What was gathered; nothing where that was by another list of alternatives."""
    return tally.evidence if len(tally.evidence) == len(NO_EVIDENCE) else NO_EVIDENCE


def _placed(value: float, bounds: Bounds, unit: str) -> str:
    """A value and where it stands: `93.2 % is under 99 %`."""
    least, most = bounds.least, bounds.most
    if least is not None and value < least:
        return f"{_apart(value, least)}{unit} is under {_plain(least)}{unit}"
    if most is not None and value > most:
        return f"{_apart(value, most)}{unit} is over {_plain(most)}{unit}"
    said = f"{_plain(value)}{unit}"
    if least is not None and most is not None:
        return f"{said} is within {_plain(least)} to {_plain(most)}{unit}"
    if least is not None:
        return f"{said} is not under {_plain(least)}{unit}"
    return f"{said} is not over {_plain(most)}{unit}" if most is not None else f"is {said}"


def _apart(value: float, bound: float) -> str:
    """A value in as few digits as tell it from a bound."""
    said = (_plain(value), *(_trimmed(f"{value:.{digits}f}") for digits in range(2, _DIGITS)))
    return next((one for one in said if float(one) != bound), str(value))


def _plain(value: float) -> str:
    return _trimmed(f"{value:.1f}") if abs(value) >= 1 or not value else f"{value:.3g}"


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _share(bad: int, of: int) -> str:
    return f"{_trimmed(f'{100 * bad / of:.2f}')} %" if of else "none"
