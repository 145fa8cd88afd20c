"""What the API says of a rollout."""

from __future__ import annotations

from plait.api.rollouts import CanaryEvent, CanaryView, CheckView
from plait.model.rollout import Canary, Strategy
from plait.run.rollouts.kept import Happened, Rollout
from plait.run.views import iso


def view(canary: Canary, rollout: Rollout) -> CanaryView:
    """Where a rollout stands."""
    status, analysis = rollout.status, canary.analysis
    by_weight = analysis.strategy is Strategy.CANARY
    total = (analysis.steps[-1] if analysis.steps else 0) if by_weight else analysis.iterations
    return CanaryView(
        namespace=canary.namespace,
        name=canary.name,
        target=canary.target.name,
        host=canary.host,
        strategy=analysis.strategy,
        phase=status.phase,
        since=_time(status.since),
        weight=status.weight,
        mirrored=status.mirrored,
        matched=status.matched,
        step=status.weight if by_weight else status.iterations,
        total=total,
        failed_checks=status.failed_checks,
        threshold=analysis.threshold,
        paused=status.paused,
        suspended=canary.suspend,
        message=status.message,
        gate="" if status.gate is None or status.asking else status.gate,
        promoted=status.promoted,
        applied=status.applied,
        checks=tuple(
            CheckView(metric=one.metric, finding=one.finding, text=one.text, value=one.value)
            for one in status.verdicts
        ),
        due=_time(status.due),
    )


def event(happened: Happened) -> CanaryEvent:
    """Something that has happened to a rollout."""
    return CanaryEvent(
        at=iso(happened.at),
        severity=happened.told.severity,
        text=happened.told.text,
        phase=happened.phase,
        weight=happened.weight,
        failed_checks=happened.failed_checks,
    )


def _time(seconds: float) -> str:
    return iso(seconds) if seconds else ""
