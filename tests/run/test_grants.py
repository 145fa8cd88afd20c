"""What an agent is believed, and when it is asked again: assignments and reports pass each other on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plait.link.messages import Assignments, ReplicaReport, State, WorkloadAssignment
from plait.model.catalog import Process, Protocol, SidecarAddresses, WorkloadPort
from plait.model.names import ReplicaKey, WorkloadKey
from plait.run.grants import Doubts, Grants
from tests.security.plane import report

PAYMENTS = WorkloadKey("bistro", "payments")
DRAINING = State.DRAINING


def assignment(*, replicas: int = 2, account: str = "default") -> WorkloadAssignment:
    port = WorkloadPort(name="http", number=8080, protocol=Protocol.HTTP)
    return WorkloadAssignment(
        key=PAYMENTS,
        revision="1",
        labels=(("app", "payments"),),
        service_account=account,
        replicas=replicas,
        process=Process(command=("true",), ports=(port,)),
    )


def assigned(*workloads: WorkloadAssignment) -> Assignments:
    return Assignments(trust_domain="cluster.local", workloads=workloads)


@pytest.fixture
def doubts() -> Doubts:
    made = Doubts(Grants("cluster.local"))
    made.grants.assigned(assigned(assignment()))
    return made


def known(*reports: ReplicaReport) -> dict[ReplicaKey, ReplicaReport]:
    return {one.replica.key: one for one in reports}


def at(number: int, **more: object) -> ReplicaReport:
    return report("payments", number, address=f"198.18.1.{number + 1}", **more)  # type: ignore[arg-type]  # passed on


def test_all_that_is_wanted_and_one_more_is_believed(doubts: Doubts) -> None:
    said = [at(number) for number in range(4)]
    assert doubts.believable("local", said, {}) == said[:3]
    assert "more than the 2 wanted" in doubts.why("local", said[3].replica.key)


def test_those_that_drain_are_beside_those_that_are_wanted(doubts: Doubts) -> None:
    leaving = [at(number, state=DRAINING) for number in range(5)]
    staying = [at(number) for number in range(5, 8)]
    assert doubts.believable("local", [*leaving, *staying], {}) == [*leaving, *staying]


def test_who_is_known_stays_so_when_fewer_are_wanted_and_may_not_come_back(doubts: Doubts) -> None:
    said = known(*(at(number) for number in range(3)))
    for wanted in (1, 0):
        doubts.grants.assigned(assigned(assignment(replicas=wanted)))
    assert all(doubts.believed("local", one, said) for one in said.values())
    said[at(2).replica.key] = at(2, state=DRAINING)
    assert not doubts.believed("local", at(2), said)


def test_what_was_assigned_before_is_believed_until_the_next_change(doubts: Doubts) -> None:
    """The agent may have begun before it heard of the newer."""
    doubts.grants.assigned(assigned(assignment(account="other")))
    assert doubts.believed("local", at(0), {})
    assert doubts.believed("local", at(1, account="other"), {})
    doubts.grants.assigned(assigned(assignment(account="third")))
    assert not doubts.believed("local", at(0), {})
    assert doubts.believed("local", replace(at(0), message="still runs"), known(at(0))), (
        "but who is known rolls over in time"
    )


def test_who_runs_on_without_being_wanted_is_signed_for_only_while_it_drains(doubts: Doubts) -> None:
    assert doubts.grants.entitled(at(0))
    doubts.grants.assigned(assigned())
    assert doubts.believed("local", at(0), known(at(0)))
    assert not doubts.grants.entitled(at(0))
    assert doubts.grants.entitled(at(0, state=DRAINING))


def test_what_is_not_believed_is_asked_again(doubts: Doubts) -> None:
    doubts.grants.assigned(assigned())
    doubts.grants.assigned(assigned())
    doubts.grants.assigned(assigned(assignment(account="new")))
    for _ in range(2):
        assert not doubts.believed("local", at(0), {})
        assert doubts.again() == (("local", at(0)),)
    doubts.grants.assigned(assigned(assignment()))
    assert doubts.believed("local", at(0), {})
    assert doubts.again() == ()
    assert doubts.why("local", at(0).replica.key) == ""


def test_an_agents_doubts_are_not_anothers(doubts: Doubts) -> None:
    wrong = at(0, labels=())
    assert not doubts.believed("local", wrong, {})
    assert not doubts.believed("other", at(0), {})
    doubts.forget("other", at(0).replica.key)
    assert doubts.again() == (("local", wrong),)
    assert doubts.believable("local", [], {}) == []
    assert doubts.again() == ()


def test_what_an_agent_is_not_believed_does_not_grow_for_ever(doubts: Doubts) -> None:
    for number in range(1500):
        assert not doubts.believed("local", report("nobody", number), {})
    assert len(doubts.again()) == 1000


def test_a_replica_that_no_place_was_found_for_is_known_and_serves_nobody(doubts: Doubts) -> None:
    failed = at(0, state=State.FAILED)
    nowhere = replace(
        failed, replica=replace(failed.replica, sidecar=SidecarAddresses(address=""), bindings=())
    )
    assert doubts.believed("local", nowhere, {})
    serving = replace(nowhere, state=State.READY, replica=replace(nowhere.replica, serving=True))
    assert not doubts.believed("local", serving, {})
    other = replace(nowhere, replica=replace(nowhere.replica, service_account="other"))
    assert not doubts.believed("local", other, {})
