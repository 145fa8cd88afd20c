"""What the API says of traffic: the picture, and what is asked of the store, by HTTP and by the client."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from plait.api.answers import iso
from plait.api.client import ApiError, Client
from plait.api.services import RefusalView
from plait.telemetry.graph import graph
from plait.telemetry.kept import StoreQueries, seen
from plait.telemetry.prometheus import PrometheusQueries
from plait.telemetry.queries import By, Group, Where
from tests.api.planes import FakePlane, served
from tests.api.test_api import asked
from tests.telemetry.said import NOW, Clock, http, opened, report
from tests.telemetry.test_graph import SERVICES, WORKLOADS

MENU = "menu.shop.svc.cluster.local"
REFUSED = RefusalView(
    source_namespace="shop",
    source="spy",
    source_version="",
    service="bank.money.svc.cluster.local",
    destination_namespace="money",
    destination="bank",
    destination_version="",
    requests=3,
    reason="its token has expired",
    written=None,
)


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[FakePlane]:
    """Two slots of traffic, and between them one in which nobody listened."""
    clock = Clock()
    async with opened(tmp_path, clock) as store:
        for code in ("200", "", "503"):
            if code:
                said = http(
                    "destination", "shop/guest", "shop/menu-v1", 5.0, 5.0, service="shop/menu", code=code
                )
                store.take(report("shop/menu-v1", said, at=clock.now + 5))
            clock.now += 5
            await store.write(clock.now)
        drawn = graph(await seen(store, 60), SERVICES, WORKLOADS)
        async with served(FakePlane(traffic=StoreQueries(store), drawn=drawn)) as made:
            yield made


async def test_the_picture_arrives_as_it_was_drawn(plane: FakePlane) -> None:
    async with Client(plane.socket) as client:
        assert await client.graph(window=300, namespace="shop") == plane.drawn
        assert plane.asked == [(300, "shop", None)]
    status, answer = await asked(plane, "GET", "/v1/graph")
    assert status == 200
    assert isinstance(answer, dict)
    assert set(answer) == {"until", "window", "heard", "left_out", "services", "workloads", "edges"}
    assert plane.asked[-1] == (60, "", None)


async def test_traffic_over_a_window_and_as_it_went(plane: FakePlane) -> None:
    async with Client(plane.socket) as client:
        whole = await client.traffic(By.SERVICE)
        assert (whole.by, whole.window, whole.heard, whole.step, whole.since) == ("service", 60, 10, 0, "")
        (menu,) = whole.groups
        assert (menu.group, menu.signals.requests, menu.signals.error_share) == (Group(service=MENU), 4, 0.5)
        assert menu.points == ()
        history = await client.traffic(
            By.CODE, Where(destination_version="v1"), window=15, step=5, at_least=2
        )
        points = {
            one.group.code: [point and (point.requests, point.error_share) for point in one.points]
            for one in history.groups
        }
        assert points == {"200": [(2, 0), None, (0, None)], "503": [(0, None), None, (2, 1)]}
        assert history.step == 5
        assert (await client.traffic(By.EDGE, Where(source_workload="nobody"))).groups == ()


async def test_a_past_is_asked_for_by_its_end(plane: FakePlane) -> None:
    plane.refused = (REFUSED, replace(REFUSED, service=MENU))
    async with Client(plane.socket) as client:
        first = await client.traffic(By.CODE, window=5, step=5, until=NOW + 7.5)
        assert (first.until, first.window, first.heard) == (iso(NOW + 5), 5, 5)
        assert [(one.group.code, len(one.points)) for one in first.groups] == [("200", 1)]
        later = await client.traffic(By.CODE, window=600, until=NOW + 10_000)
        assert (later.until, [one.group.code for one in later.groups]) == (iso(NOW + 15), ["200", "503"])
        never = await client.traffic(By.CODE, window=60, step=60, until=1000)
        assert (never.heard, never.groups, never.until) == (0, (), iso(960))
        await client.graph(until=NOW + 7.5)
        assert await client.refusals(window=30, service=MENU, until=NOW) == plane.refused[1:]
    assert plane.asked == [(60, "", NOW + 7.5), (30, MENU, NOW)]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("graph?window=0", "window must be between"),
        ("graph?window=90000", "window must be between"),
        ("graph?windwo=60", "windwo is none of namespace, until, window"),
        ("graph?until=yesterday", "until must be seconds"),
        ("refusals?until=-1", "until must be seconds"),
        ("traffic?by=luck", "by must be one of service, version, edge, code, refusal"),
        ("traffic?step=soon", "step must be a number"),
        ("traffic?destination=menu", "destination is none of"),
    ],
)
async def test_what_can_not_be_asked_is_refused(plane: FakePlane, path: str, said: str) -> None:
    status, answer = await asked(plane, "GET", f"/v1/{path}")
    assert status == 400
    assert said in str(answer)


async def test_a_client_is_told_as_well(plane: FakePlane) -> None:
    async with Client(plane.socket) as client:
        with pytest.raises(ApiError, match="window must be"):
            await client.graph(window=100_000)


async def test_a_prometheus_that_does_not_answer_is_no_error_of_plaits_own() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    async with served(FakePlane(traffic=PrometheusQueries(nobody))) as made:
        status, answer = await asked(made, "GET", "/v1/traffic?by=service")
    assert status == 503
    assert isinstance(answer, dict)
    assert answer["error"]["code"] == "unavailable"
    assert answer["error"]["message"].startswith(f"the Prometheus at {nobody} does not answer")
