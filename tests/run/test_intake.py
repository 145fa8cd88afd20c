"""What agents say of what proxies do: whose replica it is, and whether it can be so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plait.agent.observing import EVERY
from plait.link.messages import ReplicaReport
from plait.model.catalog import Binding, Protocol
from plait.run.intake import STRANGER, UNSOUND, Intake
from plait.run.registry import Registry
from plait.telemetry.reports import Pool, ProxyReport, Traffic, Usage
from tests.link.meshes import replica_key, report

NOW = 1_900_000_000.0
TRAFFIC = Traffic(packed="http|source|x", count=3, durations=((271, 1), (300, 2)))
POOL = Pool(cluster="outbound|80||a", connections=1, requests=0, overflowed=0, retried=0)
REPORT = ProxyReport(
    node=replica_key(),
    at=NOW,
    seconds=5.0,
    traffic=(TRAFFIC,),
    pools=(POOL,),
    sidecar=Usage(cpu=0.1, memory=7),
)


class Kept:
    def __init__(self) -> None:
        self.reports: list[ProxyReport] = []

    def take(self, report: ProxyReport) -> None:
        self.reports.append(report)


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    registry = Registry.load(tmp_path / "registry.jsonl")
    registry.hello("local", [report(0)])
    registry.hello("other", [report(1)])
    return Intake(registry, Kept())


def test_an_agent_is_believed_what_its_own_replicas_do(intake: Intake, caplog: Any) -> None:
    intake.take("local", REPORT, NOW)
    for stranger in (replica_key(1), replica_key(2)):
        intake.take("local", replace(REPORT, node=stranger), NOW)
    assert isinstance(intake.telemetry, Kept)
    assert intake.telemetry.reports == [REPORT]
    assert (intake.taken, dict(intake.refused)) == (1, {STRANGER: 2})
    assert [record.message for record in caplog.records] == [
        "agent local is not believed what bistro/frontend/1 does (stranger)"
    ]


NONSENSE = (
    replace(REPORT, at=NOW + 100),
    replace(REPORT, at=NOW - 100),
    replace(REPORT, seconds=-1.0),
    replace(REPORT, seconds=1e9),
    replace(REPORT, sidecar=Usage(cpu=-0.1, memory=7)),
    replace(REPORT, application=Usage(cpu=0.1, memory=-7)),
    replace(REPORT, ejected=("x" * 100,)),
    replace(REPORT, ejected=("127.77.0.1:80",) * 20_000),
    *(
        replace(REPORT, pools=(one,))
        for one in (
            replace(POOL, connections=-1),
            replace(POOL, requests=-1),
            replace(POOL, overflowed=-1),
            replace(POOL, retried=-1),
        )
    ),
    *(
        replace(REPORT, traffic=(one,))
        for one in (
            replace(TRAFFIC, packed="http"),
            replace(TRAFFIC, packed="gossip|source"),
            replace(TRAFFIC, count=-1),
            replace(TRAFFIC, count=2**60),
            replace(TRAFFIC, received=-1),
            replace(TRAFFIC, durations=((300, 1), (271, 1))),
            replace(TRAFFIC, durations=((300, 1), (300, 1))),
            replace(TRAFFIC, durations=((300, -1),)),
            replace(TRAFFIC, durations=((-1, 1),)),
            replace(TRAFFIC, durations=((10**6, 1),)),
        )
    ),
)


@pytest.mark.parametrize("said", NONSENSE)
def test_what_can_not_be_is_counted_and_kept_out(intake: Intake, said: ProxyReport) -> None:
    intake.take("local", said, NOW)
    assert isinstance(intake.telemetry, Kept)
    assert intake.telemetry.reports == []
    assert dict(intake.refused) == {UNSOUND: 1}


def at(number: int) -> ReplicaReport:
    """A replica that is called at a place of its own."""
    found = report(number)
    binding = Binding(
        name="http",
        number=80,
        protocol=Protocol.HTTP,
        address=f"127.77.0.{number}",
        port=8080,
        app_address="127.78.0.1",
        app_port=80,
    )
    return replace(found, replica=replace(found.replica, bindings=(binding,)))


@pytest.fixture
def crowd(tmp_path: Path) -> Intake:
    registry = Registry.load(tmp_path / "registry.jsonl")
    registry.hello("local", [at(number) for number in range(4)])
    return Intake(registry, Kept())


def avoids(by: int, *places: int | str, at: float = NOW) -> ProxyReport:
    ejected = tuple(one if isinstance(one, str) else f"127.77.0.{one}:8080" for one in places)
    return replace(REPORT, node=replica_key(by), at=at, ejected=ejected)


def node(number: int) -> str:
    return str(replica_key(number))


def test_who_is_left_alone_is_known_by_its_node_with_those_who_do_so(crowd: Intake) -> None:
    assert crowd.ejections(NOW) == {}
    crowd.take("local", avoids(3, 1, 2), NOW)
    crowd.take("local", avoids(0, 2, "192.0.2.1:443", "127.77.0.2:9090"), NOW)
    assert crowd.ejections(NOW) == {node(1): (node(3),), node(2): (node(0), node(3))}


def test_each_look_says_all_and_one_that_does_not_know_says_nothing(crowd: Intake) -> None:
    crowd.take("local", avoids(0, 1, 2), NOW)
    crowd.take("local", avoids(0, 2), NOW + 1)
    assert crowd.ejections(NOW + 1) == {node(2): (node(0),)}
    crowd.take("local", replace(REPORT, at=NOW + 2), NOW + 2)
    assert crowd.ejections(NOW + 2) == {node(2): (node(0),)}
    crowd.take("local", avoids(0), NOW + 3)
    assert crowd.ejections(NOW + 3) == {}


def test_what_is_older_than_two_looks_is_forgotten(crowd: Intake) -> None:
    crowd.take("local", avoids(0, 1), NOW)
    crowd.take("local", avoids(2, 1, at=NOW + 2 * EVERY), NOW + 2 * EVERY)
    assert crowd.ejections(NOW + 2 * EVERY) == {node(1): (node(0), node(2))}
    assert crowd.ejections(NOW + 2 * EVERY + 1) == {node(1): (node(2),)}


def test_who_is_gone_leaves_nobody_alone_and_is_left_alone_by_nobody(crowd: Intake) -> None:
    crowd.take("local", avoids(0, 1, 2), NOW)
    crowd.take("local", avoids(3, 1), NOW)
    crowd.registry.gone("local", replica_key(3))
    assert crowd.ejections(NOW) == {node(1): (node(0),), node(2): (node(0),)}
    crowd.registry.gone("local", replica_key(1))
    assert crowd.ejections(NOW) == {node(2): (node(0),)}


def test_an_agent_is_not_believed_whom_the_replicas_of_another_leave_alone(crowd: Intake) -> None:
    crowd.take("other", avoids(0, 1), NOW)
    assert crowd.ejections(NOW) == {}
