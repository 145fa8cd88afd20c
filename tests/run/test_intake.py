"""What agents say of what proxies do: whose replica it is, and whether it can be so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

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
