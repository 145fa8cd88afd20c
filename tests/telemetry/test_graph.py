"""The picture: who is in it, what is on its edges, and what is said of what does not move."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from plait.codec import Codec
from plait.envoy import labels
from plait.model.catalog import Protocol, Service, ServicePort
from plait.model.names import ObjectRef, Origin, WorkloadKey
from plait.telemetry import database
from plait.telemetry.graph import Edge, Graph, ProcessUse, Standing, graph
from plait.telemetry.kept import seen
from plait.telemetry.reports import Pool, Traffic, Usage
from plait.telemetry.store import Store
from tests.telemetry.said import Clock, http, opened, report


def service(namespace: str, name: str) -> Service:
    port = ServicePort(name="http", number=80, protocol=Protocol.HTTP, target=80)
    origin = Origin(ObjectRef("", "Service", namespace, name))
    return Service(namespace=namespace, name=name, ports=(port,), selector=(("app", name),), origin=origin)


def stands(namespace: str, name: str, *services: str, replicas: int = 1) -> Standing:
    version = name.partition("-")[2]
    return Standing(
        key=WorkloadKey(namespace, name), version=version, replicas=replicas, services=tuple(services)
    )


MENU = "menu.shop.svc.cluster.local"
BANK = "bank.money.svc.cluster.local"
SERVICES = (service("shop", "menu"), service("shop", "idle"), service("money", "bank"))
WORKLOADS = (
    stands("shop", "guest"),
    stands("shop", "menu-v1", MENU),
    stands("shop", "menu-v2", MENU, replicas=2),
    stands("shop", "idle", "idle.shop.svc.cluster.local"),
    stands("money", "bank", BANK),
    stands("money", "vault"),
)


class Town:
    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock

    async def reported(self, workload: str, *traffic: Traffic, **more: object) -> None:
        self.store.take(report(workload, *traffic, at=self.clock.now + 5, **more))  # type: ignore[arg-type]  # passed on as they are

    async def later(self, seconds: float = 5) -> None:
        self.clock.now += seconds
        await self.store.write(self.clock.now)

    async def seen(self, window: float = 60, namespace: str = "", until: float | None = None) -> Graph:
        return graph(await seen(self.store, window, until), SERVICES, WORKLOADS, namespace=namespace)


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    clock = Clock()
    async with opened(tmp_path, clock) as store:
        yield Town(store, clock)


def ends(edge: Edge) -> tuple[str, str, str]:
    return edge.source, edge.service.partition(".")[0], edge.destination_version


async def test_workloads_and_services_stand_there_before_anybody_calls(town: Town) -> None:
    found = await town.seen()
    assert [(one.name, one.external) for one in found.services] == [
        ("bank", False),
        ("idle", False),
        ("menu", False),
    ]
    assert [(one.name, one.version, one.replicas) for one in found.workloads] == [
        ("bank", "", 1), ("vault", "", 1), ("guest", "", 1), ("idle", "", 1), ("menu-v1", "v1", 1), ("menu-v2", "v2", 2),
    ]  # fmt: skip
    assert (found.edges, found.heard) == ((), 0)
    assert all(one.sidecar == ProcessUse() for one in found.workloads)


async def test_an_edge_leads_to_each_version_with_its_own_signals(town: Town) -> None:
    v1 = http("destination", "shop/guest", "shop/menu-v1", *[10.0] * 4, service="shop/menu")
    v2 = http("destination", "shop/guest", "shop/menu-v2", 200.0, service="shop/menu", code="500")
    source = http("source", "shop/guest", "shop/menu-v1", *[11.0] * 4, service="shop/menu")
    await town.reported("shop/menu-v1", v1)
    await town.reported("shop/menu-v2", v2)
    await town.reported("shop/guest", source)
    await town.later()
    found = await town.seen()
    assert [ends(edge) for edge in found.edges] == [("guest", "menu", "v1"), ("guest", "menu", "v2")]
    first, second = found.edges
    assert (first.mtls, first.idle, first.protocol) == (True, False, "http")
    assert (first.signals.rate, first.signals.error_share) == (0.8, 0.0)
    assert first.signals.p50_ms == pytest.approx(10, rel=0.05)
    assert second.signals.error_share == 1.0
    menu = next(one for one in found.services if one.name == "menu")
    assert (menu.signals.requests, menu.signals.error_share) == (5, 0.2)
    assert menu.signals.p99_ms == pytest.approx(200, rel=0.05)
    by_workload = {one.name: one.signals.requests for one in found.workloads}
    assert (by_workload["menu-v1"], by_workload["menu-v2"], by_workload["guest"]) == (4, 1, 0)


async def test_an_edge_is_idle_for_an_hour_and_then_gone(town: Town) -> None:
    await town.reported(
        "shop/menu-v1", http("destination", "shop/guest", "shop/menu-v1", 1.0, service="shop/menu")
    )
    await town.later()
    assert [edge.idle for edge in (await town.seen()).edges] == [False]
    await town.later(600)
    (edge,) = (await town.seen()).edges
    assert (edge.idle, edge.mtls, edge.signals.requests) == (True, True, 0)
    assert [one.idle for one in (await town.seen(window=900)).edges] == [False]
    await town.later(3600)
    assert (await town.seen()).edges == ()


async def test_who_is_refused_is_on_an_edge_even_if_nothing_got_through(town: Town) -> None:
    refused = replace(
        http(
            "destination", "shop/guest", "money/bank", 1.0, 1.0, family="denied", reason="no ALLOW rule holds"
        ),
        durations=(),
    )
    answered = http("destination", "shop/guest", "money/bank", 1.0, 1.0, code="403")
    knocked = replace(
        refused,
        packed=http("destination", "", "money/bank", family="denied", mtls=False, protocol="tcp").packed,
    )
    await town.reported("money/bank", refused, answered, knocked)
    await town.later()
    stranger, edge = (await town.seen()).edges
    assert (edge.source, edge.signals.refused, edge.signals.rate, edge.signals.error_share) == (
        "guest",
        0.4,
        0.4,
        0.0,
    )
    assert (stranger.source, stranger.signals.refused, stranger.mtls) == ("", 0.4, False)


async def test_callers_from_outside_and_who_is_called_outside_are_there_too(town: Town) -> None:
    stranger = http("destination", "", "shop/menu-v1", 1.0, service="shop/menu", mtls=False)
    away = http("source", "shop/guest", "", 1.0)
    groups = labels.packed("http", {"reporter": "source", "other_end": "PassthroughCluster"})
    await town.reported("shop/menu-v1", stranger)
    await town.reported("shop/guest", replace(away, packed=groups))
    await town.later()
    found = await town.seen()
    assert [(edge.source, edge.service, edge.mtls) for edge in found.edges] == [
        ("", MENU, False),
        ("guest", "PassthroughCluster", None),
    ]
    assert [one.host for one in found.services if one.external] == ["PassthroughCluster"]


async def test_tcp_has_bytes_and_connections(town: Town) -> None:
    said = replace(
        http("destination", "shop/guest", "money/bank", family="tcp"), count=5, received=50, sent=500
    )
    await town.reported("money/bank", said)
    await town.later()
    (edge,) = (await town.seen()).edges
    assert (edge.protocol, edge.mtls) == ("tcp", True)
    assert (edge.signals.connections, edge.signals.received, edge.signals.sent) == (1.0, 10.0, 100.0)
    assert edge.signals.error_share is None


async def test_a_namespace_is_shown_with_its_neighbours(town: Town) -> None:
    await town.reported(
        "money/bank",
        http("destination", "shop/guest", "money/bank", 1.0),
        http("destination", "money/vault", "money/bank", 1.0),
    )
    await town.reported(
        "shop/menu-v1", http("destination", "shop/guest", "shop/menu-v1", 1.0, service="shop/menu")
    )
    await town.later()
    found = await town.seen(namespace="money")
    assert [edge.source for edge in found.edges] == ["vault", "guest"]
    assert [one.name for one in found.services] == ["bank"]
    assert [one.name for one in found.workloads] == ["bank", "vault", "guest"]
    assert len((await town.seen(namespace="shop")).edges) == 2


async def test_what_replicas_use_and_pools_hold_is_added_up(town: Town) -> None:
    pool = Pool(cluster=f"outbound|80|v2|{MENU}", connections=3, requests=2, overflowed=0, retried=0)
    for number in range(2):
        usage = Usage(cpu=1.0, memory=1 << 20)
        await town.reported(
            "shop/menu-v2", sidecar=usage, application=Usage(cpu=2.0, memory=7), pools=(pool,), number=number
        )
    await town.later()
    found = await town.seen()
    menu = next(one for one in found.workloads if one.name == "menu-v2")
    assert menu.sidecar == ProcessUse(cpu=0.4, memory=2 << 20)
    assert menu.application == ProcessUse(cpu=0.8, memory=14)
    node = next(one for one in found.services if one.host == MENU)
    assert (node.pool_connections, node.pool_requests) == (6, 4)


async def test_a_picture_goes_through_json_and_comes_back(town: Town) -> None:
    await town.reported(
        "shop/menu-v1", http("destination", "shop/guest", "shop/menu-v1", 1.0, service="shop/menu")
    )
    await town.later()
    found = await town.seen()
    codec: Codec[Graph] = Codec(Graph)
    assert codec.decode(codec.encode(found)) == found


async def test_a_past_is_drawn_as_it_was(town: Town) -> None:
    start = town.clock.now
    pool = Pool(cluster=f"outbound|80|v2|{MENU}", connections=3, requests=2, overflowed=0, retried=0)

    async def minute(caller: str, *milliseconds: float) -> None:
        said = http("destination", caller, "shop/menu-v1", *milliseconds, service="shop/menu")
        usage = Usage(cpu=float(len(milliseconds)), memory=1 << 20)
        await town.reported("shop/menu-v1", said, sidecar=usage, pools=(pool,))
        await town.later(60)

    await minute("shop/guest", 1.0)
    await minute("money/vault", 1.0, 2.0)
    await minute("money/bank", 1.0, 2.0, 3.0)
    then = start + 120
    drawn = await town.seen(until=then)
    assert [(edge.source, edge.idle, edge.signals.requests) for edge in drawn.edges] == [
        ("vault", False, 2),
        ("guest", True, 0),
    ], "who called later is not there yet"
    assert (drawn.window, drawn.heard) == (60, 5)
    assert datetime.fromisoformat(drawn.until).timestamp() == then
    menu = next(one for one in drawn.workloads if one.name == "menu-v1")
    assert (menu.sidecar.cpu, menu.signals.requests) == (0.4, 2)
    assert all((one.pool_connections, one.pool_requests) == (0, 0) for one in drawn.services)
    now = await town.seen()
    assert await town.seen(until=town.clock.now) == await town.seen(until=town.clock.now + 1000) == now
    assert next(one for one in now.services if one.host == MENU).pool_connections == 3


async def test_of_a_past_before_an_hour_there_are_minutes(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database.KEPT, 5, 600)
    start = town.clock.now
    said = http("destination", "shop/guest", "shop/menu-v1", 1.0, service="shop/menu")
    for _ in range(30):
        await town.reported("shop/menu-v1", said)
        await town.later(60)
    drawn = await town.seen(window=60, until=start + 95)
    assert datetime.fromisoformat(drawn.until).timestamp() == start + 60
    assert (drawn.window, drawn.heard, [edge.signals.requests for edge in drawn.edges]) == (60, 5, [1])


@pytest.mark.parametrize("until", [0, 59, 1_000_000_000])
async def test_of_what_the_store_does_not_keep_the_picture_is_empty_and_says_so(
    town: Town, until: float
) -> None:
    await town.reported(
        "shop/menu-v1", http("destination", "shop/guest", "shop/menu-v1", 1.0, service="shop/menu")
    )
    await town.later(60)
    drawn = await town.seen(until=until)
    assert (drawn.heard, drawn.edges, drawn.left_out) == (0, (), False)
    assert datetime.fromisoformat(drawn.until).timestamp() == until // 60 * 60
    assert {one.name for one in drawn.services} == {"menu", "idle", "bank"}


async def test_who_is_there_no_more_is_in_the_picture_of_when_it_was(town: Town) -> None:
    """A version that was replaced still has its share of what there was."""
    for version in ("menu-v0", "menu-v1"):
        said = http("destination", "shop/diner", f"shop/{version}", 1.0, service="shop/menu")
        await town.reported(f"shop/{version}", said)
    await town.later()
    drawn = await town.seen()
    found = {one.name: (one.replicas, one.services, one.signals.requests) for one in drawn.workloads}
    assert found["menu-v0"] == (0, (MENU,), 1)
    assert found["diner"] == (0, (), 0)
    assert found["menu-v1"] == (1, (MENU,), 1)
    await town.later(60)
    assert "menu-v0" not in {one.name for one in (await town.seen()).workloads}
