"""Rendering: the same bytes every time, made once, and only what changed is new."""

from __future__ import annotations

import os
import subprocess
import sys
import weakref
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy import api
from plait.envoy.render import Renderer
from plait.model.catalog import Protocol
from plait.model.names import ObjectRef, Origin, ReplicaKey
from plait.model.policy import Action, MtlsMode, Operation
from plait.model.reading import Fact
from plait.model.telemetry import LogRule, Observed, Telemetry, TracingRule
from plait.model.traffic import OutlierDetection, TrafficPolicy
from plait.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    LISTENER,
    ROUTES,
    SCOPED_ROUTES,
    Layered,
    Layers,
    Resource,
    Snapshot,
)
from tests.compiler.facts import (
    SETTINGS,
    allows,
    destination,
    hidden,
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
from tests.envoy.cases import BISTRO, CASES, FRONTEND, REPLICAS, V1, V2

ALLOW = policy("allow", Action.ALLOW, allows(principal("frontend")), app="reservations")
SPLIT = routes("reservations", rules=[rule(to("reservations", "v1"))])


def render(renderer: Renderer, *facts: Fact) -> dict[ReplicaKey, Snapshot]:
    mesh, _ = merge(facts, SETTINGS)
    found = endpoints(mesh, REPLICAS)
    snapshots: dict[ReplicaKey, Snapshot] = {
        one.key: renderer.render(view(mesh, one), found) for one in REPLICAS
    }
    renderer.sweep()
    return snapshots


def changed(before: Snapshot, after: Snapshot) -> set[tuple[str, str]]:
    return {
        (type_url, name)
        for type_url in before
        for name in before[type_url].keys() | after[type_url].keys()
        if before[type_url].get(name) != after[type_url].get(name)
    }


def digest(snapshot: Snapshot) -> str:
    found = sha256()
    for type_url, resources in snapshot.items():
        for name, resource in resources.items():
            found.update(f"{type_url} {name} {resource.version}\n".encode() + resource.framed)
    return found.hexdigest()


def all_digests() -> str:
    return " ".join(digest(case.snapshot()) for case in CASES.values())


def test_the_bytes_are_the_same_in_every_process() -> None:
    program = "from tests.envoy.test_render import all_digests; print(all_digests())"
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        assert run.stdout.strip() == all_digests()


def test_a_rebuild_that_changes_nothing_makes_nothing() -> None:
    renderer = Renderer()
    before, after = (render(renderer, *BISTRO, ALLOW, SPLIT) for _ in range(2))
    for one in REPLICAS:
        for type_url, resources in before[one.key].items():
            for name, resource in resources.items():
                assert after[one.key][type_url][name] is resource


def test_what_is_no_longer_used_is_forgotten() -> None:
    renderer = Renderer()
    name = "outbound|8080|reservations.bistro.svc.cluster.local"
    first = weakref.ref(render(renderer, *BISTRO, SPLIT)[REPLICAS[0].key][ROUTES][name])
    assert first() is not None
    for _ in range(2):
        render(renderer, *BISTRO)
    assert first() is None


def test_a_changed_route_is_one_resource_the_same_for_every_proxy() -> None:
    renderer = Renderer()
    before = render(renderer, *BISTRO, SPLIT)
    after = render(renderer, *BISTRO, routes("reservations", rules=[rule(to("reservations", "v2"))]))
    for one in REPLICAS:
        assert changed(before[one.key], after[one.key]) == {
            (ROUTES, "outbound|8080|reservations.bistro.svc.cluster.local")
        }
    resources = {
        id(after[one.key][ROUTES]["outbound|8080|reservations.bistro.svc.cluster.local"]) for one in REPLICAS
    }
    assert len(resources) == 1


def test_a_changed_policy_is_one_resource_of_the_workloads_under_it_and_never_a_listener() -> None:
    renderer = Renderer()
    before, after = render(renderer, *BISTRO), render(renderer, *BISTRO, ALLOW)
    frontend, v1, v2 = (one.key for one in REPLICAS)
    assert changed(before[frontend], after[frontend]) == set()
    assert changed(before[v1], after[v1]) == changed(before[v2], after[v2]) == {(ROUTES, "inbound|8080||")}


NEAR, FAR = (
    workload(name, app="both", account=name, locality=place)
    for name, place in (("near", "r.z"), ("far", "q.z"))
)
PLACES = (replica(NEAR), replica(FAR), replica(NEAR, 1))


def test_of_clients_in_several_places_only_endpoints_differ_where_somebody_asks() -> None:
    renderer = Renderer()
    careful = destination("both", policy=TrafficPolicy(outliers=OutlierDetection()))
    mesh, _ = merge((NEAR, FAR, service("both"), service("other", app="both"), careful), SETTINGS)
    before, after = endpoints(mesh, PLACES[:2]), endpoints(mesh, PLACES)
    told = [renderer.render(view(mesh, one), before) for one in PLACES]
    both, other = (
        (ENDPOINTS, f"outbound|8080||{name}.bistro.svc.cluster.local") for name in ("both", "other")
    )
    assert changed(told[0], told[1]) == {both}
    assert told[0].shared is told[2].shared
    assert all(told[0][kind].table is told[1][kind].table for kind in (CLUSTER, ROUTES, SCOPED_ROUTES))
    for one, said in zip(PLACES, told, strict=True):
        assert changed(said, renderer.render(view(mesh, one), after)) == {both, other}


DATABASE = workload("database", listens(5432, Protocol.TCP), listens(9000, Protocol.UNDECLARED))
HIDDEN = (hidden(workload("frontend"), "198.18.0.1"), hidden(DATABASE, "198.18.0.2"))
CALLED = (DATABASE, service("database", port(5432, Protocol.TCP), port(9000, Protocol.UNDECLARED)))


def render_hidden(renderer: Renderer, *facts: Fact) -> tuple[Snapshot, Snapshot]:
    mesh, _ = merge(facts, SETTINGS)
    client, server = (renderer.render(view(mesh, one), endpoints(mesh, HIDDEN)) for one in HIDDEN)
    renderer.sweep()
    return client, server


def test_a_policy_over_connections_is_one_resource_a_port_and_a_mark_of_its_filter_chain() -> None:
    renderer = Renderer()
    before, after = render_hidden(renderer, *CALLED), render_hidden(renderer, *CALLED, policy("nobody"))
    assert changed(before[0], after[0]) == {(ROUTES, "inbound|8080||")}
    assert changed(before[1], after[1]) == {
        (EXTENSION, "inbound|5432||"), (EXTENSION, "inbound|9000||"), (ROUTES, "inbound|9000||"),
        (LISTENER, "inbound"),
    }  # fmt: skip
    now, then = (api.parse(LISTENER, one[1][LISTENER]["inbound"].body) for one in (before, after))
    assert [chain.name for chain in then.filter_chains if chain not in now.filter_chains] == [
        "inbound|5432||mtls",
        "inbound|9000||mtls",
    ]
    for chain in then.filter_chains:
        chain.ClearField("metadata")
    assert then == now


def test_what_does_not_count_has_listeners_without_those_logs_and_shares_them_with_its_like() -> None:
    """And a proxy of which nothing is said is told what it ever is, the very same."""
    renderer, silent = Renderer(), Observed(metrics=False)
    mesh, _ = merge((workload("frontend"), workload("other"), *CALLED), SETTINGS)
    places = (*HIDDEN, hidden(workload("other"), "198.18.0.3"))
    found = endpoints(mesh, places)

    def told(*silenced: int) -> list[Layered]:
        views = [view(mesh, one) for one in places]
        return [
            renderer.render(replace(one, client=silent, server=silent) if at in silenced else one, found)
            for at, one in enumerate(views)
        ]

    def counting(said: Layered, what: bytes) -> set[str]:
        return {name for name, one in said[LISTENER].items() if what in one.body}

    before, after = told(), told(0, 2)
    for at, counts in enumerate((False, True, False)):
        assert bool(counting(after[at], b"request_duration_milliseconds")) is counts
        assert bool(counting(after[at], b"tcp_sent_bytes_total")) is counts
        assert "inbound" in counting(after[at], b"denied_total")
    assert after[0].shared is after[2].shared
    assert after[1].shared is before[1].shared


def test_a_policy_that_says_nothing_of_connections_changes_no_listener() -> None:
    renderer = Renderer()
    one, more = allows(principal("frontend")), allows(operations=[Operation(methods=("GET",))], index=1)
    before, after = (
        render_hidden(renderer, *CALLED, policy("some", Action.ALLOW, *rules))
        for rules in ([one], [one, more])
    )
    assert changed(before[1], after[1]) == {(ROUTES, "inbound|9000||")}


def test_a_changed_limit_is_the_routes_of_a_port_and_nothing_where_there_is_no_http() -> None:
    renderer = Renderer()
    before, after = (render_hidden(renderer, *CALLED, *some) for some in ((), (limited("all", limit(5)),)))
    assert changed(before[0], after[0]) == {(ROUTES, "inbound|8080||")}
    assert changed(before[1], after[1]) == {(ROUTES, "inbound|9000||")}
    other = render_hidden(renderer, *CALLED, limited("all", limit(6)))
    assert changed(after[1], other[1]) == {(ROUTES, "inbound|9000||")}
    assert render_hidden(renderer, *CALLED)[1] == before[1]


def test_a_new_service_of_tcp_is_one_more_listener_and_changes_none() -> None:
    renderer = Renderer()
    more = service("more", port(6000, Protocol.TCP, 5432), app="database")
    before, after = render_hidden(renderer, *CALLED), render_hidden(renderer, *CALLED, more)
    of_host = "more.bistro.svc.cluster.local"
    assert changed(before[0], after[0]) == {
        (CLUSTER, f"outbound|6000||{of_host}"),
        (ENDPOINTS, f"outbound|6000||{of_host}"),
        (LISTENER, f"outbound|6000|{of_host}"),
    }


def test_disabling_mutual_tls_changes_endpoints_and_the_own_listener_and_no_cluster() -> None:
    renderer = Renderer()
    before = render(renderer, *BISTRO)
    after = render(renderer, *BISTRO, peers("off", MtlsMode.DISABLE, app="frontend"))
    frontend, v1, _ = (one.key for one in REPLICAS)
    told = {(ENDPOINTS, "outbound|8080||frontend.bistro.svc.cluster.local")}
    assert changed(before[v1], after[v1]) == told
    assert changed(before[frontend], after[frontend]) == told | {(LISTENER, "inbound")}


LOG = LogRule(providers=("envoy",), origin=origin("Telemetry", "logs"))


def logging(name: str = "logs", **fields: Any) -> Telemetry:
    found = Telemetry(namespace="bistro", name=name, logs=(LOG,), origin=origin("Telemetry", name))
    return replace(found, **fields)


def test_an_access_log_is_listeners_of_those_who_write_it_and_nothing_else() -> None:
    renderer = Renderer()
    before = render(renderer, *BISTRO)
    after = render(renderer, *BISTRO, logging(selector=(("version", "v1"),)))
    for one, (first, then) in zip(REPLICAS, zip(before.values(), after.values(), strict=True), strict=True):
        listeners = {(LISTENER, "inbound"), (LISTENER, "outbound")} if one is REPLICAS[1] else set()
        assert changed(first, then) == listeners
    again = render(renderer, *BISTRO)
    assert all(not changed(first, then) for first, then in zip(before.values(), again.values(), strict=True))


def test_how_many_requests_are_traced_changes_no_listener() -> None:
    renderer = Renderer()
    before = render(renderer, *BISTRO)
    rule = TracingRule(sampled=50.0, origin=origin("Telemetry", "spans"))
    after = render(renderer, *BISTRO, logging("spans", logs=(), tracing=(rule,)))
    for first, then in zip(before.values(), after.values(), strict=True):
        assert not [name for kind, name in changed(first, then) if kind == LISTENER]


def test_hidden_proxies_that_log_alike_share_the_listeners_of_what_they_send() -> None:
    alike = [hidden(one, f"198.18.0.{number}") for number, one in enumerate((FRONTEND, V1, V2), 1)]
    mesh, _ = merge((*BISTRO, logging(selector=(("app", "reservations"),))), SETTINGS)
    found, renderer = endpoints(mesh, alike), Renderer()
    frontend, first, second = (renderer.render(view(mesh, one), found).shared for one in alike)
    assert first is second
    tables = [one.of_type[LISTENER] for one in (frontend, first)]
    assert tables[0] is not tables[1]
    assert frontend.of_type[CLUSTER] is first.of_type[CLUSTER]
    plain, _ = merge(BISTRO, SETTINGS)
    untold = renderer.render(view(plain, alike[0]), endpoints(plain, alike)).shared.of_type[LISTENER]
    assert [one.version for one in untold.resources.values()] == [
        one.version for one in tables[0].resources.values()
    ]


def test_where_something_was_written_is_not_part_of_what_is_sent() -> None:
    renderer = Renderer()
    before = render(renderer, *BISTRO, SPLIT)
    moved = Origin(ObjectRef("networking.istio.io", "VirtualService", "bistro", "other"), "spec.http[7]")
    after = render(renderer, *BISTRO, replace(SPLIT, origin=moved))
    for one in REPLICAS:
        assert changed(before[one.key], after[one.key]) == set()
    name = "outbound|8080|reservations.bistro.svc.cluster.local"
    assert moved in after[REPLICAS[0].key][ROUTES][name].origins


def test_proxies_share_the_very_same_tables_from_build_to_build() -> None:
    renderer = Renderer()
    snapshots = [snapshot for _ in range(2) for snapshot in render(renderer, *BISTRO).values()]
    for kind in (CLUSTER, ENDPOINTS, SCOPED_ROUTES, ROUTES):
        tables = [Layers.of(snapshot[kind]).table for snapshot in snapshots]
        assert tables[0].resources
        assert all(table is tables[0] for table in tables)


def test_every_cluster_has_endpoints_though_nobody_serves() -> None:
    mesh, _ = merge((*BISTRO, service("idle"), workload("idle")), SETTINGS)
    snapshot = Renderer().render(view(mesh, REPLICAS[0]), {})
    outbound = {name for name in snapshot[CLUSTER] if name.startswith("outbound")}
    assert outbound == set(snapshot[ENDPOINTS])
    assert all(not body(one).endpoints for one in snapshot[ENDPOINTS].values())


def test_a_cluster_without_identities_trusts_nobody() -> None:
    mesh, _ = merge((service("empty"), workload("frontend")), SETTINGS)
    cluster = Renderer().render(view(mesh, REPLICAS[0]), {})[CLUSTER][
        "outbound|8080||empty.bistro.svc.cluster.local"
    ]
    assert b"spiffe://cluster.local/plait/nobody" in cluster.body


@pytest.mark.parametrize("type_url", [CLUSTER, ENDPOINTS, LISTENER, ROUTES, SCOPED_ROUTES])
def test_a_framed_resource_is_its_name_version_and_body(type_url: str) -> None:
    for name, one in CASES["plain"].snapshot()[type_url].items():
        (framed,) = (
            api.message("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(one.framed).resources
        )
        assert (framed.name, framed.version) == (name, one.version)
        assert (framed.resource.type_url, framed.resource.value) == (type_url, one.body)


def body(resource: Resource) -> Any:
    return api.parse(resource.type_url, resource.body)
