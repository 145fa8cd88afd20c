"""check: a snapshot that names what it has not is refused."""

from collections.abc import Mapping
from dataclasses import replace

from plait.envoy.check import check
from plait.envoy.render import Renderer
from plait.model.mesh import ClusterKey
from plait.model.telemetry import AccessLog, Collector, Observed, OtlpSink
from plait.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, Resource
from tests.compiler.facts import host, origin
from tests.envoy.cases import CASES

PLAIN = dict(CASES["plain"].snapshot())
RESERVATIONS = host("reservations")


def without(type_url: str, *names: str) -> dict[str, Mapping[str, Resource]]:
    return PLAIN | {type_url: {name: one for name, one in PLAIN[type_url].items() if name not in names}}


def test_a_whole_snapshot_has_no_problem() -> None:
    assert check(PLAIN) == ()


def test_routes_to_clusters_that_are_not_there_are_problems_unless_meant() -> None:
    cluster = f"outbound|8080||{RESERVATIONS}"
    broken = without(CLUSTER, cluster) | {ENDPOINTS: without(ENDPOINTS, cluster)[ENDPOINTS]}
    assert check(broken) == (f"outbound|8080|{RESERVATIONS}: leads to {cluster}, which is no cluster",)
    assert check(broken, [ClusterKey(RESERVATIONS, 8080)]) == ()


def test_weighted_routes_are_looked_at_too() -> None:
    routing = CASES["routing"]
    assert len(check(routing.snapshot())) == len(routing.view().outbound.missing) == 1


def test_a_cluster_and_its_endpoints_come_together() -> None:
    cluster = f"outbound|8080|v1|{RESERVATIONS}"
    assert check(without(ENDPOINTS, cluster)) == (f"{cluster}: a cluster without endpoints resource",)
    assert check(without(CLUSTER, cluster)) == (f"{cluster}: endpoints of no cluster",)


def test_listeners_and_scopes_need_their_routes() -> None:
    problems = check(without(ROUTES, "inbound|8080||", f"outbound|8080|{RESERVATIONS}"))
    assert "inbound: leads to inbound|8080||, which is no route configuration" in problems
    assert (
        f"reservations:8080: leads to outbound|8080|{RESERVATIONS}, which is no route configuration"
        in problems
    )


def test_a_tcp_port_needs_its_cluster_its_admission_and_a_way_out() -> None:
    snapshot = dict(CASES["ports-and-modes"].snapshot())

    def left(type_url: str, name: str) -> tuple[str, ...]:
        return check(
            snapshot | {type_url: {one: of for one, of in snapshot[type_url].items() if one != name}}
        )

    port = "inbound|9000||"
    assert left(CLUSTER, port) == (f"{port}: leads to {port}, which is no cluster",)
    assert left(EXTENSION, port) == (f"inbound: leads to {port}, which is no extension",)
    assert left(CLUSTER, "BlackHoleCluster") == ("inbound: leads to BlackHoleCluster, which is no cluster",)


def test_default_filter_chains_are_looked_at_too() -> None:
    snapshot = dict(CASES["transparent-anywhere"].snapshot())
    left = {name: one for name, one in snapshot[CLUSTER].items() if name != "PassthroughCluster"}
    problems = check(snapshot | {CLUSTER: left})
    assert problems == ("outbound: leads to PassthroughCluster, which is no cluster",)


def test_a_resource_is_what_it_is_kept_as() -> None:
    listener = PLAIN[LISTENER]["outbound"]
    assert len(check(PLAIN | {LISTENER: {"outbound": replace(listener, name="other")}})) == 1


def test_an_access_log_needs_the_cluster_that_it_is_told_to() -> None:
    cluster = f"outbound|8080||{RESERVATIONS}"
    collector = Collector(name="it", host=RESERVATIONS, port=8080, origin=origin("IstioOperator", "it"))
    seen = replace(
        CASES["plain"].view(), server=Observed(logs=(AccessLog(sink=OtlpSink(collector=collector)),))
    )
    snapshot = dict(Renderer().render(seen, {}))
    broken = {
        kind: {
            name: one
            for name, one in snapshot[kind].items()
            if name != cluster or kind not in (CLUSTER, ENDPOINTS)
        }
        for kind in snapshot
    }
    assert check(snapshot) == ()
    assert f"inbound: leads to {cluster}, which is no cluster" in check(broken)
