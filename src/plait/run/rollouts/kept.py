"""What is remembered of every rollout, in a file that a kill at any instant leaves whole.

A line a Canary.  It is written before anything is done about it, and everything that is done follows from it alone: so whoever reads
it after a kill goes on where the one before stood.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path

from plait.codec import Codec, CodecError
from plait.identity.files import Insecure, read_private, write_private
from plait.model.catalog import Workload
from plait.model.finding import Finding, Severity
from plait.model.names import WorkloadKey
from plait.model.rollout import AlertSeverity, Canary, Shift
from plait.rollout.revision import revision
from plait.rollout.status import Command, Effect, Phase, Status, Step, Told

log = logging.getLogger(__name__)

MOST_EVENTS = 200
"""So much of what happened to a rollout is remembered."""
MOST_UNTOLD = 50
"""So many steps wait to be told, where whoever hears of them is slow; of more the latest."""
FORGOTTEN = "rollout.forgotten"


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """Something that was told of a rollout, and where that stood then; `at` in seconds since the epoch."""

    at: float
    told: Told
    phase: Phase
    weight: int
    failed_checks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What others are still to hear of a step, and the webhooks to be called because of it."""

    status: Status
    told: tuple[Told, ...] = ()
    hooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """All that is remembered of the rollouts by one Canary.

    `primary` is what was promoted last, None before anything was; `candidate` is what is tried.  `revert`: what the
    Canary said of its deletion, which may be seen only after a restart.  `cookie`: the value of this run, for who is
    to stay at the candidate; "" where nobody is.  `commands` wait for a step to be taken,
    and what is `untold` for others to hear it: after a kill they may hear it twice, but hear it they do.
    """

    canary: WorkloadKey
    target: WorkloadKey
    revert: bool = False
    status: Status = field(default_factory=Status)
    primary: Workload | None = None
    candidate: Workload | None = None
    cookie: str = ""
    commands: tuple[Command, ...] = ()
    untold: tuple[News, ...] = ()
    history: tuple[Happened, ...] = ()

    def told(self, told: Iterable[Told], now: float) -> Rollout:
        """With this in its history as well."""
        status = self.status
        news = tuple(
            Happened(
                at=now,
                told=one,
                phase=status.phase,
                weight=status.weight,
                failed_checks=status.failed_checks,
            )
            for one in told
        )
        return replace(self, history=(*self.history, *news)[-MOST_EVENTS:]) if news else self


_LINE = Codec[Rollout](Rollout)


def load(path: Path) -> tuple[tuple[Rollout, ...], tuple[Finding, ...]]:
    """What was kept; nothing where there is no file.  One that says nothing is set aside, which is a Finding."""
    try:
        return tuple(map(_LINE.decode, read_private(path).splitlines())), ()
    except FileNotFoundError:
        return (), ()
    except (Insecure, CodecError, OSError) as error:
        aside = path.with_name(f"{path.name}.damaged")
        message = (
            f"where rollouts stood can't be read ({error}): every target serves as it is written now; "
            f"what was read is in {aside.name} beside the control plane's log"
        )
        log.error("%s: %s", path, message)  # noqa: TRY400 - a file's mistake, not ours
        path.replace(aside)
        return (), (Finding(Severity.ERROR, FORGOTTEN, message),)


def line(rollout: Rollout) -> bytes:
    """A rollout as it stands in the file.  CodecError."""
    return _LINE.encode(rollout) + b"\n"


def save(path: Path, lines: Iterable[bytes]) -> None:
    """Replace the file in one step, and on the disk before this returns.  OSError."""
    write_private(path, b"".join(lines))


def stepped(rollout: Rollout, canary: Canary, step: Step, written: Workload | None, now: float) -> Rollout:
    """A rollout after a step, with the versions that run once its effects are carried out.

    `written` is the target as its document says it now.  To carry an effect out twice comes to the same as once.
    """
    primary, candidate = rollout.primary, rollout.candidate
    for effect in step.effects:
        match effect:
            case Effect.TRY:
                candidate = written
            case Effect.PROMOTE:
                primary = candidate or written
            case Effect.END_TRIAL:
                candidate = None
            case Effect.ADOPT:
                primary = written or primary
    status = step.status
    sticky = candidate is not None and canary.analysis.affinity is not None and status.weight > 0
    return replace(
        rollout,
        status=status,
        primary=primary,
        candidate=candidate,
        cookie=_cookie(canary.key, status) if sticky else "",
        revert=canary.revert_on_deletion,
        untold=(*rollout.untold, *_news(step))[-MOST_UNTOLD:],
    ).told(step.told, now)


def begun(canary: Canary, serving: Workload, now: float) -> Rollout:
    """Of a Canary that came along with a change of its target: that is its first run, and what served before is kept."""
    known = revision(serving)
    status = Status(phase=Phase.INITIALIZED, promoted=known, applied=known, since=now)
    rollout = Rollout(
        canary=canary.key,
        target=canary.target,
        revert=canary.revert_on_deletion,
        status=status,
        primary=serving,
    )
    text = f"{canary.target.name}: initialized: what served before the Canary came serves on"
    return rollout.told((Told(severity=AlertSeverity.INFO, text=text),), now)


def _news(step: Step) -> tuple[News, ...]:
    if not step.told and not step.hooks:
        return ()
    return (News(status=step.status, told=step.told, hooks=step.hooks),)


def resumed(rollout: Rollout, now: float) -> Rollout:
    """As it goes on after nobody looked for a while: no deadline ran meanwhile, for without us no replica starts."""
    status = rollout.status
    if not status.phase.runs:
        return rollout
    waits = replace(
        status,
        progressed=now if status.progressed else 0.0,
        starved=now if status.starved else 0.0,
    )
    return replace(rollout, status=waits)


def followed(rollout: Rollout, written: Workload | None) -> Rollout:
    """With what is no matter of revisions as it is written now: labels, ports, replicas and the like.

    A version that is not the one written stays as it was.
    """
    if written is None:
        return rollout

    def version(known: Workload | None) -> Workload | None:
        if known is None or known == written or revision(known) != revision(written):
            return known
        return written

    primary, candidate = version(rollout.primary), version(rollout.candidate)
    if primary is rollout.primary and candidate is rollout.candidate:
        return rollout
    return replace(rollout, primary=primary, candidate=candidate)


def shift(rollout: Rollout) -> Shift | None:
    """What routes and replicas follow from; None: all is as it is written.

    Nothing is sent to a version that does not run.
    """
    status = rollout.status
    if rollout.primary is None:
        return None
    if rollout.candidate is None:
        return Shift(primary=rollout.primary)
    return Shift(
        primary=rollout.primary,
        candidate=rollout.candidate,
        weight=status.weight,
        mirrored=status.mirrored,
        matched=status.matched,
        cookie=rollout.cookie,
    )


def _cookie(canary: WorkloadKey, status: Status) -> str:
    """The same for a run whoever asks, and another for each, so that nobody is held by that of an earlier one."""
    run = (str(canary), status.applied, status.run)
    return blake2b(repr(run).encode(), digest_size=8).hexdigest()
