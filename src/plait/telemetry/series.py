"""A series: what is counted apart from all else, and how much of it there was.

Of Istio's labels these are the ones that are asked for.  What is not known is "", and not Istio's `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from plait.envoy import labels, names
from plait.model.names import WorkloadKey
from plait.telemetry.reports import Traffic


class Family(StrEnum):
    """What is counted.

    UNREACHED: attempts for which a caller could reach nobody, by service and subset; whether a retry then was answered
    or the request is counted as lost, it is among HTTP's as well.  OTHER: all that came once there were too many series.
    """

    HTTP = "http"
    TCP = "tcp"
    DENIED = "denied"
    UNREACHED = "unreached"
    OTHER = "other"


class Reporter(StrEnum):
    """Whose proxy counted: the caller's or the callee's, in Istio's words."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What a series is counted by.

    `mtls` None: it is not known how they speak.  `service` is a host; where a request went to no service, its
    name says where (`PassthroughCluster`).
    """

    family: Family
    reporter: str = ""
    source_namespace: str = ""
    source_workload: str = ""
    source_version: str = ""
    destination_namespace: str = ""
    destination_workload: str = ""
    destination_version: str = ""
    service: str = ""
    service_namespace: str = ""
    service_name: str = ""
    subset: str = ""
    """Which of the service's subsets was called; told of UNREACHED alone."""
    protocol: str = ""
    code: str = ""
    grpc_status: str = ""
    flags: str = ""
    mtls: bool | None = None
    reason: str = ""
    """Why somebody was kept out."""

    @property
    def source(self) -> WorkloadKey | None:
        """Who called; None: somebody outside of the mesh, or in the clear."""
        return _workload(self.source_namespace, self.source_workload)

    @property
    def destination(self) -> WorkloadKey | None:
        """Who was called; None: nobody was chosen, or it is none of the mesh."""
        return _workload(self.destination_namespace, self.destination_workload)

    @property
    def shown(self) -> bool:
        """Whether it is of requests and connections as they are told of one by one."""
        return self.family in _SHOWN

    @property
    def failed(self) -> bool:
        """Whether the callee, or who spoke for it, failed: HTTP 5xx, no answer at all, or a server's gRPC status."""
        return self.family is Family.HTTP and is_failure(self.code, self.grpc_status)


OTHER = Labels(family=Family.OTHER)

_SHOWN = frozenset({Family.HTTP, Family.TCP, Family.DENIED})

_NO_ANSWER = frozenset({"", "0"})
SERVER_STATUSES = frozenset({"2", "4", "12", "13", "14", "15"})
"""UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and DATA_LOSS: the server's, as OpenTelemetry has it."""


def is_failure(code: str, grpc_status: str) -> bool:
    """Whether a request failed for its callee's sake, by its code and gRPC status; "" is what is not known."""
    return code in _NO_ANSWER or code.startswith("5") or grpc_status in SERVER_STATUSES


def of_packed(packed: str, own: Mapping[str, str]) -> Labels:
    """What a proxy counted by, whose workload is told by `own`; ValueError for what is no text of labels."""
    said = labels.unpacked(packed, own)
    family = Family(packed.partition(labels.GROUP)[0])

    def get(name: str) -> str:
        value = said.get(name, "")
        return "" if value in {"unknown", "-"} else value

    return Labels(
        family=family,
        reporter=get("reporter"),
        source_namespace=get("source_workload_namespace"),
        source_workload=get("source_workload"),
        source_version=get("source_version"),
        destination_namespace=get("destination_workload_namespace"),
        destination_workload=get("destination_workload"),
        destination_version=get("destination_version"),
        service=get("destination_service"),
        service_namespace=get("destination_service_namespace"),
        service_name=get("destination_service_name"),
        protocol=get("request_protocol"),
        code=get("response_code"),
        grpc_status=get("grpc_response_status"),
        flags=get("response_flags"),
        mtls=_mtls(said),
        reason=get("reason"),
    )


def of_unreached(cluster: str, own: Mapping[str, str]) -> Labels | None:
    """By what is counted whom a proxy did not reach, by the name of a cluster; None of what is no service's."""
    key = names.cluster_key(cluster)
    if key is None:
        return None
    return Labels(
        family=Family.UNREACHED,
        reporter=Reporter.SOURCE,
        source_namespace=own.get("namespace", ""),
        source_workload=own.get("workload", ""),
        source_version=own.get("version", ""),
        service=key.host,
        subset=key.subset,
    )


def _mtls(said: Mapping[str, str]) -> bool | None:
    """At the callee Envoy says it; the caller's knows which endpoint it chose, and whether that has an identity."""
    if said["reporter"] == Reporter.DESTINATION:
        return said["connection_security_policy"] == "mutual_tls"
    if said["destination_workload"] == "unknown":
        return None
    return said["destination_principal"] != "unknown"


def _workload(namespace: str, name: str) -> WorkloadKey | None:
    return WorkloadKey(namespace, name) if namespace and name else None


@dataclass(slots=True)
class Total:
    """How much there was; as of `reports.Traffic`, added up."""

    count: int = 0
    closed: int = 0
    received: int = 0
    sent: int = 0
    bins: dict[int, int] = field(default_factory=dict)

    def add(self, other: Total | Traffic) -> None:
        """Take in what else there was."""
        self.count += other.count
        self.closed += other.closed
        self.received += other.received
        self.sent += other.sent
        durations = other.bins.items() if isinstance(other, Total) else other.durations
        mine = self.bins
        for number, count in durations:
            mine[number] = mine.get(number, 0) + count


def total_of(some: Iterable[Total]) -> Total:
    """Several as one."""
    found = Total()
    for one in some:
        found.add(one)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What there was from `start` to `end` (since the epoch); for `heard` seconds of it somebody listened."""

    start: int
    end: int
    heard: int
    totals: Mapping[Labels, Total]

    @property
    def left_out(self) -> bool:
        """Whether there was more than is told apart: it is of no series of its own."""
        return OTHER in self.totals


@dataclass(frozen=True, slots=True)
class Used:
    """What a process used in the time in which it was heard of: seconds of that, seconds of CPU, most bytes."""

    heard: int
    cpu: float
    memory: int
