"""The loop at the heart of the control plane: what changed settles, is compiled again, and goes to who needs it.

Everything happens on one asyncio loop; nothing here waits except for the settle timer and for proxies to
acknowledge a withdrawal.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from plait.api.events import ConfigChanged, Events, FindingAppeared, FindingVanished, ReplicaChanged
from plait.api.events import ReplicaGone as ReplicaVanished
from plait.api.views import FindingView
from plait.compiler.conditions import ParentStatus, statuses
from plait.compiler.endpoints import endpoints
from plait.compiler.view import view
from plait.envoy.check import check
from plait.envoy.render import Renderer
from plait.link.messages import Assignments, ReplicaReport, State
from plait.link.server import Link
from plait.model.catalog import Member, Replica
from plait.model.change import Change, Gone, Stated, Unreadable
from plait.model.finding import Finding
from plait.model.mesh import Endpoints, Mesh
from plait.model.names import ReplicaKey, WorkloadKey, service_host
from plait.model.rollout import TRIED, Shifts, Version
from plait.model.settings import MeshSettings
from plait.resource import Snapshot
from plait.rollout.status import Replicas
from plait.run import offline, views
from plait.run.assignments import AGENT, assignments
from plait.run.compilation import Compilation, Compiled
from plait.run.grants import Doubts, Grants
from plait.run.held import Held
from plait.run.own_metrics import OwnMetrics, type_name
from plait.run.registry import Registry
from plait.run.rollouts.loop import Rollouts
from plait.run.rollouts.replicas import replicas
from plait.run.taps import Taps
from plait.sources.settle import Settle
from plait.sources.store import Store
from plait.xds.messages import Event as Answer
from plait.xds.messages import Rejected
from plait.xds.server import Server

log = logging.getLogger(__name__)

_WITHDRAWAL = 4.0
"""Seconds that proxies are given to acknowledge that an endpoint is gone, before it drains all the same."""
_TAPPED = 1.0
"""Seconds that whoever looks at requests waits for the proxies to know."""
_PUSHED_WITHIN = 30.0
"""Seconds; a proxy that takes longer to acknowledge a change has stopped to answer, and its time would say nothing."""
_TOGETHER = 0.05
"""Seconds in which all that proxies answer is looked at once: a thousand may refuse the same."""


@dataclass(slots=True)
class Loop:
    """Holds what is known, and pushes what follows from it.

    `link` and `rollouts` are set once, right after all have been built: each needs the other.
    """

    settings: MeshSettings
    registry: Registry
    server: Server
    events: Events
    held_path: Path
    metrics: OwnMetrics = field(default_factory=OwnMetrics)
    link: Link = field(init=False)
    taps: Taps = field(init=False)
    rollouts: Rollouts = field(init=False)
    generation: int = 0
    stopping: bool = False
    store: Store = field(default_factory=Store)
    grants: Grants = field(init=False)
    doubts: Doubts = field(init=False)
    _compilation: Compilation = field(init=False)
    _compiled: Compiled | None = None
    _findings: tuple[Finding, ...] = ()
    _noticed: dict[str, tuple[Finding, ...]] = field(default_factory=dict)
    """What was found by looking at traffic, by who has looked."""
    _told: dict[FindingView, None] = field(default_factory=dict)
    _refused: bool = False
    """Whether a proxy refuses something."""
    _telling: asyncio.TimerHandle | None = None
    _members: frozenset[Member] = frozenset()
    _endpoints: Endpoints = field(default_factory=dict)
    _renderer: Renderer = field(default_factory=Renderer)
    _settle: Settle = field(default_factory=Settle)
    _stated: dict[str, Stated] = field(default_factory=dict)
    _unreadable: set[str] = field(default_factory=set)
    _documents_changed: bool = True
    _shifts: Shifts | None = None
    """Where rollouts stood when it was compiled last."""
    _assigned: Assignments | None = None
    _withdrawing: dict[ReplicaKey, asyncio.Task[None]] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _untimed: float | None = None
    """When the first change came whose way to the proxies is still to be timed."""
    _pushed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._compilation = Compilation(self.settings)
        self.taps = Taps(self._keys, self._retell, lambda: self.server.synced(_TAPPED))
        self.grants = Grants(self.settings.trust_domain)
        self.doubts = Doubts(self.grants)

    @property
    def wanted(self) -> int:
        """How many replicas there should be."""
        return sum(workload.replicas for workload in self._assigned.workloads) if self._assigned else 0

    @property
    def mesh(self) -> Mesh | None:
        """All that is written, as it holds now; None before anything was read."""
        return self._compiled.mesh if self._compiled else None

    def all_findings(self) -> tuple[Finding, ...]:
        """Everything wrong with the documents, what proxies refuse and what traffic shows; with places as they are now."""
        noticed = (one for some in self._noticed.values() for one in some)
        found = (*self._findings, *views.rejections(self.server.rejections()), *noticed)
        return offline.locate(found, self.store)

    def notice(self, by: str, found: tuple[Finding, ...]) -> None:
        """Somebody who looks at traffic has found this, and nothing else any more."""
        self._noticed[by] = found
        self.tell_findings()

    def route_statuses(self) -> tuple[ParentStatus, ...]:
        """How routes stand that are attached to services."""
        if self._compiled is None or not self._compiled.attached:
            return ()
        synced = all(one.synced for one in self.server.proxies() if one.connected is not None)
        refusals = views.rejections(self.server.rejections())
        return statuses(self._compiled.attached, self._findings, refusals, synced=synced)

    def knows(self, workload: WorkloadKey) -> bool:
        """Whether there is a workload of this name, or a service."""
        assert self._compiled is not None
        mesh = self._compiled.mesh
        return (
            workload in mesh.workloads
            or service_host(workload.namespace, workload.name) in mesh.services
            or any(key.workload == workload for key in self._keys())
        )

    def replicas(self, workload: WorkloadKey, version: Version) -> Replicas:
        """How the replicas of a workload are that runs as this version, of the revision last assigned."""
        wanted = self._assigned.workloads if self._assigned else ()
        assigned = next((one for one in wanted if one.key == workload), None)
        if assigned is None or (TRIED in assigned.labels) is not (version is Version.CANARY):
            return Replicas()  # a user may have a workload of this name
        return replicas(assigned, self.registry.reports())

    def start(self, changes: list[Change]) -> None:
        """Take in what the sources say at the start, and what was held before a restart; then build at once."""
        held = Held.load(self.held_path)
        self._compilation.good.update(held.objects)
        for change in changes:
            if isinstance(change, Unreadable) and change.unit in held.units:
                self._take(held.units[change.unit])
            self._take(change)
        self._rebuild()

    def changed(self, change: Change) -> None:
        """A source has something new to say."""
        if self._take(change):
            self._documents_changed = True
            self.touch()

    def touch(self) -> None:
        """Something that proxies are told has changed: rebuild once it is quiet."""
        self._settle.touch(time.monotonic())
        self._wake.set()

    def stop_workloads(self) -> None:
        """Ask every agent to drain and stop everything."""
        self.stopping = True
        self.rollouts.stop()
        hosts = self._assigned.hosts if self._assigned else ()  # whoever drains still calls others
        self._assign(Assignments(trust_domain=self.settings.trust_domain, workloads=(), hosts=hosts))

    async def run(self) -> None:
        """Rebuild whenever something has changed and settled; until cancelled."""
        while True:
            due = self._settle.due(time.monotonic(), time.process_time())
            if due is None:
                self._wake.clear()
                await self._wake.wait()
            elif due > 0:
                await asyncio.sleep(due)
            else:
                self._push(self._settle.act(time.monotonic(), time.process_time()))

    async def time_pushes(self) -> None:
        """Measure how long the changes take to the last proxy; until cancelled.

        One after the other: those that come meanwhile are one for this, from the first of them on.
        """
        while True:
            await self._pushed.wait()
            self._pushed.clear()
            began, self._untimed = self._untimed, None
            if began is not None and not await self.server.synced(_PUSHED_WITHIN):
                self.metrics.change_to_last_ack_seconds.observe(time.monotonic() - began)

    # What agents say (link.server.Hub) ------------------------------------------------------------------

    def on_hello(self, agent: str, replicas: tuple[ReplicaReport, ...]) -> None:
        """Everything of this agent, once it is (again) connected."""
        before = self.registry.agents.get(agent, {})
        for key in before.keys() & self._withdrawing.keys():
            self._withdrawing.pop(key).cancel()  # the word may not have reached it: say it again
        believed = self.doubts.believable(agent, replicas, before)
        self.registry.hello(agent, believed)
        for key in before.keys() - self.registry.agents[agent].keys():
            self._vanished(key)
        for report in self.registry.agents[agent].values():
            if before.get(report.replica.key) != report:
                self.rollouts.replica_changed(report.replica.key.workload)
                self.events.publish(ReplicaChanged(views.workload(report)))
        log.info("agent %s is connected, with %d replicas", agent, len(believed))
        self.touch()

    def on_report(self, agent: str, report: ReplicaReport) -> None:
        """One replica has changed."""
        if self.doubts.believed(agent, report, self.registry.agents.get(agent, {})):
            self._believe(agent, report)
            self._ask_again()

    def on_gone(self, agent: str, key: ReplicaKey) -> None:
        """One replica is no more."""
        self.doubts.forget(agent, key)
        if key not in self.registry.agents.get(agent, {}):
            return  # nobody says so of another's
        self.registry.gone(agent, key)
        self._vanished(key)
        self._ask_again()
        self.touch()

    def on_lost(self, agent: str) -> None:
        """An agent is away: its replicas run on without it, so that nothing is taken from the proxies."""
        log.warning("agent %s is not connected", agent)

    # ----------------------------------------------------------------------------------------------------

    def _believe(self, agent: str, report: ReplicaReport) -> None:
        self.registry.report(agent, report)
        self.rollouts.replica_changed(report.replica.key.workload)
        self.events.publish(ReplicaChanged(views.workload(report)))
        self.touch()

    def _ask_again(self) -> None:
        """What was not believed may be true by now."""
        for agent, report in self.doubts.again():
            if self.doubts.believed(agent, report, self.registry.agents.get(agent, {})):
                self._believe(agent, report)

    def _vanished(self, key: ReplicaKey) -> None:
        workload = key.workload
        self.rollouts.replica_changed(workload)
        self.events.publish(
            ReplicaVanished(namespace=workload.namespace, name=workload.name, replica=key.number)
        )
        self.server.forget(str(key))

    def _take(self, change: Change) -> bool:
        match change:
            case Stated(unit):
                self._stated[unit] = change
                self._unreadable.discard(unit)
            case Unreadable(unit):
                self._unreadable.add(unit)
            case Gone(unit):
                self._stated.pop(unit, None)
                self._unreadable.discard(unit)
        return self.store.apply(change)

    def _push(self, since: float) -> None:
        """Rebuild for changes of which the first came at `since`."""
        began, before = time.monotonic(), self.server.generation
        self._rebuild()
        self.metrics.rebuild_seconds.observe(time.monotonic() - began)
        if self.server.generation != before:
            self._untimed = since if self._untimed is None else self._untimed
            self._pushed.set()

    def _rebuild(self) -> None:
        """From everything known to every proxy's snapshot."""
        members, shifts = self.registry.members(), self.rollouts.shifts()
        same = members == self._members and shifts is self._shifts
        if self._documents_changed or not same or self._compiled is None:
            self._compile(members, shifts)
        assert self._compiled is not None
        replicas = self.registry.replicas()
        self._endpoints = endpoints(self._compiled.mesh, replicas.values())
        self.generation += 1
        for node, replica in replicas.items():
            self.server.offer(node, partial(self._snapshot, replica))
        self._renderer.sweep()
        self.events.publish(ConfigChanged(self.generation))
        self._withdraw()

    def _keys(self) -> Iterator[ReplicaKey]:
        return (replica.key for replica in self.registry.replicas().values())

    def _retell(self, keys: Collection[ReplicaKey]) -> None:
        """Something changed for these proxies alone, of which no document speaks."""
        if self._compiled is None:
            return
        replicas = self.registry.replicas()
        for node in map(str, keys):
            if node in replicas:
                self.server.offer(node, partial(self._snapshot, replicas[node]))

    def _snapshot(self, replica: Replica) -> Snapshot | None:
        """What a proxy is to be told now; None when that is not sound, and the last good one stays."""
        assert self._compiled is not None
        seen = view(self._compiled.mesh, replica)
        snapshot = self._renderer.render(seen, self._endpoints, self.taps.tapped(replica.key))
        if problems := check(snapshot, seen.outbound.missing):  # ours to mend
            log.error("%s is not told what was made for it: %s", replica.key, "; ".join(problems))
            return None
        return snapshot

    def _compile(self, members: frozenset[Member], shifts: Shifts) -> None:
        documents_changed, self._documents_changed = self._documents_changed, False
        before = self._compiled.mesh.workloads if self._compiled else {}
        self._members = members
        self._compiled = self._compilation.compile(self.store.documents(), members, shifts)
        if self.rollouts.met(self._compiled.mesh.plans, before):
            shifts = self.rollouts.shifts()
            self._compiled = self._compilation.compile(self.store.documents(), members, shifts)
        self._shifts = shifts
        if documents_changed:
            units = {unit: self._stated[unit] for unit in self._unreadable if unit in self._stated}
            Held(units, self._compiled.held).save(self.held_path)
        self._findings = self.store.findings() + self._compiled.findings
        self.tell_findings()
        if not self.stopping:
            self._assign(assignments(self._compiled.mesh, self.store.place))
        self.rollouts.written(self._compiled.mesh.plans, shifts)

    def severities(self) -> Counter[str]:
        """How many findings there are of each severity, as they were told last."""
        return Counter(found.severity for found in self._told)

    def answered(self, answer: Answer) -> None:
        """A proxy has accepted or refused something: findings may come or go with that."""
        if isinstance(answer, Rejected):
            self.metrics.rejections.labels(type_name(answer.type_url)).inc()
        if (isinstance(answer, Rejected) or self._refused) and self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(_TOGETHER, self.tell_findings)

    def tell_findings(self) -> None:
        """Tell whoever listens which findings are new and which are no more."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        now = dict.fromkeys(views.finding(found) for found in self.all_findings())
        for found in now.keys() - self._told.keys():
            self.events.publish(FindingAppeared(found))
        for found in self._told.keys() - now.keys():
            self.events.publish(FindingVanished(found))
        self._told = now
        self._refused = any(found.code == views.REJECTED for found in now)

    def _assign(self, wanted: Assignments) -> None:
        if wanted != self._assigned:
            self._assigned = wanted
            self.grants.assigned(wanted)
            self._ask_again()
            self.link.assign(AGENT, wanted)

    def _withdraw(self) -> None:
        """For each replica that wants to drain: once no proxy calls it any more, say so to its agent."""
        draining = {
            report.replica.key: agent
            for agent, reports in self.registry.agents.items()
            for report in reports.values()
            if report.state is State.DRAINING
        }
        for key in self._withdrawing.keys() - draining.keys():
            self._withdrawing.pop(key).cancel()
        for key in draining.keys() - self._withdrawing.keys():
            self._withdrawing[key] = asyncio.create_task(self._withdraw_one(draining[key], key))

    async def _withdraw_one(self, agent: str, key: ReplicaKey) -> None:
        # After a start of ours nobody is connected yet, and all of them may still call it.
        callers = {
            str(report.replica.key) for report in self.registry.reports() if report.state is State.READY
        }
        laggards = await self.server.synced(_WITHDRAWAL, absent=callers)
        if laggards:
            log.warning("%s drains although %s did not acknowledge it", key, ", ".join(laggards))
        self.link.withdrawn(agent, key)
