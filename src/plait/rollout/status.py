"""Where a rollout stands, and what is seen, asked, answered and done from one step to the next.  Values alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from plait.model.rollout import AlertSeverity, HookType


class Phase(StrEnum):
    """Flagger's phases, in the order in which a run goes through them."""

    INITIALIZING = "Initializing"
    INITIALIZED = "Initialized"
    WAITING = "Waiting"
    PROGRESSING = "Progressing"
    WAITING_PROMOTION = "WaitingPromotion"
    PROMOTING = "Promoting"
    FINALISING = "Finalising"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    TERMINATING = "Terminating"
    TERMINATED = "Terminated"

    @property
    def runs(self) -> bool:
        """Whether a new version is on its way."""
        return self in _RUNNING


_RUNNING = frozenset(
    {Phase.WAITING, Phase.PROGRESSING, Phase.WAITING_PROMOTION, Phase.PROMOTING, Phase.FINALISING}
)


class Finding(StrEnum):
    """What a look at a metric says."""

    PASSED = "passed"
    FAILED = "failed"
    WAITING = "waiting"
    """Too few requests to say anything, or not enough yet: neither good nor bad."""
    STOPPED = "stopped"
    """Worse than the version that serves, as sure as was asked for: no further look is needed."""
    UNKNOWN = "unknown"
    """Nobody could say: the server that knows does not answer, or knows no such thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a sequential comparison has seen of one metric in this run; counts since it began.

    `evidence`: what each alternative has gathered so far, as logarithms, in the order of the method's own list.
    """

    metric: str
    canary: int = 0
    canary_bad: int = 0
    primary: int = 0
    primary_bad: int = 0
    slow_ms: float = 0.0
    """What is slow: fixed when the run began; 0: not yet, or failures are counted."""
    until: float = 0.0
    """Up to when requests were counted; seconds since the epoch."""
    evidence: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A look at one metric: what it says, the number, and all of it in plain words."""

    metric: str
    finding: Finding
    text: str
    value: float | None = None
    tally: Tally | None = None
    """What has been seen by now, of a comparison."""


class Command(StrEnum):
    """What a user may say to a rollout."""

    APPROVE = "approve"
    """Open the gate that it waits at."""
    PROMOTE = "promote"
    """Leave out what is left of the analysis."""
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """How many of a version's replicas there should be and are ready; `trouble`: why some are not, in plain words."""

    wanted: int = 0
    ready: int = 0
    trouble: str = ""

    def suffice(self, percent: int) -> bool:
        """Whether so many percent of them are ready, and at least one."""
        return self.wanted > 0 and self.ready > 0 and self.ready * 100 >= self.wanted * percent


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of asking a webhook."""

    agreed: bool
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What is known when a step is taken.

    `written`: the revision of the target as its document says it now, "" when there is none.  `answers` (by the
    webhook's name) and `verdicts` are of what `step.needs` named; what was not asked is not among them.
    `serving` and `trying` are the replicas that run what was promoted and what is tried.
    """

    written: str
    serving: Replicas = Replicas()
    trying: Replicas = Replicas()
    command: Command | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    deleted: bool = False
    """The Canary is no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All that is remembered of a rollout; times in seconds since the epoch.  What is kept across restarts."""

    phase: Phase = Phase.INITIALIZING
    weight: int = 0
    """Percent of the traffic that go to the canary."""
    mirrored: int = 0
    matched: bool = False
    failed_checks: int = 0
    iterations: int = 0
    promoted: str = ""
    """The revision that serves."""
    applied: str = ""
    """The revision that was tried last."""
    run: int = 0
    """How many runs have begun."""
    since: float = 0.0
    """When the phase was entered."""
    progressed: float = 0.0
    """When something went on last: what `progress_deadline` is counted from."""
    due: float = 0.0
    """When a step is taken at the latest; 0: when something changes, and not by the clock."""
    started: float = 0.0
    """When traffic was first shifted in this run; 0: not yet."""
    starved: float = 0.0
    """Since when there are too few requests to say anything; 0: there are enough."""
    ready: bool = False
    """Whether what it waits for was ready when last seen: what is tried, and once that was promoted what serves."""
    paused: bool = False
    skipping: bool = False
    """A user wants what is left of the analysis left out."""
    gate: HookType | None = None
    """The gate that it waits at: all else is well."""
    asking: bool = False
    """The gate's webhooks are to be asked: they have not been since the look that led to it."""
    opened: HookType | None = None
    """The gate that a user has opened, until it has been passed."""
    message: str = ""
    """What it waits for, or why it ended, in plain words."""
    verdicts: tuple[Verdict, ...] = ()
    """The last looks."""
    tallies: tuple[Tally, ...] = ()


class Effect(StrEnum):
    """What has to be done once a step's status is kept; each may be done twice after a crash, which changes nothing."""

    TRY = "try"
    """Start the written revision beside the one that serves."""
    PROMOTE = "promote"
    """What was tried is what serves from now on, and is rolled out under the workload's own name."""
    END_TRIAL = "end trial"
    """Drain and stop what was tried."""
    ADOPT = "adopt"
    """What is written serves at once: there was nothing before, or no analysis is wanted, or what was tried is left alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Something that happened, for the history, event webhooks and alerts."""

    severity: AlertSeverity
    text: str
    alert: bool = False
    """Whether alert providers are told as well: Flagger tells them of beginnings and ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What has to be asked before a step can be taken: webhooks and metrics, by their names."""

    hooks: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What follows: the next status, what is done about it, who is told what, and which webhooks hear of it."""

    status: Status
    effects: tuple[Effect, ...] = ()
    told: tuple[Told, ...] = ()
    hooks: tuple[str, ...] = ()
    """Webhooks to be called without waiting for their answers: post-rollout, by name."""
