"""What a Prometheus is asked, in PromQL: the series that count of both ends, added up by what is told apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from plait.telemetry.queries import By, Callee, Where
from plait.telemetry.reporters import NEVER_ARRIVED, TCP_NEVER_ARRIVED
from plait.telemetry.series import Reporter

_AROUND = 60
"""Seconds before a window in which it counts who tells of traffic."""
_LOOK_BACK = 300
"""Seconds before a moment in which a series must have been scraped to be known then."""
_REQUESTS, _DURATIONS = "istio_requests_total", "istio_request_duration_milliseconds_bucket"
_OPENED, _RECEIVED, _SENT = (
    "istio_tcp_connections_opened_total",
    "istio_tcp_received_bytes_total",
    "istio_tcp_sent_bytes_total",
)
_DENIED = "plait_denied_total"
UNREACHED = ("envoy_cluster_upstream_rq_pending_failure_eject", "envoy_cluster_upstream_cx_none_healthy")
CODE, GRPC, FLAGS, LE = "response_code", "grpc_response_status", "response_flags", "le"
_REASON = "reason"

LABELS = {
    "service": "destination_service",
    "source_namespace": "source_workload_namespace",
    "source_workload": "source_workload",
    "source_version": "source_version",
    "destination_namespace": "destination_workload_namespace",
    "destination_workload": "destination_workload",
    "destination_version": "destination_version",
    "code": CODE,
    "grpc_status": GRPC,
    "reason": _REASON,
    "reporter": "reporter",
}
"""Istio's labels for the fields of Group and Where."""
NAME = "destination_service_name"
SERVICE = (LABELS["service"], NAME)
_SOURCE = tuple(LABELS[f"source_{what}"] for what in ("namespace", "workload", "version"))
_DESTINATION = tuple(LABELS[f"destination_{what}"] for what in ("namespace", "workload", "version"))
GROUPED = {
    By.SERVICE: SERVICE,
    By.VERSION: (*SERVICE, *_DESTINATION),
    By.EDGE: (*SERVICE, *_SOURCE, *_DESTINATION),
    By.CODE: (*SERVICE, CODE, GRPC),
    By.REFUSAL: (*SERVICE, *_SOURCE, *_DESTINATION, _REASON),
}
_CALLEE = ", ".join(_DESTINATION[:2])
_PAIR = ", ".join((*_SOURCE[:2], *_DESTINATION[:2]))
UNKNOWN = "unknown"
_HEARD = "max(max_over_time(up[{}s])) > 0"


def measured(by: By, where: Where, seconds: int) -> dict[str, str]:
    """How it went over so many seconds: whether anything was scraped (`heard`), and each part of Signals.

    Refusals are few, and told of one by one: so they are counted exactly where nothing else is asked for.
    """
    labels = GROUPED[by]
    denied = (_grown if by is By.REFUSAL else _increase)(_DENIED, _matchers(where), seconds)
    found = {"heard": _HEARD.format(seconds), "refused": _sum(labels, [denied])}
    return found if by is By.REFUSAL else found | _traffic(by, where, seconds)


def counted(callee: Callee, seconds: int) -> dict[str, str]:
    """How many requests there were exactly, how long they took, and (by UNREACHED) who could not be reached."""
    where = Where(destination_namespace=callee.workload.namespace, destination_workload=callee.workload.name)
    http = _Chosen(where, By.VERSION, seconds, _REQUESTS, NEVER_ARRIVED, grown=_grown)
    called = rf"outbound\|[0-9]+\|{re.escape(callee.subset)}\|{re.escape(callee.host)}"
    cluster = f"envoy_cluster_name=~{_quoted(called)}"
    return {
        "heard": _HEARD.format(seconds),
        "requests": _sum(("reporter", FLAGS, CODE, GRPC), http.of(_REQUESTS)),
        "durations": _sum(("reporter", FLAGS, LE), http.of(_DURATIONS)),
        **{one: f"sum ({_grown(one, cluster, seconds)})" for one in UNREACHED},
    }


def _traffic(by: By, where: Where, seconds: int) -> dict[str, str]:
    """What is asked of requests and connections."""
    labels = GROUPED[by]
    http = _Chosen(where, by, seconds, _REQUESTS, NEVER_ARRIVED)
    tcp = _Chosen(where, by, seconds, _OPENED, TCP_NEVER_ARRIVED)
    buckets = _sum((*labels, LE), http.of(_DURATIONS))
    return {
        "requests": _sum((*labels, CODE, GRPC), http.of(_REQUESTS)),
        **{f"p{part}": f"histogram_quantile(0.{part}, {buckets})" for part in (50, 90, 99)},
        "connections": _sum(labels, tcp.of(_OPENED)),
        "received": _sum(labels, tcp.of(_RECEIVED)),
        "sent": _sum(labels, tcp.of(_SENT)),
    }


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
        arrived = f'{source}, destination_workload!="{UNKNOWN}", response_flags!~"{self._flags}"'
        in_the_clear = f'{arrived}, destination_principal="{UNKNOWN}"'
        of_nobody = f'{destination}, source_workload="{UNKNOWN}", connection_security_policy="none"'
        secured = self._increase(metric, f'{arrived}, destination_principal!="{UNKNOWN}"')
        parts = [
            self._increase(metric, f'{source}, destination_workload="{UNKNOWN}"'),
            self._increase(
                metric, f'{source}, destination_workload!="{UNKNOWN}", response_flags=~"{self._flags}"'
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
            self._increase(metric, f'{destination}, source_workload!="{UNKNOWN}"'),
            self._increase(
                metric, f'{destination}, source_workload="{UNKNOWN}", connection_security_policy!="none"'
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
    texts = ((name, getattr(where, field)) for field, name in LABELS.items() if hasattr(where, field))
    return ", ".join(f"{name}={_quoted(text)}" for name, text in texts if text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _sum(labels: Sequence[str], parts: Iterable[str]) -> str:
    return f"sum by ({', '.join(dict.fromkeys(labels))}) ({' or '.join(parts)})"
