"""The control plane under measurement: the process that `plait up` starts, on a core of its own."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from plait.api.client import Client, NoMesh
from plait.api.views import ProxyStatus
from plait.model.finding import Severity
from plait.run.state_directory import StateDirectory

_START, _END = 120.0, 30.0
_LOOK, _QUIET = 0.1, 0.003
"""Seconds between two looks at its CPU time, and what it may use in them and still count as idle."""
_PAUSE = 0.05


class BenchError(Exception):
    """What is measured does not do what it should; the message says what."""


@dataclass(frozen=True, slots=True)
class Plane:
    """A running control plane."""

    state: StateDirectory
    log: Path
    pid: int

    @property
    def cpu(self) -> float:
        """Seconds of CPU that all its threads have used, those that ended too."""
        of_process = ~self.pid << 3 | 2  # the kernel's name for this clock: see clock_getcpuclockid(3)
        try:
            return time.clock_gettime(of_process)
        except OSError:
            raise BenchError(f"the control plane has ended:\n{self.last_words}") from None

    @property
    def memory(self) -> float:
        """MB that are resident."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def peak(self) -> float:
        """MB that were resident at most since `forget_peak`."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6

    def forget_peak(self) -> None:
        """Count `peak` from here on."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    async def quiet(self) -> None:
        """Return as soon as it has nothing to do any more."""
        before = self.cpu
        while True:
            await asyncio.sleep(_LOOK)
            now = self.cpu
            if now - before < _QUIET:
                return
            before = now

    async def answers(self) -> None:
        """Wait for its API."""
        deadline = time.monotonic() + _START
        while True:
            try:
                async with Client(self.state.api_socket) as client:
                    await client.findings()
                    return
            except NoMesh:
                if time.monotonic() > deadline:
                    raise BenchError(f"the control plane does not answer:\n{self.last_words}") from None
                await asyncio.sleep(_PAUSE)

    async def proxies(self) -> list[ProxyStatus]:
        """Those that are connected."""
        async with Client(self.state.api_socket) as client:
            return [proxy for proxy in await client.proxies() if proxy.connected]

    async def check(self) -> None:
        """BenchError for anything wrong: an error in the mesh, in the log, or a rejection by a proxy."""
        async with Client(self.state.api_socket) as client:
            found = [one.text for one in await client.findings() if one.severity == Severity.ERROR]
        found += [line for line in self.log.read_text().splitlines() if " ERROR " in line]
        if found:
            raise BenchError("the control plane has found or made an error:\n" + "\n".join(found[:10]))

    @property
    def last_words(self) -> str:
        return "\n".join(self.log.read_text().splitlines()[-20:])


@asynccontextmanager
async def running(
    state: StateDirectory, folder: Path, log: Path, core: set[int], profile: Path | None = None
) -> AsyncIterator[Plane]:
    """The control plane of a folder, from the start of its process to the end, and a profile of all it does."""
    profiling = ("-m", "cProfile", "-o", str(profile)) if profile else ()
    command = [sys.executable, *profiling, "-m", "plait.run.control_plane", "--state-dir", str(state.root)]
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            *("--trust-domain", "cluster.local", str(folder)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PLAIT_MESH": str(state.root), "GRPC_VERBOSITY": "ERROR"},
            start_new_session=True,
        )
    os.sched_setaffinity(process.pid, core)
    plane = Plane(state, log, process.pid)
    try:
        yield plane
    finally:
        await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    """Ask a process to end, and see that it does."""
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _END)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
