"""How the replicas of a version are, by what agents report of them."""

from __future__ import annotations

from collections.abc import Iterable

from plait.link.messages import ReplicaReport, State, WorkloadAssignment
from plait.rollout.status import Replicas

_MOST_TOLD = 3
"""Replicas whose trouble is told; of others it is said how many they are."""


def replicas(assigned: WorkloadAssignment, reports: Iterable[ReplicaReport]) -> Replicas:
    """The replicas of a workload that are of the revision it should have; those of earlier ones count for nothing."""
    ours = [
        one
        for one in reports
        if one.replica.key.workload == assigned.key and one.revision == assigned.revision
    ]
    bad = [one for one in ours if one.state is not State.READY]
    told = [_trouble(one) for one in bad[:_MOST_TOLD]]
    if len(bad) > _MOST_TOLD:
        told.append(f"and {len(bad) - _MOST_TOLD} more")
    return Replicas(wanted=assigned.replicas, ready=len(ours) - len(bad), trouble="; ".join(told))


def _trouble(report: ReplicaReport) -> str:
    times = f", restarted {report.restarts} times" if report.restarts > 1 else ""
    times = ", restarted once" if report.restarts == 1 else times
    why = f" ({report.message})" if report.message else ""
    return f"{report.replica.key} is {report.state}{why}{times}"
