"""What an agent is believed: that it runs what was assigned to it, as it was assigned, and nothing else.

By what agents say endpoints are made, certificates signed, and identities trusted behind a service.  So labels,
account and ports of a replica have to be those that its workload was assigned with, and its addresses such as
replicas have.  What an agent says beyond that is kept out of the registry, and everything else decides by that.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from plait.link.messages import Assignments, ReplicaReport, State, WorkloadAssignment
from plait.model.catalog import Labels, Protocol, Replica
from plait.model.names import REPLICA_NETWORK, Identity, ReplicaKey, WorkloadKey
from plait.run.assignments import AGENT

log = logging.getLogger(__name__)

_LOOPBACK = IPv4Network("127.0.0.0/8")
_MOST_DOUBTED = 1000
"""Reports that are kept although they are not believed: assignments that are on their way may make them true."""

Reports = Mapping[ReplicaKey, ReplicaReport]
"""What an agent is believed, or was before it connected again."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a replica has from its workload."""

    labels: Labels
    service_account: str
    ports: tuple[tuple[str, int, Protocol], ...]

    @staticmethod
    def of(workload: WorkloadAssignment) -> _Terms:
        ports = tuple((port.name, port.number, port.protocol) for port in workload.process.ports)
        return _Terms(workload.labels, workload.service_account, ports)

    @staticmethod
    def claimed(replica: Replica) -> _Terms:
        ports = tuple((binding.name, binding.number, binding.protocol) for binding in replica.bindings)
        return _Terms(replica.labels, replica.service_account, ports)

    def cover(self, replica: Replica) -> bool:
        """Whether a replica is one of these terms; one that no place was found for has no ports."""
        claimed = _Terms.claimed(replica)
        if not replica.sidecar.address and not replica.bindings:
            return (claimed.labels, claimed.service_account) == (self.labels, self.service_account)
        return claimed == self


@dataclass(slots=True)
class Grants:
    """What is assigned now, and of each workload what was before: an agent may not have heard of the newer yet."""

    trust_domain: str
    _now: Mapping[WorkloadKey, WorkloadAssignment] = field(default_factory=dict)
    _before: dict[WorkloadKey, WorkloadAssignment] = field(default_factory=dict)

    def assigned(self, wanted: Assignments) -> None:
        """From now on this is assigned."""
        now = {workload.key: workload for workload in wanted.workloads}
        changed = {key: workload for key, workload in self._now.items() if now.get(key) != workload}
        self._before = {key: one for key, one in self._before.items() if key in now} | changed
        self._now = now

    def entitled(self, report: ReplicaReport) -> bool:
        """Whether a replica that is believed may have a certificate: it is wanted, or on its way out."""
        return report.replica.key.workload in self._now or report.state is State.DRAINING

    def refusal(
        self, agent: str, report: ReplicaReport, before: ReplicaReport | None, beside: Callable[[], int]
    ) -> str:
        """Why an agent is not believed what it says of a replica; "" when it is.

        `before`: what it was believed of it last; `beside`: how many others of its workload stay.
        """
        replica, workload = report.replica, report.replica.key.workload
        if agent != AGENT:
            return f"nothing is assigned to agent {agent}"
        if not any(terms.cover(replica) for terms in self._terms(workload, before)):
            if before is None and not self._granted(workload):
                return f"{workload} is not assigned to agent {agent}"
            return (
                f"{replica.key} has other labels, ports or another account than {workload} was assigned with"
            )
        if report.identity != Identity(self.trust_domain, workload.namespace, replica.service_account).uri:
            return f"{report.identity!r} is not the identity of {replica.key}"
        if replica.serving is not (report.state is State.READY):
            return f"{replica.key} is said to serve although it is not ready, or the other way round"
        if not _is_at_home(replica):
            return f"{replica.key} is said to be where no replica can be: {replica.sidecar.address!r}"
        joins = _stays(report) and not (before is not None and _stays(before))
        if joins and beside() > self._wanted(workload):  # while it is rolled over there is one more
            return f"{replica.key} would be more than the {self._wanted(workload)} wanted of {workload}"
        return ""

    def _granted(self, workload: WorkloadKey) -> tuple[WorkloadAssignment, ...]:
        found = (self._now.get(workload), self._before.get(workload))
        return tuple(one for one in found if one is not None)

    def _terms(self, workload: WorkloadKey, before: ReplicaReport | None) -> Iterator[_Terms]:
        """Those that a replica may have: of an assignment, or those that it is known to have."""
        yield from map(_Terms.of, self._granted(workload))
        if before is not None:
            yield _Terms.claimed(before.replica)

    def _wanted(self, workload: WorkloadKey) -> int:
        return max((one.replicas for one in self._granted(workload)), default=0)


@dataclass(slots=True)
class Doubts:
    """What agents have said last that they are not believed, and why."""

    grants: Grants
    _doubted: dict[tuple[str, ReplicaKey], tuple[ReplicaReport, str]] = field(default_factory=dict)

    def believed(self, agent: str, report: ReplicaReport, known: Reports) -> bool:
        """Whether to believe an agent what it says of a replica; what is not believed is logged, and kept."""
        workload = report.replica.key.workload

        def beside() -> int:
            return sum(key.workload == workload and _stays(other) for key, other in known.items())

        return self._believed(agent, report, known.get(report.replica.key), beside)

    def believable(self, agent: str, reports: Iterable[ReplicaReport], known: Reports) -> list[ReplicaReport]:
        """What to believe of all that an agent says at once; `known`: what it was believed before."""
        self._doubted = {one: said for one, said in self._doubted.items() if one[0] != agent}
        staying: Counter[WorkloadKey] = Counter()
        found = []
        for report in reports:
            key = report.replica.key
            if self._believed(agent, report, known.get(key), partial(staying.__getitem__, key.workload)):
                found.append(report)
                staying[key.workload] += _stays(report)
        return found

    def _believed(
        self, agent: str, report: ReplicaReport, before: ReplicaReport | None, beside: Callable[[], int]
    ) -> bool:
        key = (agent, report.replica.key)
        _, told = self._doubted.pop(key, (report, ""))
        reason = self.grants.refusal(agent, report, before, beside)
        if not reason:
            return True
        if reason != told:
            log.warning("agent %s is not believed: %s", agent, reason)
        self._doubted[key] = (report, reason)
        if len(self._doubted) > _MOST_DOUBTED:
            del self._doubted[next(iter(self._doubted))]
        return False

    def forget(self, agent: str, key: ReplicaKey) -> None:
        """The agent says that the replica is no more."""
        self._doubted.pop((agent, key), None)

    def again(self) -> tuple[tuple[str, ReplicaReport], ...]:
        """What may be true by now."""
        return tuple((agent, report) for (agent, _), (report, _) in self._doubted.items())

    def why(self, agent: str, key: ReplicaKey) -> str:
        """Why an agent is not believed to run a replica; "" when it has not said so."""
        _, reason = self._doubted.get((agent, key), (None, ""))
        return reason


def _stays(report: ReplicaReport) -> bool:
    return report.state is not State.DRAINING


def _is_at_home(replica: Replica) -> bool:
    """Whether a replica is where replicas are, with all its ports at its own address; one that is nowhere serves nobody."""
    address = replica.sidecar.address
    if not address:
        return not replica.bindings and not replica.serving
    network = REPLICA_NETWORK if replica.sidecar.transparent else _LOOPBACK
    try:
        inside = IPv4Address(address) in network
    except AddressValueError:
        return False
    return inside and all(binding.address == address for binding in replica.bindings)
