"""Virtual addresses: each host has one, the same whenever it is asked for."""

from ipaddress import IPv4Address
from unittest.mock import patch

from plait.compiler import virtual_addresses as module
from plait.compiler.merge import merge
from plait.compiler.virtual_addresses import virtual_addresses
from plait.model.mesh import Mesh
from plait.model.names import VIRTUAL_NETWORK
from plait.model.reading import Fact
from tests.compiler.facts import SETTINGS, host, port, routes, rule, service, to

FACTS: tuple[Fact, ...] = tuple(service(f"service-{number}") for number in range(200))


def mesh_of(*facts: Fact) -> Mesh:
    return merge(facts, SETTINGS)[0]


def test_every_service_and_every_other_host_that_is_routed_has_an_address_of_its_own() -> None:
    routed = routes("shop.example", "*.example", "service-0", rules=[rule(to("service-0"))])
    found = virtual_addresses(mesh_of(*FACTS, routed))
    assert set(found) == {host(f"service-{number}") for number in range(200)} | {"shop.example"}
    assert len(set(found.values())) == len(found)
    assert all(IPv4Address(address) in VIRTUAL_NETWORK for address in found.values())


def test_an_address_is_the_same_after_any_restart_and_whatever_else_there_is() -> None:
    assert virtual_addresses(mesh_of(service("reservations")))[host("reservations")] == "244.172.57.75"
    assert (
        virtual_addresses(mesh_of(*FACTS, service("reservations")))[host("reservations")] == "244.172.57.75"
    )


def test_hosts_that_want_the_same_address_get_neighbours_in_the_order_of_their_names() -> None:
    class Same:
        def digest(self) -> bytes:
            return (VIRTUAL_NETWORK.num_addresses - 3).to_bytes(8, "big")

    with patch.object(module, "blake2b", lambda *_, **__: Same()):
        found = virtual_addresses(mesh_of(service("b", port(80)), service("a", port(80))))
    assert found == {host("a"): "247.255.255.254", host("b"): "240.0.0.1"}
