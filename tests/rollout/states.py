"""What every phase makes of what is seen, as it should be; docs/rollout-states.md shows what it is.

An outcome is written as "Phase, traffic, what is done", as far as there is any: the traffic that the new version
gets, and the effects of plait.rollout.status.  WHATEVER holds what can be seen in any phase, MOMENTS what one
phase waits for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from plait.model.rollout import Canary, HookType
from plait.rollout.status import Command, Finding, Phase, Seen, Status, Step
from plait.rollout.step import needs, step
from tests.rollout.canaries import (
    AB,
    BACKWARDS,
    BLUE_GREEN,
    COPIED,
    CRASHED,
    DEADLINE,
    HALF,
    INTERVAL,
    MIRRORED,
    NOW,
    PATIENCE,
    STARTING,
    STEPS,
    V1,
    V3,
    at,
    canary,
    hook,
    looks,
    no,
    seen,
    yes,
)

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "rollout-states.md"

INITIALIZING, INITIALIZED = Phase.INITIALIZING, Phase.INITIALIZED
WAITING, PROGRESSING, AT_PROMOTION = Phase.WAITING, Phase.PROGRESSING, Phase.WAITING_PROMOTION
PROMOTING, FINALISING = Phase.PROMOTING, Phase.FINALISING
SUCCEEDED, FAILED = Phase.SUCCEEDED, Phase.FAILED
TERMINATING, TERMINATED = Phase.TERMINATING, Phase.TERMINATED

PRE, ROLLOUT, ROLLBACK = HookType.PRE_ROLLOUT, HookType.ROLLOUT, HookType.ROLLBACK
TO_BEGIN, TO_INCREASE = HookType.CONFIRM_ROLLOUT, HookType.CONFIRM_TRAFFIC_INCREASE
TO_PROMOTE = HookType.CONFIRM_PROMOTION


@dataclass(frozen=True, kw_only=True)
class Case:
    """Where a rollout stands, what is seen then, in words as well, and what should come of it."""

    status: Status
    what: str
    seen: Seen
    outcome: str
    canary: Canary = STEPS
    now: float = NOW

    @property
    def step(self) -> Step:
        return step(self.canary, self.status, self.seen, self.now)

    def __str__(self) -> str:
        return f"{self.status.phase}: {self.what}"


def outcome(step_: Step) -> str:
    """A step as outcomes are written."""
    status = step_.status
    traffic = (
        f"{status.weight} %" if status.weight else "",
        f"{status.mirrored} % copied" if status.mirrored else "",
        "matches" if status.matched else "",
    )
    return ", ".join((str(status.phase), *filter(None, traffic), *map(str, step_.effects)))


AS_IS = "what was written before"
SUSPENDED, REVERTING = canary(suspend=True), canary(revert_on_deletion=True)

WHATEVER: tuple[tuple[str, Seen, Canary, Mapping[Phase, str]], ...] = (
    (
        "another revision is written",
        seen(V3),
        STEPS,
        {
            INITIALIZING: "Initializing, adopt",
            INITIALIZED: "Progressing, try",
            WAITING: "Progressing, try",
            PROGRESSING: "Progressing, end trial, try",
            AT_PROMOTION: "Progressing, end trial, try",
            PROMOTING: "Finalising",
            FINALISING: "Succeeded, end trial",
            SUCCEEDED: "Progressing, try",
            FAILED: "Progressing, try",
            TERMINATING: "Initializing",
            TERMINATED: "Initializing",
        },
    ),
    (
        "another revision is written, and the Canary is suspended",
        seen(V3),
        SUSPENDED,
        {
            INITIALIZING: "Initializing",
            INITIALIZED: "Initialized",
            WAITING: "Waiting",
            PROGRESSING: "Progressing, 20 %",
            AT_PROMOTION: "WaitingPromotion, 50 %",
            PROMOTING: "Promoting, 50 %",
            FINALISING: "Finalising",
            SUCCEEDED: "Succeeded",
            FAILED: "Failed",
            TERMINATING: "Terminating",
            TERMINATED: "Terminated",
        },
    ),
    (
        "another revision is written, and the Canary skips the analysis",
        seen(V3),
        canary(skip_analysis=True),
        {
            INITIALIZING: "Initializing, adopt",
            INITIALIZED: "Promoting, adopt",
            WAITING: "Promoting, adopt",
            PROGRESSING: "Promoting, end trial, adopt",
            AT_PROMOTION: "Promoting, end trial, adopt",
            PROMOTING: "Finalising",
            FINALISING: "Succeeded, end trial",
            SUCCEEDED: "Promoting, adopt",
            FAILED: "Promoting, adopt",
            TERMINATING: "Initializing",
            TERMINATED: "Initializing",
        },
    ),
    (
        "another revision is written, and a gate stands before the rollout",
        seen(V3),
        canary(webhooks=(hook(TO_BEGIN), hook(ROLLBACK))),
        {
            INITIALIZING: "Initializing, adopt",
            INITIALIZED: "Waiting",
            WAITING: "Waiting",
            PROGRESSING: "Progressing, end trial, try",
            AT_PROMOTION: "Progressing, end trial, try",
            PROMOTING: "Finalising",
            FINALISING: "Succeeded, end trial",
            SUCCEEDED: "Waiting",
            FAILED: "Waiting",
            TERMINATING: "Initializing",
            TERMINATED: "Initializing",
        },
    ),
    (
        "the earlier revision is written",
        seen(V1),
        STEPS,
        {
            INITIALIZING: "Initialized",
            INITIALIZED: "Initialized",
            WAITING: "Succeeded",
            PROGRESSING: "Succeeded, end trial",
            AT_PROMOTION: "Succeeded, end trial",
            PROMOTING: "Finalising",
            FINALISING: "Succeeded, end trial",
            SUCCEEDED: "Progressing, try",
            FAILED: "Failed",
            TERMINATING: "Initializing",
            TERMINATED: "Initializing",
        },
    ),
    (
        "nothing else",
        seen(AS_IS),
        STEPS,
        {
            INITIALIZING: "Initialized",
            INITIALIZED: "Initialized",
            WAITING: "Waiting",
            PROGRESSING: "Progressing, 20 %",
            AT_PROMOTION: "WaitingPromotion, 50 %",
            PROMOTING: "Finalising",
            FINALISING: "Succeeded, end trial",
            SUCCEEDED: "Succeeded",
            FAILED: "Failed",
            TERMINATING: "Initializing",
            TERMINATED: "Initializing",
        },
    ),
    (
        "there is no workload any more",
        seen(""),
        STEPS,
        {
            INITIALIZING: "Initializing",
            INITIALIZED: "Initialized",
            WAITING: "Succeeded",
            PROGRESSING: "Succeeded, end trial",
            AT_PROMOTION: "Succeeded, end trial",
            PROMOTING: "Succeeded, end trial",
            FINALISING: "Succeeded, end trial",
            SUCCEEDED: "Succeeded",
            FAILED: "Failed",
            TERMINATING: "Initializing",
            TERMINATED: "Initializing",
        },
    ),
    (
        "the Canary is deleted",
        seen(AS_IS, deleted=True),
        STEPS,
        {
            INITIALIZING: "Terminated",
            INITIALIZED: "Terminated",
            WAITING: "Terminated",
            PROGRESSING: "Terminated, end trial",
            AT_PROMOTION: "Terminated, end trial",
            PROMOTING: "Terminated, end trial",
            FINALISING: "Terminated, end trial",
            SUCCEEDED: "Terminated",
            FAILED: "Terminated",
            TERMINATING: "Terminated",
            TERMINATED: "Terminated",
        },
    ),
    (
        "the Canary is deleted, which it says reverts",
        seen(AS_IS, deleted=True),
        REVERTING,
        {
            INITIALIZING: "Terminating, adopt",
            INITIALIZED: "Terminating, adopt",
            WAITING: "Terminating, adopt",
            PROGRESSING: "Terminating, end trial, adopt",
            AT_PROMOTION: "Terminating, end trial, adopt",
            PROMOTING: "Terminating, end trial, adopt",
            FINALISING: "Terminating, end trial, adopt",
            SUCCEEDED: "Terminating, adopt",
            FAILED: "Terminating, adopt",
            TERMINATING: "Terminated",
            TERMINATED: "Terminated",
        },
    ),
    (
        "a user aborts it",
        seen(AS_IS, command=Command.ABORT),
        STEPS,
        {
            INITIALIZING: "Initialized",
            INITIALIZED: "Initialized",
            WAITING: "Failed",
            PROGRESSING: "Failed, end trial",
            AT_PROMOTION: "Failed, end trial",
            PROMOTING: "Finalising",
            FINALISING: "Succeeded, end trial",
            SUCCEEDED: "Succeeded",
            FAILED: "Failed",
            TERMINATING: "Initializing",
            TERMINATED: "Initializing",
        },
    ),
    (
        "a user aborts it, and the Canary is suspended",
        seen(AS_IS, command=Command.ABORT),
        SUSPENDED,
        {
            INITIALIZING: "Initializing",
            INITIALIZED: "Initialized",
            WAITING: "Failed",
            PROGRESSING: "Failed, end trial",
            AT_PROMOTION: "Failed, end trial",
            PROMOTING: "Promoting, 50 %",
            FINALISING: "Finalising",
            SUCCEEDED: "Succeeded",
            FAILED: "Failed",
            TERMINATING: "Terminating",
            TERMINATED: "Terminated",
        },
    ),
)
"""What is seen, and the outcome in each phase.  What a user says there in vain is as if it had not been said."""

_GATED = canary(webhooks=(hook(TO_BEGIN), hook(ROLLBACK)))
_CHECKED = canary(webhooks=(hook(PRE), hook(ROLLOUT), hook(ROLLBACK)))
_INCREASED = canary(webhooks=(hook(TO_INCREASE),))
_PROMOTED = canary(webhooks=(hook(TO_PROMOTE),))
_APPROVED = canary(webhooks=(hook(TO_PROMOTE, "chef", url=""),))
_NEW = at(PROGRESSING, weight=0, started=0.0, ready=False, due=NOW - 5 + DEADLINE)
_READY = replace(_NEW, ready=True, due=NOW)
_DUE = at(PROGRESSING, due=NOW)
_LAST = at(PROGRESSING, due=NOW, weight=50)
_MATCHED = at(PROGRESSING, due=NOW, weight=0, matched=True, iterations=1)
_COPIED = at(PROGRESSING, due=NOW, weight=0, mirrored=30)
_ROUND = at(PROGRESSING, due=NOW, weight=0, iterations=1)
_STARVED = replace(_DUE, starved=NOW - INTERVAL)
_GOOD, _BAD = looks(Finding.PASSED), looks(Finding.FAILED)
_POOR = looks(Finding.WAITING, "waiting for traffic: 12 of 100 requests")

MOMENTS: tuple[Case, ...] = (
    Case(
        status=Status(),
        what="a workload, for the first time",
        seen=seen(V1),
        outcome="Initializing, adopt",
    ),
    Case(status=Status(), what="no workload", seen=seen(""), outcome="Initializing"),
    Case(
        status=at(INITIALIZING),
        what="what serves is not ready",
        seen=seen(V1, serving=HALF),
        outcome="Initializing",
    ),
    Case(
        status=at(INITIALIZING),
        what="what serves is as ready as the Canary wants it",
        seen=seen(V1, serving=HALF),
        canary=canary(primary_ready=50),
        outcome="Initialized",
    ),
    Case(
        status=at(FAILED, applied=V1),
        what="the revision that failed is written anew, after the earlier one was",
        seen=seen(),
        outcome="Progressing, try",
    ),
    Case(
        status=at(WAITING, asking=True, due=NOW),
        what="the gate's webhook does not agree",
        seen=seen(answers=no(TO_BEGIN, ROLLBACK)),
        canary=_GATED,
        outcome="Waiting",
    ),
    Case(
        status=at(WAITING, due=NOW),
        what="the gate's webhook agrees",
        seen=seen(answers=yes(TO_BEGIN) | no(ROLLBACK)),
        canary=_GATED,
        outcome="Progressing, try",
    ),
    Case(
        status=at(WAITING, due=NOW),
        what="the rollback webhook wants it",
        seen=seen(answers=yes(TO_BEGIN, ROLLBACK)),
        canary=_GATED,
        outcome="Failed",
    ),
    Case(
        status=at(WAITING, opened=TO_BEGIN),
        what="a user has approved",
        seen=seen(),
        canary=_GATED,
        outcome="Progressing, try",
    ),
    Case(
        status=at(WAITING, opened=TO_BEGIN, paused=True),
        what="a user has approved and paused it",
        seen=seen(),
        canary=_GATED,
        outcome="Waiting",
    ),
    Case(status=_NEW, what="the new version is not ready", seen=seen(trying=HALF), outcome="Progressing"),
    Case(
        status=_NEW,
        what="the new version has crashed, and may come yet",
        seen=seen(trying=CRASHED),
        outcome="Progressing",
    ),
    Case(
        status=_NEW,
        what="the new version was not ready in time",
        seen=seen(trying=HALF),
        now=NOW - 5 + DEADLINE,
        outcome="Failed, end trial",
    ),
    Case(status=_NEW, what="the new version is ready", seen=seen(), outcome="Progressing"),
    Case(
        status=_NEW,
        what="the new version is as ready as the Canary wants it",
        seen=seen(trying=HALF),
        canary=canary(canary_ready=50),
        outcome="Progressing",
    ),
    Case(
        status=_READY,
        what="what serves is not ready",
        seen=seen(serving=HALF),
        outcome="Progressing",
    ),
    Case(
        status=_READY,
        what="a pre-rollout webhook does not agree",
        seen=seen(answers=no(PRE, ROLLBACK)),
        canary=_CHECKED,
        outcome="Progressing",
    ),
    Case(
        status=replace(_READY, failed_checks=2),
        what="a pre-rollout webhook does not agree for the last time",
        seen=seen(answers=no(PRE, ROLLBACK)),
        canary=_CHECKED,
        outcome="Failed, end trial",
    ),
    Case(
        status=_READY,
        what="the pre-rollout webhooks agree",
        seen=seen(answers=yes(PRE) | no(ROLLBACK)),
        canary=_CHECKED,
        outcome="Progressing, 20 %",
    ),
    Case(status=_READY, what="all is ready: by steps", seen=seen(), outcome="Progressing, 20 %"),
    Case(
        status=_READY,
        what="all is ready: by steps, after copies",
        seen=seen(),
        canary=MIRRORED,
        outcome="Progressing, 30 % copied",
    ),
    Case(status=_READY, what="all is ready: A/B", seen=seen(), canary=AB, outcome="Progressing, matches"),
    Case(
        status=_READY, what="all is ready: blue-green", seen=seen(), canary=BLUE_GREEN, outcome="Progressing"
    ),
    Case(
        status=_READY,
        what="all is ready: blue-green with copies",
        seen=seen(),
        canary=COPIED,
        outcome="Progressing, 100 % copied",
    ),
    Case(
        status=_READY,
        what="all is ready, and a gate stands before more traffic",
        seen=seen(),
        canary=_INCREASED,
        outcome="Progressing",
    ),
    Case(status=_DUE, what="a good look", seen=_GOOD, outcome="Progressing, 50 %"),
    Case(status=_DUE, what="a look that nobody was asked for", seen=seen(), outcome="Progressing, 20 %"),
    Case(status=at(PROGRESSING), what="a look before its time", seen=_BAD, outcome="Progressing, 20 %"),
    Case(status=_COPIED, what="a good look", seen=_GOOD, canary=MIRRORED, outcome="Progressing, 20 %"),
    Case(status=_MATCHED, what="a good look: A/B", seen=_GOOD, canary=AB, outcome="Progressing, matches"),
    Case(
        status=_MATCHED,
        what="a good look, and the Canary goes by steps after copies now",
        seen=_GOOD,
        canary=MIRRORED,
        outcome="Progressing, 20 %",
    ),
    Case(status=_ROUND, what="a good look: blue-green", seen=_GOOD, canary=BLUE_GREEN, outcome="Progressing"),
    Case(status=_LAST, what="the last good look", seen=_GOOD, outcome="Promoting, 50 %, promote"),
    Case(
        status=replace(_MATCHED, iterations=2),
        what="the last good look: A/B",
        seen=_GOOD,
        canary=AB,
        outcome="Promoting, matches, promote",
    ),
    Case(
        status=replace(_ROUND, iterations=2, mirrored=100),
        what="the last good look: blue-green with copies",
        seen=_GOOD,
        canary=COPIED,
        outcome="Promoting, 100 %, promote",
    ),
    Case(
        status=_DUE,
        what="a good look, and a gate stands before more traffic",
        seen=_GOOD,
        canary=_INCREASED,
        outcome="Progressing, 20 %",
    ),
    Case(
        status=at(PROGRESSING, gate=TO_INCREASE, asking=True, due=NOW),
        what="the gate's webhook does not agree",
        seen=seen(answers=no(TO_INCREASE)),
        canary=_INCREASED,
        outcome="Progressing, 20 %",
    ),
    Case(
        status=at(PROGRESSING, gate=TO_INCREASE, asking=True, due=NOW),
        what="the gate's webhook agrees",
        seen=seen(answers=yes(TO_INCREASE)),
        canary=_INCREASED,
        outcome="Progressing, 50 %",
    ),
    Case(
        status=at(PROGRESSING, gate=TO_INCREASE, opened=TO_INCREASE),
        what="a user has approved",
        seen=seen(),
        canary=_INCREASED,
        outcome="Progressing, 50 %",
    ),
    Case(
        status=_DUE,
        what="a good look, and what serves is not ready",
        seen=replace(_GOOD, serving=HALF),
        outcome="Progressing, 20 %",
    ),
    Case(status=_DUE, what="a bad look", seen=_BAD, outcome="Progressing, 20 %"),
    Case(
        status=_DUE,
        what="a look of which nobody could say anything",
        seen=looks(Finding.UNKNOWN),
        outcome="Progressing, 20 %",
    ),
    Case(
        status=_DUE,
        what="a rollout webhook does not agree",
        seen=replace(_GOOD, answers=no(ROLLOUT, ROLLBACK)),
        canary=_CHECKED,
        outcome="Progressing, 20 %",
    ),
    Case(
        status=replace(_DUE, failed_checks=2),
        what="one bad look too many",
        seen=_BAD,
        outcome="Failed, end trial",
    ),
    Case(
        status=replace(_MATCHED, failed_checks=2),
        what="one bad look too many: A/B",
        seen=_BAD,
        canary=AB,
        outcome="Failed, end trial",
    ),
    Case(
        status=replace(_COPIED, failed_checks=2),
        what="one bad look too many: copies",
        seen=_BAD,
        canary=MIRRORED,
        outcome="Failed, end trial",
    ),
    Case(
        status=_DUE,
        what="it is worse than what serves",
        seen=looks(Finding.STOPPED),
        outcome="Failed, end trial",
    ),
    Case(
        status=_DUE,
        what="the rollback webhook wants it",
        seen=replace(_GOOD, answers=yes(ROLLOUT, ROLLBACK)),
        canary=_CHECKED,
        outcome="Failed, end trial",
    ),
    Case(status=_DUE, what="too few requests", seen=_POOR, outcome="Progressing, 20 %"),
    Case(status=_STARVED, what="still too few requests", seen=_POOR, outcome="Progressing, 20 %"),
    Case(
        status=replace(_DUE, starved=NOW - PATIENCE),
        what="too few requests for too long",
        seen=_POOR,
        outcome="Failed, end trial",
    ),
    Case(
        status=at(PROGRESSING),
        what="some replicas of the new version are not ready any more",
        seen=seen(trying=HALF),
        outcome="Progressing, 20 %",
    ),
    Case(
        status=at(PROGRESSING),
        what="no replica of the new version is ready, and nobody says why",
        seen=seen(trying=STARTING),
        outcome="Progressing, 20 %",
    ),
    Case(
        status=at(PROGRESSING),
        what="the new version has crashed",
        seen=seen(trying=CRASHED),
        outcome="Failed, end trial",
    ),
    Case(
        status=at(PROGRESSING, paused=True),
        what="the new version has crashed, and a user has paused it",
        seen=seen(trying=CRASHED),
        outcome="Failed, end trial",
    ),
    Case(
        status=at(PROGRESSING, due=NOW, paused=True),
        what="a look, and a user has paused it",
        seen=_BAD,
        outcome="Progressing, 20 %",
    ),
    Case(
        status=at(PROGRESSING, skipping=True),
        what="a user wants it promoted",
        seen=seen(serving=HALF),
        outcome="Promoting, 20 %, promote",
    ),
    Case(
        status=replace(_NEW, skipping=True),
        what="a user wants it promoted, and it is not ready",
        seen=seen(trying=HALF),
        outcome="Progressing",
    ),
    Case(
        status=at(PROGRESSING),
        what="the Canary skips the analysis now",
        seen=seen(),
        canary=canary(skip_analysis=True),
        outcome="Promoting, 20 %, promote",
    ),
    Case(
        status=_LAST,
        what="the last good look, and a gate stands before the promotion",
        seen=_GOOD,
        canary=_PROMOTED,
        outcome="Progressing, 50 %",
    ),
    Case(
        status=replace(_LAST, gate=TO_PROMOTE, asking=True),
        what="the promotion's webhook does not agree",
        seen=seen(answers=no(TO_PROMOTE)),
        canary=_PROMOTED,
        outcome="WaitingPromotion, 50 %",
    ),
    Case(
        status=replace(_LAST, gate=TO_PROMOTE, asking=True),
        what="the promotion is for a user to approve",
        seen=seen(),
        canary=_APPROVED,
        outcome="WaitingPromotion, 50 %",
    ),
    Case(
        status=at(AT_PROMOTION, asking=True),
        what="the promotion's webhook agrees",
        seen=seen(answers=yes(TO_PROMOTE)),
        canary=_PROMOTED,
        outcome="Promoting, 50 %, promote",
    ),
    Case(
        status=at(AT_PROMOTION, opened=TO_PROMOTE),
        what="a user has approved",
        seen=seen(),
        canary=_PROMOTED,
        outcome="Promoting, 50 %, promote",
    ),
    Case(
        status=at(AT_PROMOTION, due=NOW),
        what="a good look",
        seen=_GOOD,
        canary=_PROMOTED,
        outcome="WaitingPromotion, 50 %",
    ),
    Case(
        status=at(AT_PROMOTION, due=NOW),
        what="too few requests, after enough of them were good",
        seen=_POOR,
        canary=_PROMOTED,
        outcome="WaitingPromotion, 50 %",
    ),
    Case(
        status=at(AT_PROMOTION, due=NOW),
        what="a bad look",
        seen=_BAD,
        canary=_PROMOTED,
        outcome="WaitingPromotion, 50 %",
    ),
    Case(
        status=at(AT_PROMOTION, due=NOW, failed_checks=2),
        what="one bad look too many",
        seen=_BAD,
        canary=_PROMOTED,
        outcome="Failed, end trial",
    ),
    Case(
        status=at(AT_PROMOTION),
        what="the new version has crashed",
        seen=seen(trying=CRASHED),
        canary=_PROMOTED,
        outcome="Failed, end trial",
    ),
    Case(
        status=at(AT_PROMOTION, due=NOW),
        what="the Canary has got another step, and a look is good",
        seen=_GOOD,
        canary=canary(steps=(20, 50, 80)),
        outcome="Progressing, 80 %",
    ),
    Case(
        status=at(PROMOTING),
        what="what was promoted is not ready under its own name",
        seen=seen(serving=HALF),
        outcome="Promoting, 50 %",
    ),
    Case(
        status=at(PROMOTING),
        what="what was promoted was not ready in time",
        seen=seen(serving=HALF),
        now=NOW - 5 + DEADLINE,
        outcome="Promoting, 50 %",
    ),
    Case(
        status=at(PROMOTING),
        what="what was promoted was not ready in time, and another revision is written",
        seen=seen(V3, serving=HALF),
        now=NOW - 5 + DEADLINE,
        outcome="Progressing, end trial, try",
    ),
    Case(
        status=at(PROMOTING),
        what="what was promoted is not ready, and another revision is written",
        seen=seen(V3, serving=HALF),
        outcome="Promoting, 50 %",
    ),
    Case(
        status=at(PROMOTING),
        what="what was tried has crashed, and what was promoted is ready in part",
        seen=seen(serving=HALF, trying=CRASHED),
        outcome="Promoting",
    ),
    Case(
        status=at(PROMOTING),
        what="what was tried has crashed, and nothing else is ready",
        seen=seen(serving=STARTING, trying=CRASHED),
        outcome="Promoting, 50 %",
    ),
    Case(status=at(PROMOTING), what="what was promoted is ready", seen=seen(), outcome="Finalising"),
    Case(
        status=at(PROMOTING, weight=0, matched=True),
        what="what was promoted is ready: A/B",
        seen=seen(),
        canary=AB,
        outcome="Finalising",
    ),
    Case(
        status=at(PROMOTING),
        what="what was promoted is ready, and gets the traffic by steps",
        seen=seen(),
        canary=BACKWARDS,
        outcome="Promoting, 20 %",
    ),
    Case(
        status=at(PROMOTING, ready=True, weight=20, due=NOW + 5),
        what="the next step of it is not due",
        seen=seen(),
        canary=BACKWARDS,
        outcome="Promoting, 20 %",
    ),
    Case(
        status=at(PROMOTING, ready=True, weight=20, due=NOW),
        what="the last step of it is due",
        seen=seen(),
        canary=BACKWARDS,
        outcome="Finalising",
    ),
    Case(
        status=at(PROMOTING, ready=True, weight=20, due=NOW),
        what="the last step of it is due, and what was promoted is not ready any more",
        seen=seen(serving=HALF),
        canary=BACKWARDS,
        outcome="Promoting, 20 %",
    ),
    Case(
        status=at(PROMOTING, paused=True),
        what="what was promoted is ready, and a user has paused it",
        seen=seen(),
        outcome="Promoting, 50 %",
    ),
)


def _cases() -> Iterator[Case]:
    for phase in Phase:
        yield from (case for case in MOMENTS if case.status.phase is phase)
        for what, seen_, canary_, outcomes in WHATEVER:
            status = at(phase)
            as_is = replace(seen_, written=status.applied) if seen_.written == AS_IS else seen_
            yield Case(status=status, what=what, seen=as_is, canary=canary_, outcome=outcomes[phase])


CASES = tuple(_cases())
"""All of them, by their phases."""


_HEAD = """# The states of a rollout

What each phase of a rollout makes of what is seen: a step is taken when something has changed, and when one is due. The first column of a table is what is seen; then come the phase that follows, the traffic that the new version gets, whom the step asks first, what is done (*try*: the written revision starts beside the one that serves; *promote*: what was tried replaces what served; *end trial*: what was tried is drained and stopped; *adopt*: what is written serves at once), and the words that people are told.

The Canary of the examples goes by steps of 20 % and 50 %, with one metric and a threshold of three, unless the row says another thing; what is seen is well unless the row says that it is not.

What is asked where:

- Metrics are looked at from the first stage on: as soon as the new version gets requests or copies, and in A/B and blue-green from the first iteration, whether anybody comes or not. Where nobody comes it waits for traffic, and is rolled back when that takes too long (`trafficDeadlineSeconds`); who has no traffic there says no metrics.
- `confirm-traffic-increase` is asked before more requests are answered by the new version: before each step, and before the first iteration of A/B; not before copies, nor before another iteration. `confirm-promotion` is asked after the last good look. While a gate is closed looks go on, and a bad one counts; too few requests end nothing there.
- `rollback` is asked with each look, and while it waits at `confirm-rollout`. `post-rollout` hears of every end of a run.
- A version that is written during a run takes the place of the one that was tried, and `confirm-rollout` is not asked once more; one that is written while it waits there is asked for anew. One that is written during a promotion is tried after it, or once it is clear that what was promoted is not ready in time.
- A version that has failed is tried again only after something else was written.
- Nothing is sent to a version of which no replica is ready and some are known to be in trouble: that ends a run at once, paused or not. Where some replicas are missing, or nobody says why, it has its time (`progressDeadlineSeconds`) to get them back.

Drawn from the code by `make golden`; not by hand.

## From phase to phase

| phase | what can follow |
|---|---|
"""


def page() -> str:
    """docs/rollout-states.md."""
    rows = tuple((case, case.step) for case in CASES)
    text = _HEAD
    for phase in Phase:
        found = {step_.status.phase for case, step_ in rows if case.status.phase is phase} - {phase}
        text += f"| {phase} | {', '.join(str(one) for one in Phase if one in found)} |\n"
    for phase in Phase:
        text += f"\n## {phase}\n\n| what is seen | phase | traffic | asked first | done | told |\n|---|---|---|---|---|---|\n"
        text += "".join(_row(case, step_) for case, step_ in rows if case.status.phase is phase)
    return text


def _row(case: Case, step_: Step) -> str:
    said = outcome(replace(step_, effects=())).partition(", ")
    asked = needs(case.canary, case.status, replace(case.seen, answers={}, verdicts=()), case.now)
    cells = (
        case.what,
        said[0],
        said[2],
        ", ".join((*asked.hooks, *asked.metrics)),
        ", ".join(step_.effects),
        "; ".join(told.text.partition(": ")[2] for told in step_.told),
    )
    return f"| {' | '.join(cells)} |\n"
