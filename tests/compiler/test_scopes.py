"""What clients of several namespaces, labels and Sidecars see."""

from dataclasses import replace

from plait.compiler.merge import merge
from plait.compiler.scopes import scopes
from plait.compiler.view import view
from plait.model.catalog import Replica
from plait.model.finding import Severity
from plait.model.locality import Locality, LocalityBalancing, Place
from plait.model.mesh import Mesh, Outbound
from plait.model.reading import Fact
from plait.model.routing import Clients, HostRoutes, RouteRule
from plait.model.scope import EgressHosts, EgressScope
from plait.model.settings import OutboundTrafficPolicy
from plait.model.traffic import LoadBalancing, OutlierDetection, TrafficPolicy
from tests.compiler.facts import (
    SETTINGS,
    destination,
    host,
    match,
    origin,
    prefix,
    replica,
    routes,
    rule,
    service,
    to,
    workload,
)

FRONTEND = workload("frontend")
KITCHEN = workload("kitchen", namespace="kitchens")
WAITER = workload("waiter", namespace="kitchens")
RESERVATIONS = workload("reservations")
FACTS: tuple[Fact, ...] = (
    FRONTEND,
    KITCHEN,
    WAITER,
    RESERVATIONS,
    service("frontend"),
    service("reservations"),
    service("kitchen", namespace="kitchens"),
)
HOST = host("reservations")


def mesh_of(*facts: Fact) -> Mesh:
    return merge(facts, SETTINGS)[0]


def told(mesh: Mesh, of: Replica) -> Outbound:
    return view(mesh, of).outbound


def answers(mesh: Mesh, of: Replica) -> list[str]:
    """The names of the rules for reservations."""
    (found,) = [one for one in told(mesh, of).routes if one.host == HOST]
    return [one.name for one in found.rules]


def seen(mesh: Mesh, of: Replica) -> set[str]:
    return {one.key.host.partition(".")[0] for one in told(mesh, of).clusters}


BISTRO, KITCHENS, TABLES = replica(FRONTEND), replica(KITCHEN), replica(WAITER)


def test_of_whom_nothing_is_said_all_are_of_one_scope() -> None:
    mesh = mesh_of(*FACTS, routes("reservations", rules=[rule(to("reservations"))]))
    assert mesh.sights == {}
    assert told(mesh, BISTRO).scope == told(mesh, KITCHENS).scope == ()
    assert told(mesh, BISTRO).clusters is told(mesh, KITCHENS).clusters


def test_routes_of_a_clients_own_namespace_come_before_those_it_is_named_in_and_those_for_all() -> None:
    def said(name: str, namespace: str, *export: str) -> HostRoutes:
        return routes(
            "reservations",
            rules=[rule(to("reservations"), name=name)],
            name=name,
            namespace=namespace,
            export=frozenset(export) or None,
        )

    everybody = said("everybody", "bistro")
    mesh = mesh_of(*FACTS, everybody, replace(said("own", "kitchens", "kitchens"), hosts=(HOST,)))
    assert (answers(mesh, BISTRO), answers(mesh, KITCHENS)) == (["everybody"], ["own"])
    mesh = mesh_of(*FACTS, everybody, said("named", "bistro", "kitchens", "bistro"))
    assert (answers(mesh, BISTRO), answers(mesh, KITCHENS)) == (["named"], ["named"])
    mesh = mesh_of(*FACTS, said("own", "bistro", "bistro"))
    assert (answers(mesh, BISTRO), answers(mesh, KITCHENS)) == (["own"], [""])


def test_two_owners_of_a_host_are_told_only_where_they_meet() -> None:
    one = routes("reservations", rules=[rule(to("reservations"))], name="a", export=frozenset({"bistro"}))
    other = routes("reservations", rules=[rule(to("reservations"))], name="b", export=frozenset({"kitchens"}))
    assert merge((*FACTS, one, other), SETTINGS)[1] == ()
    both = replace(other, export=frozenset({"kitchens", "bistro"}))
    assert merge((*FACTS, one, both), SETTINGS)[1] == ()  # one is nearer to clients of the bistro
    alike = replace(other, export=frozenset({"bistro"}))
    assert [found.code for found in merge((*FACTS, one, alike), SETTINGS)[1]] == ["route.host-owned-twice"]


def test_a_service_is_seen_where_it_is_exported_to_and_a_route_there_is_told_of_it_elsewhere() -> None:
    private = replace(service("reservations"), export=frozenset({"bistro"}))
    ruled = routes("frontend", rules=[rule(to("reservations"))])
    mesh, findings = merge(
        (*(one for one in FACTS if one != service("reservations")), private, ruled), SETTINGS
    )
    assert seen(mesh, BISTRO) == {"frontend", "reservations", "kitchen"}
    assert seen(mesh, KITCHENS) == {"frontend", "kitchen"}
    assert [key.host for key in told(mesh, KITCHENS).missing] == [HOST]
    assert not any(text.startswith("reservations.bistro") for text, _, _ in told(mesh, KITCHENS).authorities)
    assert [found.code for found in findings] == ["route.hidden-host"]


def test_clients_outside_its_namespace_have_subsets_of_their_own() -> None:
    mesh = mesh_of(
        *FACTS, destination("reservations", "v1"), destination("reservations", "v2", namespace="kitchens")
    )

    def subsets(of: Replica) -> set[str]:
        return {one.key.subset for one in told(mesh, of).clusters if one.key.host == HOST}

    assert (subsets(BISTRO), subsets(KITCHENS)) == ({"", "v1"}, {"", "v2"})


def test_rules_for_some_clients_are_told_to_these_alone() -> None:
    def asking(name: str, clients: Clients | None) -> RouteRule:
        return rule(to("reservations"), name=name, match=replace(match(prefix("/")), clients=clients))

    rules = [
        asking("kitchens", Clients(namespace="kitchens")),
        asking("frontends", Clients(labels=(("app", "frontend"),))),
        asking("waiters", Clients(namespace="kitchens", labels=(("app", "waiter"),))),
        asking("all", None),
    ]
    mesh = mesh_of(*FACTS, routes("reservations", rules=rules))
    assert answers(mesh, BISTRO) == ["frontends", "all"]
    assert answers(mesh, KITCHENS) == ["kitchens", "all"]
    assert answers(mesh, TABLES) == ["kitchens", "waiters", "all"]


def test_rules_for_some_clients_are_told_to_nobody_else() -> None:
    rules = [
        rule(
            to("reservations"), name="kitchens", match=replace(match(), clients=Clients(namespace="kitchens"))
        ),
        rule(to("reservations"), name="all"),
    ]
    mesh = mesh_of(*FACTS, routes("reservations", rules=rules))
    assert answers(mesh, BISTRO) == ["all"]
    assert answers(mesh, KITCHENS) == ["kitchens", "all"]


NEAR = replica(workload("near", locality="r.z"))
FAR = replica(workload("far", locality="q.z"))
CAREFUL = TrafficPolicy(outliers=OutlierDetection())


def test_where_a_client_is_matters_once_somebody_is_called_by_locality() -> None:
    assert told(mesh_of(*FACTS), NEAR) is told(mesh_of(*FACTS), FAR)
    mesh = mesh_of(*FACTS, destination("reservations", policy=CAREFUL))
    near, far, elsewhere = (told(mesh, one) for one in (NEAR, FAR, BISTRO))
    assert near.place == Place(locality=Locality("r", "z"))
    assert far.place == Place(locality=Locality("q", "z"))
    assert elsewhere.place == Place()
    assert near.scope == far.scope == elsewhere.scope == ()
    assert near.clusters is far.clusters is elsewhere.clusters
    assert near.routes is far.routes is elsewhere.routes
    assert near.authorities is far.authorities is elsewhere.authorities


def test_only_those_labels_of_a_client_matter_that_are_asked_for() -> None:
    balancing = LocalityBalancing(priority=(("version", None), ("app", "reservations")))
    policy = replace(CAREFUL, load_balancing=LoadBalancing(locality=balancing))
    mesh = mesh_of(*FACTS, destination("reservations", policy=policy))
    first, other, second = (
        told(mesh, replica(workload(name, version=version)))
        for name, version in (("a", "v1"), ("b", "v1"), ("a", "v2"))
    )
    assert first is other
    assert (first.place, second.place) == (
        Place(labels=(("version", "v1"),)),
        Place(labels=(("version", "v2"),)),
    )


def test_where_a_client_is_matters_only_to_those_who_see_whom_it_matters_for() -> None:
    careful = destination("reservations", policy=CAREFUL)
    mesh = mesh_of(*FACTS, careful, egress(("bistro", host("frontend"))))
    cook = replica(workload("kitchen", namespace="kitchens", locality="r.z"))
    assert told(mesh, cook).place is None
    assert told(mesh, NEAR).place == Place(locality=Locality("r", "z"))
    assert told(mesh, NEAR) is told(mesh, NEAR)


def egress(
    *hosts: tuple[str, str], namespace: str = "kitchens", app: str = "", **more: object
) -> EgressScope:
    return EgressScope(
        namespace=namespace,
        selector=(("app", app),) if app else (),
        hosts=tuple(
            EgressHosts(namespace=place, host=one, origin=origin("Sidecar", "all")) for place, one in hosts
        )
        if hosts
        else None,
        origin=origin("Sidecar", app or "all", "spec", namespace),
        **more,  # type: ignore[arg-type]
    )


def test_an_egress_scope_leaves_what_it_names_and_what_routes_of_that_lead_to() -> None:
    lead = routes("frontend", rules=[rule(to("reservations"))])
    mesh = mesh_of(*FACTS, egress(("bistro", host("frontend"))))
    assert seen(mesh, KITCHENS) == {"frontend"}
    assert seen(mesh, BISTRO) == {"frontend", "reservations", "kitchen"}
    mesh = mesh_of(*FACTS, lead, egress(("bistro", host("frontend"))))
    assert seen(mesh, KITCHENS) == {"frontend", "reservations"}
    mesh = mesh_of(*FACTS, egress(("*", "*.bistro.svc.cluster.local")))
    assert seen(mesh, KITCHENS) == {"frontend", "reservations"}


def test_of_egress_scopes_the_narrowest_holds() -> None:
    everywhere = egress(("*", host("frontend")), namespace="istio-system")
    mesh = mesh_of(*FACTS, everywhere)
    assert seen(mesh, KITCHENS) == seen(mesh, BISTRO) == {"frontend"}
    mesh = mesh_of(*FACTS, everywhere, egress(("*", host("reservations"))), egress(("*", "*"), app="waiter"))
    assert (seen(mesh, BISTRO), seen(mesh, KITCHENS)) == ({"frontend"}, {"reservations"})
    assert seen(mesh, TABLES) == {"frontend", "reservations", "kitchen"}


def test_an_egress_scope_may_shut_the_way_out() -> None:
    mesh = mesh_of(*FACTS, egress(outbound_traffic_policy=OutboundTrafficPolicy.ALLOW_ANY))
    assert view(mesh, KITCHENS).settings.outbound_traffic_policy is OutboundTrafficPolicy.ALLOW_ANY
    assert view(mesh, BISTRO).settings.outbound_traffic_policy is OutboundTrafficPolicy.REGISTRY_ONLY
    assert seen(mesh, KITCHENS) == seen(mesh, BISTRO)


def test_equal_scopes_have_equal_labels() -> None:
    mesh = mesh_of(*FACTS, egress(("*", host("frontend"))))
    found = scopes(mesh)
    assert found.of("kitchens", ()).label == found.of("kitchens", (("app", "x"),)).label
    assert found.of("bistro", ()).label == ()


def codes(*facts: Fact, policy: OutboundTrafficPolicy = OutboundTrafficPolicy.REGISTRY_ONLY) -> list[str]:
    return [one.code for one in merge((*FACTS, *facts), replace(SETTINGS, outbound_traffic_policy=policy))[1]]


def test_what_an_egress_scope_names_or_selects_in_vain_is_told() -> None:
    assert codes(egress(("bistro", "*"), app="waiter")) == []
    assert codes(egress(("bistro", "*"), app="nobody")) == ["sidecar.no-workloads"]
    assert codes(egress(("bistro", host("kitchen")))) == ["egress.unknown-host"]
    first, second = egress(("*", "*")), egress(("*", "*"))
    second = replace(second, origin=origin("Sidecar", "second", "spec", "kitchens"))
    assert codes(first, second) == ["sidecar.said-twice"]
    assert codes(egress(("*", "*"), namespace="istio-system", app="kitchen")) == ["sidecar.selector-in-root"]
    for wanted in OutboundTrafficPolicy:
        for given in OutboundTrafficPolicy:
            told = codes(egress(outbound_traffic_policy=wanted), policy=given)
            assert told == ([] if wanted is given else ["sidecar.outbound-policy"])


def test_settings_for_some_clients_are_heeded_in_their_own_namespace_alone() -> None:
    chosen = replace(destination("reservations", "v9", name="chosen"), clients=(("app", "frontend"),))
    mesh = mesh_of(*FACTS, destination("reservations", "v1"), chosen)

    def subsets(of: Replica) -> set[str]:
        return {one.key.subset for one in told(mesh, of).clusters if one.key.host == HOST}

    other = workload("other", app="frontend", namespace="kitchens")
    assert (subsets(BISTRO), subsets(replica(other)), subsets(replica(RESERVATIONS))) == (
        {"", "v9"},
        {"", "v1"},
        {"", "v1"},
    )
    assert codes(replace(chosen, clients=(("app", "nobody"),))) == [
        "destination.no-clients",
        "destination.empty-subset",
    ]


def test_what_clients_of_another_namespace_say_is_no_error_of_the_routes_that_they_see() -> None:
    """An object with an error keeps its last version: nobody else may bring that about."""
    facts = (
        *FACTS,
        destination("reservations", "v1"),
        routes("reservations", rules=[rule(to("reservations", "v1"))]),
    )
    _, findings = merge((*facts, destination("reservations", "v2", namespace="kitchens")), SETTINGS)
    (found,) = [one for one in findings if one.code == "route.missing-subset"]
    assert found.severity is Severity.WARNING
    assert "for clients in namespace kitchens" in found.message
    _, findings = merge((*FACTS, routes("reservations", rules=[rule(to("reservations", "v1"))])), SETTINGS)
    assert [one.severity for one in findings if one.code == "route.missing-subset"] == [Severity.ERROR]
