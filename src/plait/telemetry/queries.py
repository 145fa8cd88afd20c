"""What can be asked of traffic, by name, whoever has kept it: the store, or a Prometheus.

Rate, share of failures and percentiles of a service, a version, an edge or a code, over a window or as it went, step
by step.  Percentiles come from histograms that were added up, never from other percentiles.  Three things are told
apart that are easily taken for each other: nobody called (a rate of 0), nobody listened (`heard` is 0, None in a
history), and too few called for a share or percentile to say anything (None in Signals).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Protocol

from plait.model.names import WorkloadKey
from plait.telemetry.histogram import longer, merged, quantile
from plait.telemetry.reporters import no_connection
from plait.telemetry.series import Family, Labels, Total, Window, total_of


class By(StrEnum):
    """What is told apart."""

    SERVICE = "service"
    VERSION = "version"
    """Of the workload that was called."""
    EDGE = "edge"
    CODE = "code"
    """Of the answer, and its gRPC status."""
    REFUSAL = "refusal"
    """Who was kept out of what, and why: nothing else is counted then."""

    def counts(self, labels: Labels) -> bool:
        """Whether a series is any of what is told apart."""
        return self is not By.REFUSAL or labels.family is Family.DENIED


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Whose traffic is asked for; "" is anybody's.  `service` is a host.

    `reporter` (source, destination): all that this end tells, instead of each request once.
    """

    source_namespace: str = ""
    source_workload: str = ""
    source_version: str = ""
    destination_namespace: str = ""
    destination_workload: str = ""
    destination_version: str = ""
    service: str = ""
    reporter: str = ""

    def covers(self, labels: Labels) -> bool:
        """Whether a series is asked for."""
        return labels.shown and all(
            wanted in {"", had}
            for wanted, had in (
                (self.source_namespace, labels.source_namespace),
                (self.source_workload, labels.source_workload),
                (self.source_version, labels.source_version),
                (self.destination_namespace, labels.destination_namespace),
                (self.destination_workload, labels.destination_workload),
                (self.destination_version, labels.destination_version),
                (self.service, labels.service),
                (self.reporter, labels.reporter),
            )
        )

    @property
    def callers(self) -> bool:
        """Whether it says anything of who calls."""
        return bool(self.source_namespace or self.source_workload or self.source_version)


ANYBODY = Where()


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Group:
    """What is told apart from the rest; "" of what makes no difference, or is not known."""

    service: str = ""
    """A host; or, where a request went to no service, what its cluster is called."""
    source_namespace: str = ""
    source_workload: str = ""
    source_version: str = ""
    destination_namespace: str = ""
    destination_workload: str = ""
    destination_version: str = ""
    code: str = ""
    grpc_status: str = ""
    reason: str = ""
    """Why somebody was kept out, as their proxy counts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """How it went.  Shares and percentiles are None where there were too few requests to tell.

    `rate`, `connections` (those that were opened) and `refused` (requests and connections that policy, a token or an
    authorizer kept out) are a second, `received` and `sent` are bytes of TCP a second, from and to the caller.
    Percentiles are in milliseconds.
    """

    requests: int = 0
    rate: float = 0.0
    error_share: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    connections: float = 0.0
    received: float = 0.0
    sent: float = 0.0
    refused: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """How it went from `start` to `end` (since the epoch), for `heard` seconds of which somebody listened.

    `left_out`: there was more than is told apart, and it is in no group.
    """

    start: float
    end: float
    heard: float
    groups: Mapping[Group, Signals]
    left_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How it went, `step` seconds at a time; None: nobody listened."""

    start: float
    step: float
    groups: Mapping[Group, tuple[Signals | None, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Callee:
    """A workload, and how callers choose it: as a subset of a service (by its host)."""

    workload: WorkloadKey
    host: str
    subset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many requests there were from `start` to `end`, for `heard` seconds of which somebody listened.

    Attempts of callers that reached nobody (`unreached`) are among `requests` and `failed`, also those that a retry
    healed.  `slow`: that took longer than was asked about; `p99_ms` is of those that took any time; None of nothing.
    """

    start: float
    end: float
    heard: float
    requests: int = 0
    failed: int = 0
    unreached: int = 0
    slow: int = 0
    p99_ms: float | None = None
    left_out: bool = False


class Queries(Protocol):
    """Who can be asked.  Times are seconds; `end` is since the epoch (None: now).

    Shares and percentiles are told of `at_least` requests or more.
    """

    async def measure(
        self, by: By, where: Where = ANYBODY, *, window: float, end: float | None = None, at_least: int = 1
    ) -> Measured:
        """How it went over a window."""

    async def history(  # noqa: PLR0913 - as above, and the step
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

    async def count(
        self,
        callee: Callee,
        *,
        since: float,
        until: float = inf,
        last: float = inf,
        slower_than: float = inf,
    ) -> Counts:
        """All that a workload was asked between two times, but no more than the `last` so many seconds of what is known.

        Who asks again from where an answer ended counts each request once.  `slower_than` is in milliseconds, as
        exact as bins are.
        """


def group_of(labels: Labels, by: By) -> Group:
    """What a series is part of."""
    service = labels.service or labels.service_name
    match by:
        case By.SERVICE:
            return Group(service=service)
        case By.CODE:
            return Group(service=service, code=labels.code, grpc_status=labels.grpc_status)
        case By.VERSION:
            return Group(
                service=service,
                destination_namespace=labels.destination_namespace,
                destination_workload=labels.destination_workload,
                destination_version=labels.destination_version,
            )
        case By.EDGE | By.REFUSAL:
            return Group(
                service=service,
                source_namespace=labels.source_namespace,
                source_workload=labels.source_workload,
                source_version=labels.source_version,
                destination_namespace=labels.destination_namespace,
                destination_workload=labels.destination_workload,
                destination_version=labels.destination_version,
                reason=labels.reason if by is By.REFUSAL else "",
            )


def signals(some: Iterable[tuple[Labels, Total]], heard: float, at_least: int = 1) -> Signals:
    """How several series went together, in so many seconds; of families of all kinds."""
    of: dict[Family, list[tuple[Labels, Total]]] = {}
    for labels, total in some:
        of.setdefault(labels.family, []).append((labels, total))
    http = of.get(Family.HTTP, [])
    requests = sum(total.count for _, total in http)
    failed = sum(total.count for labels, total in http if labels.failed)
    bins = merged(total.bins.items() for _, total in http)
    enough = requests >= max(1, at_least)
    tcp = total_of(total for _, total in of.get(Family.TCP, []))
    refused = sum(total.count for _, total in of.get(Family.DENIED, []))
    seconds = heard or 1.0
    p50, p90, p99 = (quantile(bins, share) if enough else None for share in (0.5, 0.9, 0.99))
    return Signals(
        requests=requests,
        rate=requests / seconds,
        error_share=failed / requests if enough else None,
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        connections=tcp.count / seconds,
        received=tcp.received / seconds,
        sent=tcp.sent / seconds,
        refused=refused / seconds,
    )


def counts(some: Iterable[tuple[Labels, Total]], unreached: int, found: Window, slower_than: float) -> Counts:
    """All that a workload was asked: what counts of what was told, and how often its callers did not reach it."""
    told = [(labels, total) for labels, total in some if labels.family is Family.HTTP]
    arrived = [(labels, total) for labels, total in told if not no_connection(labels)]
    unreached = max(unreached, sum(total.count for labels, total in told if no_connection(labels)))
    bins = merged(total.bins.items() for _, total in arrived)
    return Counts(
        start=found.start,
        end=found.end,
        heard=found.heard,
        requests=sum(total.count for _, total in arrived) + unreached,
        failed=sum(total.count for labels, total in arrived if labels.failed) + unreached,
        unreached=unreached,
        slow=longer(bins, slower_than),
        p99_ms=quantile(bins, 0.99),
    )
