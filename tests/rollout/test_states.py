"""What every phase makes of what is seen is what it should be; `PLAIT_GOLDEN=write` writes docs/rollout-states.md."""

import os

import pytest

from plait.model.rollout import HookType
from plait.rollout.status import Command, Needs, Phase
from plait.rollout.step import needs, refused, step
from tests.rollout.canaries import METRIC, NOW, at, canary, hook, seen
from tests.rollout.states import CASES, FILE, MOMENTS, WHATEVER, Case, outcome, page


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_leads_where_it_should(case: Case) -> None:
    assert outcome(case.step) == case.outcome


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_step_is_the_same_whoever_takes_it_again(case: Case) -> None:
    assert case.step == case.step


def test_every_phase_is_told_of() -> None:
    assert {case.status.phase for case in MOMENTS} >= {phase for phase in Phase if phase.runs} - {
        Phase.FINALISING
    }
    assert all(set(outcomes) == set(Phase) for _, _, _, outcomes in WHATEVER)


def test_the_page_of_states_is_what_the_code_does() -> None:
    if os.environ.get("PLAIT_GOLDEN") == "write":
        FILE.write_text(page())
    assert FILE.read_text() == page()


@pytest.mark.parametrize("phase", Phase)
def test_nobody_is_asked_where_nothing_is_due(phase: Phase) -> None:
    webhooks = tuple(hook(type_) for type_ in HookType)
    assert needs(canary(webhooks=webhooks), at(phase), seen(at(phase).applied), NOW) == Needs()


def test_a_look_asks_for_all_of_it_at_once_and_a_gate_only_after_it() -> None:
    plan = canary(webhooks=tuple(hook(type_) for type_ in HookType))
    due = at(Phase.PROGRESSING, due=NOW)
    assert needs(plan, due, seen(), NOW) == Needs(hooks=("rollout", "rollback"), metrics=(METRIC.name,))
    gate = at(Phase.PROGRESSING, gate=HookType.CONFIRM_TRAFFIC_INCREASE, asking=True, due=NOW)
    assert needs(plan, gate, seen(), NOW) == Needs(hooks=("confirm-traffic-increase",))
    begin = at(Phase.PROGRESSING, ready=True, weight=0, started=0.0, due=NOW)
    assert needs(plan, begin, seen(), NOW) == Needs(hooks=("pre-rollout", "rollback"))
    assert needs(plan, at(Phase.WAITING, due=NOW), seen(), NOW) == Needs(
        hooks=("confirm-rollout", "rollback")
    )


def test_a_gate_without_an_address_is_nobodys_to_ask() -> None:
    plan = canary(webhooks=(hook(HookType.CONFIRM_ROLLOUT, "chef", url=""),))
    status = at(Phase.WAITING, asking=True, due=NOW)
    assert needs(plan, status, seen(), NOW) == Needs()
    assert step(plan, status, seen(), NOW).status.message == (
        "waits at confirm-rollout: chef is for a user to approve"
    )


FINE: dict[Command, set[Phase]] = {
    Command.APPROVE: {Phase.WAITING, Phase.WAITING_PROMOTION},
    Command.PROMOTE: {Phase.PROGRESSING, Phase.WAITING_PROMOTION},
    Command.ABORT: {Phase.WAITING, Phase.PROGRESSING, Phase.WAITING_PROMOTION},
    Command.PAUSE: {Phase.WAITING, Phase.PROGRESSING, Phase.WAITING_PROMOTION, Phase.PROMOTING},
    Command.RESUME: set(),
}


@pytest.mark.parametrize("command", Command)
def test_what_a_user_may_say_when(command: Command) -> None:
    assert {phase for phase in Phase if not refused(canary(), at(phase), command)} == FINE[command]


@pytest.mark.parametrize("command", Command)
def test_what_a_user_says_in_vain_is_as_if_it_had_not_been_said(command: Command) -> None:
    for phase in set(Phase) - FINE[command]:
        status = at(phase)
        assert step(canary(), status, seen(command=command), NOW) == step(canary(), status, seen(), NOW)


@pytest.mark.parametrize("command", [one for one in Command if one is not Command.ABORT])
def test_a_suspended_run_can_only_be_aborted(command: Command) -> None:
    suspended = canary(suspend=True)
    for phase in (phase for phase in Phase if phase.runs):
        assert refused(suspended, at(phase, paused=True), command)
    assert not refused(suspended, at(Phase.PROGRESSING), Command.ABORT)


def test_nothing_is_asked_for_twice() -> None:
    assert refused(canary(), at(Phase.PROGRESSING, paused=True), Command.PAUSE)
    assert not refused(canary(), at(Phase.PROGRESSING, paused=True), Command.RESUME)
    assert refused(canary(), at(Phase.PROGRESSING, skipping=True), Command.PROMOTE)
    gate = at(Phase.WAITING, opened=HookType.CONFIRM_ROLLOUT)
    assert refused(canary(), gate, Command.APPROVE)
