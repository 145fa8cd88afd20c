"""What docs/prometheus holds works: a real Prometheus scrapes real sidecars, and answers every query of the dashboard."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from plait.model.policy import Action, MtlsMode
from tests.compiler.facts import allows, peers, policy, principal
from tests.docs.pages import ROOT
from tests.e2e.mesh import BISTRO, Mesh, running
from tests.envoy.counting import WEB, Town, town
from tests.envoy.support import eventually

PROMETHEUS = shutil.which("prometheus")
FOLDER = ROOT / "docs" / "prometheus"

Answer = tuple[dict[str, str], float]
"""Labels, and a value."""
Ask = Callable[[str], Awaitable[list[Answer]]]

pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="without Prometheus (Debian's package prometheus)")


def queries() -> Iterator[str]:
    """All that the dashboard asks, with its variables filled in."""
    dashboard = json.loads((FOLDER / "grafana.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for variable, value in (("$namespace", ".*"), ("$__rate_interval", "10s"), ("$__range", "30s")):
                query = query.replace(variable, value)
            assert "$" not in query
            yield query


def test_the_configuration_is_one(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "prometheus.yml", tmp_path)
    (tmp_path / "api-token").write_text("a token")
    command = ("promtool", "check", "config", str(tmp_path / "prometheus.yml"))
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert run.returncode == 0, run.stderr


@pytest.mark.prove
async def test_every_query_of_the_dashboard_is_answered(tmp_path: Path) -> None:
    async with town() as made:
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(configuration(made)))
        await made.say(
            policy("allow", Action.ALLOW, allows(principal("frontend")), app="reservations"),
            peers("clear", MtlsMode.PERMISSIVE),
        )
        async with prometheus(tmp_path) as ask:
            traffic = asyncio.create_task(_traffic(made))
            try:
                for query in queries():

                    async def answered(query: str = query) -> bool:
                        values = [value for _, value in await ask(query)]
                        return not all(map(math.isnan, values))  # a service that nobody calls has no share

                    await eventually(answered, 30)
            finally:
                traffic.cancel()
                await asyncio.gather(traffic, return_exceptions=True)


async def _traffic(made: Town) -> None:
    """Some of everything, again and again."""
    number = 0
    while True:
        number += 1
        await made.ask_all([200, 200, 404, 500])
        await made.ask(x_fail_once=str(number))
        await made.ask(by="outsider")
        await made.ask(host=f"bookings:{WEB}")
        await made.connect("frontend", b"12345")
        await made.call("/T/Book")
        await asyncio.sleep(0.1)


def configuration(made: Town) -> dict[str, Any]:
    """Of a Prometheus that asks the sidecars themselves, once a second."""
    targets = [
        {
            "targets": [f"{proxy.replica.sidecar.address}:{proxy.replica.sidecar.metrics}"],
            "labels": {"namespace": "bistro", "workload": name, "replica": "0"},
        }
        for name, proxy in made.proxies.items()
    ]
    job = {"job_name": "sidecars", "metrics_path": "/stats/prometheus", "static_configs": targets}
    return {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}


@pytest.mark.prove
async def test_a_whole_mesh_is_scraped_as_the_guide_says(tmp_path: Path) -> None:
    folder = tmp_path / "bistro"
    shutil.copytree(BISTRO, folder)
    async with running(folder, "--api", "127.0.0.1:0") as mesh:
        configure(mesh, tmp_path)
        replicas = len(await mesh.workloads())
        async with prometheus(tmp_path) as ask:
            for query, value in (
                ('count(up{job="sidecars"} == 1)', replicas),
                ('count(up{job="plait"} == 1)', 1),
                ('count(sum by (namespace, workload) (istio_requests_total{workload="frontend"}))', 1),
            ):

                async def scraped(query: str = query, value: int = value) -> bool:
                    return [found for _, found in await ask(query)] == [value]

                await eventually(scraped, 30)


def configure(mesh: Mesh, folder: Path) -> None:
    """Write down in a folder what the guide gives, for a mesh whose API is served over TCP; only quicker."""
    api = mesh.state / "control-plane"
    text = (FOLDER / "prometheus.yml").read_text()
    for old, new in (
        ("127.0.0.1:15014", (api / "api-address").read_text()),
        ("scrape_interval: 15s", "scrape_interval: 1s"),
        ("refresh_interval: 10s", "refresh_interval: 1s"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "prometheus.yml").write_text(text)
    (folder / "api-token").symlink_to(api / "api-token")


def free_place() -> str:
    """HOST:PORT where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@asynccontextmanager
async def prometheus(folder: Path, place: str = "") -> AsyncIterator[Ask]:
    """A Prometheus, by the configuration in a folder, at HOST:PORT or anywhere; yields what answers a query."""
    place = place or free_place()
    assert PROMETHEUS is not None
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PROMETHEUS,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={place}",
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession(f"http://{place}") as session:

            async def ask(query: str) -> list[Answer]:
                async with session.get("/api/v1/query", params={"query": query}) as response:
                    answer = await response.json()
                assert answer["status"] == "success", (query, answer)
                return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]

            yield ask
    finally:
        process.terminate()
        await process.wait()
