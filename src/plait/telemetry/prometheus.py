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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from plait.telemetry.queries import ANYBODY, By, Group, History, Measured, Signals, Where
from plait.telemetry.reporters import NEVER_ARRIVED, TCP_NEVER_ARRIVED
from plait.telemetry.series import Reporter, is_failure

_AROUND = 60
"""Seconds before a window in which it counts who tells of traffic."""
_WITHIN = aiohttp.ClientTimeout(total=30)
_REQUESTS, _DURATIONS = "istio_requests_total", "istio_request_duration_milliseconds_bucket"
_OPENED, _RECEIVED, _SENT = (
    "istio_tcp_connections_opened_total",
    "istio_tcp_received_bytes_total",
    "istio_tcp_sent_bytes_total",
)
_DENIED = "plait_denied_total"
_CODE, _GRPC = "response_code", "grpc_response_status"

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


class PrometheusError(Exception):
    """It can't be reached, or does not answer as a Prometheus does; the message says what it said."""


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
        self._url = url.rstrip("/")

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
            "heard": f"max(max_over_time(up[{times.width}s])) > 0",
            "requests": _sum((*labels, _CODE, _GRPC), http.of(_REQUESTS)),
            **{f"p{part}": f"histogram_quantile(0.{part}, {buckets})" for part in (50, 90, 99)},
            "connections": _sum(labels, tcp.of(_OPENED)),
            "received": _sum(labels, tcp.of(_RECEIVED)),
            "sent": _sum(labels, tcp.of(_SENT)),
            "refused": _sum(labels, [denied]),
        }
        async with aiohttp.ClientSession(timeout=_WITHIN) as http_session:
            answers = await asyncio.gather(*(self._query(http_session, one, times) for one in asked.values()))
        told = dict(zip(asked, answers, strict=True))
        heard = frozenset(number for sample in told.pop("heard") for number in sample.values)
        groups: dict[Group, dict[int, _Raw]] = defaultdict(lambda: defaultdict(_Raw))
        for what, samples in told.items():
            for sample in samples:
                steps = groups[_group(sample.labels, labels)]
                for number, value in sample.values.items():
                    _add(steps[number], what, value, sample.labels)
        return heard, groups

    async def _query(self, http: aiohttp.ClientSession, asked: str, times: _Times) -> Sequence[_Sample]:
        query = {
            "query": asked,
            "start": str(times.start + times.width),
            "end": str(times.end),
            "step": str(times.width),
        }
        try:
            async with http.post(f"{self._url}/api/v1/query_range", data=query) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise PrometheusError(f"the Prometheus at {self._url} does not answer: {error}") from error
        if not isinstance(answer, dict) or answer.get("status") != "success":
            said = answer.get("error") if isinstance(answer, dict) else answer
            raise PrometheusError(f"the Prometheus at {self._url} says: {said}")
        return [_sample(one, times) for one in answer["data"]["result"]]


class _Chosen:
    """Expressions for what counts of a metric: see `reporters`."""

    def __init__(
        self, where: Where, by: By, seconds: int, present: str, never_arrived: Iterable[str]
    ) -> None:
        """`present` is a metric that every pair has of which a callee tells."""
        self._where, self._seconds, self._present = where, seconds, present
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
        return _increase(
            metric, ", ".join(one for one in (matchers, _matchers(self._where)) if one), self._seconds
        )

    def _telling(self, matchers: str, labels: str) -> str:
        return f"count by ({labels}) (count_over_time({self._present}{{{matchers}}}[{self._seconds + _AROUND}s]))"


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
