"""A real mesh for a test: `plait up` over a copy of the bistro, and clients that speak through its Envoys."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from plait.api.client import Client, NoMesh
from plait.api.views import Status
from plait.codec import Codec
from plait.run.state_directory import StateDirectory

ROOT = Path(__file__).parents[2]
BISTRO = ROOT / "examples" / "bistro"
PLAIT = (sys.executable, "-m", "plait.cli.main")
_STATUS: Codec[Status] = Codec(Status)


def clean_environment() -> dict[str, str]:
    """The environment without anything of a mesh that may run around the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PLAIT_")}


@dataclass(slots=True)
class Mesh:
    """One running mesh.  `folder` is what it was started with and may be edited."""

    state: Path
    folder: Path
    process: asyncio.subprocess.Process
    output: Path

    def told(self) -> str:
        """Everything that `plait up` has printed so far."""
        return self.output.read_text()

    def is_ready(self) -> bool:
        """Whether `plait up` has said that everything serves."""
        return any(line.startswith("ready: ") for line in self.told().splitlines())

    async def plait(self, *arguments: str, check: bool = True) -> str:
        """A command of the command line against this mesh; its standard output."""
        process = await asyncio.create_subprocess_exec(
            *PLAIT,
            *arguments,
            env={**clean_environment(), "PLAIT_STATE_DIR": str(self.state)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0 or not check, (arguments, out, err)
        return out.decode()

    def client(self) -> Client:
        """What asks its control plane as the command line does, without a process for each question."""
        return Client(StateDirectory(self.state).api_socket)

    async def workloads(self) -> list[dict[str, Any]]:
        """Every replica as `plait status --output json` says it; none while no control plane answers."""
        try:
            async with self.client() as client:
                found: list[dict[str, Any]] = _STATUS.to_json(await client.status())["workloads"]
        except NoMesh:
            return []
        return found

    async def sidecar(self, workload: str) -> str:
        """The address of the sidecar of a workload's first ready replica."""
        for one in await self.workloads():
            if one["name"] == workload and one["state"] == "ready":
                return str(one["address"])
        raise AssertionError(f"no replica of {workload} is ready:\n{self.told()}")

    async def sent(self) -> dict[str, int]:
        """How many resources each proxy was sent on its present connection, over all types."""
        proxies = json.loads(await self.plait("proxies", "--output", "json"))["proxies"]
        return {
            f"{one['name']}/{one['replica']}": sum(kind["sent"] for kind in one["types"]) for one in proxies
        }

    def pid(self, role: str) -> int:
        """The process of a part of the mesh (`control plane` or `agent`) that was started last."""
        lines = (self.state / "journal.jsonl").read_text().splitlines()
        entries = [json.loads(line) for line in lines]
        return int([entry["pid"] for entry in entries if entry.get("role") == role][-1])

    def replace(self, file: str, old: str, new: str) -> None:
        """Edit a file of the folder as an editor does: written aside, renamed over."""
        path = self.folder / file
        text = path.read_text()
        assert old in text, (file, old)
        write(path, text.replace(old, new))


def write(path: Path, text: str | bytes) -> None:
    """Write a file aside and rename it into place."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_bytes(text.encode() if isinstance(text, str) else text)
    aside.replace(path)


async def until(condition: Callable[[], Any], what: str, seconds: float = 60.0) -> Any:
    """Wait until a condition (a plain or a coroutine function) gives something true, and return that."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if asyncio.iscoroutine(result):
            result = await result
        if result:
            return result
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for: {what}"
        await asyncio.sleep(0.05)


def processes_of(state: Path) -> list[int]:
    """Every process that belongs to the mesh of a state directory."""
    mark = f"PLAIT_MESH={state}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if mark in environment.split(b"\0"):
                found.append(int(entry.name))
    return found


@asynccontextmanager
async def running(
    folder: Path,
    *arguments: str,
    ready: bool = True,
    environment: Mapping[str, str] | None = None,
    mode: str = "explicit",
    prefix: Sequence[str] = (),
) -> AsyncIterator[Mesh]:
    """A mesh over `folder`; at the end it is stopped by SIGINT, and must leave nothing.

    `prefix`: a program, with arguments, that becomes `plait up`.
    """
    base = Path(tempfile.mkdtemp(prefix="plait-"))
    state = base / "s"
    with (base / "output").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *prefix,
            *PLAIT,
            "up",
            str(folder),
            "--state-dir",
            str(state),
            "--mode",
            mode,
            *arguments,
            env={**clean_environment(), **(environment or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    mesh = Mesh(state, folder, process, base / "output")
    try:
        if ready:
            await until(lambda: _is_ready(mesh), "the mesh to be ready")
        yield mesh
        if mesh.process.returncode is None:
            mesh.process.send_signal(signal.SIGINT)
            await asyncio.wait_for(mesh.process.wait(), 90)
            assert mesh.process.returncode == 0, mesh.told()
        assert not processes_of(state), mesh.told()
        assert not state.exists(), sorted(state.rglob("*"))
    except BaseException:
        print(mesh.told())  # noqa: T201 - what a failed test shows
        for log in (state / "control-plane" / "log", state / "agent" / "log"):
            if log.exists():
                print(f"--- {log.parent.name}\n" + log.read_text()[-4000:])  # noqa: T201
        raise
    finally:
        if mesh.process.returncode is None:
            mesh.process.kill()
            await mesh.process.wait()
        if state.exists() or processes_of(state):
            await asyncio.to_thread(
                subprocess.run,
                [*PLAIT, "down", "--state-dir", str(state)],
                env=clean_environment(),
                capture_output=True,
                check=False,
            )
        shutil.rmtree(base, ignore_errors=True)


def _is_ready(mesh: Mesh) -> bool:
    assert mesh.process.returncode is None, mesh.told()
    return mesh.is_ready()


@asynccontextmanager
async def bistro(
    tmp_path: Path,
    *arguments: str,
    without: Sequence[str] = ("diner.yaml",),
    more: Mapping[str, str] | None = None,
) -> AsyncIterator[Mesh]:
    """The bistro in a folder of its own, without its own load, with a policy that lets `frontend` be the client.

    `more`: files that are there too, by their names.
    """
    folder = tmp_path / "bistro"
    shutil.copytree(BISTRO, folder, ignore=shutil.ignore_patterns(*without, "__pycache__"))
    for name, text in (more or {}).items():
        (folder / name).write_text(text)
    async with running(folder, *arguments) as mesh:
        yield mesh


@dataclass(slots=True)
class Load:
    """Requests at a steady rate through one sidecar, as its application would send them."""

    proxy: str
    url: str
    rate: float
    statuses: Counter[int | str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"

    @property
    def total(self) -> int:
        return sum(self.statuses.values())

    @property
    def failures(self) -> dict[int | str, int]:
        return {status: count for status, count in self.statuses.items() if status != 200}

    async def one(self, session: aiohttp.ClientSession) -> None:
        """One request; what came of it is counted."""
        try:
            async with session.request(
                self.method, self.url, proxy=self.proxy, headers=self.headers
            ) as response:
                text = await response.text()
                self.statuses[response.status] += 1
                if response.status == 200:
                    self.answers[str(json.loads(text).get("version"))] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            self.statuses[repr(error)] += 1

    async def run(self, stop: asyncio.Event) -> None:
        """Send until told to stop; each request starts at its time, whether or not others are still out."""
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as requests:
            began, sent = time.monotonic(), 0
            while not stop.is_set():
                due = int((time.monotonic() - began) * self.rate) + 1
                for _ in range(due - sent):
                    requests.create_task(self.one(session))
                sent = due
                await asyncio.sleep(0.01)


@asynccontextmanager
async def loading(proxy_address: str, url: str, rate: float, **more: Any) -> AsyncIterator[Load]:
    """A Load that runs as long as the context, and has had all its answers at the end of it."""
    load = Load(f"http://{proxy_address}:15001", url, rate, **more)
    stop = asyncio.Event()
    task = asyncio.create_task(load.run(stop))
    try:
        await until(lambda: load.total > 5, "the first answers")
        yield load
    finally:
        stop.set()
        await task
