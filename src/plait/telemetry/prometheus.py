"""The same queries, asked of a Prometheus that scrapes the sidecars.

Everything is worked out by Prometheus: what counts of both ends by `unless`, percentiles by `histogram_quantile`, so
that they are as exact as Envoy's buckets are wide.  One thing it can't tell that the store can: of a workload that is
called in the clear both by callers of the mesh and by others, the others are not among its edges.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plait.telemetry import expressions
from plait.telemetry.expressions import (
    CODE,
    FLAGS,
    GROUPED,
    GRPC,
    LABELS,
    LE,
    NAME,
    SERVICE,
    UNKNOWN,
    UNREACHED,
)
from plait.telemetry.promql import answered
from plait.telemetry.queries import ANYBODY, By, Callee, Counts, Group, History, Measured, Signals, Where
from plait.telemetry.reporters import NO_CONNECTION
from plait.telemetry.series import Reporter, is_failure

_LONGEST = 3600
"""Seconds that may be counted at once, as the store has them."""
_WITHIN = 30.0


@dataclass(frozen=True, slots=True)
class _Sample:
    labels: Mapping[str, str]
    values: Mapping[int, float]
    """By the number of the step."""


@dataclass(slots=True)
class _Raw:
    """What there was of a group in a step."""

    requests: float = 0.0
    failed: float = 0.0
    percentiles: dict[str, float] = field(default_factory=dict)
    connections: float = 0.0
    received: float = 0.0
    sent: float = 0.0
    refused: float = 0.0


@dataclass(frozen=True, slots=True)
class _Times:
    """`count` steps of `width` seconds, the last of which ends at `end`."""

    end: float
    width: int
    count: int

    @property
    def start(self) -> float:
        return self.end - self.width * self.count


class PrometheusQueries:
    """Queries of the Prometheus at a URL.  Each may raise PrometheusError."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def measure(
        self, by: By, where: Where = ANYBODY, *, window: float, end: float | None = None, at_least: int = 1
    ) -> Measured:
        """How it went over a window."""
        times = _Times(_moment(end), math.ceil(window), 1)
        heard, found = await self._ask(by, where, times)
        return Measured(
            start=times.start,
            end=times.end,
            heard=float(times.width if heard else 0),
            groups={
                group: _signals(steps[0], times.width, at_least)
                for group, steps in found.items()
                if 0 in steps
            },
        )

    async def history(  # noqa: PLR0913 - see Queries
        self,
        by: By,
        where: Where = ANYBODY,
        *,
        window: float,
        step: float,
        end: float | None = None,
        at_least: int = 1,
    ) -> History:
        """How it went, step by step."""
        width = math.ceil(step)
        times = _Times(_moment(end), width, max(1, int(window // width)))
        heard, found = await self._ask(by, where, times)

        def points(steps: Mapping[int, _Raw]) -> Iterator[Signals | None]:
            for number in range(times.count):
                yield _signals(steps.get(number, _Raw()), width, at_least) if number in heard else None

        return History(
            start=times.start,
            step=width,
            groups={group: tuple(points(steps)) for group, steps in sorted(found.items())},
        )

    async def count(
        self,
        callee: Callee,
        *,
        since: float,
        until: float = math.inf,
        last: float = math.inf,
        slower_than: float = math.inf,
    ) -> Counts:
        """All that a workload was asked between two times."""
        end = math.floor(min(until, time.time()))
        start = min(max(math.ceil(since), end - math.ceil(min(last, _LONGEST))), end)
        if start == end:
            return Counts(start=start, end=end, heard=0)
        times = _Times(end, end - start, 1)
        told = await self._answers(expressions.counted(callee, times.width), times)
        return _counts(told, times, slower_than)

    async def _ask(
        self, by: By, where: Where, times: _Times
    ) -> tuple[frozenset[int], Mapping[Group, Mapping[int, _Raw]]]:
        """In which steps it was scraped, and what there was of each group in each."""
        labels = GROUPED[by]
        told = await self._answers(expressions.measured(by, where, times.width), times)
        heard = frozenset(number for sample in told.pop("heard") for number in sample.values)
        groups: dict[Group, dict[int, _Raw]] = defaultdict(lambda: defaultdict(_Raw))
        for what, samples in told.items():
            for sample in samples:
                steps = groups[_group(sample.labels, labels)]
                for number, value in sample.values.items():
                    _add(steps[number], what, value, sample.labels)
        return heard, groups

    async def _answers(self, asked: Mapping[str, str], times: _Times) -> dict[str, Sequence[_Sample]]:
        answers = await asyncio.gather(*(self._query(one, times) for one in asked.values()))
        return dict(zip(asked, answers, strict=True))

    async def _query(self, asked: str, times: _Times) -> Sequence[_Sample]:
        query = {
            "query": asked,
            "start": str(times.start + times.width),
            "end": str(times.end),
            "step": str(times.width),
        }
        data = await answered(self._url, "/api/v1/query_range", query, within=_WITHIN)
        return [_sample(one, times) for one in data["result"]]


def _moment(end: float | None) -> float:
    """The end of what is asked about: nobody knows of the future."""
    return time.time() if end is None else min(end, time.time())


def _sample(one: Any, times: _Times) -> _Sample:
    values = ((round((at - times.start) / times.width) - 1, float(value)) for at, value in one["values"])
    return _Sample(one["metric"], {number: value for number, value in values if math.isfinite(value)})


def _group(labels: Mapping[str, str], grouped: Sequence[str]) -> Group:
    def get(label: str) -> str:
        value = labels.get(label, "")
        return "" if value == UNKNOWN else value

    of = {field: get(label) for field, label in LABELS.items() if label in grouped}
    return Group(**of | {"service": get(SERVICE[0]) or get(NAME)})


def _add(raw: _Raw, what: str, value: float, labels: Mapping[str, str]) -> None:
    match what:
        case "requests":
            raw.requests += value
            code = labels.get(CODE, "")
            if is_failure("" if code == UNKNOWN else code, labels.get(GRPC, "")):
                raw.failed += value
        case "p50" | "p90" | "p99":
            raw.percentiles[what] = value
        case _:
            setattr(raw, what, value)


def _signals(raw: _Raw, seconds: float, at_least: int) -> Signals:
    requests = round(raw.requests)
    enough = requests >= max(1, at_least)
    return Signals(
        requests=requests,
        rate=raw.requests / seconds,
        error_share=raw.failed / raw.requests if enough else None,
        p50_ms=raw.percentiles.get("p50") if enough else None,
        p90_ms=raw.percentiles.get("p90") if enough else None,
        p99_ms=raw.percentiles.get("p99") if enough else None,
        connections=raw.connections / seconds,
        received=raw.received / seconds,
        sent=raw.sent / seconds,
        refused=raw.refused / seconds,
    )


def _counts(told: Mapping[str, Sequence[_Sample]], times: _Times, slower_than: float) -> Counts:
    arrived = failed = lost = 0.0
    for sample in told["requests"]:
        labels, number = sample.labels, _number(sample)
        if _is_lost(labels):
            lost += number
            continue
        arrived += number
        code = labels.get(CODE, "")
        if is_failure("" if code == UNKNOWN else code, labels.get(GRPC, "")):
            failed += number
    unreached = round(max(lost, sum(_number(one) for name in UNREACHED for one in told[name])))
    buckets: dict[float, float] = defaultdict(float)
    for sample in told["durations"]:
        if not _is_lost(sample.labels):
            buckets[float(sample.labels[LE])] += _number(sample)
    bounds = sorted(buckets.items())
    return Counts(
        start=times.start,
        end=times.end,
        heard=float(times.width if told["heard"] else 0),
        requests=round(arrived) + unreached,
        failed=round(failed) + unreached,
        unreached=unreached,
        slow=round(_longer(bounds, slower_than)),
        p99_ms=_quantile(bounds, 0.99),
    )


def _number(sample: _Sample) -> float:
    return sum(sample.values.values())


def _is_lost(labels: Mapping[str, str]) -> bool:
    """As `reporters.no_connection`."""
    flags = labels.get(FLAGS, "").split(",")
    return labels.get("reporter") == Reporter.SOURCE and not NO_CONNECTION.isdisjoint(flags)


def _longer(buckets: Sequence[tuple[float, float]], milliseconds: float) -> float:
    """How many are in no bucket up to the one that a duration is in; buckets are (upper bound, how many up to it)."""
    upto = next((count for bound, count in buckets if bound >= milliseconds), None)
    return 0.0 if upto is None else buckets[-1][1] - upto


def _quantile(buckets: Sequence[tuple[float, float]], share: float) -> float | None:
    """What `share` of all did not exceed, as `histogram_quantile` has it; None of nothing."""
    wanted = buckets[-1][1] * share if buckets else 0.0
    low, below = 0.0, 0.0
    for bound, count in buckets:
        if wanted and count >= wanted:
            return low if math.isinf(bound) else low + (bound - low) * (wanted - below) / (count - below)
        low, below = bound, count
    return None
