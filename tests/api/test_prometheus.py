"""What Prometheus finds at the API, and what it is told there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from plait.api.listening import serving_tcp
from plait.api.views import ReplicaState
from plait.model.names import ReplicaKey, WorkloadKey
from tests.api.planes import FakePlane, FakeSession, served, workload
from tests.api.test_api import asked


async def page(_typed: asyncio.Queue[bytes], session: FakeSession) -> AsyncIterator[tuple[int, bytes]]:
    yield 1, b"istio_requests_total 1\nistio_tcp"
    yield 1, b"_sent_bytes_total 2\n"
    session.code = 0


async def silence(_typed: asyncio.Queue[bytes], session: FakeSession) -> AsyncIterator[tuple[int, bytes]]:
    session.error = "No such file or directory at /run/stats"
    return
    yield 1, b""


async def text(plane: FakePlane, path: str) -> tuple[int, str, str]:
    connector = aiohttp.UnixConnector(str(plane.socket))
    async with aiohttp.ClientSession("http://plait", connector=connector) as http, http.get(path) as response:
        return response.status, response.headers["Content-Type"], await response.text()


async def test_prometheus_finds_whoever_is_ready_and_the_control_plane(tmp_path: Path) -> None:
    starting = workload("starting", state=ReplicaState.STARTING)
    plane = FakePlane(replicas=(workload(), workload(replica=1), starting))
    token, place = tmp_path / "token", tmp_path / "place"
    async with serving_tcp(plane, "127.0.0.1:0", token=token, place=place):
        address = place.read_text()
        headers = {"Authorization": f"Bearer {token.read_text()}"}
        async with aiohttp.ClientSession(f"http://{address}", headers=headers) as http:
            async with http.get("/v1/prometheus/targets") as response:
                assert response.content_type == "application/json"
                found = await response.json()
            assert found == [
                *(
                    {
                        "targets": [address],
                        "labels": {
                            "__metrics_path__": f"/v1/proxies/bistro/frontend/{number}/metrics",
                            "namespace": "bistro",
                            "workload": "frontend",
                            "replica": str(number),
                        },
                    }
                    for number in (0, 1)
                ),
                {"targets": [address], "labels": {"__metrics_path__": "/v1/metrics", "job": "plait"}},
            ]
            async with http.get(found[-1]["labels"]["__metrics_path__"]) as response:
                assert await response.text() == "plait_joins_total 1.0\n"


async def test_the_page_of_an_envoy_comes_whole_through_its_agent() -> None:
    plane = FakePlane(act=page)
    async with served(plane):
        assert await text(plane, "/v1/proxies/bistro/frontend/0/metrics") == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
            "istio_requests_total 1\nistio_tcp_sent_bytes_total 2\n",
        )
        assert plane.asked == [ReplicaKey(WorkloadKey("bistro", "frontend"), 0)]
        assert plane.sessions[0].closed.is_set()


async def test_an_envoy_that_can_not_be_asked_is_an_error_and_no_empty_page() -> None:
    plane = FakePlane()
    async with served(plane):
        for path, status, code in (
            ("/v1/proxies/bistro/frontend/0/metrics", 503, "unavailable"),  # the agent is away
            ("/v1/proxies/bistro/frontend/1/metrics", 404, "not_found"),
            ("/v1/proxies/bistro/nobody/0/metrics", 404, "not_found"),
            ("/v1/proxies/bistro/frontend/first/metrics", 404, "not_found"),
        ):
            answered, body = await asked(plane, "GET", path)
            assert isinstance(body, dict)
            assert (answered, body["error"]["code"]) == (status, code), path
        plane.act = silence
        answered, body = await asked(plane, "GET", "/v1/proxies/bistro/frontend/0/metrics")
        assert isinstance(body, dict)
        assert (answered, body["error"]["message"]) == (
            503,
            "bistro/frontend/0: No such file or directory at /run/stats",
        )
