"""view: what one proxy is told, and that what is told to all is the very same object."""

import pytest

from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.compiler.virtual_addresses import virtual_addresses
from plait.model.catalog import Protocol
from plait.model.mesh import ClusterKey, Mesh, OutboundRoutes, ServiceName, View
from plait.model.names import Identity
from plait.model.policy import MtlsMode, PeerAuthentication
from plait.model.reading import Fact
from tests.compiler.facts import (
    SETTINGS,
    destination,
    hidden,
    host,
    listens,
    peers,
    policy,
    port,
    replica,
    routes,
    rule,
    service,
    to,
    workload,
)

FRONTEND = workload("frontend")
V1 = workload("reservations-v1", app="reservations", version="v1")
V2 = workload("reservations-v2", app="reservations", version="v2", account="next")
BISTRO: tuple[Fact, ...] = (FRONTEND, V1, V2, service("frontend"), service("reservations"))


def mesh_of(*facts: Fact) -> Mesh:
    return merge(facts, SETTINGS)[0]


def seen(*facts: Fact, by: Fact = FRONTEND) -> View:
    assert isinstance(by, type(FRONTEND))
    return view(mesh_of(*facts), replica(by))


def route(found: View, authority: str) -> OutboundRoutes:
    texts = {text: (of, number) for text, of, number in found.outbound.authorities}
    return next(one for one in found.outbound.routes if (one.host, one.port) == texts[authority])


def shares(found: View, authority: str) -> list[tuple[str, int, str]]:
    return [
        (one.host, one.port, one.subset) for rule in route(found, authority).rules for one in rule.backends
    ]


def test_what_all_proxies_are_told_is_made_once() -> None:
    mesh = mesh_of(*BISTRO)
    one, other = view(mesh, replica(FRONTEND)), view(mesh, replica(V1))
    assert one.outbound.clusters is other.outbound.clusters
    assert one.outbound.routes is other.outbound.routes
    assert one.outbound.authorities is other.outbound.authorities


def test_a_service_is_called_by_every_alias_and_without_port_only_for_80() -> None:
    elsewhere = service("shop", port(80), namespace="market", selector=(("app", "shop"),))
    texts = {text: (of, number) for text, of, number in seen(*BISTRO, elsewhere).outbound.authorities}
    for alias in ("reservations", "reservations.bistro", "reservations.bistro.svc", host("reservations")):
        assert texts[f"{alias}:8080"] == (host("reservations"), 8080)
        assert alias not in texts
    assert texts["shop.market"] == texts["shop.market:80"] == (host("shop", "market"), 80)
    assert "shop" not in texts


def test_without_rules_everything_goes_to_the_port_that_was_called() -> None:
    found = seen(*BISTRO)
    assert shares(found, "reservations:8080") == [(host("reservations"), 8080, "")]
    assert route(found, "reservations:8080").rules[0].match is None


def test_a_backend_without_port_means_the_only_port_or_the_one_called() -> None:
    two = (workload("two", listens(80), listens(81)), service("two", port(80), port(81)))
    found = seen(*BISTRO, *two, routes("two", rules=[rule(to("two"), to("reservations"))]))
    assert shares(found, "two:81") == [(host("two"), 81, ""), (host("reservations"), 8080, "")]
    assert shares(found, "two") == [(host("two"), 80, ""), (host("reservations"), 8080, "")]


def test_a_backend_that_does_not_exist_stays_and_is_named() -> None:
    found = seen(*BISTRO, routes("reservations", rules=[rule(to("reservations", "v9"), to("nobody"))]))
    missing = (ClusterKey(host("nobody"), 8080), ClusterKey(host("reservations"), 8080, "v9"))
    assert found.outbound.missing == missing
    assert not {cluster.key for cluster in found.outbound.clusters} & set(missing)
    assert len(route(found, "reservations:8080").rules[0].backends) == 2


def test_a_wildcard_owns_the_services_that_nobody_owns_more_closely() -> None:
    everything = routes("*", rules=[rule(to("frontend"))], name="everything")
    namespace = routes("*.bistro.svc.cluster.local", rules=[rule(to("reservations"))], name="namespace")
    exact = routes("frontend", rules=[rule(to("frontend"))], name="exact")
    outside = service("shop", namespace="market")
    found = seen(*BISTRO, outside, everything, namespace, exact)
    assert route(found, "reservations:8080").origins[0].ref.name == "namespace"
    assert route(found, "frontend:8080").origins[0].ref.name == "exact"
    assert route(found, "shop.market:8080").origins[0].ref.name == "everything"


def test_a_host_that_is_no_service_is_called_at_80_and_at_the_ports_of_its_backends() -> None:
    found = seen(*BISTRO, routes("shop.example", "booking", rules=[rule(to("reservations"))]))
    for authority in (
        "shop.example",
        "shop.example:80",
        "shop.example:8080",
        "booking",
        "booking.bistro:8080",
    ):
        assert shares(found, authority) == [(host("reservations"), 8080, "")]


def test_clusters_stand_for_ports_and_subsets_and_know_who_may_answer() -> None:
    found = {one.key: one for one in seen(*BISTRO, destination("reservations", "v1", "v2")).outbound.clusters}
    account = Identity("cluster.local", "bistro", "reservations")
    following = Identity("cluster.local", "bistro", "next")
    assert found[ClusterKey(host("reservations"), 8080)].identities == (following, account)
    assert found[ClusterKey(host("reservations"), 8080, "v1")].identities == (account,)
    assert found[ClusterKey(host("reservations"), 8080, "v2")].identities == (following,)


def test_ports_that_are_not_http_are_no_clusters() -> None:
    database = service("database", port(5432, Protocol.TCP))
    assert not [one for one in seen(*BISTRO, database).outbound.clusters if one.key.host == host("database")]


def test_an_inbound_port_knows_the_services_and_policies_over_it() -> None:
    facts = (
        *BISTRO,
        service("admin", port(80, target=8080), app="reservations"),
        policy("all"),
        policy("own", app="reservations"),
        policy("other", app="frontend"),
        policy("mesh", namespace=SETTINGS.root_namespace),
        policy("elsewhere", namespace="market"),
    )
    (inbound,) = seen(*facts, by=V1).inbound
    assert inbound.services == (
        ServiceName(host=host("admin"), namespace="bistro", name="admin"),
        ServiceName(host=host("reservations"), namespace="bistro", name="reservations"),
    )
    assert [one.name for one in inbound.policies] == ["all", "own", "mesh"]
    assert (inbound.address, inbound.port, inbound.app_address) == ("127.77.0.1", 8080, "127.78.0.1")


def test_a_port_speaks_http_when_a_service_in_front_says_so() -> None:
    (inbound,) = seen(
        workload("one", listens(8080, Protocol.TCP)),
        service("one"),
        by=workload("one", listens(8080, Protocol.TCP)),
    ).inbound
    assert inbound.protocol is Protocol.HTTP


def test_udp_ports_are_no_inbound_ports() -> None:
    dns = workload("dns", listens(53, Protocol.UDP), listens(80))
    assert [one.number for one in seen(dns, by=dns).inbound] == [80]


ROOT = SETTINGS.root_namespace


@pytest.mark.parametrize(
    ("said", "mode"),
    [
        ((), MtlsMode.STRICT),
        ((peers("mesh", MtlsMode.DISABLE, namespace=ROOT),), MtlsMode.DISABLE),
        (
            (peers("mesh", MtlsMode.DISABLE, namespace=ROOT), peers("ns", MtlsMode.PERMISSIVE)),
            MtlsMode.PERMISSIVE,
        ),
        (
            (peers("ns", MtlsMode.PERMISSIVE), peers("own", MtlsMode.DISABLE, app="frontend")),
            MtlsMode.DISABLE,
        ),
        (
            (peers("own", MtlsMode.DISABLE, (8080, MtlsMode.PERMISSIVE), app="frontend"),),
            MtlsMode.PERMISSIVE,
        ),
        ((peers("own", MtlsMode.DISABLE, (81, MtlsMode.PERMISSIVE), app="frontend"),), MtlsMode.DISABLE),
        ((peers("ns", MtlsMode.PERMISSIVE), peers("own", None, app="frontend")), MtlsMode.PERMISSIVE),
        ((peers("ns", MtlsMode.STRICT, (8080, MtlsMode.DISABLE)),), MtlsMode.STRICT),
        ((peers("a", MtlsMode.PERMISSIVE), peers("b", MtlsMode.DISABLE)), MtlsMode.PERMISSIVE),
        ((peers("elsewhere", MtlsMode.DISABLE, namespace="market"),), MtlsMode.STRICT),
        ((peers("mesh", MtlsMode.DISABLE, namespace="istio-system"),), MtlsMode.DISABLE),
        ((peers("mesh", MtlsMode.DISABLE, namespace="istio-system", app="frontend"),), MtlsMode.STRICT),
    ],
)
def test_the_narrowest_scope_says_the_mode_of_mutual_tls(
    said: tuple[PeerAuthentication, ...], mode: MtlsMode
) -> None:
    (inbound,) = seen(*BISTRO, *said).inbound
    assert inbound.mtls is mode


DATABASE = workload("database", listens(5432, Protocol.TCP), listens(9000, Protocol.UNDECLARED))
PORTS = (port(5432, Protocol.TCP), port(9000, Protocol.UNDECLARED), port(53, Protocol.UDP))


def hidden_view(*facts: Fact) -> View:
    return view(mesh_of(*facts), hidden(FRONTEND, "198.18.0.1"))


def test_in_transparent_mode_a_host_is_called_by_its_address() -> None:
    shop = service("shop", port(80), app="frontend")
    found = hidden_view(*BISTRO, shop, routes("shop.example", rules=[rule(to("shop"))]))
    texts = {text: (of, number) for text, of, number in found.outbound.authorities}
    addresses = virtual_addresses(mesh_of(*BISTRO, shop, routes("shop.example", rules=[rule(to("shop"))])))
    assert texts[f"{addresses[host('reservations')]}:8080"] == (host("reservations"), 8080)
    assert texts[f"{addresses[host('shop')]}:80"] == (host("shop"), 80)
    assert texts[f"{addresses['shop.example']}:80"] == ("shop.example", 80)
    assert len(texts) == 4  # and the frontend


def test_only_in_transparent_mode_is_called_what_may_be_no_http() -> None:
    facts = (*BISTRO, DATABASE, service("database", *PORTS), destination("database", "v1"))
    found = hidden_view(*facts)
    address = virtual_addresses(mesh_of(*facts))[host("database")]
    assert [(one.port, one.protocol, one.address) for one in found.outbound.tcp] == [
        (5432, Protocol.TCP, address), (9000, Protocol.UNDECLARED, address),
    ]  # fmt: skip
    keys = {one.key for one in found.outbound.clusters if one.key.host == host("database")}
    assert keys == {
        ClusterKey(host("database"), 5432),
        ClusterKey(host("database"), 9000),
        ClusterKey(host("database"), 9000, "v1"),
    }
    assert [one.port for one in found.outbound.routes if one.host == host("database")] == [9000]
    assert (f"{address}:9000", host("database"), 9000) in found.outbound.authorities
    explicit = seen(*facts)
    assert explicit.outbound.tcp == ()
    assert not [one for one in explicit.outbound.clusters if one.key.host == host("database")]
    assert not [text for text, of, _ in explicit.outbound.authorities if of == host("database")]


def test_a_route_to_an_undeclared_port_leads_nowhere_in_explicit_mode_alone() -> None:
    facts = (*BISTRO, DATABASE, service("database", port(9000, Protocol.UNDECLARED)))
    routed = routes("shop.example", rules=[rule(to("database"))])
    assert seen(*facts, routed).outbound.missing == (ClusterKey(host("database"), 9000),)
    assert hidden_view(*facts, routed).outbound.missing == ()
    assert {
        one.port for one in hidden_view(*facts, routed).outbound.routes if one.host == "shop.example"
    } == {
        80,
        9000,
    }
