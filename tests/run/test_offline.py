"""offline: replicas as an agent would start them, in either mode."""

from plait.compiler.merge import merge
from plait.model.settings import Mode
from plait.run.offline import replicas
from tests.compiler.facts import SETTINGS, workload


def test_replicas_are_counted_up_from_the_first_address_of_their_mode() -> None:
    mesh, _ = merge((workload("frontend"), workload("reservations")), SETTINGS)
    places = {
        mode: [(one.sidecar.address, one.sidecar.transparent, one.bindings[0].app_address) for one in found]
        for mode in Mode
        for found in (replicas(mesh, mode),)
    }
    assert places == {
        Mode.EXPLICIT: [("127.77.0.1", False, "127.78.0.1"), ("127.77.0.2", False, "127.78.0.2")],
        Mode.TRANSPARENT: [("198.18.0.1", True, "127.0.0.1"), ("198.18.0.2", True, "127.0.0.1")],
    }
    assert replicas(mesh) == replicas(mesh, Mode.TRANSPARENT)
