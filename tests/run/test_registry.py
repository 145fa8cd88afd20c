"""The registry: what agents said survives a restart of the control plane, and a Hello replaces it."""

from pathlib import Path

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
    registry.save()
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
