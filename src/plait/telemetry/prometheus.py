"""The same queries, asked of a Prometheus that scrapes the sidecars.

Everything is worked out by Prometheus: what counts of both ends by `unless`, percentiles by `histogram_quantile`, so
that they are as exact as Envoy's buckets are wide.  One thing it can't tell that the store can: of a workload that is
called in the clear both by callers of the mesh and by others, the others are not among its edges.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plait.telemetry.promql import answered
from plait.telemetry.queries import ANYBODY, By, Callee, Counts, Group, History, Measured, Signals, Where
from plait.telemetry.reporters import NEVER_ARRIVED, NO_CONNECTION, TCP_NEVER_ARRIVED
from plait.telemetry.series import Reporter, is_failure

_AROUND = 60
"""Seconds before a window in which it counts who tells of traffic."""
_LOOK_BACK = 300
"""Seconds before a moment in which a series must have been scraped to be known then."""
_LONGEST = 3600
"""Seconds that may be counted at once, as the store has them."""
_WITHIN = 30.0
_REQUESTS, _DURATIONS = "istio_requests_total", "istio_request_duration_milliseconds_bucket"
_OPENED, _RECEIVED, _SENT = (
    "istio_tcp_connections_opened_total",
    "istio_tcp_received_bytes_total",
    "istio_tcp_sent_bytes_total",
)
_DENIED = "plait_denied_total"
_UNREACHED = ("envoy_cluster_upstream_rq_pending_failure_eject", "envoy_cluster_upstream_cx_none_healthy")
_CODE, _GRPC, _FLAGS, _LE = "response_code", "grpc_response_status", "response_flags", "le"

_LABELS = {
    "service": "destination_service",
    "source_namespace": "source_workload_namespace",
    "source_workload": "source_workload",
    "source_version": "source_version",
    "destination_namespace": "destination_workload_namespace",
    "destination_workload": "destination_workload",
    "destination_version": "destination_version",
    "code": _CODE,
    "grpc_status": _GRPC,
    "reporter": "reporter",
}
"""Istio's labels for the fields of Group and Where."""
_NAME = "destination_service_name"
_SERVICE = (_LABELS["service"], _NAME)
_SOURCE = tuple(_LABELS[f"source_{what}"] for what in ("namespace", "workload", "version"))
_DESTINATION = tuple(_LABELS[f"destination_{what}"] for what in ("namespace", "workload", "version"))
_GROUPED = {
    By.SERVICE: _SERVICE,
    By.VERSION: (*_SERVICE, *_DESTINATION),
    By.EDGE: (*_SERVICE, *_SOURCE, *_DESTINATION),
    By.CODE: (*_SERVICE, _CODE, _GRPC),
}
_CALLEE = ", ".join(_DESTINATION[:2])
_PAIR = ", ".join((*_SOURCE[:2], *_DESTINATION[:2]))
_UNKNOWN = "unknown"
_HEARD = "max(max_over_time(up[{}s])) > 0"


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
        times = _Times(time.time() if end is None else end, math.ceil(window), 1)
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
        times = _Times(time.time() if end is None else end, width, max(1, int(window // width)))
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
        where = Where(
            destination_namespace=callee.workload.namespace, destination_workload=callee.workload.name
        )
        http = _Chosen(where, By.VERSION, times.width, _REQUESTS, NEVER_ARRIVED, grown=_grown)
        called = rf"outbound\|[0-9]+\|{re.escape(callee.subset)}\|{re.escape(callee.host)}"
        cluster = f"envoy_cluster_name=~{_quoted(called)}"
        told = await self._answers(
            {
                "heard": _HEARD.format(times.width),
                "requests": _sum(("reporter", _FLAGS, _CODE, _GRPC), http.of(_REQUESTS)),
                "durations": _sum(("reporter", _FLAGS, _LE), http.of(_DURATIONS)),
                **{one: f"sum ({_grown(one, cluster, times.width)})" for one in _UNREACHED},
            },
            times,
        )
        return _counts(told, times, slower_than)

    async def _ask(
        self, by: By, where: Where, times: _Times
    ) -> tuple[frozenset[int], Mapping[Group, Mapping[int, _Raw]]]:
        """In which steps it was scraped, and what there was of each group in each."""
        labels = _GROUPED[by]
        http = _Chosen(where, by, times.width, _REQUESTS, NEVER_ARRIVED)
        tcp = _Chosen(where, by, times.width, _OPENED, TCP_NEVER_ARRIVED)
        buckets = _sum((*labels, "le"), http.of(_DURATIONS))
        denied = _increase(_DENIED, _matchers(where), times.width)
        asked = {
            "heard": _HEARD.format(times.width),
            "requests": _sum((*labels, _CODE, _GRPC), http.of(_REQUESTS)),
            **{f"p{part}": f"histogram_quantile(0.{part}, {buckets})" for part in (50, 90, 99)},
            "connections": _sum(labels, tcp.of(_OPENED)),
            "received": _sum(labels, tcp.of(_RECEIVED)),
            "sent": _sum(labels, tcp.of(_SENT)),
            "refused": _sum(labels, [denied]),
        }
        told = await self._answers(asked, times)
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


class _Chosen:
    """Expressions for what counts of a metric: see `reporters`."""

    def __init__(  # noqa: PLR0913, PLR0917 - what tells one set of them from another
        self,
        where: Where,
        by: By,
        seconds: int,
        present: str,
        never_arrived: Iterable[str],
        grown: Callable[[str, str, int], str] | None = None,
    ) -> None:
        """`present` is a metric that every pair has of which a callee tells; `grown`: by how much one has."""
        self._where, self._seconds, self._present = where, seconds, present
        self._grown = grown or _increase
        self._callers = by is By.EDGE or where.callers
        self._flags = f"(.*,)?({'|'.join(sorted(never_arrived))})(,.*)?"

    def of(self, metric: str) -> list[str]:
        """The parts of it; no two have a series in common."""
        if self._where.reporter:
            return [self._increase(metric)]
        source, destination = f'reporter="{Reporter.SOURCE}"', f'reporter="{Reporter.DESTINATION}"'
        arrived = f'{source}, destination_workload!="{_UNKNOWN}", response_flags!~"{self._flags}"'
        in_the_clear = f'{arrived}, destination_principal="{_UNKNOWN}"'
        of_nobody = f'{destination}, source_workload="{_UNKNOWN}", connection_security_policy="none"'
        secured = self._increase(metric, f'{arrived}, destination_principal!="{_UNKNOWN}"')
        parts = [
            self._increase(metric, f'{source}, destination_workload="{_UNKNOWN}"'),
            self._increase(
                metric, f'{source}, destination_workload!="{_UNKNOWN}", response_flags=~"{self._flags}"'
            ),
            f"({secured} unless on ({_PAIR}) {self._telling(destination, _PAIR)})",
        ]
        clear = self._increase(metric, in_the_clear)
        if not self._callers:
            told = self._telling(of_nobody, _CALLEE)
            return [*parts, self._increase(metric, destination), f"({clear} unless on ({_CALLEE}) {told})"]
        nobody = self._increase(metric, of_nobody)
        return [
            *parts,
            clear,
            self._increase(metric, f'{destination}, source_workload!="{_UNKNOWN}"'),
            self._increase(
                metric, f'{destination}, source_workload="{_UNKNOWN}", connection_security_policy!="none"'
            ),
            f"({nobody} unless on ({_CALLEE}) {self._telling(in_the_clear, _CALLEE)})",
        ]

    def _increase(self, metric: str, matchers: str = "") -> str:
        return self._grown(
            metric, ", ".join(one for one in (matchers, _matchers(self._where)) if one), self._seconds
        )

    def _telling(self, matchers: str, labels: str) -> str:
        return f"count by ({labels}) (count_over_time({self._present}{{{matchers}}}[{self._seconds + _AROUND}s]))"


def _grown(metric: str, matchers: str, seconds: int) -> str:
    """By how much a counter grew, exactly: as much as `increase` says, but for what that has to guess.

    What ends at a moment and what begins there add up; of a series that is new all of it is told.
    """
    now = f"last_over_time({metric}{{{matchers}}}[{seconds}s])"
    before = f"last_over_time({metric}{{{matchers}}}[{_LOOK_BACK}s] offset {seconds}s)"
    return f"(({now} - {before}) >= 0 or {now})"


def _increase(metric: str, matchers: str, seconds: int) -> str:
    return f"increase({metric}{{{matchers}}}[{seconds}s])"


def _matchers(where: Where) -> str:
    texts = ((name, getattr(where, field)) for field, name in _LABELS.items() if hasattr(where, field))
    return ", ".join(f"{name}={_quoted(text)}" for name, text in texts if text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _sum(labels: Sequence[str], parts: Iterable[str]) -> str:
    return f"sum by ({', '.join(dict.fromkeys(labels))}) ({' or '.join(parts)})"


def _sample(one: Any, times: _Times) -> _Sample:
    values = ((round((at - times.start) / times.width) - 1, float(value)) for at, value in one["values"])
    return _Sample(one["metric"], {number: value for number, value in values if math.isfinite(value)})


def _group(labels: Mapping[str, str], grouped: Sequence[str]) -> Group:
    def get(label: str) -> str:
        value = labels.get(label, "")
        return "" if value == _UNKNOWN else value

    of = {field: get(label) for field, label in _LABELS.items() if label in grouped}
    return Group(**of | {"service": get(_SERVICE[0]) or get(_NAME)})


def _add(raw: _Raw, what: str, value: float, labels: Mapping[str, str]) -> None:
    match what:
        case "requests":
            raw.requests += value
            code = labels.get(_CODE, "")
            if is_failure("" if code == _UNKNOWN else code, labels.get(_GRPC, "")):
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
        code = labels.get(_CODE, "")
        if is_failure("" if code == _UNKNOWN else code, labels.get(_GRPC, "")):
            failed += number
    unreached = round(max(lost, sum(_number(one) for name in _UNREACHED for one in told[name])))
    buckets: dict[float, float] = defaultdict(float)
    for sample in told["durations"]:
        if not _is_lost(sample.labels):
            buckets[float(sample.labels[_LE])] += _number(sample)
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
    flags = labels.get(_FLAGS, "").split(",")
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
