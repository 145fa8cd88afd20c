"""A hostile user of the laptop: whatever is stopped, killed or removed, and when, nothing is left."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from plait.agent.shim.processes import started_at
from tests.e2e.mesh import PLAIT, Mesh, clean_environment, processes_of, running, until

pytestmark = pytest.mark.timeout(120)

IDLER = """
apiVersion: v1
kind: Namespace
metadata: {name: calm}
---
apiVersion: plait.dev/v1alpha1
kind: Workload
metadata: {name: idler, namespace: calm, labels: {app: idler}}
spec: {command: [sleep, "1000"]}
"""
MOMENTS = [
    ("lock", signal.SIGINT),
    ("control-plane/log", signal.SIGTERM),
    ("run/api.sock", signal.SIGHUP),
    ("agent/token", signal.SIGINT),
    ("replicas/*/replica.json", signal.SIGTERM),
    ("run/*.shim", signal.SIGHUP),
]
"""What appears in the state directory one after the other while a mesh starts."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "idler.yaml").write_text(IDLER)
    return path


async def end(mesh: Mesh) -> int:
    """How `plait up` ends, from here on by itself."""
    return await asyncio.wait_for(mesh.process.wait(), 60)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(("moment", "number"), MOMENTS)
async def test_told_to_stop_at_any_moment_of_its_start_it_leaves_nothing(
    folder: Path, moment: str, number: signal.Signals, times: int
) -> None:
    async with running(folder, ready=False) as mesh:
        await until(lambda: any(mesh.state.glob(moment)), moment)
        for _ in range(times):
            mesh.process.send_signal(number)
        assert await end(mesh) == 0, mesh.told()
        assert "Traceback" not in mesh.told()


async def test_a_state_directory_that_vanishes_ends_the_mesh_with_a_word(folder: Path) -> None:
    async with running(folder) as mesh:
        shutil.rmtree(mesh.state)
        assert await end(mesh) == 1
        assert "was removed while the mesh ran" in mesh.told()
        assert not processes_of(mesh.state)


async def test_a_second_up_is_refused_and_the_first_goes_on(folder: Path) -> None:
    async with running(folder) as mesh:
        second = await asyncio.create_subprocess_exec(
            *PLAIT,
            *("up", str(folder), "--state-dir", str(mesh.state)),
            env=clean_environment(),
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await second.communicate()
        assert (second.returncode, b"a mesh runs from" in said) == (2, True), said
        assert [one["state"] for one in await mesh.workloads()] == ["ready"]


async def test_why_the_control_plane_does_not_start_is_told_without_a_traceback(folder: Path) -> None:
    async with running(folder, "--trust-domain", "no such thing", ready=False) as mesh:
        assert await end(mesh) == 2
        assert "can't be a trust domain" in mesh.told()
        assert "Traceback" not in mesh.told()


@pytest.mark.parametrize("also", [(), ("control plane",), ("agent",), ("control plane", "agent")])
async def test_down_after_kills_ends_soon_and_leaves_nothing(folder: Path, also: tuple[str, ...]) -> None:
    async with running(folder) as mesh:
        mesh.process.kill()
        await mesh.process.wait()
        for role in also:
            os.kill(mesh.pid(role), signal.SIGKILL)
        async with asyncio.timeout(10):
            assert await mesh.plait("down") == "stopped; nothing is left\n"


async def test_the_next_up_takes_up_what_a_killed_one_left_running(folder: Path) -> None:
    async with running(folder) as first:
        status = next(first.state.glob("replicas/*/status.json"))
        before = json.loads(status.read_text())
        first.process.kill()
        await first.process.wait()
        first.process = await asyncio.create_subprocess_exec(
            *PLAIT,
            *("up", str(folder), "--state-dir", str(first.state)),
            env=clean_environment(),
            stdout=(again := first.output.with_name("again").open("wb")),
            stderr=again,
        )
        again.close()
        first.output = first.output.with_name("again")
        await until(first.is_ready, "the next mesh to be ready")
        assert json.loads(status.read_text()) == before
        assert started_at(before["app_pid"])


async def test_two_downs_at_once_both_find_an_end(folder: Path) -> None:
    async with running(folder) as mesh:
        told = await asyncio.gather(mesh.plait("down"), mesh.plait("down"))
        assert set(told) <= {"stopped; nothing is left\n", f"nothing runs from {mesh.state}\n"}
        assert await end(mesh) == 0
