"""The agent as a process, against the real link: `python -m plait.run.agent`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from plait.agent.record import MESH, ReplicaFiles
from plait.identity.files import write_private
from plait.link.messages import Assignments, ReplicaReport, WorkloadAssignment
from plait.local.sweep import belonging, sweep
from plait.model.catalog import Process
from plait.model.names import ReplicaKey, WorkloadKey
from tests.link.meshes import TRUST_DOMAIN, Plane, plane

KEY = ReplicaKey(WorkloadKey("bistro", "job"), 0)
WISH = Assignments(
    trust_domain=TRUST_DOMAIN,
    workloads=(
        WorkloadAssignment(
            key=KEY.workload,
            revision="1",
            labels=(),
            service_account="default",
            replicas=1,
            process=Process(command=("sleep", "1000"), working_dir="/"),
        ),
    ),
)


@pytest.fixture
async def mesh() -> AsyncIterator[Plane]:
    async with plane() as made:
        for part in ("agent", "control-plane", "replicas", "run"):
            (made.directory / part).mkdir(mode=0o700)
        token = made.hub.tokens.create("local", now=time.time()).token
        write_private(made.directory / "agent" / "token", token.encode())
        yield made
        await asyncio.to_thread(sweep, made.directory)
        made.directory.mkdir(exist_ok=True)


def start(mesh: Plane) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        (
            *(sys.executable, "-m", "plait.run.agent", "--state-dir", str(mesh.directory)),
            *("--control-plane", "unix:/nowhere", "--link", mesh.target, "--join", mesh.join_target),
        ),
        env={**os.environ, MESH: str(mesh.directory)},
        stderr=subprocess.PIPE,
    )


@asynccontextmanager
async def agent(mesh: Plane) -> AsyncIterator[subprocess.Popen[bytes]]:
    process = start(mesh)
    try:
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)


def told(mesh: Plane, what: str) -> list[Any]:
    return [item[2] for item in mesh.hub.heard if item[0] == what]


async def waits_for_configuration(mesh: Plane) -> ReplicaReport:
    """Nobody serves xDS here, so the replica gets as far as its Envoy, and no further."""

    def found() -> bool:
        return any("waits for its configuration" in report.message for report in told(mesh, "report"))

    async with asyncio.timeout(30):
        await mesh.hub.until(found)
    report: ReplicaReport = told(mesh, "report")[-1]
    return report


async def test_an_agent_runs_what_it_is_assigned_and_leaves_it_running_when_told_to_stop(mesh: Plane) -> None:
    async with agent(mesh) as first:
        await mesh.hub.until(lambda: mesh.hub.count("hello") == 1)
        assert told(mesh, "hello") == [()]
        mesh.link.assign("local", WISH)
        report = await waits_for_configuration(mesh)
        assert report.replica.key == KEY
        first.terminate()
        assert await asyncio.to_thread(first.wait, 20) == 0
    status = ReplicaFiles.of(mesh.directory, KEY).last_status()
    assert status is not None
    assert {status.shim_pid, status.envoy_pid} == set(belonging(mesh.directory))
    async with agent(mesh):
        await mesh.hub.until(lambda: mesh.hub.count("hello") == 2)
        (found,) = told(mesh, "hello")[-1]
        assert found.replica == report.replica
        mesh.link.assign("local", Assignments(trust_domain=TRUST_DOMAIN, workloads=()))
        await mesh.hub.until(lambda: mesh.hub.count("gone") == 1)
    assert belonging(mesh.directory) == ()


async def test_an_agent_that_is_refused_says_so(mesh: Plane) -> None:
    write_private(mesh.directory / "agent" / "token", b"no token")
    async with agent(mesh) as process:
        assert await asyncio.to_thread(process.wait, 20) == 1
        assert process.stderr is not None
        assert b"this agent may not join: " in process.stderr.read()


async def test_a_second_agent_waits_for_the_end_of_the_first(mesh: Plane) -> None:
    async with agent(mesh) as first:
        await mesh.hub.until(lambda: mesh.hub.count("hello") == 1)
        async with agent(mesh) as second:
            assert second.stderr is not None
            said = await asyncio.to_thread(second.stderr.readline)
            assert b"another agent still works here" in said
            assert mesh.hub.count("hello") == 1
            first.terminate()
            await mesh.hub.until(lambda: mesh.hub.count("hello") == 2)
