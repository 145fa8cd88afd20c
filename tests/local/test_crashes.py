"""What is left after kill -9: nothing doubled, nothing lost, and a sweep that leaves nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from plait.agent.record import MESH
from plait.agent.shim.processes import started_at
from plait.local import journal
from plait.local.journal import Journal
from plait.local.sweep import belonging, sweep
from tests.local.machines import Mesh, mesh, until, web, wishes

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
async def local() -> AsyncIterator[Mesh]:
    async with mesh() as made:
        yield made


def start_agent(local: Mesh) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        (sys.executable, "-m", "tests.local.agent_process", str(local.state), str(local.work)),
        cwd=REPOSITORY,
        env={**os.environ, MESH: str(local.state)},
        start_new_session=True,
    )


def kill(agent: subprocess.Popen[bytes]) -> None:
    agent.kill()
    agent.wait()


def found(local: Mesh, pattern: str) -> Callable[[], list[Path]]:
    return lambda: list(local.state.glob(pattern))


MOMENTS = (
    "journal.jsonl",
    "replicas/*/replica.json",
    "replicas/*/secrets/identity.json",
    "replicas/*/shim.log",
    "run/*.shim",
    "replicas/*/envoy.log",
    "replicas/*/app.log",
)
"""What appears on disk one after the other while a replica is started."""


@pytest.mark.parametrize("moment", MOMENTS)
async def test_an_agent_killed_at_any_moment_of_a_start_loses_and_doubles_nothing(
    local: Mesh, moment: str
) -> None:
    agent = start_agent(local)
    try:
        await until(moment, found(local, moment), pause=0.001)
    finally:
        kill(agent)
    async with local.running() as machine:
        await machine.deliver(wishes(web("daemon", work=local.work, replicas=2)))
        await local.states(n0="ready", n1="ready")
        statuses = [local.files(number).last_status() for number in (0, 1)]
        ours = {
            pid
            for status in statuses
            if status
            for pid in (status.shim_pid, status.envoy_pid, status.app_pid)
        }
        daemons = set(local.processes()) - ours
        assert len(ours) == 6
        assert ours <= set(local.processes())
        assert len(daemons) == 2, "the one that each application has started"


@pytest.mark.parametrize("victims", ["everything", "shims first", "nothing"])
async def test_a_sweep_leaves_no_process_no_file_and_no_socket(local: Mesh, victims: str) -> None:
    agent = start_agent(local)
    try:
        await until(
            "both run",
            lambda: [
                status
                for number in (0, 1)
                if (status := local.files(number).last_status()) and status.phase == "ready"
            ][1:],
        )
        shims = [status.shim_pid for number in (0, 1) if (status := local.files(number).last_status())]
        if victims != "nothing":
            for pid in (*filter(None, shims), *(local.processes() if victims == "everything" else ())):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        swept = await asyncio.to_thread(sweep, local.state)
    finally:
        kill(agent)
    assert swept.clean
    assert belonging(local.state) == ()
    assert not local.state.exists()
    assert sweep(local.state).clean, "a second time there is nothing to do"


def state(path: Path) -> Path:
    for part in journal.PARTS:
        (path / part).mkdir(parents=True)
    Journal(path)
    return path


def test_what_somebody_else_put_there_stays_and_is_named(tmp_path: Path) -> None:
    directory = state(tmp_path / "state")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "root.key").write_text("precious")
    (directory / "ca" / "root.key").write_text("ours")
    (directory / "notes.txt").write_text("mine")
    (directory / "ca" / "deep").mkdir()
    (directory / "ca" / "deep" / "file").write_text("mine")
    (directory / "run").rmdir()
    (directory / "run").symlink_to(tmp_path / "precious")
    swept = sweep(directory)
    assert swept.left == ("ca/deep/file", "notes.txt", "run")
    assert not swept.clean
    assert not (directory / "ca" / "root.key").exists()
    assert (tmp_path / "precious" / "root.key").read_text() == "precious"


def test_a_directory_that_is_no_meshs_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("somebody's")
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "root.key").write_text("somebody's")
    assert sweep(tmp_path).left == ("ca", "lock")
    assert (tmp_path / "ca" / "root.key").exists()


def test_a_mesh_without_a_journal_is_known_by_its_parts(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    for part in journal.PARTS:
        (directory / part).mkdir(parents=True)
    (directory / "lock").touch()
    assert sweep(directory).clean
    assert not directory.exists()


def test_a_journalled_process_is_ended_but_not_a_stranger_under_its_number(tmp_path: Path) -> None:
    directory = state(tmp_path / "state")
    ours, stranger = (subprocess.Popen(("sleep", "1000"), env={}) for _ in range(2))
    try:
        Journal(directory).process(ours.pid, "test")
        Journal(directory).record("process", pid=stranger.pid, birth="1", role="test")
        Journal(directory).record("process", pid=os.getpid(), birth=str(started_at(os.getpid())), role="test")
        assert belonging(directory) == (ours.pid,)
        assert sweep(directory).clean
        assert ours.wait(10) == -signal.SIGKILL
        assert stranger.poll() is None
    finally:
        for process in (ours, stranger):
            process.kill()
            process.wait()


def test_a_torn_line_of_the_journal_hides_no_other(tmp_path: Path) -> None:
    directory = state(tmp_path / "state")
    Journal(directory).process(os.getpid(), "test")
    with (directory / journal.NAME).open("a") as file:
        file.write('{"act":"proc')
    assert journal.is_mesh(directory)
    assert [process.pid for process in journal.processes(directory)] == [os.getpid()]
    assert journal.homes(directory) == {str(directory)}
