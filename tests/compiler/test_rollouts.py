"""Rollouts: where they stand becomes workloads, services, subsets and rules; what nobody moves stays the same."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.rollouts import rolled
from plait.compiler.scopes import scopes
from plait.compiler.sharing import Made
from plait.compiler.shifting import TRIED_SUBSET
from plait.compiler.view import view
from plait.model.catalog import Protocol, Service, Workload
from plait.model.finding import Finding
from plait.model.limits import LimitTarget, TargetKind
from plait.model.mesh import Behind, Mesh, OutboundRoutes
from plait.model.names import ObjectRef, WorkloadKey
from plait.model.policy import Action
from plait.model.reading import Fact
from plait.model.rollout import (
    REVISION_LABEL,
    TRIED,
    Affinity,
    Analysis,
    Canary,
    MetricTemplate,
    Shift,
    canary_key,
)
from plait.model.routing import (
    AttachedRoutes,
    AttachedRule,
    Backend,
    DelegateRoutes,
    DirectResponse,
    Mirror,
    Parent,
    RequestMatch,
    RouteRule,
)
from plait.model.traffic import ConnectionPool, PortPolicies, TrafficPolicy
from tests.compiler.facts import (
    NS,
    SETTINGS,
    allows,
    destination,
    exact,
    host,
    limit,
    limited,
    listens,
    match,
    origin,
    policy,
    port,
    prefix,
    principal,
    regex,
    replica,
    routes,
    rule,
    service,
    to,
    workload,
)

FRONTEND = workload("frontend")
SHOP = workload("shop", version="v1")
KEY = WorkloadKey(NS, "shop")
HOST = host("shop")
BETA = match(headers={"x-beta": exact("yes")})


def canary(name: str = "shop", **said: Any) -> Canary:
    """A plan for workload and service shop, at its only port."""
    given: dict[str, Any] = {
        "target": KEY,
        "service": "shop",
        "port": 8080,
        "analysis": Analysis(steps=(10, 50)),
    }
    return Canary(namespace=NS, name=name, origin=origin("Canary", name), **(given | said))


def new(of: Workload = SHOP, version: str = "2") -> Workload:
    """Another revision of a workload."""
    return replace(of, process=replace(of.process, env=(("VERSION", version),)))


def shift(weight: int = 0, primary: Workload = SHOP, **said: Any) -> Shift:
    return Shift(primary=primary, candidate=new(), weight=weight, **said)


def mesh_of(
    *facts: Fact, at: Shift | None = None, plan: Canary | None = None, written: Workload | None = None
) -> tuple[Mesh, tuple[Finding, ...]]:
    """A mesh with a frontend, and shop with its Canary; the new version is what is written where one is tried."""
    plan = plan or canary()
    target = written or (new() if at is not None and at.candidate is not None else SHOP)
    given = facts if any(isinstance(one, Service) for one in facts) else (service("shop"), *facts)
    shifts = {plan.key: at} if at is not None else {}
    return merge((FRONTEND, service("frontend"), target, plan, *given), SETTINGS, shifts=shifts)


def routed(mesh: Mesh, to: str = HOST, at: int = 8080) -> OutboundRoutes:
    told = view(mesh, replica(FRONTEND)).outbound.routes
    (found,) = (one for one in told if (one.host, one.port) == (to, at))
    return found


def shares(rule: RouteRule) -> dict[str, int]:
    """The weights of a rule's backends, by subset; those of other hosts by host."""
    return {one.subset if one.host == HOST else one.host: one.weight for one in rule.backends}


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [one.code for one in findings]


# Workloads and services


def test_without_a_plan_the_very_same_facts_come_back() -> None:
    facts: tuple[Fact, ...] = (SHOP, service("shop"))
    assert rolled(facts, {}).facts == facts
    assert all(one is other for one, other in zip(rolled(facts, {}).facts, facts, strict=True))


def test_a_shift_of_what_the_plan_was_for_before_is_not_heeded() -> None:
    before = replace(SHOP, name="stall")
    mesh, _ = mesh_of(at=Shift(primary=before, candidate=replace(new(), name="stall"), weight=50))
    assert {key.name for key in mesh.workloads} == {"frontend", "shop"}


def test_a_plan_without_a_shift_changes_no_workload_and_no_route() -> None:
    plain, _ = merge((FRONTEND, SHOP, service("frontend"), service("shop")), SETTINGS)
    mesh, findings = mesh_of()
    assert mesh.workloads == plain.workloads
    assert mesh.common.routes == {}
    assert routed(mesh) == routed(plain)
    assert mesh.plans.targets == {KEY: SHOP}
    assert findings == ()


def test_the_version_that_serves_keeps_its_name_and_the_tried_one_stands_beside_it() -> None:
    written = replace(new(), replicas=3)
    mesh, findings = mesh_of(at=shift(), written=written)
    primary, tried = mesh.workloads[KEY], mesh.workloads[canary_key(KEY)]
    assert (primary.process, tried.process) == (SHOP.process, new().process)
    assert (primary.replicas, tried.replicas) == (3, 3)
    assert primary.labels == SHOP.labels
    assert dict(tried.labels) == {**dict(SHOP.labels), REVISION_LABEL: "canary"}
    assert (primary.origin, tried.origin) == (written.origin, written.origin)
    assert mesh.plans.targets == {KEY: written}
    assert findings == ()


def test_what_is_no_revision_holds_at_once() -> None:
    """Readiness, ports, labels and the account of a workload that is edited without a new revision."""
    edited = replace(SHOP, service_account="other", process=replace(SHOP.process, grace_seconds=5.0))
    mesh, _ = mesh_of(at=Shift(primary=SHOP), written=edited)
    assert mesh.workloads[KEY].service_account == "other"
    assert mesh.workloads[KEY].process == edited.process


def test_a_new_revision_brings_nothing_to_the_one_that_serves() -> None:
    edited = replace(new(), service_account="other", labels=(("app", "shop"), ("version", "v2")))
    mesh, _ = mesh_of(at=Shift(primary=SHOP, candidate=edited), written=edited)
    assert mesh.workloads[KEY].service_account == SHOP.service_account
    assert mesh.workloads[KEY].version == "v1"
    assert mesh.workloads[canary_key(KEY)].service_account == "other"


def test_only_who_asks_for_what_is_tried_calls_it() -> None:
    """Not the host, nor a subset of the user's, nor another service of theirs that selects the same labels."""
    everything = service("everything", selector=(("app", "shop"),))
    tcp = service("shop", port(8080), port(9000, Protocol.TCP))
    mesh, findings = mesh_of(tcp, everything, destination("shop", "v1"), at=shift(10))
    running = [
        replica(one, number, address=f"127.77.0.{number}")
        for number, key in enumerate((KEY, canary_key(KEY)), 1)
        for one in (
            replace(mesh.workloads[key], process=replace(SHOP.process, ports=(listens(8080), listens(9000)))),
        )
    ]
    found = endpoints(mesh, running)

    def behind(host: str, number: int = 8080, *labels: tuple[str, str]) -> list[str]:
        return [str(one.workload) for one in found[Behind(host, number, labels)]]

    assert behind(HOST) == behind(HOST, 9000) == [str(KEY)]
    assert behind(HOST, 8080, ("version", "v1")) == [str(KEY)]
    assert behind(host("everything")) == [str(KEY)]
    assert behind(host("shop-primary")) == behind(host("shop-primary"), 9000) == [str(KEY)]
    assert behind(HOST, 8080, TRIED) == behind(host("shop-canary"), 9000) == [str(canary_key(KEY))]
    assert "destination.empty-subset" not in codes(findings)


def test_a_replica_without_the_label_goes_on_serving() -> None:
    """It was started before there was a Canary."""
    mesh, _ = mesh_of(at=shift(10))
    found = endpoints(mesh, [replica(SHOP)])
    assert len(found[Behind(HOST, 8080)]) == 1


def test_the_cluster_of_what_is_tried_knows_its_account_and_no_other_does() -> None:
    tried = replace(new(), service_account="other")
    mesh, _ = mesh_of(at=Shift(primary=SHOP, candidate=tried, weight=10), written=tried)
    accounts = {
        (one.key.host, one.key.subset): [identity.service_account for identity in one.identities]
        for one in view(mesh, replica(FRONTEND)).outbound.clusters
    }
    assert accounts[HOST, ""] == ["shop"]
    assert accounts[HOST, TRIED_SUBSET] == ["other"]


def test_a_service_that_nobody_wrote_is_made() -> None:
    plan = canary(port_name="grpc", target_port=9100)
    mesh, findings = mesh_of(service("other"), plan=plan)
    made = mesh.services[HOST]
    (only,) = made.ports
    assert (only.number, only.target, only.protocol) == (8080, 9100, Protocol.GRPC)
    assert made.selector == (("app", "shop"),)
    assert made.origin == plan.origin
    assert mesh.services[host("shop-canary")].selector == (("app", "shop"), TRIED)
    assert "service.unknown-target-port" in codes(findings)


def test_a_service_is_made_by_all_labels_but_those_of_a_version() -> None:
    target = replace(SHOP, labels=(("team", "a"), ("tier", "web"), ("version", "v1")))
    mesh, _ = mesh_of(service("other"), written=target)
    assert mesh.services[HOST].selector == (("team", "a"), ("tier", "web"))


def test_a_service_of_the_user_by_the_name_of_a_version_stays() -> None:
    own = service("shop-canary", app="frontend")
    mesh, _ = mesh_of(service("shop"), own, at=shift())
    assert mesh.services[host("shop-canary")] == own


def test_a_workload_under_the_name_of_what_is_tried_stays_and_nothing_is_tried() -> None:
    own = workload("shop-canary", app="other")
    mesh, findings = mesh_of(own, service("shop"), at=shift(50))
    assert mesh.workloads[canary_key(KEY)] == own
    assert mesh.workloads[KEY].process == SHOP.process
    assert mesh.common.routes == {}
    assert "canary.name-taken" in codes(findings)


def test_of_several_plans_for_a_target_or_a_host_only_the_first_holds() -> None:
    first, second = canary("a"), canary("b", service="other")
    third = canary("c", target=WorkloadKey(NS, "frontend"))
    given = (FRONTEND, SHOP, service("shop"), service("other"))
    for facts in ((*given, first, second, third), (third, second, first, *given)):
        shifts = {one.key: shift(50) for one in (first, second, third)}
        mesh, _ = merge(facts, SETTINGS, shifts=shifts)
        assert list(mesh.plans.targets) == [first.key]
        assert list(mesh.common.routes) == [HOST]
        assert mesh.plans.canaries == (first, second, third)


def test_a_plan_without_a_target_has_no_effect() -> None:
    plan = canary(target=WorkloadKey(NS, "gone"))
    mesh, _ = mesh_of(plan=plan, at=shift(50))
    assert mesh.plans.targets == {}
    assert mesh.plans.canaries == (plan,)
    assert mesh.common.routes == {}


def test_templates_are_planned_without_a_canary() -> None:
    template = MetricTemplate(
        namespace=NS,
        name="errors",
        provider="prometheus",
        query="q",
        origin=origin("MetricTemplate", "errors"),
    )
    assert merge((SHOP, template), SETTINGS)[0].plans.templates == (template,)


def test_policies_and_limits_over_a_workload_are_over_what_is_tried() -> None:
    target = LimitTarget(TargetKind.WORKLOAD, "shop")
    mesh, findings = mesh_of(
        policy("shop", Action.ALLOW, allows(principal("frontend")), app="shop"),
        limited("shop", limit(5), target=target),
        at=shift(10),
    )
    (inbound,) = view(mesh, replica(mesh.workloads[canary_key(KEY)])).inbound
    assert [one.name for one in inbound.policies] == ["shop"]
    assert [one.requests for one in inbound.limits] == [5]
    assert [one.name for one in inbound.services] == ["shop", "shop-canary", "shop-primary"]
    assert findings == ()


# Weights


@pytest.mark.parametrize(
    ("weight", "expected"),
    [(0, {"": 1}), (10, {"": 90, TRIED_SUBSET: 10}), (100, {TRIED_SUBSET: 1})],
)
def test_requests_are_shared_by_weight_where_nobody_routes(weight: int, expected: dict[str, int]) -> None:
    mesh, findings = mesh_of(at=shift(weight))
    (only,) = routed(mesh).rules
    assert shares(only) == expected
    assert findings == ()


def test_without_a_version_that_is_tried_a_weight_says_nothing() -> None:
    mesh, _ = mesh_of(at=Shift(primary=SHOP, weight=50, mirrored=50, matched=True))
    assert mesh.common.routes == {}
    assert all(not one.key.subset for one in view(mesh, replica(FRONTEND)).outbound.clusters)


def test_a_rule_of_the_users_keeps_all_but_its_shares() -> None:
    own = replace(
        rule(to("shop", weight=60), to("frontend", weight=40), match=match(prefix("/menu")), timeout=2.0),
        mirrors=(Mirror(backend=to("frontend"), millionths=500_000),),
    )
    mesh, findings = mesh_of(routes("shop", rules=[own, rule(to("frontend"))]), at=shift(25))
    first, second = routed(mesh).rules
    assert shares(first) == {"": 4500, TRIED_SUBSET: 1500, host("frontend"): 4000}
    assert [one.millionths for one in first.mirrors] == [500_000]
    assert (first.match, first.timeout, first.origin) == (own.match, 2.0, own.origin)
    assert shares(second) == {host("frontend"): 1}
    assert findings == ()


def test_weights_stay_within_what_envoy_adds_up() -> None:
    most = 2**31 - 1
    mesh, _ = mesh_of(
        routes("shop", rules=[rule(to("shop", weight=most), to("frontend", weight=1))]), at=shift(50)
    )
    (only,) = routed(mesh).rules
    weights = [one.weight for one in only.backends]
    assert sum(weights) < 2**32
    assert weights[0] == weights[1]
    assert weights[2] > 0


def test_a_share_of_nothing_stays_nothing() -> None:
    """A single backend without weight is answered by nobody (Gateway API)."""
    mesh, _ = mesh_of(routes("shop", rules=[rule(to("shop", weight=0))]), at=shift(50))
    (only,) = routed(mesh).rules
    assert shares(only) == {"": 0, TRIED_SUBSET: 0}


def test_another_host_that_leads_to_the_service_moves_too() -> None:
    mesh, _ = mesh_of(routes("shop.example", rules=[rule(to("shop"))]), at=shift(10))
    (only,) = routed(mesh, "shop.example").rules
    assert shares(only) == {"": 90, TRIED_SUBSET: 10}
    assert shares(routed(mesh).rules[0]) == {"": 90, TRIED_SUBSET: 10}


def test_what_is_attached_moves_as_well() -> None:
    found = AttachedRule(
        rule=RouteRule(
            backends=(Backend(host=HOST, port=8080, origin=origin("HTTPRoute", "shop")),),
            timeout=3.0,
            origin=origin("HTTPRoute", "shop", "spec.rules[0]"),
        ),
        specificity=(0,),
    )
    route = AttachedRoutes(
        parents=(Parent(host=HOST, port=8080, origin=origin("HTTPRoute", "shop")),),
        rules=(found,),
        origin=origin("HTTPRoute", "shop"),
    )
    two_ports = service("shop", port(8080), port(8081))
    mesh, _ = mesh_of(two_ports, route, plan=canary(port=0), at=shift(10))
    (only,) = routed(mesh).rules
    assert shares(only) == {"": 90, TRIED_SUBSET: 10}
    assert only.timeout == 3.0
    # What the route leaves open is moved by the Canary itself.
    (other,) = routed(mesh, at=8081).rules
    assert shares(other) == {"": 90, TRIED_SUBSET: 10}


@pytest.mark.parametrize(
    "given", [(), (routes("shop", rules=[rule(to("shop"))]),)], ids=["nobody routes", "a rule for all ports"]
)
def test_one_port_alone_is_moved(given: tuple[Fact, ...]) -> None:
    mesh, _ = mesh_of(service("shop", port(8080), port(8081)), *given, at=shift(10))
    assert shares(routed(mesh).rules[0]) == {"": 90, TRIED_SUBSET: 10}
    assert shares(routed(mesh, at=8081).rules[0]) == {"": 1}


def test_a_subset_of_the_users_is_left_alone_and_told() -> None:
    mesh, findings = mesh_of(
        destination("shop", "v1"), routes("shop", rules=[rule(to("shop", "v1"))]), at=shift(100)
    )
    assert shares(routed(mesh).rules[0]) == {"v1": 1}
    assert codes(findings) == ["canary.subset-named"]


def test_a_rule_of_a_delegate_moves_and_keeps_what_the_other_says() -> None:
    ref = ObjectRef("", "VirtualService", NS, "inner")
    inner = DelegateRoutes(
        rules=(rule(to("shop")),), origin=replace(origin("VirtualService", "inner"), ref=ref)
    )
    copies = (Mirror(backend=to("frontend"), millionths=1_000_000),)
    outer = replace(rule(match=match(prefix("/"))), delegate=ref, mirrors=copies)
    mesh, _ = mesh_of(inner, routes("shop", rules=[outer]), at=shift(10, mirrored=20))
    (only,) = routed(mesh).rules
    assert shares(only) == {"": 90, TRIED_SUBSET: 10}
    assert [(one.backend.host, one.backend.subset, one.millionths) for one in only.mirrors] == [
        (host("frontend"), "", 1_000_000),
        (HOST, TRIED_SUBSET, 200_000),
    ]


# What the Canary says itself


def test_what_the_canary_says_of_routing_holds_where_nobody_else_says_it() -> None:
    said = RouteRule(timeout=4.0, origin=origin("Canary", "shop", "spec.service"))
    plan = canary(rule=said)
    mesh, findings = mesh_of(plan=plan)
    (only,) = routed(mesh).rules
    assert (only.timeout, shares(only)) == (4.0, {"": 1})
    assert findings == ()
    mesh, _ = mesh_of(routes("shop", rules=[rule(to("shop"))]), plan=plan, at=shift(10))
    (only,) = routed(mesh).rules
    assert (only.timeout, shares(only)) == (None, {"": 90, TRIED_SUBSET: 10})


def test_an_answer_that_the_canary_gives_is_sent_to_nobody() -> None:
    said = RouteRule(answer=DirectResponse(status=418), origin=origin("Canary", "shop"))
    mesh, _ = mesh_of(plan=canary(rule=said), at=shift(10))
    (only,) = routed(mesh).rules
    assert only.backends == ()


POLICY = TrafficPolicy(connections=ConnectionPool(max_connections=7))
OTHER = TrafficPolicy(connections=ConnectionPool(max_connections=9))


@pytest.mark.parametrize(
    ("stated", "most"),
    [
        ((), 7),
        ((destination("shop", "v1"),), 7),
        ((destination("shop", policy=OTHER),), 9),
        ((replace(destination("shop", policy=OTHER), host="*.bistro.svc.cluster.local"),), 9),
    ],
    ids=["nobody", "subsets alone", "a policy", "a policy of all"],
)
def test_both_versions_are_called_as_is_said(stated: tuple[Fact, ...], most: int) -> None:
    plan = canary(policies=PortPolicies(everywhere=POLICY))
    mesh, _ = mesh_of(*stated, plan=plan, at=shift(10))
    found = {
        one.key.subset: one.policy.connections.max_connections
        for one in view(mesh, replica(FRONTEND)).outbound.clusters
        if one.key.host == HOST and one.policy.connections is not None
    }
    assert (found[""], found[TRIED_SUBSET]) == (most, most)


@pytest.mark.parametrize("said_of", [HOST, "*.bistro.svc.cluster.local"])
def test_clients_with_settings_of_their_own_know_what_is_tried(said_of: str) -> None:
    own = replace(destination("shop", policy=OTHER), clients=FRONTEND.labels, host=said_of)
    mesh, _ = mesh_of(own, at=shift(10))
    found = view(mesh, replica(FRONTEND)).outbound
    assert found.missing == ()
    assert scopes(mesh).of(NS, FRONTEND.labels).sight.destinations[HOST].policies == own.policies


def test_clients_of_every_namespace_know_what_is_tried() -> None:
    """Whatever is said to them alone, or by them."""
    client = workload("client", namespace="elsewhere")
    theirs = destination("shop", "v1", namespace="elsewhere")
    hidden = destination("shop", "v1", export=frozenset({NS}))
    mesh, _ = mesh_of(client, theirs, hidden, service("shop"), at=shift(10))
    for one in (FRONTEND, client):
        found = view(mesh, replica(one)).outbound
        assert found.missing == ()
        assert (HOST, TRIED_SUBSET) in {(cluster.key.host, cluster.key.subset) for cluster in found.clusters}


def test_a_host_that_clients_do_not_see_is_not_shown_to_them() -> None:
    client = workload("client", namespace="elsewhere")
    shop = replace(service("shop"), export=frozenset({NS}))
    mesh, _ = mesh_of(client, shop, at=shift(10))
    found = view(mesh, replica(client)).outbound
    assert HOST not in {one.host for one in found.routes}


# By matches, cookies and copies


def ab(*matches: RequestMatch) -> Canary:
    return canary(analysis=Analysis(iterations=5, matches=matches))


def test_what_matches_goes_to_what_is_tried_and_nothing_else() -> None:
    mesh, _ = mesh_of(plan=ab(BETA, match(query={"beta": exact("1")})), at=shift(matched=True))
    beta, query, rest = routed(mesh).rules
    assert beta.match is not None
    assert beta.match.headers == BETA.headers
    assert query.match is not None
    assert query.match.query == (("beta", exact("1")),)
    assert [shares(one) for one in (beta, query, rest)] == [{TRIED_SUBSET: 1}] * 2 + [{"": 1}]


def test_both_the_rule_and_the_analysis_have_to_match() -> None:
    own = [rule(to("shop"), match=match(prefix("/menu"), headers={"x-a": exact("1")})), rule(to("shop"))]
    mesh, findings = mesh_of(
        routes("shop", rules=own),
        plan=ab(match(prefix("/menu/new"), headers={"x-beta": exact("yes")})),
        at=shift(matched=True),
    )
    inner, first, wider, second = routed(mesh).rules
    assert inner.match is not None
    assert (inner.match.path, dict(inner.match.headers)) == (
        prefix("/menu/new"),
        {"x-a": exact("1"), "x-beta": exact("yes")},
    )
    assert wider.match is not None
    assert (wider.match.path, dict(wider.match.headers)) == (prefix("/menu/new"), {"x-beta": exact("yes")})
    assert [shares(one) for one in (first, second)] == [{"": 1}, {"": 1}]
    assert findings == ()


def test_of_paths_that_never_meet_nothing_is_led_away_and_what_cant_be_told_is_said() -> None:
    apart = routes("shop", rules=[rule(to("shop"), match=match(exact("/a")))])
    mesh, findings = mesh_of(apart, plan=ab(match(exact("/b"))), at=shift(matched=True))
    assert [shares(one) for one in routed(mesh).rules] == [{"": 1}]
    assert findings == ()
    unclear = routes("shop", rules=[rule(to("shop"), match=match(regex("/a.*")))])
    mesh, findings = mesh_of(unclear, plan=ab(match(exact("/ab"))), at=shift(matched=True))
    assert [shares(one) for one in routed(mesh).rules] == [{"": 1}]
    assert codes(findings) == ["canary.match-undecided"]


def test_copies_go_to_what_is_tried_by_the_share_of_what_is_sent_to_the_host() -> None:
    mesh, _ = mesh_of(at=shift(mirrored=50))
    (only,) = routed(mesh).rules
    assert shares(only) == {"": 1}
    assert [(one.backend.subset, one.millionths) for one in only.mirrors] == [(TRIED_SUBSET, 500_000)]
    half = routes("shop", rules=[rule(to("shop"), to("frontend"))])
    mesh, _ = mesh_of(half, at=shift(mirrored=50))
    assert [one.millionths for one in routed(mesh).rules[0].mirrors] == [250_000]


def test_copies_of_the_users_are_shared_as_requests_are() -> None:
    own = replace(rule(to("frontend")), mirrors=(Mirror(backend=to("shop"), millionths=400_000),))
    mesh, _ = mesh_of(routes("frontend", rules=[own]), at=shift(25))
    (only,) = routed(mesh, host("frontend")).rules
    assert [(one.backend.subset, one.millionths) for one in only.mirrors] == [
        ("", 300_000),
        (TRIED_SUBSET, 100_000),
    ]


def sticky(primary: str = "") -> Canary:
    affinity = Affinity(cookie="it.s", lifetime=60, primary_cookie=primary)
    return canary(analysis=Analysis(steps=(10,), affinity=affinity))


def given(backend: Backend) -> list[str]:
    return [value for name, value in backend.changes.response.add if name == "set-cookie"]


def test_who_was_sent_to_what_is_tried_stays_there() -> None:
    mesh, _ = mesh_of(plan=sticky(), at=shift(10, cookie="a%b"))
    kept, rest = routed(mesh).rules
    assert shares(kept) == {TRIED_SUBSET: 1}
    assert [given(one) for one in kept.backends] == [[]]
    assert {one.subset: given(one) for one in rest.backends} == {
        "": [],
        TRIED_SUBSET: ["it.s=a%%b; Path=/; Max-Age=60"],
    }
    assert kept.match is not None
    ((name, test),) = kept.match.headers
    assert name == "cookie"
    for carried in ("it.s=a%b", "x=1; it.s=a%b", "it.s=a%b; y=2", "x=1;it.s=a%b;y=2"):
        assert re.fullmatch(test.value, carried)
    for other in (
        "it.s=a%bc",
        "itxs=a%b",
        "not-it.s=a%b",
        "it.s=",
        "it.s=a%b,z",
        "x=it.s=a%b",
        'x="; it.s=a"',
    ):
        assert not re.fullmatch(test.value, other)


@pytest.mark.parametrize(("weight", "number"), [(0, 1), (10, 3), (100, 2)])
def test_who_was_answered_by_what_serves_stays_there_until_all_have_moved(weight: int, number: int) -> None:
    mesh, _ = mesh_of(plan=sticky("p"), at=shift(weight, cookie="v"))
    found = routed(mesh).rules
    assert len(found) == number
    assert shares(found[0]) == ({TRIED_SUBSET: 1} if weight else {"": 1})
    if number == 3:
        assert shares(found[1]) == {"": 1}
        assert {one.subset: len(given(one)) for one in found[2].backends} == {"": 1, TRIED_SUBSET: 1}


# Sharing


def test_nothing_is_made_anew_when_nothing_is_another() -> None:
    made = Made()
    facts = (FRONTEND, new(), service("shop"), canary(), routes("shop", rules=[rule(to("shop"))]))

    def built(weight: int) -> Mesh:
        made.begin()
        return merge(facts, SETTINGS, made=made, shifts={KEY: shift(weight)})[0]

    first, second, third = built(10), built(10), built(20)
    assert second.common is first.common
    assert second.plans is first.plans
    assert second.services is first.services
    assert third.common.services is second.common.services
    assert third.common.destinations is second.common.destinations
    assert third.workloads is second.workloads
    assert third.plans is second.plans
    assert third.common.routes != second.common.routes
