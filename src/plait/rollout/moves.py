"""What a rollout can come to: from each to the next phase, with all that follows from it."""

from __future__ import annotations

from dataclasses import replace

from plait.model.rollout import AlertSeverity, Canary, HookType, Strategy
from plait.rollout import stages
from plait.rollout.stages import Stage
from plait.rollout.status import Effect, Phase, Replicas, Status, Step, Told

_TRIED = frozenset({Phase.PROGRESSING, Phase.WAITING_PROMOTION, Phase.PROMOTING, Phase.FINALISING})
"""In these the new version runs beside the one that serves."""


def says(
    canary: Canary, text: str, severity: AlertSeverity = AlertSeverity.INFO, *, alert: bool = False
) -> Told:
    """Something that happened to the workload."""
    return Told(severity=severity, text=f"{canary.target.name}: {text}", alert=alert)


def readiness(replicas: Replicas, version: str) -> str:
    """How many of a version's replicas are ready, and why some are not."""
    trouble = f": {replicas.trouble}" if replicas.trouble else ""
    return f"{replicas.ready} of {replicas.wanted} replicas of the {version} are ready{trouble}"


def sends(status: Status) -> bool:
    """Whether the new version answers requests of the service."""
    return status.weight > 0 or status.matched


def entered(status: Status, phase: Phase, now: float) -> Status:
    """In this phase, since when it was entered; a clock that was set back turns nothing back."""
    return status if status.phase is phase else replace(status, phase=phase, since=max(status.since, now))


def hooks(canary: Canary, *types: HookType) -> tuple[str, ...]:
    """The names of those webhooks of these types that can be called."""
    return tuple(hook.name for hook in canary.analysis.webhooks if hook.type in types and hook.url)


def initialized(canary: Canary, status: Status, now: float) -> Step:
    """What is written serves: from now on a change of it is a run."""
    return Step(
        status=replace(entered(status, Phase.INITIALIZED, now), message=""),
        told=(says(canary, "initialized: what is written now serves", alert=True),),
    )


def begun(canary: Canary, status: Status, written: str, now: float) -> Step:
    """A run for another revision: at the gate that stands before it, or at its beginning."""
    fresh = _fresh(status, written, now)
    if canary.skip_analysis:
        return _adopted(canary, fresh, now)
    if any(hook.type is HookType.CONFIRM_ROLLOUT for hook in canary.analysis.webhooks):
        return Step(
            status=replace(
                entered(fresh, Phase.WAITING, now), gate=HookType.CONFIRM_ROLLOUT, asking=True, due=now
            )
        )
    return tried(canary, fresh, now)


def restarted(canary: Canary, status: Status, written: str, now: float) -> Step:
    """What is tried was written anew: all is as at the beginning of a run, but that nobody is asked once more."""
    fresh = _fresh(status, written, now)
    again = _adopted(canary, fresh, now) if canary.skip_analysis else tried(canary, fresh, now)
    return replace(again, effects=(Effect.END_TRIAL, *again.effects))


def _fresh(status: Status, written: str, now: float) -> Status:
    return Status(
        phase=status.phase,
        promoted=status.promoted,
        applied=written,
        run=status.run + 1,
        since=status.since,
        progressed=now,
        paused=status.paused,
    )


def _adopted(canary: Canary, status: Status, now: float) -> Step:
    return Step(
        status=replace(
            entered(status, Phase.PROMOTING, now),
            promoted=status.applied,
            due=now + canary.progress_deadline,
            message="promoted without analysis",
        ),
        effects=(Effect.ADOPT,),
        told=(says(canary, "a new version is promoted without analysis, as the Canary says", alert=True),),
    )


def tried(canary: Canary, status: Status, now: float) -> Step:
    """The new version starts beside the one that serves, and gets no traffic yet."""
    return Step(
        status=replace(
            entered(status, Phase.PROGRESSING, now),
            gate=None,
            asking=False,
            opened=None,
            progressed=now,
            due=now + canary.progress_deadline,
            message="the new version is started",
        ),
        effects=(Effect.TRY,),
        told=(
            says(
                canary, f"a new version is started beside the one that serves (run {status.run})", alert=True
            ),
        ),
    )


def shifted(canary: Canary, status: Status, stage: Stage, now: float) -> Step:
    """The next stage of the strategy holds until the next look."""
    text = stages.told(stage, canary.analysis)
    return Step(
        status=replace(
            entered(status, Phase.PROGRESSING, now),
            weight=stage.weight,
            mirrored=stage.mirrored,
            matched=stage.matched,
            iterations=stage.iterations,
            started=status.started or now,
            progressed=now,
            due=now + canary.analysis.interval,
            message=text,
        ),
        told=(says(canary, text),),
    )


def promoted(canary: Canary, status: Status, now: float) -> Step:
    """What was tried replaces what served, and keeps its share of the traffic meanwhile; in blue-green it has all."""
    blue_green = canary.analysis.strategy is Strategy.BLUE_GREEN
    return Step(
        status=replace(
            entered(status, Phase.PROMOTING, now),
            weight=100 if blue_green else status.weight,
            mirrored=0,
            promoted=status.applied,
            ready=False,
            gate=None,
            asking=False,
            opened=None,
            progressed=now,
            due=now + canary.progress_deadline,
            message="the new version replaces the one that served",
        ),
        effects=(Effect.PROMOTE,),
        told=(says(canary, "promoted: the new version replaces the one that served"),),
    )


def returned(canary: Canary, status: Status, now: float) -> Step:
    """The next part of the traffic goes to what took over; with the last of it the promotion is at its end."""
    by = canary.analysis.promotion_step
    weight = max(0, status.weight - by) if by else 0
    if weight:
        text = f"{100 - weight} % of the traffic go to what was promoted"
        return Step(
            status=replace(
                status,
                weight=weight,
                ready=True,
                progressed=now,
                due=now + canary.analysis.interval,
                message=text,
            ),
            told=(says(canary, text),),
        )
    text = "all traffic goes to what was promoted"
    return Step(
        status=replace(
            entered(status, Phase.FINALISING, now), weight=0, matched=False, ready=True, due=now, message=text
        ),
        told=(says(canary, text),),
    )


def succeeded(canary: Canary, status: Status, now: float) -> Step:
    """The trial is at its end: what was tried serves."""
    return Step(
        status=_ended(status, Phase.SUCCEEDED, "the new version serves", now),
        effects=(Effect.END_TRIAL,),
        told=(says(canary, "succeeded: the new version serves", alert=True),),
        hooks=hooks(canary, HookType.POST_ROLLOUT),
    )


def taken_back(canary: Canary, status: Status, reason: str, now: float) -> Step:
    """There is nothing to try any more: what served serves."""
    text = f"ended: {reason}"
    return Step(
        status=replace(_ended(status, Phase.SUCCEEDED, text, now), applied=status.promoted),
        effects=_end_of_trial(status),
        told=(says(canary, text, alert=True),),
        hooks=hooks(canary, HookType.POST_ROLLOUT),
    )


def rolled_back(
    canary: Canary,
    status: Status,
    reason: str,
    now: float,
    severity: AlertSeverity = AlertSeverity.ERROR,
) -> Step:
    """All traffic goes to what serves, in this very step."""
    text = f"rolled back: {reason}"
    return Step(
        status=_ended(status, Phase.FAILED, text, now),
        effects=_end_of_trial(status),
        told=(says(canary, text, severity, alert=True),),
        hooks=hooks(canary, HookType.POST_ROLLOUT),
    )


def left(canary: Canary, status: Status, written: str, now: float) -> Step:
    """The Canary is no more: no version gets a share, and what is written serves if the Canary has said so."""
    if status.phase is Phase.TERMINATED:
        return Step(status=status)
    effects = _end_of_trial(status)
    if canary.revert_on_deletion and written and status.phase is not Phase.TERMINATING:
        text = "the Canary is deleted: what is written serves"
        ended = _ended(status, Phase.TERMINATING, text, now)
        return Step(
            status=replace(ended, promoted=written, applied=written, due=now),
            effects=(*effects, Effect.ADOPT),
            told=(says(canary, text),),
        )
    return Step(
        status=_ended(status, Phase.TERMINATED, "the Canary is deleted", now),
        effects=effects,
        told=(says(canary, "the Canary is deleted: no version is tried any more"),),
    )


def _end_of_trial(status: Status) -> tuple[Effect, ...]:
    return (Effect.END_TRIAL,) if status.phase in _TRIED else ()


def _ended(status: Status, phase: Phase, message: str, now: float) -> Status:
    """What is left of a run is why it ended: the last looks, and how many of them were bad."""
    entered_ = entered(status, phase, now)
    return Status(
        phase=phase,
        failed_checks=status.failed_checks,
        iterations=status.iterations,
        promoted=status.promoted,
        applied=status.applied,
        run=status.run,
        since=entered_.since,
        progressed=status.progressed,
        message=message,
        verdicts=status.verdicts,
    )
