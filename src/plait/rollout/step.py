"""The step: what is seen of a rollout, and the time, become what is done next.  Pure; the order of phases is Flagger's.

Theory of operation
-------------------
A step asks one question after the other, and the first that has an answer decides: is the Canary deleted, has a
user said something, is it suspended; then what the phase waits for.  Where somebody has to be asked, and was not,
what has to be asked is what comes of it: so `needs` and `step` are one function, and can't disagree.

Whoever runs it takes steps until one changes nothing, and the next when something it sees changes, or at `due`.
docs/rollout-states.md is drawn from what is here.
"""

from __future__ import annotations

from dataclasses import replace

from plait.model.rollout import AlertSeverity, Canary
from plait.rollout import moves
from plait.rollout.look import at_gate, before_rollout, looked
from plait.rollout.moves import readiness, says, sends
from plait.rollout.status import Command, Effect, Needs, Phase, Seen, Status, Step

_PAUSED = "paused by a user"
_PROMOTED = "it is promoted already: write the earlier version to go back to it"
_AT_ITS_END = frozenset({Phase.PROMOTING, Phase.FINALISING})


def needs(canary: Canary, status: Status, seen: Seen, now: float) -> Needs:
    """What has to be asked before `step` can be taken with the same arguments; nothing when nothing is due."""
    following = _next(canary, _clocked(canary, status, now), seen, now)
    return following if isinstance(following, Needs) else Needs()


def step(canary: Canary, status: Status, seen: Seen, now: float) -> Step:
    """The next status, and what follows from it; the very same status when nothing has changed.

    A look for which somebody should have been asked, and was not, is not taken.
    """
    clocked = _clocked(canary, status, now)
    following = _next(canary, clocked, seen, now)
    if isinstance(following, Needs):
        following = Step(status=clocked)
    return replace(following, status=status) if following.status == status else following


def refused(canary: Canary, status: Status, command: Command) -> str:
    """Why a user can't say this to a rollout now; "": it is fine."""
    if not status.phase.runs:
        return f"no run is on: the rollout is {status.phase}"
    if canary.suspend and command is not Command.ABORT:
        return "the Canary is suspended: nothing moves, and a run can only be aborted"
    match command:
        case Command.APPROVE:
            return _refused_approval(status)
        case Command.PROMOTE:
            return _refused_promotion(status)
        case Command.ABORT:
            return _PROMOTED if status.phase in _AT_ITS_END else ""
        case Command.PAUSE:
            return _refused_pause(status)
        case Command.RESUME:
            return "" if status.paused else "it is not paused"


def _refused_approval(status: Status) -> str:
    if status.gate is None:
        return "it waits at no gate"
    return "the gate is open already" if status.opened is status.gate else ""


def _refused_promotion(status: Status) -> str:
    if status.phase is Phase.WAITING:
        return "the new version is not started yet: approve it first"
    if status.phase in _AT_ITS_END:
        return _PROMOTED
    return "it was asked for already" if status.skipping else ""


def _refused_pause(status: Status) -> str:
    if status.phase is Phase.FINALISING:
        return _PROMOTED
    return "it is paused already" if status.paused else ""


def _clocked(canary: Canary, status: Status, now: float) -> Status:
    """With no time ahead that can't be: a clock that was set back holds nothing up."""
    awaited = (
        status.phase in {Phase.PROGRESSING, Phase.WAITING_PROMOTION, Phase.PROMOTING} and not status.ready
    )
    longest = canary.progress_deadline if awaited else canary.analysis.interval
    times = (
        min(status.due, now + longest),
        min(status.progressed, now),
        min(status.started, now),
        min(status.starved, now),
    )
    if times == (status.due, status.progressed, status.started, status.starved):
        return status
    due, progressed, started, starved = times
    return replace(status, due=due, progressed=progressed, started=started, starved=starved)


def _next(canary: Canary, status: Status, seen: Seen, now: float) -> Step | Needs:
    if seen.deleted:
        return moves.left(canary, status, seen.written, now)
    if seen.command is not None and not refused(canary, status, seen.command):
        return _commanded(canary, status, seen.command, now)
    if canary.suspend:
        return Step(status=replace(status, due=0.0))
    match status.phase:
        case Phase.TERMINATING | Phase.TERMINATED:
            return Step(status=Status(since=max(status.since, now)))
        case Phase.INITIALIZING:
            return _initializing(canary, status, seen, now)
        case Phase.INITIALIZED | Phase.SUCCEEDED | Phase.FAILED:
            return _idle(canary, status, seen, now)
        case Phase.FINALISING:
            return moves.succeeded(canary, status, now)
        case _:
            return _running(canary, status, seen, now)


def _commanded(canary: Canary, status: Status, command: Command, now: float) -> Step:
    match command:
        case Command.ABORT:
            return moves.rolled_back(canary, status, "aborted by a user", now, AlertSeverity.WARN)
        case Command.APPROVE:
            text, status = f"{status.gate} approved by a user", replace(status, opened=status.gate)
        case Command.PROMOTE:
            text = "what is left of the analysis is left out, as a user wants"
            status = replace(status, skipping=True, paused=False)
        case Command.PAUSE:
            text, status = _PAUSED, replace(status, paused=True, starved=0.0, message=_PAUSED)
        case Command.RESUME:
            text, status = "resumed by a user", replace(status, paused=False, message="")
    return Step(status=status, told=(says(canary, text),))


def _initializing(canary: Canary, status: Status, seen: Seen, now: float) -> Step:
    if not seen.written:
        return Step(status=replace(status, message=f"waiting for a workload {canary.target}"))
    if seen.written != status.promoted:
        return Step(
            status=replace(
                status,
                promoted=seen.written,
                applied=seen.written,
                since=status.since or now,
                message="waiting for what is written now",
            ),
            effects=(Effect.ADOPT,),
            told=(says(canary, "initializing: what is written now is to serve"),),
        )
    if seen.serving.suffice(canary.analysis.primary_ready):
        return moves.initialized(canary, status, now)
    text = f"waiting: {readiness(seen.serving, 'version that serves')}"
    return Step(status=replace(status, message=text))


def _idle(canary: Canary, status: Status, seen: Seen, now: float) -> Step:
    if seen.written == status.promoted:  # what was tried may be tried again once it was taken back
        return Step(status=replace(status, applied=status.promoted))
    if seen.written in {"", status.applied}:
        return Step(status=status)
    return moves.begun(canary, status, seen.written, now)


def _running(canary: Canary, status: Status, seen: Seen, now: float) -> Step | Needs:
    if not seen.written:
        return moves.taken_back(canary, status, f"there is no workload {canary.target} any more", now)
    if status.phase is Phase.PROMOTING:
        return _promoting(canary, status, seen, now)
    if seen.written == status.promoted:
        return moves.taken_back(canary, status, "what serves was written again", now)
    if status.phase is Phase.WAITING:
        return _waiting(canary, status, seen, now)
    if seen.written != status.applied:
        return moves.restarted(canary, status, seen.written, now)
    return _progressing(canary, status, seen, now)


def _waiting(canary: Canary, status: Status, seen: Seen, now: float) -> Step | Needs:
    if seen.written != status.applied or canary.skip_analysis:
        return moves.begun(canary, status, seen.written, now)
    if status.paused:
        return Step(status=replace(status, due=0.0))
    if now < status.due and status.opened is None:
        return Step(status=status)
    return before_rollout(canary, status, seen, now)


def _progressing(canary: Canary, status: Status, seen: Seen, now: float) -> Step | Needs:
    if not (status.ready and seen.trying.suffice(canary.analysis.canary_ready)):
        return _awaiting(canary, status, seen, now)
    if status.skipping or canary.skip_analysis:
        return moves.promoted(canary, status, now)
    if status.paused:
        return Step(status=replace(status, due=0.0))
    if status.gate is not None and (status.asking or status.opened is status.gate):
        return at_gate(canary, status, status.gate, seen, now)
    if not status.due and status.started:  # it was held: what holds now is seen for a whole interval first
        return Step(status=replace(status, due=now + canary.analysis.interval))
    if now < status.due:
        return Step(status=status)
    return looked(canary, status, seen, now)


def _awaiting(canary: Canary, status: Status, seen: Seen, now: float) -> Step:
    """What is tried is not ready, or was not: it is waited for, but not where users meet it dead."""
    if seen.trying.suffice(canary.analysis.canary_ready):
        return Step(
            status=replace(
                status,
                ready=True,
                due=0.0 if status.started else now,
                message=_PAUSED if status.paused else "",
            ),
            told=(says(canary, "the new version is ready"),),
        )
    text = readiness(seen.trying, "new version")
    if sends(status) and not seen.trying.ready and seen.trying.trouble:
        return moves.rolled_back(canary, status, text, now)
    lost = status.ready
    if lost:
        status = replace(status, ready=False, gate=None, asking=False, opened=None, progressed=now)
    end = status.progressed + canary.progress_deadline
    if now >= end:
        return moves.rolled_back(
            canary, status, f"not ready within {canary.progress_deadline:g} s: {text}", now
        )
    return Step(
        status=replace(status, due=end, message=f"waiting: {text}"),
        told=(says(canary, f"not ready any more: {text}", AlertSeverity.WARN),) if lost else (),
    )


def _promoting(canary: Canary, status: Status, seen: Seen, now: float) -> Step:
    if sends(status) and not seen.trying.ready and seen.trying.trouble and seen.serving.ready:
        text = f"all traffic goes to what was promoted: {readiness(seen.trying, 'version that was tried')}"
        return Step(
            status=replace(status, weight=0, matched=False, message=text),
            told=(says(canary, text, AlertSeverity.WARN),),
        )
    if not seen.serving.suffice(canary.analysis.primary_ready):
        return _taking_over(canary, status, seen, now)
    if status.paused:
        return Step(status=replace(status, due=0.0))
    if status.ready and now < status.due:
        return Step(status=status)
    return moves.returned(canary, status, now)


def _taking_over(canary: Canary, status: Status, seen: Seen, now: float) -> Step:
    """What was promoted is not ready under the workload's own name: what was tried keeps its share so long."""
    if status.ready:
        status = replace(status, ready=False, progressed=now, due=now + canary.progress_deadline)
    end = status.progressed + canary.progress_deadline
    late = now >= end
    if seen.written != status.promoted and (late or canary.skip_analysis):
        return moves.restarted(canary, status, seen.written, now)
    text = readiness(seen.serving, "version that was promoted")
    told = f"promoted, but not ready within {canary.progress_deadline:g} s: {text}"
    return Step(
        status=replace(status, due=0.0 if late else end, message=f"waiting: {text}"),
        told=(says(canary, told, AlertSeverity.ERROR, alert=True),) if late and status.due else (),
    )
