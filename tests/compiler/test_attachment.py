"""Routes attached to services: whose come first, whom they hold for, and whom they may send to."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import permutations

import pytest

from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy.check import check
from plait.envoy.render import Renderer
from plait.model.catalog import Protocol, Replica
from plait.model.finding import Finding
from plait.model.mesh import Mesh, OutboundRoutes
from plait.model.names import ObjectRef, Origin
from plait.model.reading import Fact
from plait.model.routing import AttachedRoutes, AttachedRule, Backend, Grant, Mirror, Parent
from tests.compiler.facts import (
    SETTINGS,
    host,
    match,
    port,
    prefix,
    replica,
    routes,
    rule,
    service,
    to,
    workload,
)

GROUP = "gateway.networking.k8s.io"
FRONTEND, KITCHEN, WAITER = workload("frontend"), workload("kitchen"), workload("waiter", namespace="garden")
FACTS: tuple[Fact, ...] = (
    FRONTEND,
    KITCHEN,
    WAITER,
    service("frontend"),
    service("kitchen", port(80), port(8080), port(5432, Protocol.TCP)),
    service("cellar", app="kitchen"),
    service("pond", namespace="garden", app="waiter"),
)
BISTRO, GARDEN = replica(FRONTEND), replica(WAITER)


def origin(name: str, field: str = "", namespace: str = "bistro", kind: str = "HTTPRoute") -> Origin:
    return Origin(ObjectRef(GROUP, kind, namespace, name), field)


def route(  # noqa: PLR0913  # what may be said of one
    name: str,
    *specificities: tuple[int, ...],
    parent: str = "kitchen",
    at: int = 0,
    section: str = "",
    namespace: str = "bistro",
    created: str = "",
    backend: Backend | None = None,
    grpc: bool = False,
) -> AttachedRoutes:
    """Routes with a rule for each specificity, named as the object and the number of the rule."""
    return AttachedRoutes(
        parents=(
            Parent(
                host=host(parent),
                port=at,
                section=section,
                origin=origin(name, "spec.parentRefs[0]", namespace),
            ),
        ),
        rules=tuple(
            AttachedRule(
                rule=rule(backend or to("cellar", port=8080), name=f"{name}-{index}"),
                specificity=specificity,
            )
            for index, specificity in enumerate(specificities or ((0,),))
        ),
        grpc=grpc,
        created=created,
        origin=origin(name, "", namespace),
    )


def merged(*facts: Fact) -> tuple[Mesh, tuple[Finding, ...]]:
    return merge((*FACTS, *facts), SETTINGS)


def told(mesh: Mesh, of: Replica = BISTRO, to: str = "kitchen") -> dict[int, list[str]]:
    """The names of the rules for a service, by the port that is called; nothing but the service itself is []."""
    found = (one for one in view(mesh, of).outbound.routes if one.host == host(to))
    return {one.port: [rule.name for rule in one.rules if rule.name] for one in found}


def codes(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
    return [
        (one.ref.name, one.field, one.code)
        for one in findings
        if one.ref and one.ref.group == GROUP and one.severity != "info"
    ]


def test_the_most_specific_rule_comes_first_whosever_it_is() -> None:
    mesh, findings = merged(route("a", (0, 1), (2, 5), (2, 7)), route("b", (1, 9), (2, 6)))
    assert told(mesh)[80] == ["a-2", "b-1", "a-1", "b-0", "a-0"]
    assert codes(findings) == []


def test_of_equal_rules_the_oldest_the_first_by_name_and_the_first_written_come_first() -> None:
    stated = (
        route("z", created="2025-01-01T00:00:00Z"),
        route("y", created="2026-01-01T00:00:00Z"),
        route("b", (0,), (0,)),
        route("c"),
        route("a", created="2026-01-01T00:00:00Z"),
    )
    for order in permutations(stated):
        assert told(merged(*order)[0])[80] == ["z-0", "a-0", "y-0", "b-0", "b-1", "c-0"]


def test_a_producer_route_is_for_all_clients_and_a_consumer_route_for_those_of_its_namespace() -> None:
    consumer = route("consumer", namespace="garden", backend=to("kitchen", port=8080))
    mesh, findings = merged(consumer)
    assert codes(findings) == []
    assert told(mesh, GARDEN) == {80: ["consumer-0"], 8080: ["consumer-0"]}
    assert told(mesh, BISTRO) == {80: [], 8080: []}
    mesh, _ = merged(consumer, route("producer"))
    assert told(mesh, GARDEN) == {80: ["consumer-0"], 8080: ["consumer-0"]}
    assert told(mesh, BISTRO) == {80: ["producer-0"], 8080: ["producer-0"]}


def test_where_a_consumer_route_is_for_one_port_the_producers_holds_at_the_others() -> None:
    mesh, _ = merged(
        route("consumer", namespace="garden", at=80, backend=to("kitchen", port=8080)), route("producer")
    )
    assert told(mesh, GARDEN) == {80: ["consumer-0"], 8080: ["producer-0"]}


def test_a_parent_may_be_one_port_by_number_name_or_both() -> None:
    for parent in (route("a", at=80), route("a", section="http-80"), route("a", at=80, section="http-80")):
        mesh, findings = merged(parent)
        assert (told(mesh), codes(findings)) == ({80: ["a-0"], 8080: []}, [])


def test_rules_for_one_port_and_for_all_of_them_are_joined_there() -> None:
    mesh, _ = merged(route("all", (0,), (2,)), route("one", (1,), at=80))
    assert told(mesh) == {80: ["all-1", "one-0", "all-0"], 8080: ["all-1", "all-0"]}
    mesh, _ = merged(route("other", at=8080), route("one", at=80))
    assert told(mesh) == {80: ["one-0"], 8080: ["other-0"]}


@pytest.mark.parametrize(
    ("parent", "code"),
    [
        (route("a", at=81), "parent.unknown-port"),
        (route("a", section="web"), "parent.unknown-port"),
        (route("a", at=80, section="http-8080"), "parent.unknown-port"),
        (route("a", at=5432), "parent.port-not-http"),
        (route("a", parent="nobody"), "parent.unknown-service"),
    ],
)
def test_what_nothing_can_be_attached_to_is_told(parent: AttachedRoutes, code: str) -> None:
    mesh, findings = merged(parent)
    assert codes(findings) == [("a", "spec.parentRefs[0]", code)]
    assert told(mesh) == {80: [], 8080: []}


def test_a_parent_that_is_not_there_leaves_the_others() -> None:
    both = route("a")
    lost = Parent(host=host("nobody"), origin=origin("a", "spec.parentRefs[1]"))
    mesh, findings = merged(replace(both, parents=(lost, *both.parents)))
    assert told(mesh)[80] == ["a-0"]
    assert codes(findings) == [("a", "spec.parentRefs[1]", "parent.unknown-service")]


def test_where_routes_for_grpc_are_attached_those_for_http_do_not_hold() -> None:
    grpc, http = route("calls", grpc=True), route("pages", (9,))
    mesh, findings = merged(grpc, http)
    assert told(mesh) == {80: ["calls-0"], 8080: ["calls-0"]}
    assert codes(findings) == [("pages", "spec.parentRefs[0]", "parent.superseded")]
    mesh, findings = merged(route("calls", grpc=True, at=8080), http)
    assert told(mesh) == {80: ["pages-0"], 8080: ["calls-0"]}
    assert codes(findings) == [("pages", "spec.parentRefs[0]", "parent.superseded")]
    mesh, findings = merged(route("calls", grpc=True, at=8080), route("pages", at=80))
    assert told(mesh) == {80: ["pages-0"], 8080: ["calls-0"]}
    assert codes(findings) == []
    mesh, findings = merged(route("calls", grpc=True, at=8080), route("pages", at=8080))
    assert told(mesh) == {80: [], 8080: ["calls-0"]}
    assert codes(findings) == [("pages", "spec.parentRefs[0]", "parent.superseded")]


def test_an_object_that_owns_its_host_comes_before_what_is_attached() -> None:
    owner = routes("kitchen", rules=[rule(to("kitchen"), name="owner")])
    mesh, findings = merged(owner, route("a"))
    assert told(mesh)[80] == ["owner"]
    assert codes(findings) == [("a", "", "route.host-owned-twice")]


def kitchen(mesh: Mesh, of: Replica) -> OutboundRoutes:
    (found,) = (
        one for one in view(mesh, of).outbound.routes if (one.host, one.port) == (host("kitchen"), 80)
    )
    return found


def grants(kind: str = "HTTPRoute", of: str = "bistro", name: str = "") -> Grant:
    return Grant(
        namespace="garden",
        sources=((GROUP, kind, of),),
        names=(name,),
        origin=origin("grant", namespace="garden", kind="ReferenceGrant"),
    )


ABROAD = Backend(
    host=host("pond", "garden"), port=8080, weight=3, origin=origin("a", "spec.rules[0].backendRefs[0]")
)


@pytest.mark.parametrize("grant", [grants(), grants(name="pond")])
def test_who_is_granted_a_service_of_another_namespace_sends_there(grant: Grant) -> None:
    mesh, findings = merged(route("a", backend=ABROAD), grant)
    assert codes(findings) == []
    assert [one.host for one in kitchen(mesh, BISTRO).rules[0].backends] == [host("pond", "garden")]


@pytest.mark.parametrize(
    "grant",
    [
        grants(kind="GRPCRoute"),
        grants(of="garden"),
        grants(name="lake"),
        replace(grants(), namespace="bistro"),
    ],
)
def test_who_is_not_granted_it_keeps_the_share_for_nobody(grant: Grant) -> None:
    mesh, findings = merged(route("a", backend=ABROAD), grant)
    assert codes(findings) == [("a", "spec.rules[0].backendRefs[0]", "route.not-granted")]
    (backend,) = kitchen(mesh, BISTRO).rules[0].backends
    assert (backend.host, backend.port, backend.weight) == ("", 0, 3)


def test_whether_an_ungranted_service_exists_is_not_told() -> None:
    missing = replace(ABROAD, host=host("lake", "garden"))
    _, findings = merged(route("a", backend=missing))
    assert codes(findings) == [("a", "spec.rules[0].backendRefs[0]", "route.not-granted")]


def test_the_parent_itself_needs_no_grant_and_its_neighbours_do() -> None:
    own = route("a", namespace="garden", backend=to("kitchen", port=8080))
    assert codes(merged(own)[1]) == []
    other = Backend(host=host("cellar"), port=8080, origin=origin("a", "b", "garden"))
    _, findings = merged(route("a", namespace="garden", backend=other))
    assert codes(findings) == [("a", "b", "route.not-granted")]


def test_no_copies_go_to_who_has_not_granted_it() -> None:
    plain = route("a")
    (one,) = plain.rules
    mirrored = replace(
        plain, rules=(replace(one, rule=replace(one.rule, mirrors=(Mirror(backend=ABROAD),))),)
    )
    mesh, findings = merged(mirrored)
    assert codes(findings) == [("a", "spec.rules[0].backendRefs[0]", "route.not-granted")]
    assert kitchen(mesh, BISTRO).rules[0].mirrors == ()
    assert len(kitchen(merged(mirrored, grants())[0], BISTRO).rules[0].mirrors) == 1


def test_a_backend_that_is_not_there_keeps_its_share_and_is_told() -> None:
    lost = Backend(host=host("nobody"), port=80, origin=origin("a", "backend"))
    mesh, findings = merged(route("a", backend=lost))
    assert codes(findings) == [("a", "backend", "route.unknown-host")]
    assert [one.host for one in kitchen(mesh, BISTRO).rules[0].backends] == [host("nobody")]
    lost = replace(lost, host=host("cellar"), port=81)
    assert codes(merged(route("a", backend=lost))[1]) == [("a", "backend", "route.unknown-port")]


def test_what_is_attached_can_be_rendered_nobody_included() -> None:
    mesh, _ = merged(
        route("a", (0,), (1,), backend=ABROAD),
        route("b", at=80, backend=to("nobody", port=80)),
        replace(route("c"), rules=(AttachedRule(rule=rule(match=match(prefix("/c"))), specificity=(3,)),)),
    )
    for one in (BISTRO, GARDEN):
        seen = view(mesh, one)
        assert check(Renderer().render(seen, {}), seen.outbound.missing) == ()
