"""The agent of this machine: has run what the control plane wishes, and tells it what does.

One loop compares what is wished with what is seen (`placement`) and acts; a task a replica follows its shim.  A
replica's record is written before anything of it is made, so that an agent which is killed at any moment, and
started again, finds everything: `adopt` takes up the shims that live, keeps the jobs that have ended, and removes
what is left of the rest before the control plane hears of any of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Protocol

from plait.agent import secrets, shims
from plait.agent.life import backoff
from plait.agent.record import Record, ReplicaFiles
from plait.agent.secrets import Signer
from plait.agent.sessions import FAILED, run_command, show_logs, show_metrics
from plait.agent.trusted import Trusted
from plait.identity.files import Insecure
from plait.identity.trust import Trust
from plait.link.client import Write
from plait.link.messages import (
    Asked,
    Assignments,
    ExecRequest,
    Exited,
    LogsRequest,
    MetricsRequest,
    ReplicaReport,
    State,
    Withdrawn,
    WorkloadAssignment,
)
from plait.local.addresses import NOWHERE, NoAddressError
from plait.local.blueprint import Site, draw
from plait.local.journal import Journal
from plait.local.placement import Act, Drain, Forget, Start, Stop, place
from plait.local.replica import LocalReplica, Outcome
from plait.local.sweep import belonging
from plait.local.users import NoUserError
from plait.model.names import ReplicaKey
from plait.telemetry.reports import ProxyReport

_log = logging.getLogger(__name__)

_LOSS_BACKOFF = (0.2, 30.0)


class Link(Signer, Protocol):
    """What the machine tells the control plane; the link's client."""

    def report(self, report: ReplicaReport) -> None: ...

    def gone(self, key: ReplicaKey) -> None: ...

    def observed(self, report: ProxyReport) -> None: ...


class Machine:
    """All replicas of one machine.  `adopt` first, then `run`; the rest is for the link's client."""

    def __init__(self, site: Site, trusted: Trusted | None = None) -> None:
        """`trusted`: where it is kept whom to trust, which the agent itself may go by too."""
        self._site = site
        self._trusted = trusted or Trusted()
        self._journal = Journal(site.state)
        self._wished: Assignments | None = None
        self._replicas: dict[ReplicaKey, LocalReplica] = {}
        self._tasks: dict[ReplicaKey, asyncio.Task[None]] = {}
        self._told: dict[ReplicaKey, ReplicaReport] = {}
        self._losses: dict[ReplicaKey, tuple[int, int]] = {}
        """Of replicas that were lost: how often in a row, and the restarts they had."""
        self._changed = asyncio.Event()

    # For the link's client

    def hello(self) -> tuple[ReplicaReport, ...]:
        """The whole truth, for a new connection."""
        self._told = {key: replica.report() for key, replica in sorted(self._replicas.items())}
        return tuple(self._told.values())

    async def deliver(self, message: Assignments | Trust | Withdrawn) -> None:
        match message:
            case Trust():
                self._trusted.take(message)
            case Assignments():
                self._wished = message
                self._name(message)
            case Withdrawn(key=key):
                if (replica := self._replicas.get(key)) and replica.draining_since is not None:
                    replica.withdrawn = True
        self._changed.set()

    async def serve(self, request: Asked, stdin: AsyncIterator[bytes], write: Write) -> Exited:
        replica = self._replicas.get(request.replica)
        if replica is None:
            return Exited(code=FAILED, error=f"there is no replica {request.replica} here")
        match request:
            case ExecRequest(command=command):
                return await run_command(replica.files, command, stdin, write)
            case LogsRequest():
                return await show_logs(replica.files, request, write)
            case MetricsRequest():
                return await show_metrics(replica.files, write)

    def _name(self, wished: Assignments) -> None:
        """Has every workload find the hosts by their names."""
        if self._site.network is not None:
            try:
                self._site.network.names.tell(wished.hosts)
            except OSError as error:
                _log.error("workloads are not told the names of services: %s", error)

    # The life of the machine

    async def adopt(self) -> None:
        """Finds again what an agent before this one has left running.  OSError when there can be no network."""
        known = ReplicaFiles.all(self._site.state)
        if self._site.network is not None:
            await asyncio.to_thread(self._site.network.take_up, belonging(self._site.state))
        await asyncio.gather(*(self._find(files) for files in known))

    async def run(self, link: Link) -> None:
        """Until cancelled; what runs then runs on."""
        for replica in self._replicas.values():
            if replica.attached:
                self._keep(replica, link, adopted=True)
        way_out = asyncio.create_task(self._site.network.keep_open()) if self._site.network else None
        try:
            while True:
                self._changed.clear()
                again_at = self._place(link)
                self._report(link)
                await self._wait(again_at)
        finally:
            tasks = [*self._tasks.values(), *([way_out] if way_out else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for replica in self._replicas.values():
                replica.let_go()

    async def _wait(self, until: float | None) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _place(self, link: Link) -> float | None:
        """Does what is to be done now; when to look again at the latest."""
        if self._wished is None:
            return None
        now = asyncio.get_running_loop().time()
        placed = place(self._wished, [replica.seen() for replica in self._replicas.values()], now)
        for replica in self._replicas.values():
            replica.note = ""
        for key, note in placed.notes:
            self._replicas[key].note = note
        for act in placed.acts:
            self._act(act, link, now)
        return placed.again_at

    def _act(self, act: Act, link: Link, now: float) -> None:
        match act:
            case Start(key=key, assignment=assignment):
                self._start(key, assignment, link)
            case Drain(key=key):
                self._replicas[key].drain(now)
                self._changed.set()
            case Stop(key=key) | Forget(key=key):
                self._stop(self._replicas[key], link)

    def _report(self, link: Link) -> None:
        """Tells whatever has changed since it was told last."""
        for key, replica in self._replicas.items():
            report = replica.report()
            if self._told.get(key) != report:
                self._told[key] = report
                link.report(report)
            if report.state is State.READY:
                self._losses.pop(key, None)

    # Replicas

    def _start(self, key: ReplicaKey, assignment: WorkloadAssignment, link: Link) -> None:
        """Writes down what the replica will be, then lets it begin."""
        assert self._wished is not None
        record, problem = self._draw(key, assignment, self._wished.trust_domain)
        _, restarts = self._losses.get(key, (0, 0))
        replica = LocalReplica(
            self._site, replace(record, restarts=restarts), self._changed.set, self._trusted
        )
        replica.problem = problem
        self._replicas[key] = replica
        self._keep(replica, link, adopted=False)

    def _draw(self, key: ReplicaKey, assignment: WorkloadAssignment, trust_domain: str) -> tuple[Record, str]:
        """What a new replica will be, and why it can't be ("": it can)."""
        others = [replica.record for replica in self._replicas.values()]
        addresses = {record.replica.sidecar.address for record in others}
        uids = {record.envoy.uid for record in others if record.envoy}
        try:
            places = self._site.plan.choose(assignment.process.ports, addresses)
            return draw(self._site, key, assignment, places, trust_domain=trust_domain, taken=uids), ""
        except (NoAddressError, OSError) as error:
            problem = f"no place for it: {error}"
        except NoUserError as error:
            problem = str(error)
        bare = Site(
            state=self._site.state, envoy="", control_plane=self._site.control_plane, around=self._site.around
        )
        record = draw(bare, key, assignment, NOWHERE, trust_domain=trust_domain)
        return replace(record, terms=self._site.terms), problem

    def _keep(self, replica: LocalReplica, link: Link, *, adopted: bool) -> None:
        task = asyncio.create_task(self._follow(replica, link, adopted=adopted), name=f"follow {replica.key}")
        self._tasks[replica.key] = task

    async def _follow(self, replica: LocalReplica, link: Link, *, adopted: bool) -> None:
        """From the beginning of a replica to its end, and what is left to do then."""
        try:
            outcome = await self._live(replica, link, adopted=adopted)
        except asyncio.CancelledError:
            if replica.begun or not replica.stopping:
                raise  # the agent is leaving, and leaves it running
            outcome = Outcome.STOPPED
        except Exception:  # noqa: BLE001 - an error of ours costs one replica, which starts again, not all
            _log.exception("following %s has failed", replica.key)
            outcome = Outcome.LOST
        match outcome:
            case Outcome.ENDED if replica.draining_since is None and not replica.stopping:
                secrets.discard(replica.files)
                self._journal.record("ended", replica=str(replica.key), id=replica.files.id)
            case Outcome.LOST:
                times, _ = self._losses.get(replica.key, (0, 0))
                self._losses[replica.key] = (times + 1, replica.restarts + replica.begun)
                await shims.end_remains(replica.files)
                self._forget(replica, link)
            case _:
                self._forget(replica, link)
        self._changed.set()

    async def _live(self, replica: LocalReplica, link: Link, *, adopted: bool) -> Outcome:
        if adopted:
            return await replica.live(link, link.observed)
        times, _ = self._losses.get(replica.key, (0, 0))
        pause = backoff(times, _LOSS_BACKOFF) if times else 0.0
        try:
            if not replica.problem:
                self._journal.record("replica", durable=True, replica=str(replica.key), id=replica.files.id)
                replica.files.write(replica.record)
                await replica.begin(
                    link, self._journal, pause, why="was lost, and starts again" if times else ""
                )
                return await replica.live(link, link.observed)
        except (OSError, Insecure) as error:
            replica.problem = f"could not be started: {error}"
            _log.error("%s %s", replica.key, replica.problem)
        self._changed.set()
        await asyncio.sleep(max(pause, _LOSS_BACKOFF[0]))
        return Outcome.LOST

    def _stop(self, replica: LocalReplica, link: Link) -> None:
        task = self._tasks.get(replica.key)
        if task is None or task.done():  # a job that has ended
            self._forget(replica, link)
        elif replica.begun:
            replica.stop()
        else:
            replica.stopping = True
            task.cancel()

    def _forget(self, replica: LocalReplica, link: Link) -> None:
        """Removes everything of a replica that does not run any more."""
        replica.files.remove()
        self._journal.record("gone", replica=str(replica.key), id=replica.files.id)
        if self._replicas.get(replica.key) is replica:
            del self._replicas[replica.key]
            self._told.pop(replica.key, None)
            link.gone(replica.key)
        self._changed.set()

    async def _find(self, files: ReplicaFiles) -> None:
        """Takes up one replica that is on disk, or removes what is left of it."""
        record = files.read()
        if record is not None:
            replica = LocalReplica(self._site, record, self._changed.set, self._trusted)
            adopted = await replica.adopt()
            if adopted or replica.state is State.ENDED:
                self._replicas[record.key] = replica
                if not adopted:
                    await shims.end_remains(files)
                    secrets.discard(files)
                return
            self._losses[record.key] = (0, replica.restarts + replica.begun)
        await shims.end_remains(files)
        files.remove()
        self._journal.record("gone", id=files.id)
