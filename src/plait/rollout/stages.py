"""Where a strategy sends requests next, and what that is called in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from plait.model.rollout import Analysis, Strategy
from plait.rollout.status import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What requests the new version gets between two looks; weights in percent."""

    weight: int = 0
    mirrored: int = 0
    matched: bool = False
    iterations: int = 0


def following(analysis: Analysis, status: Status) -> Stage | None:
    """What comes after what holds now; None: the analysis is at its end."""
    if analysis.strategy is Strategy.CANARY:
        return _heavier(analysis, status)
    if status.iterations >= analysis.iterations:
        return None
    iterations = status.iterations + 1
    if analysis.strategy is Strategy.AB:
        return Stage(matched=True, iterations=iterations)
    return Stage(mirrored=analysis.mirror_weight if analysis.mirror else 0, iterations=iterations)


def _heavier(analysis: Analysis, status: Status) -> Stage | None:
    if analysis.mirror and not status.started:
        return Stage(mirrored=analysis.mirror_weight)
    weight = next((step for step in analysis.steps if step > status.weight), None)
    return None if weight is None else Stage(weight=weight)


def sends_more(stage: Stage, status: Status) -> bool:
    """Whether more requests are answered by the new version than now: copies are not."""
    return stage.weight > status.weight or (stage.matched and not status.matched)


def told(stage: Stage, analysis: Analysis) -> str:
    """The stage in plain words."""
    if stage.weight:
        return f"{stage.weight} % of the traffic go to the new version"
    round_ = f" (iteration {stage.iterations} of {analysis.iterations})" if stage.iterations else ""
    if stage.matched:
        return f"requests that match go to the new version{round_}"
    if stage.mirrored:
        return f"{stage.mirrored} % of the requests are copied to the new version{round_}"
    return f"the new version is looked at, and gets no traffic of the service{round_}"
