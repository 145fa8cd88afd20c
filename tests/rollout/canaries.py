"""Short ways to say what a rollout is by, where it stands and what is seen of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from plait.model.names import ObjectRef, Origin, WorkloadKey
from plait.model.rollout import Analysis, Builtin, Canary, HookType, Metric, Webhook
from plait.model.routing import RequestMatch
from plait.rollout.status import Answer, Finding, Phase, Replicas, Seen, Status, Verdict

ORIGIN = Origin(ObjectRef("flagger.app", "Canary", "bistro", "reservations"))
V1, V2, V3 = "v1", "v2", "v3"
"""Revisions: what serves, what is tried, and another one."""
INTERVAL, DEADLINE, PATIENCE = 10.0, 600.0, 60.0
"""Seconds between looks, until a version has to be ready, and that one waits for traffic."""
NOW = 2_000_000_000.0
METRIC = Metric(name="request-success-rate", builtin=Builtin.SUCCESS_RATE, origin=ORIGIN)
READY = Replicas(wanted=2, ready=2)
STARTING = Replicas(wanted=2, ready=0)
HALF = Replicas(wanted=2, ready=1)
CRASHED = Replicas(wanted=2, ready=0, trouble="exited with status 1")


def hook(type_: HookType, name: str = "", url: str = "http://127.0.0.1:1/") -> Webhook:
    return Webhook(name=name or str(type_), type=type_, url=url, origin=ORIGIN)


def canary(**changes: Any) -> Canary:
    """A Canary by steps of 20 and 50 %; what is no field of it is one of its analysis."""
    analysis: dict[str, Any] = {
        "interval": INTERVAL,
        "threshold": 3,
        "steps": (20, 50),
        "metrics": (METRIC,),
        "traffic_deadline": PATIENCE,
    }
    own = {key: changes.pop(key) for key in tuple(changes) if key in Canary.__dataclass_fields__}
    return replace(
        Canary(
            namespace="bistro",
            name="reservations",
            target=WorkloadKey("bistro", "reservations"),
            service="reservations",
            port=8080,
            analysis=Analysis(**analysis | changes),
            progress_deadline=DEADLINE,
            origin=ORIGIN,
        ),
        **own,
    )


STEPS = canary()
MIRRORED = canary(mirror=True, mirror_weight=30)
AB = canary(steps=(), iterations=2, matches=(RequestMatch(origin=ORIGIN),))
BLUE_GREEN = canary(steps=(), iterations=2)
COPIED = canary(steps=(), iterations=2, mirror=True)
BACKWARDS = canary(promotion_step=30)

_AT = {
    Phase.INITIALIZING: Status(promoted=V1, applied=V1),
    Phase.INITIALIZED: Status(promoted=V1, applied=V1),
    Phase.WAITING: Status(
        promoted=V1, applied=V2, run=1, gate=HookType.CONFIRM_ROLLOUT, due=NOW + 5, progressed=NOW - 5
    ),
    Phase.PROGRESSING: Status(
        promoted=V1,
        applied=V2,
        run=1,
        weight=20,
        ready=True,
        started=NOW - 5,
        progressed=NOW - 5,
        due=NOW + 5,
        message="20 % of the traffic go to the new version",
    ),
    Phase.WAITING_PROMOTION: Status(
        promoted=V1,
        applied=V2,
        run=1,
        weight=50,
        ready=True,
        started=NOW - 50,
        progressed=NOW - 5,
        gate=HookType.CONFIRM_PROMOTION,
        due=NOW + 5,
        message="waits at confirm-promotion: chef is for a user to approve",
    ),
    Phase.PROMOTING: Status(
        promoted=V2,
        applied=V2,
        run=1,
        weight=50,
        started=NOW - 50,
        progressed=NOW - 5,
        due=NOW - 5 + DEADLINE,
    ),
    Phase.FINALISING: Status(promoted=V2, applied=V2, run=1, ready=True, due=NOW),
    Phase.SUCCEEDED: Status(promoted=V2, applied=V2, run=1),
    Phase.FAILED: Status(promoted=V1, applied=V2, run=1, failed_checks=3, message="rolled back: it was bad"),
    Phase.TERMINATING: Status(promoted=V1, applied=V1, due=NOW),
    Phase.TERMINATED: Status(promoted=V1, applied=V1),
}


def at(phase: Phase, **changes: Any) -> Status:
    """A status in this phase as it is in the middle of a run, where nothing is due."""
    return replace(_AT[phase], phase=phase, since=NOW - 50, **changes)


def seen(written: str = V2, **changes: Any) -> Seen:
    return replace(Seen(written=written, serving=READY, trying=READY), **changes)


def looks(finding: Finding, text: str = "request-success-rate 93.2 % is under 99 %", **changes: Any) -> Seen:
    """What is seen when the one metric says this."""
    return seen(verdicts=(Verdict(metric=METRIC.name, finding=finding, text=text),), **changes)


def yes(*types: HookType) -> dict[str, Answer]:
    return {str(type_): Answer(agreed=True, text="fine") for type_ in types}


def no(*types: HookType) -> dict[str, Answer]:
    return {str(type_): Answer(agreed=False, text="not yet") for type_ in types}
