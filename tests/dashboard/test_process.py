"""The process: `plait dashboard`, what `plait up --dashboard` keeps running, how it ends, and what it leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from plait.local.journal import Journal
from plait.model.settings import MeshSettings, Mode
from plait.run.runner import DASHBOARD, Runner, end_stale
from plait.run.state_directory import StateDirectory
from tests.api.planes import FakePlane, served, until
from tests.dashboard.scenes import bistro

WITHOUT = """
import sys
sys.modules["nicegui"] = None
sys.argv = ["plait", *sys.argv[1:]]
from plait.cli.main import main
main()
"""


@asynccontextmanager
async def running(
    *command: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """A Python program; whatever happens, it is ended."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command),
        stdout=PIPE,
        stderr=PIPE,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def plait(*arguments: str) -> tuple[str, ...]:
    return ("-m", "plait.cli.main", *arguments)


async def first_line(process: Process) -> str:
    assert process.stdout
    return (await process.stdout.readline()).decode().strip()


async def opened(link: str) -> httpx.Response:
    """What a browser gets that follows the link."""
    async with httpx.AsyncClient(follow_redirects=True) as client:
        return await client.get(link)


async def test_the_command_prints_a_link_serves_and_leaves_nothing(tmp_path: Path) -> None:
    for name in ("here", "temporary"):
        (tmp_path / name).mkdir()
    async with (
        served(bistro()) as plane,
        running(
            *plait("dashboard", "--state-dir", str(plane.directory)),
            cwd=tmp_path / "here",
            environment={"TMPDIR": str(tmp_path / "temporary"), "HOME": str(tmp_path)},
        ) as process,
    ):
        link = await first_line(process)
        page = await opened(link)
        assert (page.status_code, "<title>Map - Plait</title>" in page.text) == (200, True)
        bare, _, token = link.partition("?token=")
        assert (await opened(bare)).status_code == 401
        assert token not in command_line(process.pid)
        async with httpx.AsyncClient(base_url=bare, follow_redirects=True) as client:
            await client.get("/", params={"token": token})
            for path in ("/docs", "/redoc", "/openapi.json", "/nothing"):
                assert (await client.get(path)).status_code == 404
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        assert (process.returncode, out) == (0, b"")
        assert token.encode() not in err
        assert names(tmp_path / "here", tmp_path / "temporary") == []
        assert names(tmp_path) == ["here", "temporary"]


async def test_it_ends_at_once_though_browsers_look() -> None:
    async with (
        served(bistro()) as plane,
        running("-m", "plait.dashboard.server", "--api", str(plane.socket)) as process,
    ):
        link = await first_line(process)
        host, port = link.removeprefix("http://").partition("/")[0].split(":")
        cookie = (await opened(link)).history[0].headers["set-cookie"].partition(";")[0]
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            (
                "GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"
                f"Host: {host}:{port}\r\nOrigin: http://{host}:{port}\r\nCookie: {cookie}\r\n"
                "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            ).encode()
        )
        assert b"101" in await reader.readline()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert process.stderr
        assert await process.stderr.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_it_ends_with_who_started_it() -> None:
    starter = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "plait.dashboard.server", "--api", sys.argv[1]])
print(child.pid, flush=True)
sys.stdin.read()
"""
    async with served(bistro()) as plane:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", starter, str(plane.socket)), stdin=PIPE, stdout=PIPE
        )
        pid = int(await first_line(process))
        assert (await first_line(process)).startswith("http://")
        process.kill()
        await process.wait()
        await until(lambda: not alive(pid))
        assert process.stdin
        process.stdin.close()


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def names(*folders: Path) -> list[str]:
    """What is in them."""
    return sorted(path.name for folder in folders for path in folder.iterdir())


def alive(pid: int) -> bool:
    """Whether a process runs, and is not only waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("command", [("dashboard",), ("up", "--dashboard", ".")])
async def test_without_the_extra_it_says_how_to_install_it(command: tuple[str, ...], tmp_path: Path) -> None:
    command = (*command, "--state-dir", str(tmp_path / "state"))
    async with running("-c", WITHOUT, *command, cwd=tmp_path) as process:
        out, err = await process.communicate()
        assert (process.returncode, out) == (2, b"")
        assert err.decode().endswith("not installed: pip install 'plait[dashboard]'\n")
        assert err.count(b"\n") == 1
        assert names(tmp_path) == []


async def test_no_mesh_and_no_such_place(tmp_path: Path) -> None:
    async with running(*plait("dashboard", "--state-dir", str(tmp_path))) as process:
        _, err = await process.communicate()
        assert (process.returncode, b"no mesh runs" in err) == (3, True)
    async with (
        served(FakePlane()) as plane,
        running(*plait("dashboard", "--state-dir", str(plane.directory), "--listen", "0.0.0.0:0")) as process,
    ):
        _, err = await process.communicate()
        assert (process.returncode, b"0.0.0.0" in err, err.count(b"\n")) == (2, True, 1)


async def test_a_browser_is_opened_by_a_file_and_no_command_line_has_the_token(tmp_path: Path) -> None:
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/asked\ncat "${{1#file://}}" > {tmp_path}/page\n')
    script.chmod(0o755)
    async with served(bistro()) as plane:
        (plane.directory / "control-plane").mkdir()
        command = plait("dashboard", "--state-dir", str(plane.directory), "--open")
        async with running(*command, environment={"BROWSER": f"{script} %s"}) as process:
            link = await first_line(process)
            await until(lambda: (tmp_path / "page").exists() and bool((tmp_path / "page").read_text()))
            assert link in (tmp_path / "page").read_text()
            assert "token" not in (tmp_path / "asked").read_text()
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        assert names(plane.directory / "control-plane") == []


async def test_the_link_of_a_mesh_outlives_its_dashboard(tmp_path: Path) -> None:
    said: list[str] = []
    state = StateDirectory(tmp_path / "s")
    state.create()
    runner = Runner(
        state=state,
        paths=[],
        settings=MeshSettings(),
        mode=Mode.EXPLICIT,
        listen="",
        api="",
        prometheus="",
        authority=None,
        dashboard=True,
        say=said.append,
    )
    part = runner._dashboard()
    link = said[0].removeprefix("dashboard: ")
    await part.start()
    keeping = asyncio.create_task(part.keep())
    try:
        assert (await opened(link)).status_code == 200
        assert part.process
        first = part.process.pid
        os.kill(first, signal.SIGKILL)
        assert (await opened(link)).status_code == 200  # it waits meanwhile: the listener is there
        assert part.process.pid != first
        token = link.partition("token=")[2]
        assert token not in command_line(part.process.pid)
        assert token not in state.dashboard_log.read_text()
    finally:
        await part.stop(5)
        await keeping
        for descriptor in part.handed:
            os.close(descriptor)
    assert [line.partition(" (")[0] for line in said[1:]] == ["the dashboard has ended"]


async def test_what_a_killed_runner_left_is_ended_by_the_next(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "s")
    state.create()
    async with running("-c", "import time; time.sleep(1000)") as process:
        Journal(state.root).process(process.pid, DASHBOARD)
        end_stale(state.root)
        assert await process.wait() == -signal.SIGKILL
