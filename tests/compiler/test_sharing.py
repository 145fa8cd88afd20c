"""Sharing: what a rebuild makes of the same is the very same object, and whatever changed is made anew."""

from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import plait.compiler.endpoints as endpoints_module
import plait.compiler.outbound as outbound_module
import plait.compiler.view as view_module
from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.selection import selection
from plait.compiler.sharing import Made, PerMesh
from plait.compiler.view import view
from plait.compiler.virtual_addresses import virtual_addresses
from plait.model.catalog import Protocol
from plait.model.limits import LimitTarget, TargetKind
from plait.model.mesh import Behind, Mesh
from plait.model.policy import Action, MtlsMode
from plait.model.reading import Fact, Namespace, ServiceAccount
from plait.model.routing import AttachedRoutes, AttachedRule, Backend, Grant, Parent
from plait.model.traffic import ConnectionPool, OutlierDetection, TrafficPolicy
from tests.compiler.facts import (
    NS,
    SETTINGS,
    allows,
    destination,
    host,
    limit,
    limited,
    listens,
    origin,
    peers,
    policy,
    port,
    principal,
    replica,
    routes,
    rule,
    service,
    to,
    workload,
)

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


def test_a_whole_is_made_anew_when_an_input_is_another_and_finds_its_parts_however_old() -> None:
    made = Made()
    asked: list[int] = []

    def whole(parts: Made) -> list[object]:
        asked.append(1)
        return [parts.of("part", (), object)]

    first = made.whole("key", (1,), whole)
    for _ in range(3):
        made.begin()
        assert made.whole("key", (1,), whole) is first
    made.begin()
    assert made.whole("key", (2,), whole) == first
    assert len(asked) == 2


def attached(name: str, backend: Backend, *, namespace: str = NS, grpc: bool = False) -> AttachedRoutes:
    """Routes for the calls to wired."""
    parent = Parent(host=host("wired"), origin=origin("Routes", name, "parent", namespace))
    return AttachedRoutes(
        parents=(parent,),
        rules=(AttachedRule(rule=rule(backend), specificity=(0,)),),
        grpc=grpc,
        origin=origin("Routes", name, "", namespace),
    )


POOL: tuple[Fact, ...] = (
    FRONTEND,
    KITCHEN,
    workload("kitchen-v2", app="kitchen", version="v2", account="other"),
    workload("kitchen", app="kitchen", account="stated-twice"),
    workload("wired", listens(9000, Protocol.UNDECLARED), listens(8080)),
    service("frontend"),
    service("kitchen"),
    service("kitchen", port(80), port(9000, Protocol.UNDECLARED), namespace="other"),
    service("wired", port(8080, Protocol.UNDECLARED), port(9000, Protocol.TCP)),
    routes("kitchen", rules=[rule(to("kitchen", "v2"), timeout=5)]),
    routes("kitchen", rules=[rule(to("wired", port=8080))], name="second"),
    routes("nobody", rules=[rule(to("frontend"))], name="third"),
    destination("kitchen", "v1", "v2"),
    destination("nobody", "v1"),
    destination("kitchen", name="careful", policy=TrafficPolicy(outliers=OutlierDetection())),
    destination("wired", ports={9000: TrafficPolicy(connections=ConnectionPool(tcp_idle_timeout=9))}),
    policy("everywhere"),
    policy("own", Action.ALLOW, allows(principal("frontend"), principal("nobody")), app="kitchen"),
    peers("kitchen", MtlsMode.DISABLE, app="kitchen"),
    peers("everybody", MtlsMode.PERMISSIVE),
    limited("everybody", limit(5)),
    limited("own", limit(6), limit(7), app="kitchen"),
    limited("service", limit(8), target=LimitTarget(TargetKind.SERVICE, "kitchen")),
    limited("workload", limit(9), target=LimitTarget(TargetKind.WORKLOAD, "kitchen-v2")),
    Namespace("other"),
    ServiceAccount(NS, "nobody"),
    attached("pages", to("kitchen-v2")),
    attached("calls", to("kitchen", "v2"), grpc=True),
    attached("abroad", to("kitchen", port=8080), namespace="other"),
    Grant(
        namespace=NS,
        sources=(("networking.istio.io", "Routes", "other"),),
        names=("kitchen",),
        origin=origin("Grant", "grant"),
    ),
)
"""Right and wrong facts, many of which change what others mean."""
RUNNING = tuple(
    replica(of, number, address=f"127.77.0.{number + 1}", transparent=number % 2 == 1)
    for of in (
        FRONTEND,
        KITCHEN,
        workload("kitchen-v2", app="kitchen", version="v2", account="other", locality="r.z"),
    )
    for number in range(2)
)


def forget() -> None:
    """As if this process had compiled nothing yet."""
    views: tuple[PerMesh[Any], ...] = (view_module._views, selection, virtual_addresses)
    for kept in (*views, outbound_module._explicit, outbound_module._transparent):
        kept._shared, kept._latest = Made(), None
    endpoints_module._MADE = Made()


def told(stated: set[int], made: Made) -> object:
    """What follows from some of the pool, while the other replicas of those that run serve."""
    made.begin()
    facts = [fact for number, fact in enumerate(POOL) if number in stated]
    replicas = [replace(one, serving=-number not in stated) for number, one in enumerate(RUNNING, 1)]
    mesh, findings = merge(facts, SETTINGS, frozenset(one.member for one in RUNNING[:2]), made)
    return findings, [view(mesh, one) for one in replicas], endpoints(mesh, replicas)


@settings(deadline=None)
@given(st.lists(st.sets(st.integers(-len(RUNNING), len(POOL) - 1), max_size=5), min_size=1, max_size=6))
def test_after_any_changes_the_same_is_made_as_by_whoever_knows_nothing(changes: list[set[int]]) -> None:
    forget()
    made, stated = Made(), set(range(len(POOL)))
    walk = []
    for changed in changes:
        stated = stated ^ changed
        walk.append((stated, told(stated, made)))
    for then, found in walk:
        forget()
        assert found == told(then, Made())


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


def test_what_clients_of_a_place_are_told_is_shared_with_all_others_and_between_builds() -> None:
    careful = destination("kitchen", policy=TrafficPolicy(outliers=OutlierDetection()))
    near, elsewhere = replica(workload("frontend", locality="r.z")), REPLICAS[0]
    first, second = (mesh_of(*FACTS, careful, *more) for more in ((), (policy("own"),)))
    assert view(first, near).outbound is view(second, near).outbound
    assert view(first, near).outbound.routes is view(first, elsewhere).outbound.routes
    assert view(first, near).outbound.place != view(first, elsewhere).outbound.place


def test_a_policy_changes_the_ports_of_those_it_is_over() -> None:
    first, second = mesh_of(*FACTS), mesh_of(*FACTS, policy("own", app="kitchen"))
    before, after = ([view(mesh, one).inbound for one in REPLICAS] for mesh in (first, second))
    assert after[0] is before[0]
    assert view(second, REPLICAS[1]).outbound.routes is view(first, REPLICAS[1]).outbound.routes
    assert [one.name for one in after[1][0].policies] == ["own"]


def test_a_limit_changes_the_ports_of_those_it_is_over() -> None:
    meshes = [mesh_of(*FACTS, limited("own", limit(number), app="kitchen")) for number in (5, 6)]
    before, after = ([view(mesh, one).inbound for one in REPLICAS] for mesh in meshes)
    assert after[0] is before[0]
    assert [one.requests for one in after[1][0].limits] == [6]


def test_an_endpoint_that_goes_changes_the_clusters_it_stands_behind() -> None:
    mesh = mesh_of(*FACTS)
    before = endpoints(mesh, REPLICAS)
    after = endpoints(mesh, (REPLICAS[0], replace(REPLICAS[1], serving=False)))
    frontend, kitchen = Behind(host("frontend"), 8080), Behind(host("kitchen"), 8080)
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
