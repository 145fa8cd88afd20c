"""What a dashboard makes of a rollout: its last run as it went, what it waits for, and what may be said to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from plait.api.rollouts import CanaryEvent, CanaryView
from plait.dashboard import parts
from plait.dashboard.elements.marks import Mark, Step
from plait.model.names import WorkloadKey
from plait.rollout.status import Command, Finding, Phase

_RUNNING = frozenset(phase for phase in Phase if phase.runs)
_PROMOTED = frozenset({Phase.PROMOTING, Phase.FINALISING})
PASSED, FAILED, WAITS, ENDED = "passed", "failed", "waits", "ended"
"""Kinds of marks: it went on, a check was bad, it waits, it was rolled back."""

PHASES: Mapping[str, str] = {
    Phase.WAITING: parts.WARN,
    Phase.PROGRESSING: parts.INFO,
    Phase.WAITING_PROMOTION: parts.WARN,
    Phase.PROMOTING: parts.INFO,
    Phase.FINALISING: parts.INFO,
    Phase.SUCCEEDED: parts.GOOD,
    Phase.INITIALIZED: parts.GOOD,
    Phase.FAILED: parts.BAD,
}
"""The tone of each phase; of those that are not named it is that of what is idle."""
FINDINGS: Mapping[str, tuple[str, str]] = {
    Finding.PASSED: ("check_circle", parts.GOOD),
    Finding.FAILED: ("cancel", parts.BAD),
    Finding.WAITING: ("hourglass_empty", parts.WARN),
    Finding.STOPPED: ("block", parts.BAD),
    Finding.UNKNOWN: ("help_outline", parts.WARN),
}
"""The icon and the tone of what a look says."""


def key(view: CanaryView) -> WorkloadKey:
    return WorkloadKey(view.namespace, view.name)


def where(view: CanaryView) -> str:
    """Its page."""
    return parts.to(f"/canaries/{view.namespace}/{view.name}")


def refusal(view: CanaryView, command: Command) -> str:
    """Why it makes no sense to say this now, in plain words; "": it does."""
    if not view.runs:
        return f"No run is on: the rollout is {view.phase}."
    if view.suspended and command is not Command.ABORT:
        return "The Canary is suspended: nothing moves, and a run can only be aborted."
    match command:
        case Command.APPROVE:
            return "" if view.gate else "It waits at no gate."
        case Command.PROMOTE if view.phase == Phase.WAITING:
            return "The new version is not started yet."
        case Command.PROMOTE | Command.ABORT if view.phase in _PROMOTED:
            return "The new version is promoted already."
        case Command.PAUSE if view.paused:
            return "It is paused already."
        case Command.PAUSE if view.phase == Phase.FINALISING:
            return "The new version is promoted already."
        case Command.RESUME if not view.paused:
            return "It is not paused."
        case _:
            return ""


def consequence(view: CanaryView, command: Command) -> str:
    """What will happen when this is said."""
    match command:
        case Command.APPROVE:
            return f"The gate {view.gate} is opened, this once, and the rollout goes on."
        case Command.PROMOTE:
            return "What is left of the analysis is left out, gates too: the new version takes over as soon as it is ready."
        case Command.ABORT:
            return "The new version is given up: all traffic goes to the one that serves, at once."
        case Command.PAUSE:
            return (
                f"The rollout is held where it stands: {view.share} to the new version, until it is resumed."
            )
        case Command.RESUME:
            return "The rollout goes on from where it was held."


@dataclass(frozen=True, slots=True)
class State:
    """What stands above everything else: a tone, an icon, and words."""

    tone: str
    icon: str
    text: str


def state(view: CanaryView) -> State:
    """What it waits for, or how it ended."""
    said = view.message
    if view.suspended:
        return State(
            parts.WARN,
            "do_not_disturb_on",
            f"Suspended: nothing moves while spec.suspend is true. {said}".strip(),
        )
    if view.paused:
        return State(parts.WARN, "pause_circle", said if "paused" in said else f"Paused. {said}".strip())
    if view.gate:
        return State(
            parts.WARN, "front_hand", said if view.gate in said else f"Waits at {view.gate}. {said}".strip()
        )
    match view.phase:
        case Phase.FAILED:
            return State(parts.BAD, "error_outline", said or "The new version was given up.")
        case Phase.SUCCEEDED:
            return State(parts.GOOD, "check_circle", said or "The new version serves.")
        case Phase.INITIALIZED:
            return State(
                parts.GOOD,
                "check_circle",
                said or "What is written serves. A change of the workload begins a rollout.",
            )
        case Phase.PROMOTING | Phase.FINALISING:
            return State(
                parts.INFO, "published_with_changes", said or "The new version replaces the one that served."
            )
        case Phase.WAITING | Phase.WAITING_PROMOTION:
            return State(parts.WARN, "hourglass_empty", said or "It waits.")
        case Phase.PROGRESSING:
            return State(parts.INFO, "trending_up", said or "The new version is tried.")
        case _:
            return State(parts.PLAIN, "schedule", said or view.phase)


def last_run(events: Sequence[CanaryEvent]) -> tuple[CanaryEvent, ...]:
    """The events of the run that is on, or else of the last one, with its end; all, when there was none."""
    begin = len(events)
    ended = False
    while begin:
        running = events[begin - 1].phase in _RUNNING
        if ended and not running:
            break
        ended = ended or running
        begin -= 1
    return tuple(events[begin:])


def shares(run: Sequence[CanaryEvent]) -> tuple[float, ...]:
    """Percent of the traffic that the new version had after each event.

    A weight is that of what is tried; once that has taken over, whatever answers is the new version.
    """
    found: list[float] = []
    taken = promoted = False
    for event in run:
        taken = promoted and event.phase in {Phase.PROMOTING, Phase.FINALISING, Phase.SUCCEEDED}
        promoted = taken or event.phase == Phase.PROMOTING
        found.append(100.0 if taken else float(event.weight))
    return tuple(found)


def steps(run: Sequence[CanaryEvent], until: float) -> tuple[Step, ...]:
    """How the share of the new version went; up to a time."""
    found: list[Step] = []
    for event, share in zip(run, shares(run), strict=True):
        if not found or found[-1][1] != share:
            found.append((moment(event.at), share))
    return (*found, (until, found[-1][1])) if found else ()


def marks(run: Sequence[CanaryEvent], target: str) -> tuple[Mark, ...]:
    """What happened, each at its time and at the share that it left to the new version."""
    return tuple(
        Mark(
            key=f"{number} {event.at}",
            at=moment(event.at),
            value=share,
            kind=_kind(event, run[number - 1] if number else None, target),
            text=(plain(event, target), f"{event.phase}, {share:g} % to the new version"),
        )
        for number, (event, share) in enumerate(zip(run, shares(run), strict=True))
    )


def plain(event: CanaryEvent, target: str) -> str:
    """What happened, without the name of the workload before it."""
    return event.text.removeprefix(f"{target}: ")


def moment(at: str) -> float:
    """Seconds since the epoch."""
    return datetime.fromisoformat(at).timestamp()


def _kind(event: CanaryEvent, before: CanaryEvent | None, target: str) -> str:
    if event.phase == Phase.FAILED:
        return ENDED
    if event.failed_checks > (before.failed_checks if before else 0):
        return FAILED
    return WAITS if re.search(r"\b(waits|waiting|paused)\b", plain(event, target)) else PASSED
