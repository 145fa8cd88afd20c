"""A control plane in small, which takes steps and does what comes of them: what runs, and what has been told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from plait.codec import Codec
from plait.model.rollout import Canary
from plait.rollout.status import (
    Answer,
    Command,
    Effect,
    Finding,
    Phase,
    Replicas,
    Seen,
    Status,
    Step,
    Verdict,
)
from plait.rollout.step import needs, step
from tests.rollout.canaries import NOW, READY, V1

FORM = Codec[Status](Status)
MOST_STEPS = 12
"""So many steps at most follow from one thing that happened."""
IDLE = frozenset({Phase.INITIALIZED, Phase.SUCCEEDED, Phase.FAILED})
ROUTED = frozenset({Phase.PROGRESSING, Phase.WAITING_PROMOTION, Phase.PROMOTING})
"""In these alone the new version may get requests."""


def good(_metric: str) -> Verdict:
    return Verdict(metric=_metric, finding=Finding.PASSED, text="100 %")


def agreed(name: str) -> Answer:
    return Answer(agreed="rollback" not in name)


@dataclass(kw_only=True)
class World:
    """Whatever is set here is what the next steps see."""

    canary: Canary
    now: float = NOW
    written: str = V1
    serving: Replicas = READY
    trying: Replicas = READY
    deleted: bool = False
    metric: Callable[[str], Verdict] = good
    hook: Callable[[str], Answer] = agreed
    status: Status = field(default_factory=Status)
    primary: str = ""
    candidate: str = ""
    tried: list[str] = field(default_factory=list)
    """The revisions that have been started beside what serves, one after the other."""
    told: list[str] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    looks: int = 0
    called: list[str] = field(default_factory=list)
    """Webhooks that are not waited for."""

    def happened(self, command: Command | None = None) -> None:
        """Takes steps until one changes nothing; each is checked, and is the same after a restart."""
        for _ in range(MOST_STEPS):
            before = self.status
            self._step(command)
            command = None
            if self.status is before:
                return
        raise AssertionError(f"it does not come to rest: {self.told[-MOST_STEPS:]}")

    def passed(self, seconds: float) -> None:
        """Time passes, and whatever comes due in it is done at its time."""
        until = self.now + seconds
        while 0 < self.status.due <= until:
            due = self.status.due
            self.now = max(self.now, due)
            self.happened()
            if self.status.due == due:
                break
        self.now = until

    def rolls(self, command: Command | None = None, rounds: int = 100) -> list[Phase]:
        """The phases from here to where nothing is left to be done by the clock; a failure of ours if it goes on."""
        first = len(self.phases)
        self.happened(command)
        for _ in range(rounds):
            if not self.status.due:
                break
            self.passed(self.status.due - self.now)
        else:
            raise AssertionError(f"it goes on and on: {self.told[-5:]}")
        return self.phases[first:]

    def write(self, revision: str) -> list[Phase]:
        """Another revision is written, and all goes on by itself."""
        self.written = revision
        return self.rolls()

    def _step(self, command: Command | None) -> None:
        bare = Seen(
            written=self.written,
            serving=self.serving,
            trying=self.trying if self.candidate else Replicas(),
            command=command,
            deleted=self.deleted,
        )
        asked = needs(self.canary, self.status, bare, self.now)
        self.looks += bool(asked.metrics)
        seen = replace(
            bare,
            answers={name: self.hook(name) for name in asked.hooks},
            verdicts=tuple(self.metric(name) for name in asked.metrics),
        )
        taken = step(self.canary, self.status, seen, self.now)
        kept = FORM.decode(FORM.encode(self.status))
        assert kept == self.status
        assert step(self.canary, kept, seen, self.now) == taken
        self._check(taken)
        self._done(taken)

    def _check(self, taken: Step) -> None:
        before, after = self.status, taken.status
        assert 0 <= after.weight <= 100
        assert 0 <= after.mirrored <= 100
        if after.phase not in ROUTED:
            assert (after.weight, after.mirrored, after.matched) == (0, 0, False)
        assert after.since >= before.since
        assert after.phase is before.phase or after.since >= self.now or after.since == before.since
        if after is before:
            assert taken == Step(status=before)
        else:
            assert after != before

    def _done(self, taken: Step) -> None:
        if taken.status.phase is not self.status.phase:
            self.phases.append(taken.status.phase)
        if taken.status.weight != self.status.weight:
            self.weights.append(taken.status.weight)
        self.status = taken.status
        for effect in taken.effects * 2:
            self._does(effect)
        self.tried += [self.written] * taken.effects.count(Effect.TRY)
        self.told += [told.text.partition(": ")[2] for told in taken.told]
        self.called += taken.hooks
        status = self.status
        if status == Status(since=status.since):  # a Canary that was forgotten and is new
            self.primary = ""
        assert self.primary == status.promoted
        if status.phase in IDLE:
            assert not self.candidate
        if status.weight or status.mirrored or status.matched:
            assert self.candidate == status.applied

    def _does(self, effect: Effect) -> None:
        match effect:
            case Effect.TRY:
                self.candidate = self.written
            case Effect.PROMOTE:
                assert self.candidate
                self.primary = self.candidate
            case Effect.END_TRIAL:
                self.candidate = ""
            case Effect.ADOPT:
                self.primary = self.written
