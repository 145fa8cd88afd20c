"""One replica of this machine, from its making to its end: what happens to it, and what is said of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from enum import Enum, auto

from plait.agent import secrets, shims
from plait.agent.acts import Phase
from plait.agent.observing import Observer
from plait.agent.record import Record, ReplicaFiles, ShimStatus
from plait.agent.secrets import Signer, UnsignedError
from plait.agent.shims import Shim, ShimLostError
from plait.agent.trusted import Trusted
from plait.identity.trust import Held
from plait.link.messages import ReplicaReport, State
from plait.local.blueprint import Site, prepare
from plait.local.journal import Journal
from plait.local.network.network import Network
from plait.local.placement import Seen
from plait.model.names import ReplicaKey
from plait.telemetry.reports import ProxyReport

_RETRY = (0.2, 5.0)
"""First and longest pause before asking for a certificate again, in seconds."""
_GONE_WITHIN = 10.0
_PAUSE = 0.01
_STATES = {
    Phase.STARTING: State.STARTING,
    Phase.READY: State.READY,
    Phase.FAILED: State.FAILED,
    Phase.ENDED: State.ENDED,
    Phase.DRAINING: State.DRAINING,
    Phase.STOPPED: State.DRAINING,
}


class Outcome(Enum):
    """How a replica's shim left: its job has ended, it was stopped, or nobody knows."""

    ENDED = auto()
    STOPPED = auto()
    LOST = auto()


class LocalReplica:
    """What this agent knows of one replica.  `changed` is called whenever `report` or `seen` may differ."""

    def __init__(self, site: Site, record: Record, changed: Callable[[], None], trusted: Trusted) -> None:
        self.record = record
        self.files = ReplicaFiles.of(site.state, record.key)
        self.draining_since: float | None = None
        self.withdrawn = False
        self.stopping = False
        self.note = ""
        """Why its roll waits."""
        self.problem = ""
        """Why it could not be made."""
        self._site = site
        self._changed = changed
        self._trusted = trusted
        self._message = ""
        self._held: Held | None = None
        self._status: ShimStatus | None = None
        self._observer: Observer | None = None
        self._shim: Shim | None = None
        self._statuses: AsyncIterator[ShimStatus] | None = None
        self._process: subprocess.Popen[bytes] | shims.Entered | None = None

    @property
    def key(self) -> ReplicaKey:
        return self.record.key

    @property
    def begun(self) -> bool:
        """Whether it has, or had, a shim."""
        return self._status is not None or self._process is not None

    @property
    def attached(self) -> bool:
        """Whether it was found with a living shim, which `live` has to follow."""
        return self._statuses is not None

    @property
    def restarts(self) -> int:
        return self.record.restarts + (self._status.restarts if self._status else 0)

    @property
    def state(self) -> State:
        """Its own state, whatever was asked of it."""
        if self.problem:
            return State.FAILED
        return _STATES[self._status.phase] if self._status else State.STARTING

    def seen(self) -> Seen:
        return Seen(
            key=self.key,
            revision=self.record.revision if self.record.terms == self._site.terms else "",
            state=self.state,
            draining_since=self.draining_since,
            withdrawn=self.withdrawn,
            stopping=self.stopping,
        )

    def report(self) -> ReplicaReport:
        """What the control plane is told."""
        staying = self.draining_since is None and not self.stopping
        state = self.state if staying or self.state is State.ENDED else State.DRAINING
        said = self.problem or (self._status.message if self._status else self._message)
        return ReplicaReport(
            replica=replace(self.record.replica, serving=state is State.READY),
            revision=self.record.revision,
            state=state,
            identity=self.record.identity,
            restarts=self.restarts,
            exit_code=self._status.exit_code if self._status else None,
            message="; ".join(part for part in (said, self.note) if part),
            held=None if state is State.ENDED else self._held,
        )

    def drain(self, now: float) -> None:
        """From now on it asks to be withdrawn."""
        self.draining_since = now

    def stop(self) -> None:
        """Has its shim let requests finish, end the application, both within its grace, and then Envoy."""
        self.stopping = True
        if self._observer is not None:
            self._observer.hurry()
        if self._shim is not None:
            self._shim.stop(self.record.shim.app.grace)

    async def begin(self, signer: Signer, journal: Journal, pause: float, why: str) -> None:
        """Makes key, certificate, bootstrap and shim.  First waits `pause` seconds, telling `why`."""
        self._tell(why)
        await asyncio.sleep(pause)
        await self._provision(signer)
        prepare(self._site, self.record, self.files)
        journal.record("shim", replica=str(self.key), id=self.files.id)
        self._process = await self._start()
        journal.process(self._process.pid, f"shim of {self.key}")

    async def _start(self) -> subprocess.Popen[bytes] | shims.Entered:
        env = self._site.shim_environment(self.files)
        network = self._site.network
        if network is None:
            return shims.start(self.files, env)
        entering = asyncio.create_task(asyncio.to_thread(self._enter, network, env))
        try:
            return await asyncio.shield(entering)
        except asyncio.CancelledError:
            # A shim that is about to run can't be called back: it is waited for, and then stopped like any other,
            # or left for the next agent.
            process = await entering
            if not self.stopping:
                raise
            return process

    def _enter(self, network: Network, env: dict[str, str]) -> subprocess.Popen[bytes] | shims.Entered:
        """Makes its namespace, and the shim in there; it takes a while, and runs in a thread."""
        inside = network.join(self.record, self.files)
        try:
            entry = shims.Entry(network=inside, keep=(network.descriptor,))
            return shims.start(self.files, env, entry)
        finally:
            os.close(inside)

    async def adopt(self) -> bool:
        """Takes up the shim that is there; False: there is none, it is leaving, or the mesh's network does not reach it."""
        status = await self._found()
        if status is None:
            self._hang_up()
            return False
        if status.phase is Phase.DRAINING:
            self.stopping = True
        self._held = secrets.current(self.files, self.record.envoy)
        return True

    async def _found(self) -> ShimStatus | None:
        """What its shim says, if that is to be taken up."""
        with suppress(ShimLostError):
            while self._status is None and shims.alive(self.files):
                await self._connect()
        if self._status is None:
            self._status = self.files.last_status()
            return None
        network, shim = self._site.network, self._status.shim_pid
        reached = network is None or (shim is not None and network.holds(shim))
        return self._status if reached else None

    async def live(self, signer: Signer, observed: Callable[[ProxyReport], None]) -> Outcome:
        """Follows its shim until that leaves; `observed` hears what its proxy does meanwhile."""
        renewing = asyncio.create_task(
            secrets.keep_current(self.files, self.key, signer, self.record.envoy, self._trusted, self._holds)
        )
        self._observer = Observer(self.key, self.files.admin, self._pids)
        observing = asyncio.create_task(self._observer.run(observed, self.files.spread))
        try:
            if self._statuses is None:
                await self._connect()
            if self._statuses is not None:
                async for status in self._statuses:
                    self._hear(status)
        except ShimLostError:
            pass  # what it wrote down last tells how it ended
        finally:
            for task in (renewing, observing):
                task.cancel()
            await asyncio.gather(renewing, observing, return_exceptions=True)
            self._hang_up()
        await self._reap()
        return self._outcome()

    def let_go(self) -> None:
        """The agent leaves, and its shim stays: as far as Python is concerned it is no child of ours any more."""
        self._hang_up()
        if self._process is not None and self._process.poll() is None:
            self._process.returncode = 0

    async def _provision(self, signer: Signer) -> None:
        """A certificate, however long it takes to get one."""
        pause, longest = _RETRY
        while True:
            self._tell("waits for its certificate")
            try:
                self._held = await secrets.provision(
                    self.files, self.key, signer, self.record.envoy, self._trusted
                )
            except UnsignedError as error:
                self._tell(f"waits for its certificate: {error}")
                await asyncio.sleep(pause)
                pause = min(pause * 2, longest)
            else:
                self._tell("is starting")
                return

    async def _connect(self) -> None:
        """Connects to the shim and hears its first word.  ShimLostError."""
        self._hang_up()
        self._shim = await Shim.connect(self.files.socket, coming=self._shim_runs)
        self._statuses = self._shim.statuses()
        async for status in self._statuses:
            self._hear(status)
            break
        if self.stopping:  # asked while nobody was there to hear it
            self.stop()

    def _hang_up(self) -> None:
        if self._shim is not None:
            self._shim.close()
        self._shim = self._statuses = None

    def _pids(self) -> tuple[int | None, int | None]:
        """Those of Envoy and of the application."""
        return (self._status.envoy_pid, self._status.app_pid) if self._status else (None, None)

    def _shim_runs(self) -> bool:
        return shims.alive(self.files) if self._process is None else self._process.poll() is None

    def _hear(self, status: ShimStatus) -> None:
        self._status = status
        self._changed()

    def _tell(self, message: str) -> None:
        self._message = message
        self._changed()

    def _holds(self, held: Held) -> None:
        self._held = held
        self._changed()

    async def _reap(self) -> None:
        """Waits for the end of a shim that has said all it had to say."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GONE_WITHIN):
                while self._shim_runs():  # noqa: ASYNC110 - nothing tells the end of a process that is no child of ours
                    await asyncio.sleep(_PAUSE)

    def _outcome(self) -> Outcome:
        last = self.files.last_status()
        if last is not None:
            self._status = last
            if last.phase is Phase.ENDED:
                return Outcome.ENDED
            if last.phase is Phase.STOPPED and last.over:
                return Outcome.STOPPED
        return Outcome.LOST
