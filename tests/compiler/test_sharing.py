"""Sharing: what a rebuild makes of the same is the very same object, and whatever changed is made anew."""

from dataclasses import replace

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.sharing import Made
from plait.compiler.view import view
from plait.model.mesh import ClusterKey, Mesh
from plait.model.reading import Fact
from tests.compiler.facts import SETTINGS, host, policy, port, replica, routes, rule, service, to, workload

FRONTEND, KITCHEN = workload("frontend"), workload("kitchen")
FACTS: tuple[Fact, ...] = (FRONTEND, KITCHEN, service("frontend"), service("kitchen"))
REPLICAS = (replica(FRONTEND), replica(KITCHEN, address="127.77.0.2"))


def mesh_of(*facts: Fact) -> Mesh:
    return merge(facts, SETTINGS)[0]


def test_what_was_made_is_found_again_for_one_build_more() -> None:
    made = Made()
    first = made.of("key", ("input",), lambda text: [text])
    assert made.of("key", ("input",), lambda text: [text]) is first
    made.begin()
    assert made.of("key", ("input",), lambda text: [text]) is first
    made.begin()
    made.begin()
    assert made.of("key", ("input",), lambda text: [text]) is not first


def test_other_inputs_are_made_anew_and_equal_ones_are_not() -> None:
    made = Made()
    first = made.of("key", (service("kitchen"),), lambda one: [one])
    assert made.of("key", (service("kitchen"),), lambda one: [one]) is first
    made.begin()
    assert made.of("key", (service("frontend"),), lambda one: [one]) == [service("frontend")]


def test_a_rebuild_shares_what_did_not_change() -> None:
    before = view(mesh_of(*FACTS), REPLICAS[0])
    changed = routes("kitchen", rules=[rule(to("kitchen"), timeout=5)])
    after = view(mesh_of(*FACTS, changed), REPLICAS[0])
    assert after.inbound is before.inbound
    assert after.outbound.clusters is before.outbound.clusters
    assert after.outbound.authorities is before.outbound.authorities
    same = [one is other for one, other in zip(before.outbound.routes, after.outbound.routes, strict=True)]
    assert [one.host for one in after.outbound.routes] == [host("frontend"), host("kitchen")]
    assert same == [True, False]


def test_a_policy_changes_the_ports_of_those_it_is_over() -> None:
    first, second = mesh_of(*FACTS), mesh_of(*FACTS, policy("own", app="kitchen"))
    before, after = ([view(mesh, one).inbound for one in REPLICAS] for mesh in (first, second))
    assert after[0] is before[0]
    assert view(second, REPLICAS[1]).outbound.routes is view(first, REPLICAS[1]).outbound.routes
    assert [one.name for one in after[1][0].policies] == ["own"]


def test_an_endpoint_that_goes_changes_the_clusters_it_stands_behind() -> None:
    mesh = mesh_of(*FACTS)
    before = endpoints(mesh, REPLICAS)
    after = endpoints(mesh, (REPLICAS[0], replace(REPLICAS[1], serving=False)))
    frontend, kitchen = ClusterKey(host("frontend"), 8080), ClusterKey(host("kitchen"), 8080)
    assert after[frontend] is before[frontend]
    assert (len(before[kitchen]), after[kitchen]) == (1, ())
    assert (
        endpoints(mesh_of(*FACTS, policy("own")), (REPLICAS[0], replace(REPLICAS[1], serving=False))) is after
    )


def test_a_changed_target_of_a_route_changes_what_leads_there() -> None:
    ruled = routes("frontend", rules=[rule(to("kitchen"))])
    two = mesh_of(FRONTEND, KITCHEN, service("frontend"), service("kitchen", port(80)), ruled)
    ports = [
        [
            backend.port
            for one in found.outbound.routes
            if one.host == host("frontend")
            for backend in one.rules[0].backends
        ]
        for found in (view(mesh_of(*FACTS, ruled), REPLICAS[0]), view(two, REPLICAS[0]))
    ]
    assert ports == [[8080], [80]]
