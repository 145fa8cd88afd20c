"""A workload is rolled over, replica by replica, under load: no request fails, and none is sent twice."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import mean, median

import pytest

from tests.e2e.mesh import Mesh, until
from tests.local.network.spaces import needs_root
from tests.transparent.town import IDLE, PROGRAMS, files, host, pids, python, town, workload

pytestmark = [needs_root, pytest.mark.timeout(240)]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every workload sees, and a file in it that every one may write to."""
    made = Path(tempfile.mkdtemp(prefix="plait-test-", dir="/run"))
    made.chmod(0o755)
    (made / "ledger").touch()
    (made / "ledger").chmod(0o666)
    yield made
    shutil.rmtree(made)


def servers(shared: Path, replicas: int, turn: str) -> str:
    return workload(
        "web",
        python("ledger.py"),
        ports={"http": 8080},
        callers=["client"],
        replicas=replicas,
        env={"LEDGER": str(shared / "ledger"), "TURN": turn},
        readiness={"tcp": 8080, "interval": "200ms"},
    )


@asynccontextmanager
async def loaded(mesh: Mesh, rate: float) -> AsyncIterator[dict[str, int]]:
    """Requests from the client as long as the context lasts; their outcomes are there at its end."""
    counts: dict[str, int] = {}
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-m",
            "plait.cli.main",
            "exec",
            "town/client",
            "--state-dir",
            str(mesh.state),
            "--",
        ),
        *(sys.executable, str(PROGRAMS / "load.py"), "http://web:8080/", str(rate)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield counts
    finally:
        out, _ = await process.communicate(b"enough\n")
        counts |= json.loads(out)


async def rolled_over(mesh: Mesh, revision: str, replicas: int) -> None:
    async def so() -> bool:
        found = [one for one in await mesh.workloads() if one["name"] == "web"]
        fresh = [one for one in found if turn_of(mesh, one["replica"]) == revision]
        return len(found) == len(fresh) == replicas and all(one["state"] == "ready" for one in found)

    await until(so, "every replica to be a new one", seconds=220)


def turn_of(mesh: Mesh, number: int) -> str:
    record = files(mesh, "web", number).read()
    return dict(record.shim.app.env).get("TURN", "") if record else ""


async def roll(tmp_path: Path, shared: Path, replicas: int, rate: float) -> tuple[dict[str, int], int]:
    """Rolls over a workload of so many replicas under load: outcomes of requests, and how many POSTs were seen."""
    everybody = servers(shared, replicas, "1"), workload("client", IDLE)
    with host() as own:
        async with town(tmp_path, *everybody, host=own) as mesh, loaded(mesh, rate) as counts:
            await asyncio.sleep(1)  # some load before the first is replaced
            text = (mesh.folder / "town.yaml").read_text()
            (mesh.folder / "town.yaml").write_text(text.replace('"TURN": "1"', '"TURN": "2"'))
            await rolled_over(mesh, "2", replicas)
    posts = (shared / "ledger").read_text().split()
    assert len(posts) == len(set(posts)), "a POST was seen twice"
    return counts, len(posts)


async def test_a_roll_costs_no_request_and_doubles_no_post(tmp_path: Path, shared: Path) -> None:
    counts, posts = await roll(tmp_path, shared, 3, 100)
    assert set(counts) == {"200"}, counts
    assert posts in {counts["200"] // 2, counts["200"] // 2 + 1}


@pytest.mark.prove
@pytest.mark.timeout(600)
async def test_twenty_replicas_are_rolled_over_under_three_hundred_requests_a_second(
    tmp_path: Path, shared: Path, record_property: Callable[[str, object], None]
) -> None:
    counts, posts = await roll(tmp_path, shared, 20, 300)
    record_property("requests while 20 replicas were replaced one by one", sum(counts.values()))
    record_property("failed", sum(number for status, number in counts.items() if status != "200"))
    record_property("POSTs seen", posts)
    assert set(counts) == {"200"}, counts


@pytest.mark.prove
@pytest.mark.timeout(600)
async def test_twenty_workloads_start_within_fifteen_seconds_and_are_small(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    many = [
        workload(f"web{number}", python("web.py"), ports={"http": 8080}, callers=["nobody"])
        for number in range(20)
    ]
    times = []
    for run in range(3):
        path = tmp_path / str(run)
        path.mkdir()
        with host() as own:
            began = time.monotonic()
            async with town(path, *many, host=own) as mesh:
                times.append(time.monotonic() - began)
                await asyncio.sleep(5)  # idle is what comes after the start
                each = [resident(mesh, f"web{number}") for number in range(20)]
    took = median(times)
    record_property("seconds until 20 workloads serve, median of three", round(took, 1))
    record_property(
        "MB of shim and Envoy of an idle one: mean and most", f"{mean(each):.1f}, {max(each):.1f}"
    )
    assert took < 15
    assert max(each) < 100


def resident(mesh: Mesh, name: str) -> float:
    """What a replica's shim and Envoy hold in memory, in MB (resident set)."""
    shim, envoy, _ = pids(mesh, name)
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in (shim, envoy))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
