"""Protocols: what a Service or a Workload declares of a port holds for both; HTTP first."""

import pytest

from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.model.catalog import Protocol
from plait.model.mesh import Mesh
from plait.model.reading import Fact
from tests.compiler.facts import SETTINGS, hidden, host, listens, port, service, workload

HTTP, GRPC, TCP, UNDECLARED = Protocol.HTTP, Protocol.GRPC, Protocol.TCP, Protocol.UNDECLARED


def mesh_of(*facts: Fact) -> Mesh:
    return merge(facts, SETTINGS)[0]


@pytest.mark.parametrize(
    ("of_service", "of_workload", "outbound", "inbound"),
    [
        (HTTP, HTTP, HTTP, HTTP),
        (HTTP, UNDECLARED, HTTP, HTTP),
        (UNDECLARED, GRPC, GRPC, GRPC),
        (TCP, UNDECLARED, TCP, TCP),
        (UNDECLARED, TCP, TCP, TCP),
        (UNDECLARED, UNDECLARED, UNDECLARED, UNDECLARED),
        (HTTP, TCP, HTTP, HTTP),
        (TCP, HTTP, TCP, HTTP),  # a Finding says so
    ],
)
def test_what_either_side_declares_holds(
    of_service: Protocol, of_workload: Protocol, outbound: Protocol, inbound: Protocol
) -> None:
    one = workload("one", listens(9000, of_workload, "odd"))
    mesh = mesh_of(one, service("one", port(80, of_service, "odd")))
    assert mesh.services[host("one")].ports[0].protocol is outbound
    assert view(mesh, hidden(one, "198.18.0.1")).inbound[0].protocol is inbound


def test_services_before_the_same_port_agree() -> None:
    one = workload("one", listens(9000, UNDECLARED))
    mesh = mesh_of(
        one, service("one", port(80, UNDECLARED, 9000)), service("other", port(81, TCP, 9000), app="one")
    )
    assert mesh.services[host("one")].ports[0].protocol is TCP


def test_of_workloads_that_differ_http_wins() -> None:
    behind = (
        workload("a", listens(80, TCP), app="one"),
        workload("b", listens(80, GRPC), app="one"),
        workload("c", listens(80, UNDECLARED), app="one"),
    )
    mesh = mesh_of(*behind, service("one", port(80, UNDECLARED)))
    assert mesh.services[host("one")].ports[0].protocol is GRPC
    for one in behind:
        assert view(mesh, hidden(one, "198.18.0.1")).inbound[0].protocol is GRPC


def test_a_workload_elsewhere_has_no_say() -> None:
    mesh = mesh_of(workload("one", listens(80), namespace="market"), service("one", port(80, UNDECLARED)))
    assert mesh.services[host("one")].ports[0].protocol is UNDECLARED


def test_a_workload_is_not_rolled_over_for_what_a_service_says() -> None:
    one = workload("one", listens(9000, UNDECLARED))
    assert mesh_of(one, service("one", port(9000, TCP))).workloads[one.key] == one
