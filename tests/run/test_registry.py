"""The registry: what agents said survives a restart of the control plane, and a Hello replaces it."""

import os
from pathlib import Path

import pytest

from plait.link.messages import ReplicaReport, State
from plait.model.catalog import Binding, Protocol, Replica, SidecarAddresses
from plait.model.names import ReplicaKey, WorkloadKey
from plait.run.registry import Registry


def report(number: int, state: State = State.READY) -> ReplicaReport:
    binding = Binding(
        name="http",
        number=8080,
        protocol=Protocol.HTTP,
        address="127.77.0.1",
        port=8080,
        app_address="127.78.0.1",
        app_port=8080,
    )
    replica = Replica(
        key=ReplicaKey(WorkloadKey("bistro", "payments"), number),
        labels=(("app", "payments"),),
        service_account="payments",
        sidecar=SidecarAddresses(address="127.77.0.1"),
        bindings=(binding,),
        serving=state is State.READY,
    )
    return ReplicaReport(replica=replica, revision="r", state=state, identity="spiffe://x")


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry.json")
    registry.hello("local", [report(0), report(1, State.DRAINING)])
    assert Registry.load(tmp_path / "registry.json").reports() == registry.reports()
    assert (tmp_path / "registry.json").stat().st_mode & 0o777 == 0o600


def test_a_hello_replaces_all_that_was_known_of_its_agent_alone(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry.json")
    registry.hello("local", [report(0)])
    registry.hello("other", [report(7)])
    registry.hello("local", [report(1)])
    assert [one.replica.key.number for one in registry.reports()] == [1, 7]
    found = registry.find(report(7).replica.key)
    assert found is not None
    assert found[0] == "other"


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "registry.json"
    path.touch(mode=0o600)
    path.write_bytes(b'{"agents": [{"agent":')
    assert Registry.load(path).reports() == ()


def test_each_thing_said_is_remembered_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "registry.jsonl"
    registry = Registry.load(path)
    registry.hello("local", [report(0), report(1)])
    registry.report("local", report(2))
    registry.report("local", report(1, State.DRAINING))
    registry.gone("local", report(0).replica.key)
    assert Registry.load(path).reports() == registry.reports() == (report(1, State.DRAINING), report(2))
    registry = Registry.load(path)
    registry.report("local", report(3))
    assert len(Registry.load(path).reports()) == 3


def test_a_line_that_was_cut_short_loses_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "registry.jsonl"
    registry = Registry(path)
    registry.hello("local", [report(0)])
    registry.report("local", report(1))
    registry.report("local", report(2))
    path.write_bytes(path.read_bytes()[:-20])
    assert Registry.load(path).reports() == (report(0), report(1))


def test_nothing_is_lost_behind_a_line_that_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "registry.jsonl"
    registry = Registry(path)
    registry.hello("local", [report(0)])
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:40]))
    registry.report("local", report(1))
    monkeypatch.undo()
    registry.report("local", report(2))
    registry.report("local", report(3))
    assert Registry.load(path).reports() == registry.reports()
    assert len(registry.reports()) == 4


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "registry.jsonl"
    registry = Registry(path)
    registry.hello("local", [report(0)])
    once = path.stat().st_size
    for number in range(1500):
        registry.report("local", report(0, State.READY if number % 2 else State.DRAINING))
    assert path.stat().st_size < 1100 * once
    assert Registry.load(path).reports() == (report(0, State.READY),)


def test_who_is_selected_stays_the_very_same_while_only_states_change(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry.jsonl")
    registry.hello("local", [report(0), report(1)])
    before = registry.members()
    registry.report("local", report(1, State.DRAINING))
    assert registry.members() is before
    assert [one.serving for one in registry.replicas().values()] == [True, False]
    registry.gone("local", report(0).replica.key)
    assert list(registry.replicas()) == ["bistro/payments/1"]
