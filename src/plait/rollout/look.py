"""A look at what is tried: whom to ask, what the answers come to, and the gates that stand before more traffic."""

from __future__ import annotations

from dataclasses import replace

from plait.model.rollout import AlertSeverity, Canary, HookType
from plait.rollout import moves
from plait.rollout.moves import hooks, readiness, says
from plait.rollout.stages import Stage, following, sends_more
from plait.rollout.status import Finding, Needs, Phase, Seen, Status, Step, Verdict

_BAD = frozenset({Finding.FAILED, Finding.UNKNOWN})


def answered(needs: Needs, seen: Seen) -> bool:
    """Whether all that was asked is among what is seen."""
    verdicts = {verdict.metric for verdict in seen.verdicts}
    return all(name in seen.answers for name in needs.hooks) and verdicts.issuperset(needs.metrics)


def looked(canary: Canary, status: Status, seen: Seen, now: float) -> Step | Needs:
    """What a look leads to; before the first stage webhooks alone are asked: there is nothing to be measured."""
    serves = seen.serving.suffice(canary.analysis.primary_ready)
    if not status.started and not serves:
        return _waiting_for_primary(canary, status, seen, now)
    checks = HookType.ROLLOUT if status.started else HookType.PRE_ROLLOUT
    metrics = tuple(metric.name for metric in canary.analysis.metrics) if status.started else ()
    needs = Needs(hooks=hooks(canary, HookType.ROLLBACK, checks), metrics=metrics)
    if not answered(needs, seen):
        return needs
    if stop := wanted_back(canary, seen):
        return moves.rolled_back(canary, status, stop, now, AlertSeverity.WARN)
    verdicts = tuple(verdict for verdict in seen.verdicts if verdict.metric in metrics)
    status = _remembered(status, verdicts) if metrics else status
    if stopped := _texts(verdicts, Finding.STOPPED):
        return moves.rolled_back(canary, status, stopped, now)
    refusals = _refusals(canary, checks, seen)
    bad = "; ".join((*refusals, *(verdict.text for verdict in verdicts if verdict.finding in _BAD)))
    if bad:
        return _failed(canary, status, bad, now)
    scarce = _texts(verdicts, Finding.WAITING)
    if scarce and status.gate is None:
        return _starving(canary, status, scarce, now)
    status = replace(status, starved=0.0)
    return _good(canary, status, now) if serves else _waiting_for_primary(canary, status, seen, now)


def wanted_back(canary: Canary, seen: Seen) -> str:
    """Who wants a rollback, and what was said about it; "": nobody does."""
    for name in hooks(canary, HookType.ROLLBACK):
        answer = seen.answers[name]
        if answer.agreed:
            return f"{name} wants it" + (f" ({answer.text})" if answer.text else "")
    return ""


def held(
    canary: Canary,
    status: Status,
    text: str,
    now: float,
    severity: AlertSeverity = AlertSeverity.INFO,
) -> Step:
    """Nothing moves until the next look; it is told when the reason is another one than before."""
    return Step(
        status=replace(
            status,
            gate=None,
            asking=False,
            opened=None,
            due=now + canary.analysis.interval,
            message=text,
        ),
        told=(says(canary, text, severity),) if text != status.message else (),
    )


def at_gate(canary: Canary, status: Status, gate: HookType, seen: Seen, now: float) -> Step | Needs:
    """What becomes of a rollout at a gate after a good look: it passes when a user or all webhooks agree."""
    if status.opened is not gate:
        needs = Needs(hooks=hooks(canary, gate))
        if not answered(needs, seen):
            return needs
        if refusals := _refusals(canary, gate, seen):
            return waiting(canary, status, gate, refusals, now)
    passed = replace(status, gate=None, asking=False, opened=None)
    return _advanced(canary, passed, following(canary.analysis, status), now)


def before_rollout(canary: Canary, status: Status, seen: Seen, now: float) -> Step | Needs:
    """What becomes of a rollout at the gate that stands before the new version is started."""
    gate = HookType.CONFIRM_ROLLOUT
    if status.opened is not gate:
        needs = Needs(hooks=hooks(canary, HookType.ROLLBACK, gate))
        if not answered(needs, seen):
            return needs
        if stop := wanted_back(canary, seen):
            return moves.rolled_back(canary, status, stop, now, AlertSeverity.WARN)
        if refusals := _refusals(canary, gate, seen):
            return waiting(canary, status, gate, refusals, now)
    return moves.tried(canary, status, now)


def waiting(canary: Canary, status: Status, gate: HookType, refusals: tuple[str, ...], now: float) -> Step:
    """It stays at the gate until the next look; people are told once."""
    text = f"waits at {gate}: {'; '.join(refusals)}"
    alert = any(one.type is gate and not one.mute_alert for one in canary.analysis.webhooks)
    phase = Phase.WAITING_PROMOTION if gate is HookType.CONFIRM_PROMOTION else status.phase
    return Step(
        status=replace(
            moves.entered(status, phase, now),
            asking=False,
            due=now + canary.analysis.interval,
            message=text,
        ),
        told=(says(canary, text, AlertSeverity.WARN, alert=alert),) if text != status.message else (),
    )


def _good(canary: Canary, status: Status, now: float) -> Step:
    stage = following(canary.analysis, status)
    gate = _gate_before(canary, status, stage)
    if gate is None:
        return _advanced(canary, replace(status, gate=None, asking=False, opened=None), stage, now)
    return Step(status=replace(status, gate=gate, asking=True, due=now))


def _gate_before(canary: Canary, status: Status, stage: Stage | None) -> HookType | None:
    if stage is None:
        gate = HookType.CONFIRM_PROMOTION
    elif sends_more(stage, status):
        gate = HookType.CONFIRM_TRAFFIC_INCREASE
    else:
        return None
    return gate if any(hook.type is gate for hook in canary.analysis.webhooks) else None


def _advanced(canary: Canary, status: Status, stage: Stage | None, now: float) -> Step:
    if stage is None:
        return moves.promoted(canary, status, now)
    return moves.shifted(canary, status, stage, now)


def _waiting_for_primary(canary: Canary, status: Status, seen: Seen, now: float) -> Step:
    return held(canary, status, f"waiting: {readiness(seen.serving, 'version that serves')}", now)


def _failed(canary: Canary, status: Status, why: str, now: float) -> Step:
    checks, threshold = status.failed_checks + 1, canary.analysis.threshold
    text = f"{why} ({checks} of {threshold} failed checks)"
    status = replace(status, failed_checks=checks)
    if checks >= threshold:
        return moves.rolled_back(canary, status, text, now)
    return held(canary, status, text, now, AlertSeverity.WARN)


def _starving(canary: Canary, status: Status, text: str, now: float) -> Step:
    since, longest = status.starved or now, canary.analysis.traffic_deadline
    if now >= since + longest:
        return moves.rolled_back(canary, status, f"{text}, after {longest:g} s", now)
    step = held(canary, replace(status, starved=since), text, now)
    due = min(step.status.due, since + longest)
    return Step(status=replace(step.status, due=due), told=() if status.starved else step.told)


def _refusals(canary: Canary, type_: HookType, seen: Seen) -> tuple[str, ...]:
    refusals = []
    for hook in canary.analysis.webhooks:
        if hook.type is not type_:
            continue
        if not hook.url:
            refusals.append(f"{hook.name} is for a user to approve")
        elif not (answer := seen.answers[hook.name]).agreed:
            refusals.append(f"{hook.name} does not agree" + (f" ({answer.text})" if answer.text else ""))
    return tuple(refusals)


def _texts(verdicts: tuple[Verdict, ...], finding: Finding) -> str:
    return "; ".join(verdict.text for verdict in verdicts if verdict.finding is finding)


def _remembered(status: Status, verdicts: tuple[Verdict, ...]) -> Status:
    tallies = {tally.metric: tally for tally in status.tallies}
    tallies |= {verdict.metric: verdict.tally for verdict in verdicts if verdict.tally is not None}
    return replace(status, verdicts=verdicts, tallies=tuple(tallies.values()))
