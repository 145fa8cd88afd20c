"""`plait up`: starts the control plane, the agent and, where asked for, a dashboard; keeps them running, and ends all.

They are processes of their own and outlive each other; this one only watches them and tells the user what happens.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from plait.agent.record import ReplicaFiles
from plait.api.client import ApiError, Client, NoMesh
from plait.dashboard import address
from plait.identity.files import Insecure, write_private
from plait.local import journal
from plait.local.sweep import Swept, sweep
from plait.model.settings import MeshSettings, Mode
from plait.run.assignments import AGENT
from plait.run.narrator import narrate
from plait.run.part import Part
from plait.run.state_directory import StateDirectory

SAID = {
    Mode.TRANSPARENT: (
        "transparent mode: each workload is shut in with its Envoy, and all that it sends and is sent goes through it"
    ),
    Mode.EXPLICIT: (
        "explicit mode: applications reach the mesh by their HTTP_PROXY setting and listen on an address of their own; "
        "nothing forces them through their Envoy"
    ),
}

CONTROL_PLANE, AGENT_PROCESS, DASHBOARD = "control plane", "agent", "dashboard"

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_START = 20.0
"""Seconds within which the control plane has to answer."""
_GRACE = 5.0
"""Seconds that each part has to end by itself."""
_AROUND_GRACE = 15.0
"""Seconds that the end of a workload may take beyond its grace: to be withdrawn before, to end its Envoy after."""
_HOPELESS = 5.0
"""Seconds without a control plane and an agent after which nobody waits for workloads to be stopped in order."""
_LOOK_EVERY = 0.5
_PAUSE = 0.02


class StartError(Exception):
    """The mesh could not be started; the message says why."""


@dataclass(slots=True)
class Runner:
    """One mesh on this machine, from `paths`, in `state`.  `say` is given one line at a time."""

    state: StateDirectory
    paths: Sequence[Path]
    settings: MeshSettings
    mode: Mode
    listen: str
    api: str
    prometheus: str
    """The URL of what is asked of traffic in place of the mesh's own store; "" for nothing."""
    authority: Path | None
    """The folder of the user's own certificate authority."""
    dashboard: bool
    """Whether it serves one."""
    say: Callable[[str], None]
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _hurry: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        """Run until a signal says stop, and leave nothing behind; the exit code.  StateDirectoryError, OSError.

        From its first moment to the end of the process no signal ends it in the middle of anything.
        """
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        try:
            with self.state.locked():
                return await self._run()
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)  # nothing is left to stop

    async def _run(self) -> int:
        began = time.monotonic()
        control_plane, agent = self._control_plane(), self._agent()
        parts = [agent, control_plane]
        keeping: list[asyncio.Task[None]] = []
        code = 0
        end_stale(self.state.root)
        try:
            await control_plane.start()
            if await self._admitted(control_plane):
                keeping.append(asyncio.create_task(control_plane.keep()))
                await agent.start()
                keeping.append(asyncio.create_task(agent.keep(self._readmit)))
                self.say(SAID[self.mode])
                self._say_where_the_api_is()
                if self.dashboard:
                    parts.append(dashboard := self._dashboard())
                    await dashboard.start()
                    keeping.append(asyncio.create_task(dashboard.keep()))
                keeping.append(asyncio.create_task(narrate(self.state.api_socket, self.say, began)))
                code = await self._stopped()
        except (StartError, OSError) as error:
            self.say(f"plait up: {error}")
            code = 1
        finally:
            for task in keeping:
                task.cancel()
            await asyncio.gather(*(part.stop(_GRACE) for part in parts))
            clean = self._swept()
        return code if clean else 1

    def _say_where_the_api_is(self) -> None:
        if self.api:
            with suppress(OSError):
                place = self.state.api_address.read_text()
                self.say(f"the API is served at http://{place} too; its token: {self.state.api_token}")

    async def _stopped(self) -> int:
        """Returns once everything has been stopped in order: because it was asked for, or has to be; the exit code."""
        while not self._stop.is_set():
            if not self.state.mine():
                self.say(f"{self.state.root} was removed while the mesh ran: everything is ended at once")
                return 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _LOOK_EVERY)
        self.say("stopping: every workload is drained, then stopped; Ctrl-C again kills what is left at once")
        await self._drain()
        return 0

    def _swept(self) -> bool:
        """Ends and removes what is left, and tells so; whether nothing is."""
        if self.state.owner() not in (None, os.getpid()):
            return False  # somebody has removed the directory, and somebody else has a mesh there now
        swept = sweep(self.state.root)
        self.say(ending(swept, self.state.root))
        return swept.clean

    def _on_signal(self) -> None:
        (self._hurry if self._stop.is_set() else self._stop).set()

    def _control_plane(self) -> Part:
        command = [sys.executable, "-m", "plait.run.control_plane", "--state-dir", str(self.state.root)]
        settings = self.settings
        command += ["--trust-domain", settings.trust_domain, *self._outbound()]
        command += [f"--trust-domain-alias={alias}" for alias in settings.trust_domain_aliases]
        command += ["--certificate-lifetime", str(settings.certificate_lifetime)]
        command += ["--longest-connection", str(settings.longest_connection)]
        command += ["--ca", str(self.authority)] if self.authority else []
        command += ["--listen", self.listen] if self.listen else []
        command += ["--api", self.api] if self.api else []
        command += ["--prometheus", self.prometheus] if self.prometheus else []
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
            "--link",
            f"unix:{self.state.link_socket}",
            "--join",
            f"unix:{self.state.join_socket}",
            "--mode",
            self.mode,
            *self._outbound(),
        ]
        return self._part(AGENT_PROCESS, command, self.state.agent / "log")

    def _dashboard(self) -> Part:
        """It gets a listener that stays open here, so that its link holds and nobody takes its port while it restarts."""
        listener, token = address.listen("127.0.0.1:0"), address.new_token()
        self.say(f"dashboard: {address.link(listener, token)}")
        command = [sys.executable, "-m", "plait.dashboard.server", "--api", str(self.state.api_socket)]
        command += ["--listener", str(listener.fileno())]
        part = self._part(DASHBOARD, command, self.state.dashboard_log)
        return replace(
            part, environment={**part.environment, address.TOKEN_VARIABLE: token}, handed=(listener.detach(),)
        )

    def _outbound(self) -> list[str]:
        return ["--outbound-traffic-policy", self.settings.outbound_traffic_policy]

    def _part(self, name: str, command: Sequence[str], log: Path) -> Part:
        environment = {**os.environ, "PLAIT_MESH": str(self.state.root), "GRPC_VERBOSITY": "ERROR"}
        return Part(name, command, environment, log, self.say, journal.Journal(self.state.root))

    async def _admitted(self, control_plane: Part) -> bool:
        """Wait for the control plane's first answer, the agent's token; False when told to stop before.  StartError."""
        deadline = time.monotonic() + _START
        while not self._stop.is_set():
            try:
                await self._admit()
            except NoMesh:
                if control_plane.ended or time.monotonic() > deadline:
                    raise StartError(
                        f"the control plane did not start; its log ends with:\n{control_plane.last_words()}"
                    ) from None
                await asyncio.sleep(_PAUSE)
            else:
                return True
        return False

    async def _admit(self) -> None:
        """Give the agent a token to join with.  NoMesh, ApiError."""
        async with Client(self.state.api_socket) as client:
            created = await client.create_token(AGENT)
        write_private(self.state.agent / "token", created.token.encode())  # a file that only it reads

    async def _readmit(self) -> None:
        """Another one, in case its certificate has ended: the machine may have slept.  Most often it needs none."""
        with suppress(NoMesh, ApiError, OSError):
            await self._admit()

    async def _drain(self) -> None:
        """Have everything stopped in order, as long as there is patience for it."""
        hurry = asyncio.create_task(self._hurry.wait())
        drained = asyncio.create_task(drain(self.state))
        await asyncio.wait({hurry, drained}, return_when=asyncio.FIRST_COMPLETED)
        for task in (hurry, drained):
            task.cancel()
        await asyncio.gather(hurry, drained, return_exceptions=True)


def ending(swept: Swept, root: Path) -> str:
    """What is to be said of how a mesh ended."""
    if swept.surviving:
        return f"these processes could not be ended: {', '.join(map(str, swept.surviving))}"
    if swept.left:
        return (
            f"stopped; left in {root}, since it is not Plait's or can't be removed: {', '.join(swept.left)}"
        )
    return "stopped; nothing is left"


def end_stale(root: Path) -> None:
    """End the parts of a `plait up` that was killed; what they ran goes on, and is taken up."""
    for process in journal.processes(root):
        if (
            process.role in (CONTROL_PLANE, AGENT_PROCESS, DASHBOARD)
            and journal.birth(process.pid) == process.birth
        ):
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def patience(state: StateDirectory) -> float:
    """How long it may take to stop every workload in order, in seconds."""
    grace = 0.0
    for files in ReplicaFiles.all(state.root):
        with suppress(OSError, Insecure):
            record = files.read()
            grace = max(grace, record.shim.app.grace if record else 0.0)
    return grace + _AROUND_GRACE


async def drain(state: StateDirectory, without: float = _HOPELESS) -> None:
    """Ask the control plane to stop every workload, and wait until they are gone, or nobody is left who does it.

    `without`: so many seconds without a control plane and an agent mean that nobody is.
    """
    now = time.monotonic()
    deadline, hopeless = now + patience(state), now + without
    asked = False
    while (now := time.monotonic()) < min(deadline, hopeless):
        try:
            async with Client(state.api_socket) as client:
                if not asked:
                    await client.shutdown()
                    asked = True
                status = await client.status()
        except (NoMesh, ApiError):
            asked = False
        else:
            if not status.workloads:
                return
            if status.mesh.agents:
                hopeless = now + without
        await asyncio.sleep(_PAUSE)
