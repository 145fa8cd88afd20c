"""The loop that runs rollouts: it sees, asks, takes steps, remembers them, and only then acts.

Every Canary has a task of its own, so that a slow webhook holds up nobody else.  A task sleeps until something is due
or has changed.  A step is taken when what the last one led to has been compiled: what is said of replicas is said of
those that run now.  Nobody waits for proxies to acknowledge a weight: one that does not answer would stop a rollback.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from plait.api.events import CanaryChanged, Events
from plait.api.rollouts import CanaryEvent, CanaryView
from plait.api.targets import NotFound
from plait.codec import CodecError
from plait.model.catalog import Workload
from plait.model.finding import Finding
from plait.model.names import ObjectRef, Origin, WorkloadKey
from plait.model.rollout import NO_PLANS, Analysis, Canary, Plans, Shifts, Version, canary_key
from plait.rollout.revision import revision
from plait.rollout.status import Command, Needs, Phase, Replicas, Seen, Status
from plait.rollout.step import needs, refused, step
from plait.run.rollouts import kept, views
from plait.run.rollouts.asking import Answers, Asking
from plait.run.rollouts.kept import Rollout

log = logging.getLogger(__name__)

_BREATH = 0.05
"""Seconds between two steps of one rollout: what never comes to rest does not take the process along."""
_MISTAKE = 5.0
"""Seconds after which a rollout is looked at again that a mistake of ours has stopped."""
_LEAVING = frozenset({Phase.TERMINATING, Phase.TERMINATED})
_AT_REST = frozenset({Phase.INITIALIZED, Phase.SUCCEEDED, Phase.FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What a step is decided on.  Two are equal when what was asked for the one holds for the other."""

    canary: Canary
    status: Status
    commands: tuple[Command, ...]
    revision: str
    deleted: bool
    needs: Needs
    written: Workload | None = field(compare=False)
    seen: Seen = field(compare=False)
    now: float = field(compare=False)


@dataclass(slots=True, kw_only=True, eq=False)
class _Followed:
    """A Canary whose rollouts are run; `written` is its target as its document says it now."""

    canary: Canary
    rollout: Rollout
    written: Workload | None = None
    deleted: bool = False
    over: bool = False
    news: asyncio.Event = field(default_factory=asyncio.Event)
    line: bytes = b""
    """The rollout as it is kept."""
    telling: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is something to tell, or nothing ever again."""
    started: bool = False

    def take(self, canary: Canary, written: Workload | None, *, deleted: bool) -> None:
        """What is written of it."""
        if (canary, written, deleted) != (self.canary, self.written, self.deleted):
            self.canary, self.written, self.deleted = canary, written, deleted
            self.news.set()


class Mesh(Protocol):
    """The mesh that is rolled out in."""

    events: Events

    def replicas(self, workload: WorkloadKey, version: Version) -> Replicas:
        """How the replicas of a workload are that is this version, of the revision that it should have by now."""

    def touch(self) -> None:
        """Have it compiled again, soon."""

    def notice(self, by: str, found: tuple[Finding, ...]) -> None:
        """Take what somebody finds wrong, in place of what he found before."""


class Rollouts:
    """The rollouts of all Canaries, and where they stand; `clock` tells seconds since the epoch."""

    def __init__(
        self, path: Path, asking: Asking, mesh: Mesh, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._asking = asking
        self._mesh = mesh
        self._clock = clock
        self._plans = NO_PLANS
        self._all: dict[WorkloadKey, _Followed] = {}
        self._shifts: Shifts = {}
        self._in_force: Shifts = {}
        """What the mesh was compiled with last."""
        self._unkept = False
        """Whether the file is behind."""
        self._stopped = False
        self._writing = asyncio.Lock()
        self._more = asyncio.Event()
        known, found = kept.load(path)
        for one in known:
            rollout = kept.resumed(one, clock())
            self._all[one.canary] = _Followed(
                canary=_remembered(one), rollout=rollout, line=kept.line(rollout)
            )
        self._shifts = self._reckoned()
        if found:
            mesh.notice("rollouts", found)

    def shifts(self) -> Shifts:
        """Where the rollouts stand, for the next compile; the same object until that changes."""
        return self._shifts

    def met(self, plans: Plans, before: Mapping[WorkloadKey, Workload]) -> bool:
        """Take in Canaries that came along with a change of their targets: what served `before` serves on.

        Whether there are any: then the mesh is to be compiled again before agents are told.
        """
        found = False
        for canary in _holding(plans):
            serving, target = before.get(canary.target), plans.targets.get(canary.key)
            known = self._all.get(canary.key)
            if known is None and serving and target and revision(serving) != revision(target):
                rollout = kept.begun(canary, serving, self._clock())
                self._all[canary.key] = _Followed(canary=canary, rollout=rollout)
                found = True
        if found:
            self._shifts = self._reckoned()
        return found

    def written(self, plans: Plans, shifts: Shifts) -> None:
        """The mesh was compiled with these shifts, and the agents were told; this is what is written of rollouts."""
        before, self._plans, self._in_force = self._in_force, plans, shifts
        planned = {one.key: one for one in _holding(plans)}
        for key, canary in planned.items():
            one = self._all.get(key)
            if one is None:
                one = self._all[key] = _Followed(canary=canary, rollout=_first(canary))
            elif one.rollout.target != canary.target or one.rollout.status.phase in _LEAVING:
                one.rollout = _first(canary)  # what is remembered is of something else
            one.take(canary, plans.targets.get(key), deleted=False)
        for key, one in self._all.items():
            if key not in planned:
                one.take(one.canary, one.written, deleted=True)
            if before.get(key) != shifts.get(key):
                one.news.set()
        self._more.set()
        self._reckon()

    def replica_changed(self, workload: WorkloadKey) -> None:
        """A replica of this workload is another one, or is in another state."""
        for one in self._all.values():
            if workload in (one.rollout.target, canary_key(one.rollout.target)):
                one.news.set()

    def stop(self) -> None:
        """The mesh is about to end: whatever runs stays as it is."""
        self._stopped = True
        for one in self._all.values():
            one.news.set()

    async def command(self, key: WorkloadKey, command: Command) -> None:
        """Take what a user says; returns once it is kept.  NotFound, ValueError: it makes no sense now."""
        one = self._known(key)
        if self._stopped:
            raise ValueError("the mesh is being stopped")
        if reason := refused(one.canary, one.rollout.status, command):
            raise ValueError(reason)
        if not await self._keep(one, lambda now: replace(now, commands=(*now.commands, command))):
            await self.command(
                key, command
            )  # which is about another Canary of this name by now, or about none
        one.news.set()

    def views(self) -> tuple[CanaryView, ...]:
        """Every Canary and where it stands, by namespace and name."""
        return tuple(self._view(self._all[key]) for key in sorted(self._all))

    def history(self, key: WorkloadKey) -> tuple[CanaryEvent, ...]:
        """What has happened to a rollout, the oldest first.  NotFound."""
        return tuple(map(views.event, self._known(key).rollout.history))

    async def run(self) -> None:
        """Run all of them; until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                for one in self._all.values():
                    if not one.started:
                        one.started = True
                        tasks.create_task(self._follow(one))
                        tasks.create_task(self._tell(one))
                await self._more.wait()
                self._more.clear()

    # One rollout -----------------------------------------------------------------------------------------

    async def _follow(self, one: _Followed) -> None:
        while not one.over:
            one.news.clear()
            try:
                pause = await self._advance(one)
            except Exception:
                log.exception("the rollout of %s is stopped by a mistake", one.canary.key)
                pause = _MISTAKE
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await one.news.wait()

    async def _advance(self, one: _Followed) -> float | None:
        """Take a step if one is to be taken; seconds until the next look, None: when there are news."""
        await self._keep(one, lambda now: kept.followed(now, one.written))
        question = self._question(one)
        if question is None:
            return None
        answered = await self._answered(one, question)
        if answered is None:
            return 0.0
        if await self._take(one, *answered):
            return _BREATH
        return _pause(one.canary, one.rollout.status, self._clock())

    def _question(self, one: _Followed) -> _Question | None:
        """What is to be decided now; None: nothing, as what was decided before is still to be compiled."""
        key, rollout = one.rollout.canary, one.rollout
        if self._stopped or one.over or self._in_force.get(key) != self._shifts.get(key):
            return None
        now = self._clock()
        seen = Seen(
            written=revision(one.written) if one.written else "",
            serving=self._mesh.replicas(rollout.target, Version.PRIMARY),
            trying=self._mesh.replicas(canary_key(rollout.target), Version.CANARY),
            command=rollout.commands[0] if rollout.commands else None,
            deleted=one.deleted,
        )
        return _Question(
            canary=one.canary,
            status=rollout.status,
            commands=rollout.commands,
            revision=seen.written,
            deleted=one.deleted,
            needs=needs(one.canary, rollout.status, seen, now),
            written=one.written,
            seen=seen,
            now=now,
        )

    async def _answered(self, one: _Followed, question: _Question) -> tuple[_Question, Answers] | None:
        """What was asked for, and the question as it stands by then; None when it has become another one."""
        if question.needs == Needs():
            return question, Answers()
        asked = asyncio.create_task(
            self._asking.all(question.canary, question.needs, question.status, self._plans, question.now)
        )
        try:
            while True:
                news = asyncio.create_task(one.news.wait())
                try:
                    await asyncio.wait((asked, news), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    news.cancel()
                one.news.clear()
                by_now = self._question(one)
                if by_now is None or by_now != question:
                    return None
                if asked.done():
                    return by_now, asked.result()
        finally:
            asked.cancel()

    async def _take(self, one: _Followed, question: _Question, answers: Answers) -> bool:
        """Take the step, and act on it once it is kept; whether anything has changed."""
        seen = replace(question.seen, answers=answers.hooks, verdicts=answers.verdicts)
        taken = step(question.canary, question.status, seen, question.now)
        quiet = not (taken.effects or taken.told or taken.hooks or question.commands)
        if quiet and taken.status == question.status:
            return False

        def next_(now: Rollout) -> Rollout | None:
            if now.status is not question.status or now.commands[:1] != question.commands[:1]:
                return None
            after = kept.stepped(now, question.canary, taken, question.written, question.now)
            return replace(after, commands=now.commands[1:])

        over = question.deleted and taken.status.phase is Phase.TERMINATED
        if await self._keep(one, next_, over=over):
            for told in taken.told:
                log.info("%s: %s", question.canary.key, told.text)
            one.telling.set()
        return True

    async def _tell(self, one: _Followed) -> None:
        """Tell others of every step, one after the other, however long they take."""
        while True:
            while one.rollout.untold:
                await self._tell_first(one)
            if one.over:
                return
            one.telling.clear()
            await one.telling.wait()

    async def _tell_first(self, one: _Followed) -> None:
        news = one.rollout.untold[0]
        failed = await self._asking.tell(one.canary, news, self._plans)

        def heard(now: Rollout) -> Rollout:
            if now.untold[:1] != (news,):
                return now
            return replace(now, untold=now.untold[1:]).told(failed, self._clock())

        if not await self._keep(one, heard):
            one.rollout = heard(one.rollout)  # nobody keeps it any more

    async def _keep(
        self, one: _Followed, change: Callable[[Rollout], Rollout | None], *, over: bool = False
    ) -> bool:
        """Remember a rollout as it is after a change, then let others see it; False when the change has become void.

        A disk that takes nothing holds no rollback up: what is decided then lasts as long as this process does.
        """
        async with self._writing:
            before = one.rollout
            after = None if one.over else change(before)
            if after is None:
                return False
            unkept = not one.line and after.primary is not None
            if after is before and not over and not unkept:
                return True
            await self._save(one, None if over else after)
            if one.rollout is not before or (over and not one.deleted):
                return False  # something else is written meanwhile
            one.rollout = after
            if over:
                one.over = True
                self._all.pop(after.canary, None)
            self._reckon()
        self._mesh.events.publish(CanaryChanged(self._view(one)))
        return True

    async def _save(self, one: _Followed, rollout: Rollout | None) -> None:
        """Keep a rollout, or (None) keep it no more."""
        try:
            one.line = kept.line(rollout) if rollout is not None else b""
            lines = [known.line for known in self._all.values()]
            writing = asyncio.create_task(asyncio.to_thread(kept.save, self._path, lines))
            try:
                await asyncio.shield(writing)
            finally:
                await writing  # who is cancelled does not leave a thread behind that writes
        except (OSError, CodecError) as error:
            if not self._unkept:
                log.error("where rollouts stand is not kept: %s: %s", self._path, error)  # noqa: TRY400 - the disk's
            self._unkept = True
        else:
            self._unkept = False

    def _reckon(self) -> None:
        """Have the mesh compiled again if the shifts are others by now."""
        shifts = self._reckoned()
        if shifts != self._shifts:
            self._shifts = shifts
            self._mesh.touch()

    def _reckoned(self) -> Shifts:
        found = ((key, kept.shift(one.rollout)) for key, one in self._all.items())
        return {key: shift for key, shift in found if shift is not None}

    def _known(self, key: WorkloadKey) -> _Followed:
        one = self._all.get(key)
        if one is None:
            raise NotFound(f"there is no Canary {key}")
        return one

    def _view(self, one: _Followed) -> CanaryView:
        return views.view(one.canary, one.rollout)


def _holding(plans: Plans) -> Iterator[Canary]:
    """The Canaries that hold: of those for one target or host the first, and one that has its target before others."""
    taken: set[WorkloadKey | str] = set()
    for canary in sorted(plans.canaries, key=lambda one: (one.key not in plans.targets, one.key)):
        if taken.isdisjoint((canary.target, canary.host)):
            taken |= {canary.target, canary.host}
            yield canary


def _first(canary: Canary) -> Rollout:
    return Rollout(canary=canary.key, target=canary.target, revert=canary.revert_on_deletion)


def _remembered(rollout: Rollout) -> Canary:
    """What is known of a Canary until its document is read, or if there is none any more."""
    key, target = rollout.canary, rollout.target
    return Canary(
        namespace=key.namespace,
        name=key.name,
        target=target,
        service=target.name,
        port=0,
        analysis=Analysis(),
        revert_on_deletion=rollout.revert,
        origin=Origin(ObjectRef("flagger.app", "Canary", key.namespace, key.name)),
    )


def _pause(canary: Canary, status: Status, now: float) -> float | None:
    """Seconds until a rollout is looked at again when nothing happens; None: it is at rest.

    One that is on its way is looked at in every interval, whatever it says is due: the clock may have been set.
    """
    times = [status.due - now] if status.due > now else []
    if status.phase not in _AT_REST:
        times.append(canary.analysis.interval)
    return max(min(times), _BREATH) if times else None
