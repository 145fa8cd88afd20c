"""`plait tap` in a running mesh: it shows what happens, and however it ends, proxies tell no more."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import pytest

from tests.e2e.mesh import PLAIT, Mesh, bistro, clean_environment, loading, until

pytestmark = pytest.mark.timeout(120)

URL = "http://reservations:8080/?token=hidden-1"
SECRETS = {"Authorization": "Bearer hidden-2", "Cookie": "session=hidden-3"}
TO = ("--to", "bistro/reservations-v1", "-o", "json")


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with bistro(tmp_path) as running:
        yield running


@asynccontextmanager
async def tapping(mesh: Mesh, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A `plait tap` that proxies tell already; killed at the end, if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(*PLAIT, "tap", *arguments),
        env={**clean_environment(), "PLAIT_STATE_DIR": str(mesh.state)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        said = await asyncio.wait_for(process.stderr.readline(), 10)
        assert b" of every request; Ctrl-C ends it" in said
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line(process: asyncio.subprocess.Process) -> dict[str, Any]:
    assert process.stdout is not None
    found: dict[str, Any] = json.loads(await asyncio.wait_for(process.stdout.readline(), 10))
    return found


async def told(mesh: Mesh) -> list[str]:
    """What the runtime of each Envoy says of taps, where it says that it tells."""
    found = []
    for socket in sorted((mesh.state / "run").glob("*/admin")):
        connector = aiohttp.UnixConnector(str(socket))
        async with (
            aiohttp.ClientSession("http://envoy", connector=connector) as session,
            session.get("/runtime") as response,
        ):
            entries = (await response.json(content_type=None))["entries"]
            taps = {name: one["final_value"] for name, one in entries.items() if name.startswith("plait.tap")}
            assert len(taps) == 2
            found += [f"{name} {value}" for name, value in taps.items() if value != "0"]
    return sorted(found)


async def nobody_tells(mesh: Mesh) -> bool:
    return await told(mesh) == []


async def test_it_shows_what_happens_without_secrets_and_nothing_is_left_of_it(mesh: Mesh) -> None:
    proxy = await mesh.sidecar("frontend")
    assert await nobody_tells(mesh)
    async with loading(proxy, URL, rate=100, headers=SECRETS):
        async with tapping(mesh, *TO, "--limit", "20") as process:
            assert await told(mesh) == ["plait.tap.server 10000"]
            out, err = await asyncio.wait_for(process.communicate(), 20)
            assert (process.returncode, err) == (0, b"plait: 20 shown\n")
        await until(lambda: nobody_tells(mesh), "nobody to tell, once it has ended")
        seen = [json.loads(one) for one in out.splitlines()]
        assert len(seen) == 20
        assert b"hidden" not in out
        assert {(one["source"], one["destination"], one["status"], one["path"]) for one in seen} == {
            ("bistro/frontend", "bistro/reservations-v1", 200, "/")
        }
        async with tapping(mesh, *TO) as process:
            await line(process)
            process.kill()
            await until(lambda: nobody_tells(mesh), "nobody to tell, once it was killed")
        async with tapping(mesh, "--from", "bistro/frontend", "-o", "json") as process:
            assert (await line(process))["side"] == "client"
            os.kill(mesh.pid("control plane"), signal.SIGKILL)
            assert await asyncio.wait_for(process.wait(), 10) == 3
            await until(lambda: nobody_tells(mesh), "nobody to tell, once the control plane has died")


@pytest.mark.prove
@pytest.mark.timeout(240)
async def test_requests_are_shown_within_a_second_and_cost_nothing_afterwards(
    mesh: Mesh, record_property: Callable[[str, object], None]
) -> None:
    proxy = await mesh.sidecar("frontend")
    async with loading(proxy, URL, rate=500, headers=SECRETS) as load:

        async def cost(seconds: float = 10.0) -> float:
            """CPU microseconds of all Envoys for a request."""
            before, sent = _cpu(mesh), load.total
            await asyncio.sleep(seconds)
            return (_cpu(mesh) - before) / (load.total - sent) * 1e6

        await asyncio.sleep(2)
        without = await cost()
        late = []
        async with tapping(mesh, *TO, "--rate", "1000") as process:
            reading = asyncio.create_task(cost())
            while not reading.done():
                began = datetime.fromisoformat((await line(process))["time"]).timestamp()
                late.append(time.time() - began)
            process.send_signal(signal.SIGINT)
            _, err = await process.communicate()
        assert err.startswith(b"plait: ")
        assert b"left out" not in err
        await until(lambda: nobody_tells(mesh), "nobody to tell")
        await asyncio.sleep(1)
        afterwards = await cost()
    assert len(late) > 500
    assert max(late) < 1.0
    assert afterwards < without * 1.1
    record_property("requests shown", len(late))
    record_property("median seconds from a request's start to its line", round(median(late), 3))
    record_property("most seconds from a request's start to its line", round(max(late), 3))
    record_property("CPU us of all Envoys for a request, before", round(without))
    record_property("CPU us of all Envoys for a request, while plait tap looks", round(await reading))
    record_property("CPU us of all Envoys for a request, afterwards", round(afterwards))


def _cpu(mesh: Mesh) -> float:
    """Seconds of CPU that all Envoys of a mesh have used."""
    mark, ticks = f"PLAIT_MESH={mesh.state}".encode(), 0
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and mark in (entry / "environ").read_bytes().split(b"\0"):
                name, _, rest = (entry / "stat").read_text().rpartition(")")
                ticks += sum(map(int, rest.split()[11:13])) if "(envoy" in name else 0
        except OSError:
            continue
    return ticks / os.sysconf("SC_CLK_TCK")
