"""What counts as a replica of a version, and what is said of those that are not ready."""

from __future__ import annotations

from typing import Any

from plait.link.messages import ReplicaReport, State, WorkloadAssignment
from plait.model.catalog import Process, Replica, SidecarAddresses
from plait.model.names import ReplicaKey, WorkloadKey
from plait.rollout.status import Replicas
from plait.run.rollouts.replicas import replicas

KEY = WorkloadKey("bistro", "tables")
ASSIGNED = WorkloadAssignment(
    key=KEY, revision="new", labels=(), service_account="default", replicas=3, process=Process(command=("x",))
)


def report(
    number: int, state: State, revision: str = "new", name: str = "tables", **more: Any
) -> ReplicaReport:
    replica = Replica(
        key=ReplicaKey(WorkloadKey("bistro", name), number),
        labels=(),
        service_account="default",
        sidecar=SidecarAddresses(address="127.0.0.1"),
        serving=state is State.READY,
    )
    return ReplicaReport(replica=replica, revision=revision, state=state, identity="", **more)


def test_only_replicas_of_the_assigned_revision_and_name_count() -> None:
    reports = [
        report(0, State.READY),
        report(1, State.READY, "old"),
        report(2, State.DRAINING, "old", message="leaving"),
        report(0, State.READY, name="tables-canary"),
    ]
    assert replicas(ASSIGNED, reports) == Replicas(wanted=3, ready=1)


def test_trouble_says_who_why_and_how_often() -> None:
    reports = [
        report(0, State.FAILED, message="the application exited with code 3", restarts=4),
        report(1, State.STARTING, message="not ready: HTTP 503", restarts=1),
        report(2, State.STARTING),
    ]
    assert replicas(ASSIGNED, reports) == Replicas(
        wanted=3,
        ready=0,
        trouble="bistro/tables/0 is failed (the application exited with code 3), restarted 4 times; "
        "bistro/tables/1 is starting (not ready: HTTP 503), restarted once; "
        "bistro/tables/2 is starting",
    )


def test_of_many_in_trouble_some_are_named() -> None:
    found = replicas(ASSIGNED, [report(number, State.STARTING) for number in range(5)])
    assert found.trouble.endswith("bistro/tables/2 is starting; and 2 more")
