"""What a real Envoy counted, and says of each request: percentiles of the store are within 5 % of the latter."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from plait.envoy import api, build
from plait.envoy.filters import stats
from plait.envoy.listeners.parts import LISTENER, manager
from plait.telemetry.histogram import bin_of
from plait.telemetry.kept import StoreQueries
from plait.telemetry.queries import By
from plait.telemetry.reports import Traffic
from tests.envoy.support import ENVOY, eventually, short_folder
from tests.telemetry.said import NOW, Clock, opened, report
from tests.telemetry.said import http as http_traffic

_ROUTER = "envoy.extensions.filters.http.router.v3.Router"
_FILE = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
_REQUESTS = 300


def bootstrap(folder: Path, address: str, port: int) -> str:
    """An Envoy that counts as sidecars do, and writes down how long each request took."""
    written = build.extension(
        "envoy.access_loggers.file",
        _FILE,
        path=str(folder / "durations"),
        log_format={"text_format_source": {"inline_string": "%DURATION%\n"}},
    )
    http = manager(
        "in",
        filters=[build.extension("envoy.filters.http.router", _ROUTER)],
        access_log=[stats.at_destination(mtls=True), written],
        route_config={
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}],
                }
            ]
        },
    )
    place = {"socket_address": {"address": address, "port_value": port}}
    listener = {
        "name": "in",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [http]}],
    }
    cluster = {
        "name": "app",
        "load_assignment": {
            "cluster_name": "app",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": place}}]}],
        },
    }
    message = api.message("envoy.config.bootstrap.v3.Bootstrap")(
        admin={"address": {"pipe": {"path": "admin"}}},
        stats_flush_on_admin=True,
        static_resources={"listeners": [api.message(LISTENER)(**listener)], "clusters": [cluster]},
    )
    return api.to_json(message)


@asynccontextmanager
async def slow_application() -> AsyncIterator[int]:
    """Answers after as many seconds as it is asked to; its port."""

    async def reply(request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query["after"]))
        return web.Response()

    app = web.Application()
    app.router.add_get("/", reply)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def envoy(folder: Path, port: int) -> AsyncIterator[aiohttp.ClientSession]:
    """In front of an application; its admin interface."""
    (folder / "bootstrap.json").write_text(bootstrap(folder, "127.0.0.1", port))
    command = (
        ENVOY,
        "-c",
        "bootstrap.json",
        "--concurrency",
        "1",
        "--disable-hot-restart",
        "--file-flush-min-size-kb",
        "0",
    )
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, cwd=folder, stdout=log, stderr=log)
    try:
        connector = aiohttp.UnixConnector(str(folder / "admin"))
        async with aiohttp.ClientSession("http://admin", connector=connector) as admin:
            yield admin
    finally:
        process.kill()
        await process.wait()


async def told(admin: aiohttp.ClientSession, path: str) -> str:
    async with admin.get(path) as response:
        return await response.text()


async def test_percentiles_of_a_real_envoy_are_within_5_percent(tmp_path: Path) -> None:
    chance = random.Random(5)
    with short_folder() as folder:
        async with slow_application() as port, envoy(folder, port) as admin, aiohttp.ClientSession() as http:

            async def listening() -> bool:
                return "127.0.0.1" in await told(admin, "/listeners?format=text")

            await eventually(listening, 20)
            place = (await told(admin, "/listeners?format=text")).strip().rpartition("::")[2]

            async def ask() -> None:
                for _ in range(_REQUESTS // 30):
                    after = chance.gauss(0.02, 0.004) if chance.random() < 0.8 else chance.gauss(0.25, 0.03)
                    async with http.get(
                        f"http://{place}/", params={"after": f"{max(0.001, after):.4f}"}
                    ) as response:
                        assert response.status == 200

            await asyncio.gather(*(ask() for _ in range(30)))

            async def all_counted() -> bool:
                written = (folder / "durations").read_text().split()
                return len(written) == _REQUESTS == sum(map(int, re.findall(r":(\d+)", await bins())))

            async def bins() -> str:
                page = await told(
                    admin, "/stats?histogram_buckets=detailed&usedonly&filter=request_duration_milliseconds"
                )
                return "".join(re.findall(r"totals=(.*)", page))

            await eventually(all_counted, 20)
            durations = [float(one) for one in (folder / "durations").read_text().split()]
            counted: Counter[int] = Counter()
            for lower, count in re.findall(r"([\d.]+),[\d.]+:(\d+)", await bins()):
                counted[bin_of(float(lower))] += int(count)
    assert counted == Counter(map(bin_of, durations))  # bins are Envoy's own
    clock = Clock()
    async with opened(tmp_path, clock) as store:
        packed = http_traffic("destination", "shop/guest", "shop/menu").packed
        said = Traffic(packed=packed, count=_REQUESTS, durations=tuple(sorted(counted.items())))
        store.take(report("shop/menu", said, at=NOW + 5))
        await store.write(NOW + 5)
        (found,) = (await StoreQueries(store).measure(By.SERVICE, window=60)).groups.values()
    durations.sort()
    for name, share in (("p50_ms", 0.5), ("p90_ms", 0.9), ("p99_ms", 0.99)):
        assert getattr(found, name) == pytest.approx(durations[round(share * _REQUESTS) - 1], rel=0.05)
