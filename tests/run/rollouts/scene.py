"""Canaries and workloads to roll out, rules simple enough to foresee, and a mesh that compiles when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plait.api.events import CanaryChanged, Events
from plait.model.catalog import Process, Workload
from plait.model.finding import Finding
from plait.model.names import ObjectRef, Origin, WorkloadKey
from plait.model.rollout import (
    AlertSeverity,
    Analysis,
    Builtin,
    Canary,
    HookType,
    Metric,
    MetricTemplate,
    Plans,
    Shifts,
    Version,
    Webhook,
)
from plait.rollout.revision import revision
from plait.rollout.status import (
    Answer,
    Command,
    Effect,
    Needs,
    Phase,
    Replicas,
    Seen,
    Status,
    Step,
    Told,
    Verdict,
)
from plait.rollout.status import Finding as Says
from plait.run.rollouts.asking import Asking
from plait.run.rollouts.loop import Rollouts


def origin(kind: str, name: str) -> Origin:
    return Origin(ObjectRef("any", kind, "bistro", name))


def workload(*command: str, name: str = "tables", **more: Any) -> Workload:
    process = Process(command=command or ("v1",))
    return Workload(namespace="bistro", name=name, process=process, origin=origin("Workload", name), **more)


def hook(name: str, type_: HookType = HookType.ROLLOUT, **more: Any) -> Webhook:
    return Webhook(name=name, type=type_, url="http://127.0.0.1:1/", origin=origin("Canary", "c"), **more)


def metric(name: str = "request-success-rate", **more: Any) -> Metric:
    return Metric(name=name, builtin=Builtin.SUCCESS_RATE, origin=origin("Canary", "c"), **more)


def canary(name: str = "tables", target: str = "tables", **more: Any) -> Canary:
    analysis = more.pop("analysis", Analysis(interval=60.0, steps=(10, 50)))
    return Canary(
        namespace="bistro",
        name=name,
        target=WorkloadKey("bistro", target),
        service=target,
        port=8080,
        analysis=analysis,
        origin=origin("Canary", name),
        **more,
    )


class Rules:
    """Steps that can be foreseen: what is needed is always all of the hooks and metrics, while the run is on.

    Every look that is good leads to the next weight at once, without waiting for the interval.
    """

    @staticmethod
    def needs(canary: Canary, status: Status, seen: Seen, now: float) -> Needs:
        del now
        if status.phase is not Phase.PROGRESSING or seen.command or seen.deleted:
            return Needs()
        if seen.written != status.applied:
            return Needs()
        gates = tuple(one.name for one in canary.analysis.webhooks if one.type is HookType.ROLLOUT)
        return Needs(hooks=gates, metrics=tuple(one.name for one in canary.analysis.metrics))

    @staticmethod
    def step(canary: Canary, status: Status, seen: Seen, now: float) -> Step:
        if seen.deleted:
            done = replace(status, phase=Phase.TERMINATED, weight=0)
            return Step(status=done, effects=(Effect.END_TRIAL,), told=(_told("terminated"),))
        if seen.command is Command.ABORT:
            return _failed(status, "aborted by a user")
        match status.phase:
            case Phase.INITIALIZING:
                first = replace(status, phase=Phase.INITIALIZED, promoted=seen.written, since=now)
                return Step(status=first, effects=(Effect.ADOPT,), told=(_told("initialized"),))
            case Phase.INITIALIZED | Phase.SUCCEEDED | Phase.FAILED:
                if seen.written in {status.promoted, status.applied}:
                    return Step(status=status)
                begun = replace(
                    status,
                    phase=Phase.PROGRESSING,
                    applied=seen.written,
                    run=status.run + 1,
                    message="",
                    since=now,
                )
                return Step(status=begun, effects=(Effect.TRY,), told=(_told("begun", alert=True),))
            case Phase.PROGRESSING:
                return Rules._progress(canary, status, seen)
            case Phase.PROMOTING:
                if not seen.serving.suffice(100):
                    return Step(status=status)
                done = replace(status, phase=Phase.SUCCEEDED, weight=0)
                hooks = tuple(
                    one.name for one in canary.analysis.webhooks if one.type is HookType.POST_ROLLOUT
                )
                told = (_told("succeeded", alert=True),)
                return Step(status=done, effects=(Effect.END_TRIAL,), told=told, hooks=hooks)
            case _:
                return Step(status=status)

    @staticmethod
    def _progress(canary: Canary, status: Status, seen: Seen) -> Step:
        if seen.written != status.applied:
            again = replace(status, applied=seen.written, run=status.run + 1, weight=0)
            return Step(status=again, effects=(Effect.END_TRIAL, Effect.TRY), told=(_told("begun anew"),))
        if not seen.trying.suffice(100):
            return Step(status=status)
        bad = [one.text for one in seen.answers.values() if not one.agreed]
        bad += [one.text for one in seen.verdicts if one.finding is not Says.PASSED]
        if bad:
            return _failed(replace(status, verdicts=seen.verdicts), bad[0])
        later = [weight for weight in canary.analysis.steps if weight > status.weight]
        if later:
            return Step(status=replace(status, weight=later[0]), told=(_told(f"{later[0]} %"),))
        promoting = replace(status, phase=Phase.PROMOTING, promoted=status.applied)
        return Step(status=promoting, effects=(Effect.PROMOTE,), told=(_told("promoting"),))

    @staticmethod
    def refused(canary: Canary, status: Status, command: Command) -> str:
        del canary
        return "" if status.phase.runs else f"there is nothing to {command}"


def _failed(status: Status, why: str) -> Step:
    failed = replace(status, phase=Phase.FAILED, weight=0, message=why)
    return Step(status=failed, effects=(Effect.END_TRIAL,), told=(_told(f"rolled back: {why}", alert=True),))


def _told(text: str, *, alert: bool = False) -> Told:
    return Told(severity=AlertSeverity.INFO, text=text, alert=alert)


@dataclass
class Others:
    """All who are asked and told; who is in `held` answers when its event is set."""

    answers: dict[str, Answer] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    alerted: list[str] = field(default_factory=list)
    deaf: list[str] = field(default_factory=list)
    """What comes back of those who could not be alerted."""
    broken: bool = False

    async def _answer(self, name: str) -> None:
        self.asked.append(name)
        try:
            if name in self.held:
                await self.held[name].wait()
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        if self.broken:
            raise RuntimeError("a mistake")

    async def ask(self, canary: Canary, hook: Webhook, status: Status) -> Answer:
        del canary, status
        await self._answer(hook.name)
        return self.answers.get(hook.name, Answer(agreed=True))

    async def look(
        self, canary: Canary, metric: Metric, template: MetricTemplate | None, status: Status, now: float
    ) -> Verdict:
        del canary, status, now
        await self._answer(metric.name if template is None else f"{metric.name} by {template.query}")
        good = Verdict(metric=metric.name, finding=Says.PASSED, text="good")
        return self.verdicts.get(metric.name, good)

    async def tell(self, canary: Canary, told: Told, status: Status) -> None:
        del canary, status
        await self._answer("events")
        self.heard.append(told.text)

    @property
    def asking(self) -> Asking:
        return Asking(evidence=self, webhooks=self, alerts=Alerts(self))


@dataclass
class Alerts:
    others: Others

    async def tell(self, canary: Canary, told: Told, status: Status, plans: Plans) -> tuple[Told, ...]:
        del canary, status, plans
        self.others.alerted.append(told.text)
        return tuple(_told(text) for text in self.others.deaf)


@dataclass
class Scene:
    """A mesh of what is `stated` (Canaries) and `written` (their targets), compiled a moment after each change."""

    path: Path
    others: Others = field(default_factory=Others)
    stated: dict[str, Canary] = field(default_factory=dict)
    written: dict[str, Workload] = field(default_factory=dict)
    ready: bool = True
    """Whether replicas are ready as soon as they are assigned."""
    compiling: bool = True
    events: Events = field(default_factory=Events)
    found: list[Finding] = field(default_factory=list)
    now: float = 1000.0
    in_force: list[Shifts] = field(default_factory=list)
    touched: Callable[[], None] = lambda: None
    rollouts: Rollouts = field(init=False)

    def write(self, *written: Workload) -> None:
        """What the documents say of these from now on."""
        self.written |= {one.name: one for one in written}
        self.compile()

    def state(self, *canaries: Canary) -> None:
        self.stated |= {one.name: one for one in canaries}
        self.compile()

    def compile(self) -> None:
        shifts = self.rollouts.shifts()
        self.in_force.append(shifts)
        canaries = tuple(self.stated.values())
        targets = {
            one.key: self.written[one.target.name] for one in canaries if one.target.name in self.written
        }
        self.rollouts.written(Plans(canaries=canaries, targets=targets), shifts)

    # What Rollouts asks of a mesh

    def replicas(self, workload: WorkloadKey, version: Version) -> Replicas:
        assert workload.name.endswith("-canary") is (version is Version.CANARY)
        return Replicas(wanted=1, ready=int(self.ready))

    def touch(self) -> None:
        self.touched()
        if self.compiling:
            asyncio.get_running_loop().call_soon(self.compile)

    def notice(self, by: str, found: tuple[Finding, ...]) -> None:
        assert by == "rollouts"
        self.found += found

    # What a test looks at

    def status(self, name: str = "tables") -> Status:
        return self.rollouts._known(WorkloadKey("bistro", name)).rollout.status

    def phase(self, name: str = "tables") -> str:
        found = {one.name: one.phase for one in self.rollouts.views()}
        return found.get(name, "")

    def told(self, name: str = "tables") -> list[str]:
        return [one.text for one in self.rollouts.history(WorkloadKey("bistro", name))]

    def weights(self, name: str = "tables") -> list[int]:
        """The weights that the mesh was compiled with, one after the other."""
        found: list[int] = []
        for shifts in self.in_force:
            shift = shifts.get(WorkloadKey("bistro", name))
            if shift is not None and found[-1:] != [shift.weight]:
                found.append(shift.weight)
        return found

    def serving(self, name: str = "tables") -> Mapping[str, str]:
        """The commands of what serves and of what is tried."""
        shift = self.rollouts.shifts()[WorkloadKey("bistro", name)]
        both = {"primary": shift.primary, "candidate": shift.candidate}
        return {which: one.process.command[0] for which, one in both.items() if one is not None}


@asynccontextmanager
async def running(path: Path, others: Others | None = None, **more: Any) -> Any:
    """A scene whose rollouts run for as long as the context."""
    scene = Scene(path, others or Others(), **more)
    scene.rollouts = Rollouts(path, scene.others.asking, scene, lambda: scene.now)
    task = asyncio.create_task(scene.rollouts.run())
    try:
        yield scene
        assert not task.done(), task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for something that is about to be so."""
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"waited in vain for: {what}")


def changes(events: Any) -> Iterator[str]:
    """The phases that were published, each once in a row."""
    last = ""
    for event in events:
        if isinstance(event, CanaryChanged) and event.canary.phase != last:
            last = event.canary.phase
            yield last


def rev(*command: str) -> str:
    return revision(workload(*command))
