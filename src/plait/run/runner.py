"""`plait up`: starts the control plane and the agent, keeps both running, and ends everything at the end.

The two are processes of their own and outlive each other; this one only watches them and tells the user what
happens.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from plait.api.client import Client, NoMesh
from plait.identity.files import write_private
from plait.local import journal
from plait.local.sweep import Swept, sweep
from plait.run.assignments import AGENT
from plait.run.narrator import narrate
from plait.run.part import Part
from plait.run.state_directory import StateDirectory

EXPLICIT = (
    "explicit mode: applications reach the mesh by their HTTP_PROXY setting and listen on an address of their own; "
    "nothing yet forces them through their Envoy"
)

CONTROL_PLANE, AGENT_PROCESS = "control plane", "agent"

_START = 20.0
"""Seconds within which the control plane has to answer."""
_DRAINED = 65.0
"""Seconds within which every workload has to be gone after Ctrl-C, before the rest is killed."""
_GRACE = 5.0
"""Seconds that the control plane and the agent have to end by themselves."""


class StartError(Exception):
    """The mesh could not be started; the message says why."""


@dataclass(slots=True)
class Runner:
    """One mesh on this machine, from `paths`, in `state`.  `say` is given one line at a time."""

    state: StateDirectory
    paths: Sequence[Path]
    trust_domain: str
    listen: str
    say: Callable[[str], None]
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _hurry: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        """Run until a signal says stop, and leave nothing behind; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        began = time.monotonic()
        control_plane, agent = self._control_plane(), self._agent()
        keeping: list[asyncio.Task[None]] = []
        end_stale(self.state.root)
        try:
            await control_plane.start()
            await self._answering(control_plane)
            keeping.append(asyncio.create_task(control_plane.keep()))
            await self._give_token()
            await agent.start()
            keeping.append(asyncio.create_task(agent.keep()))
            self.say(EXPLICIT)
            keeping.append(asyncio.create_task(narrate(self.state.api_socket, self.say, began)))
            await self._stop.wait()
            self.say(
                "stopping: every workload is drained, then stopped; Ctrl-C again kills what is left at once"
            )
            await self._drain()
        except StartError as error:
            self.say(str(error))
            return 1
        finally:
            for task in keeping:
                task.cancel()
            await agent.stop(_GRACE)
            await control_plane.stop(_GRACE)
            swept = sweep(self.state.root)
            self.say(ending(swept, self.state.root))
        return 0 if swept.clean else 1

    def _on_signal(self) -> None:
        (self._hurry if self._stop.is_set() else self._stop).set()

    def _control_plane(self) -> Part:
        command = [sys.executable, "-m", "plait.run.control_plane", "--state-dir", str(self.state.root)]
        command += ["--trust-domain", self.trust_domain]
        command += ["--listen", self.listen] if self.listen else []
        command += [str(path) for path in self.paths]
        return self._part(CONTROL_PLANE, command, self.state.control_plane / "log")

    def _agent(self) -> Part:
        command = [
            sys.executable,
            "-m",
            "plait.run.agent",
            "--state-dir",
            str(self.state.root),
            "--name",
            AGENT,
        ]
        command += [
            "--control-plane",
            f"unix:{self.state.xds_socket}",
            "--join",
            f"unix:{self.state.join_socket}",
        ]
        return self._part(AGENT_PROCESS, command, self.state.agent / "log")

    def _part(self, name: str, command: Sequence[str], log: Path) -> Part:
        environment = {**os.environ, "PLAIT_MESH": str(self.state.root), "GRPC_VERBOSITY": "ERROR"}
        return Part(name, command, environment, log, self.say, journal.Journal(self.state.root))

    async def _answering(self, control_plane: Part) -> None:
        """Wait for the first answer of the control plane."""
        deadline = time.monotonic() + _START
        while time.monotonic() < deadline and not self._stop.is_set():
            try:
                async with Client(self.state.api_socket) as client:
                    await client.status()
            except NoMesh:
                if control_plane.process is not None and control_plane.process.returncode is not None:
                    break
                await asyncio.sleep(0.02)
            else:
                return
        if not self._stop.is_set():
            raise StartError(
                f"the control plane did not start; its log ends with:\n{control_plane.last_words()}"
            )

    async def _give_token(self) -> None:
        """The agent's first proof, in a file that only it reads."""
        async with Client(self.state.api_socket) as client:
            created = await client.create_token(AGENT)
        write_private(self.state.agent / "token", created.token.encode())

    async def _drain(self) -> None:
        """Have everything stopped in order, as long as there is patience for it."""
        hurry = asyncio.create_task(self._hurry.wait())
        drained = asyncio.create_task(drain(self.state, _DRAINED))
        await asyncio.wait({hurry, drained}, return_when=asyncio.FIRST_COMPLETED)
        for task in (hurry, drained):
            task.cancel()


def ending(swept: Swept, root: Path) -> str:
    """What is to be said of how a mesh ended."""
    if swept.surviving:
        return f"these processes could not be ended: {', '.join(map(str, swept.surviving))}"
    if swept.left:
        return f"stopped; left alone in {root}, since they are not Plait's: {', '.join(swept.left)}"
    return "stopped; nothing is left"


def end_stale(root: Path) -> None:
    """End the control plane and the agent of a `plait up` that was killed; what they ran goes on, and is taken up."""
    for process in journal.processes(root):
        if process.role in (CONTROL_PLANE, AGENT_PROCESS) and journal.birth(process.pid) == process.birth:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


async def drain(state: StateDirectory, patience: float) -> None:
    """Ask the control plane to stop every workload, and wait until they are gone or patience ends."""
    deadline = time.monotonic() + patience
    asked = False
    while time.monotonic() < deadline:
        try:
            async with Client(state.api_socket) as client:
                if not asked:
                    await client.shutdown()
                    asked = True
                if not (await client.status()).workloads:
                    return
        except NoMesh:
            asked = False
        await asyncio.sleep(0.05)
