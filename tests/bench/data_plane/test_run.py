"""One hop, measured for real, and a mesh that Plait itself finds nothing wrong with."""

import os
import shutil
from pathlib import Path

import pytest

from bench.data_plane import Plan, measured
from bench.data_plane.load import Protocol
from bench.data_plane.plait_pair import mesh
from plait.sources.files.folder import load
from plait.sources.store import Store


@pytest.mark.skipif(
    not all(map(shutil.which, ("wrk", "h2load", "nghttpd", "haproxy"))), reason="without load generators"
)
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="takes two cores")
def test_one_hop_costs_something() -> None:
    plan = Plan(
        protocols=(Protocol.HTTP,), connections=(4,), contenders=("direct", "hop"), rounds=1, seconds=1
    )
    said: list[str] = []
    records = {(one.case, one.metric): one for one in measured(plan, said.append)}
    assert {one.setting for one in records.values()} == {"HTTP/1.1, 4 connections"}
    assert records["direct", "CPU a request"].median == 0
    assert 1 < records["one Envoy hop", "CPU a request"].median < 10_000
    assert records["direct", "rps"].median > records["one Envoy hop", "rps"].median > 0
    assert records["one Envoy hop", "p50"].median <= records["one Envoy hop", "p99"].median
    assert 20 < records["one Envoy hop", "memory"].median < 1000
    assert said[-1] == "HTTP/1.1, 4 connections: round 1 of 1"


@pytest.mark.parametrize("protocol", Protocol)
def test_the_mesh_of_the_bench_is_without_findings(tmp_path: Path, protocol: Protocol) -> None:
    (tmp_path / "mesh.yaml").write_text(mesh(protocol))
    store = Store()
    for change in load([tmp_path]):
        store.apply(change)
    assert not list(store.findings())
