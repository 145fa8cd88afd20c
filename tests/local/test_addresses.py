"""The address plans."""

from __future__ import annotations

import random
import socket
import sys
from contextlib import ExitStack

import pytest

from plait.local.addresses import NoAddressError, OwnAddresses, OwnPorts, Places
from plait.model.catalog import Protocol, WorkloadPort

PORTS = (
    WorkloadPort(name="http", number=8080, protocol=Protocol.HTTP),
    WorkloadPort(name="grpc", number=9090, protocol=Protocol.GRPC),
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux answers for all of 127.0.0.0/8")


def listen(stack: ExitStack, address: str, port: int) -> None:
    taken = stack.enter_context(socket.socket())
    taken.bind((address, port))
    taken.listen()


def everything(places: Places) -> list[tuple[str, int]]:
    own = places.sidecar
    return [
        *((own.address, port) for port in (own.outbound, own.inbound, own.health, own.metrics)),
        *((binding.address, binding.port) for binding in places.bindings),
        *((binding.app_address, binding.app_port) for binding in places.bindings),
    ]


@linux
def test_on_linux_ports_keep_their_numbers_on_a_pair_of_addresses() -> None:
    places = OwnAddresses().choose(PORTS, ())
    assert places.sidecar.address.startswith("127.77.")
    assert places.host == places.sidecar.address.replace("127.77.", "127.78.", 1)
    assert [(b.number, b.port, b.app_port) for b in places.bindings] == [
        (8080, 8080, 8080),
        (9090, 9090, 9090),
    ]
    assert {b.address for b in places.bindings} == {places.sidecar.address}
    assert {b.app_address for b in places.bindings} == {places.host}
    assert (places.sidecar.outbound, places.sidecar.metrics) == (15001, 15090)


@linux
def test_an_address_in_use_is_passed_over() -> None:
    first = OwnAddresses(random=random.Random(7)).choose(PORTS, ())
    known = OwnAddresses(random=random.Random(7)).choose(PORTS, {first.sidecar.address})
    assert known.sidecar.address != first.sidecar.address
    for address, port in ((first.sidecar.address, 15006), (first.host, 9090), (first.sidecar.address, 8080)):
        with ExitStack() as stack:
            listen(stack, address, port)
            bound = OwnAddresses(random=random.Random(7)).choose(PORTS, ())
        assert bound.sidecar.address != first.sidecar.address


@linux
def test_a_number_that_somebody_has_everywhere_is_replaced() -> None:
    with ExitStack() as stack:
        everywhere = stack.enter_context(socket.socket())
        everywhere.bind(("0.0.0.0", 0))
        everywhere.listen()
        number = everywhere.getsockname()[1]
        port = WorkloadPort(name="http", number=number, protocol=Protocol.HTTP)
        (binding,) = OwnAddresses().choose((port,), ()).bindings
    assert (binding.number, binding.name) == (number, "http")
    assert number not in (binding.port, binding.app_port)
    assert binding.address.startswith("127.77.")


@linux
def test_a_number_that_may_not_be_bound_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    class Careful(socket.socket):
        def bind(self, address: tuple[str, int]) -> None:  # type: ignore[override]  # of one family here
            if 0 < address[1] < 1024:
                raise PermissionError(13, "Permission denied")
            super().bind(address)

    monkeypatch.setattr(socket, "socket", Careful)
    port = WorkloadPort(name="http", number=80, protocol=Protocol.HTTP)
    (binding,) = OwnAddresses().choose((port,), ()).bindings
    assert (binding.number, binding.port > 1023, binding.app_port > 1023) == (80, True, True)


def test_a_port_of_the_sidecars_own_has_no_place() -> None:
    port = WorkloadPort(name="http", number=15006, protocol=Protocol.HTTP)
    with pytest.raises(NoAddressError, match="port 15006 is one of the sidecar's own"):
        OwnAddresses().choose((port,), ())


def test_elsewhere_one_address_has_ports_of_its_own_for_everything() -> None:
    places = OwnPorts().choose(PORTS, ())
    assert [binding.number for binding in places.bindings] == [8080, 9090]
    assert {address for address, _ in everything(places)} == {"127.0.0.1"} == {places.host}
    numbers = [port for _, port in everything(places)]
    assert len(numbers) == len(set(numbers)) == 8
    assert all(number > 1023 for number in numbers)
