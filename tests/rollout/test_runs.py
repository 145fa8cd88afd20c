"""Whole runs: what comes after what, and when."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from plait.model.rollout import Canary, HookType
from plait.rollout.status import Answer, Command, Finding, Phase, Replicas, Tally, Verdict
from tests.rollout.canaries import (
    AB,
    BACKWARDS,
    BLUE_GREEN,
    COPIED,
    CRASHED,
    DEADLINE,
    HALF,
    INTERVAL,
    METRIC,
    MIRRORED,
    NOW,
    PATIENCE,
    READY,
    STARTING,
    STEPS,
    V1,
    V2,
    V3,
    canary,
    hook,
)
from tests.rollout.world import World

THROUGH = [Phase.PROGRESSING, Phase.PROMOTING, Phase.FINALISING, Phase.SUCCEEDED]


def world(plan: Canary = STEPS, **changes: Any) -> World:
    """One in which the first version serves and no run is on."""
    made = World(canary=plan, **changes)
    assert made.rolls() == [Phase.INITIALIZED]
    made.told.clear()
    return made


def says(finding: Finding, text: str) -> Any:
    return lambda name: Verdict(metric=name, finding=finding, text=text)


def until(made: World, weight: int) -> World:
    """A run that has come so far."""
    made.written = V2
    made.happened()
    while made.status.weight < weight:
        made.passed(INTERVAL)
    return made


@pytest.mark.parametrize(
    ("plan", "weights", "looks"),
    [
        (STEPS, [20, 50, 0], 2),
        (MIRRORED, [20, 50, 0], 3),
        (BACKWARDS, [20, 50, 20, 0], 2),
        (AB, [], 2),
        (BLUE_GREEN, [100, 0], 2),
        (COPIED, [100, 0], 2),
    ],
    ids=["steps", "mirrored", "backwards", "A/B", "blue-green", "copied"],
)
def test_a_good_version_takes_over(plan: Canary, weights: list[int], looks: int) -> None:
    made = world(plan)
    assert made.write(V2) == THROUGH
    assert (made.weights, made.looks, made.primary) == (weights, looks, V2)


def test_a_run_is_told_step_by_step() -> None:
    made = world()
    made.write(V2)
    assert made.told == [
        "a new version is started beside the one that serves (run 1)",
        "the new version is ready",
        "20 % of the traffic go to the new version",
        "50 % of the traffic go to the new version",
        "promoted: the new version replaces the one that served",
        "all traffic goes to what was promoted",
        "succeeded: the new version serves",
    ]


def test_a_look_is_taken_each_interval_and_not_before() -> None:
    made = until(world(), 20)
    started = made.now
    for part in range(1, 10):
        made.now = started + INTERVAL * part / 10
        made.happened()
        assert (made.looks, made.status.weight) == (0, 20)
    made.now = started + INTERVAL
    made.happened()
    assert (made.looks, made.status.weight) == (1, 50)


def test_after_a_long_absence_there_is_one_look() -> None:
    made = until(world(), 20)
    made.now += 1000 * INTERVAL
    made.happened()
    assert (made.looks, made.status.weight) == (1, 50)
    assert made.status.due == made.now + INTERVAL


def test_a_clock_that_was_set_back_holds_nothing_up() -> None:
    made = until(world(), 20)
    since = made.status.since
    made.now -= 1_000_000
    made.happened()
    assert made.status.due == made.now + INTERVAL
    assert made.status.started == made.now
    assert made.rolls() == THROUGH[1:]
    assert made.status.since == since


def test_a_clock_that_was_set_back_waits_no_longer_for_a_version_to_be_ready() -> None:
    made = world(trying=STARTING)
    made.written = V2
    made.happened()
    made.now -= 1_000_000
    made.happened()
    assert made.status.due == made.now + DEADLINE
    made.passed(DEADLINE)
    assert made.status.phase is Phase.FAILED


def test_a_shorter_interval_is_heeded_at_once() -> None:
    made = until(world(), 20)
    made.canary = canary(interval=1.0)
    made.happened()
    assert made.status.due == made.now + 1


def test_failed_checks_add_up_over_the_whole_run() -> None:
    made = world(canary(steps=(10, 20, 30, 40)))
    until(made, 10)
    for weight, failed in ((10, 1), (20, 1), (20, 2), (30, 2)):
        made.metric = says(
            Finding.FAILED if failed > made.status.failed_checks else Finding.PASSED, "93.2 % is under 99 %"
        )
        made.passed(INTERVAL)
        assert (made.status.weight, made.status.failed_checks) == (weight, failed)
    made.metric = says(Finding.FAILED, "93.2 % is under 99 %")
    made.passed(INTERVAL)
    assert made.status.phase is Phase.FAILED
    assert made.status.message == "rolled back: 93.2 % is under 99 % (3 of 3 failed checks)"
    assert made.told[-1] == made.status.message


def test_a_version_that_failed_is_tried_again_only_once_something_else_was_written() -> None:
    made = until(world(canary(threshold=1)), 20)
    made.metric = says(Finding.FAILED, "bad")
    assert made.rolls() == [Phase.FAILED]
    assert made.write(V2) == []
    assert made.write(V1) == []
    assert made.status.phase is Phase.FAILED
    assert made.write(V2) == [Phase.PROGRESSING, Phase.FAILED]
    made.metric = says(Finding.PASSED, "good")
    assert made.write(V3) == THROUGH
    assert made.tried == [V2, V2, V3]


def test_another_revision_begins_the_run_anew() -> None:
    made = until(world(), 50)
    made.status = replace(
        made.status, failed_checks=2, tallies=(Tally(metric=METRIC.name, canary=10),), opened=None
    )
    made.written, made.trying = V3, HALF
    made.happened()
    status = made.status
    assert (status.weight, status.failed_checks, status.tallies, status.started, status.run) == (
        0,
        0,
        (),
        0,
        2,
    )
    assert (made.candidate, made.status.ready) == (V3, False)
    made.trying = READY
    assert made.rolls() == THROUGH[1:]
    assert made.primary == V3


def test_what_is_written_during_a_promotion_is_tried_after_it() -> None:
    made = until(world(), 50)
    made.serving = HALF
    made.happened(Command.PROMOTE)
    assert made.status.phase is Phase.PROMOTING
    made.written = V3
    made.happened()
    assert (made.status.weight, made.primary) == (50, V2)
    made.serving = READY
    assert made.rolls() == [Phase.FINALISING, Phase.SUCCEEDED, *THROUGH]
    assert made.tried == [V2, V3]


def test_who_takes_a_revision_back_and_writes_it_again_has_it_tried_again() -> None:
    made = until(world(), 20)
    assert made.write(V1) == [Phase.SUCCEEDED]
    assert made.status.message == "ended: what serves was written again"
    assert made.write(V2) == THROUGH


def test_a_workload_that_comes_back_is_tried_as_if_it_had_not_been_away() -> None:
    made = until(world(), 20)
    assert made.write("") == [Phase.SUCCEEDED]
    assert made.primary == V1
    assert made.write(V2) == THROUGH


def test_waiting_for_traffic_is_no_failed_check_and_has_an_end() -> None:
    made = until(world(), 20)
    made.metric = says(Finding.WAITING, "waiting for traffic: 12 of 100 requests")
    made.passed(PATIENCE)
    assert (made.status.weight, made.status.failed_checks) == (20, 0)
    assert made.status.message == "waiting for traffic: 12 of 100 requests"
    made.metric = says(Finding.PASSED, "good")
    made.passed(INTERVAL)
    assert made.status.weight == 50
    made.metric = says(Finding.WAITING, "waiting for traffic: 3 of 100 requests")
    made.passed(PATIENCE)
    assert made.status.weight == 50
    made.passed(INTERVAL)
    assert made.status.phase is Phase.FAILED
    assert made.told[-1] == "rolled back: waiting for traffic: 3 of 100 requests, after 60 s"


def test_traffic_is_not_waited_for_while_it_is_paused() -> None:
    made = until(world(), 20)
    made.metric = says(Finding.WAITING, "waiting for traffic: 12 of 100 requests")
    made.passed(INTERVAL)
    made.happened(Command.PAUSE)
    made.passed(10 * PATIENCE)
    made.happened(Command.RESUME)
    made.passed(PATIENCE)
    assert (made.status.phase, made.status.weight) == (Phase.PROGRESSING, 20)


def test_the_end_of_waiting_for_traffic_comes_at_its_time() -> None:
    made = until(world(canary(traffic_deadline=INTERVAL / 2)), 20)
    made.metric = says(Finding.WAITING, "waiting for traffic: 0 of 1 requests")
    made.passed(INTERVAL)
    assert made.status.due == made.now + INTERVAL / 2


def test_tallies_are_kept_for_the_next_look() -> None:
    made = until(world(), 20)
    tally = Tally(metric=METRIC.name, canary=3, until=NOW)
    made.metric = lambda name: Verdict(metric=name, finding=Finding.FAILED, text="", tally=tally)
    made.passed(INTERVAL)
    assert made.status.tallies == (tally,)
    made.metric = says(Finding.UNKNOWN, "nobody answers")
    made.passed(INTERVAL)
    assert made.status.tallies == (tally,)


def test_what_pauses_is_held_and_goes_on_after_a_whole_interval() -> None:
    made = until(world(), 20)
    made.metric = says(Finding.FAILED, "bad")
    made.happened(Command.PAUSE)
    made.passed(100 * INTERVAL)
    assert (made.status.weight, made.looks, made.status.message) == (20, 0, "paused by a user")
    made.metric = says(Finding.PASSED, "good")
    made.happened(Command.RESUME)
    made.passed(INTERVAL - 1)
    assert (made.status.weight, made.looks) == (20, 0)
    made.passed(1)
    assert (made.status.weight, made.looks) == (50, 1)


def test_what_is_suspended_is_held_and_goes_on_after_a_whole_interval() -> None:
    made = until(world(), 20)
    made.canary = replace(STEPS, suspend=True)
    made.happened()
    made.passed(100 * INTERVAL)
    assert (made.status.weight, made.looks) == (20, 0)
    made.canary = STEPS
    made.happened()
    assert made.status.due == made.now + INTERVAL
    assert made.rolls() == THROUGH[1:]


def test_replicas_that_come_and_go_make_no_steps_faster() -> None:
    made = until(world(), 20)
    for _ in range(5):
        made.passed(INTERVAL / 5)
        made.trying = HALF
        made.happened()
        made.trying = READY
        made.happened()
    assert (made.looks, made.status.weight) == (0, 20)


def test_a_version_that_loses_replicas_has_its_time_to_get_them_back() -> None:
    made = until(world(), 20)
    made.passed(INTERVAL - 1)
    made.trying = HALF
    made.happened()
    lost = made.now
    made.passed(DEADLINE - 1)
    assert (made.status.weight, made.looks) == (20, 0)
    made.passed(1)
    assert made.status.phase is Phase.FAILED
    assert made.status.since == lost + DEADLINE
    assert made.told[-1] == (
        "rolled back: not ready within 600 s: 1 of 2 replicas of the new version are ready"
    )


def test_a_crash_under_traffic_is_rolled_back_at_once_and_says_why() -> None:
    made = until(world(), 20)
    made.trying = CRASHED
    made.happened()
    assert (made.status.phase, made.candidate) == (Phase.FAILED, "")
    assert made.told[-1] == (
        "rolled back: 0 of 2 replicas of the new version are ready: exited with status 1"
    )


def gated(*types: HookType, **changes: Any) -> Canary:
    return canary(webhooks=tuple(hook(type_, f"{type_}") for type_ in types), **changes)


def test_gates_are_passed_in_their_order() -> None:
    made = world(
        gated(HookType.CONFIRM_ROLLOUT, HookType.CONFIRM_TRAFFIC_INCREASE, HookType.CONFIRM_PROMOTION)
    )
    asked: list[tuple[str, int]] = []

    def ask(name: str) -> Answer:
        asked.append((name, made.status.weight))
        return Answer(agreed=True)

    made.hook = ask
    assert made.write(V2) == [Phase.WAITING, *THROUGH]
    assert asked == [
        ("confirm-rollout", 0),
        ("confirm-traffic-increase", 0),
        ("confirm-traffic-increase", 20),
        ("confirm-promotion", 50),
    ]


@pytest.mark.parametrize(
    ("type_", "weight", "phase"),
    [
        (HookType.CONFIRM_ROLLOUT, 0, Phase.WAITING),
        (HookType.CONFIRM_TRAFFIC_INCREASE, 0, Phase.PROGRESSING),
        (HookType.CONFIRM_PROMOTION, 50, Phase.WAITING_PROMOTION),
    ],
)
@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1/"], ids=["by hand", "by a service"])
def test_a_user_opens_a_gate_once(type_: HookType, weight: int, phase: Phase, url: str) -> None:
    made = world(canary(webhooks=(hook(type_, "chef", url=url),)), hook=lambda _: Answer(agreed=False))
    made.written = V2
    made.happened()
    for _ in range(5):
        made.passed(INTERVAL)
    assert (made.status.phase, made.status.weight, made.status.gate) == (phase, weight, type_)
    assert [text for text in made.told if text.startswith("waits at")] == [made.status.message]
    made.happened(Command.APPROVE)
    if type_ is HookType.CONFIRM_TRAFFIC_INCREASE:
        assert made.status.weight == 20
        made.passed(5 * INTERVAL)
        assert (made.status.weight, made.status.gate) == (20, type_)
    else:
        made.rolls()
        assert made.status.phase is Phase.SUCCEEDED
    assert made.status.opened is None


def test_an_approval_is_for_the_revision_that_it_was_given_to() -> None:
    made = world(canary(webhooks=(hook(HookType.CONFIRM_ROLLOUT, "chef", url=""),)))
    made.written = V2
    made.happened()
    made.happened(Command.PAUSE)
    made.happened(Command.APPROVE)
    made.written = V3
    made.happened()
    made.happened(Command.RESUME)
    made.passed(5 * INTERVAL)
    assert (made.status.phase, made.status.opened, made.tried) == (Phase.WAITING, None, [])


def test_what_goes_bad_at_a_gate_is_rolled_back() -> None:
    made = until(world(canary(webhooks=(hook(HookType.CONFIRM_PROMOTION, "chef", url=""),))), 50)
    made.passed(INTERVAL)
    assert made.status.message == "waits at confirm-promotion: chef is for a user to approve"
    made.metric = says(Finding.FAILED, "bad")
    made.passed(INTERVAL)
    assert (made.status.phase, made.status.gate) == (Phase.WAITING_PROMOTION, None)
    made.passed(2 * INTERVAL)
    assert made.status.phase is Phase.FAILED


def test_a_quiet_night_at_a_gate_ends_nothing() -> None:
    made = until(world(canary(webhooks=(hook(HookType.CONFIRM_PROMOTION, "chef", url=""),))), 50)
    made.passed(INTERVAL)
    made.metric = says(Finding.WAITING, "waiting for traffic: 0 of 1 requests")
    made.passed(10 * PATIENCE)
    assert made.rolls(Command.APPROVE) == THROUGH[1:]


@pytest.mark.parametrize("weight", [0, 20])
def test_a_user_can_have_it_promoted_at_once(weight: int) -> None:
    made = world(gated(HookType.CONFIRM_TRAFFIC_INCREASE, HookType.CONFIRM_PROMOTION))
    made.trying = READY if weight else STARTING
    until(made, weight)
    made.hook = lambda _: Answer(agreed=False)
    made.happened(Command.PROMOTE)
    made.trying = READY
    made.rolls()
    assert made.phases[-3:] == THROUGH[1:]
    assert (made.looks, made.primary) == (0, V2)


def test_a_canary_without_analysis_promotes_at_once() -> None:
    made = world(
        gated(HookType.CONFIRM_ROLLOUT, HookType.PRE_ROLLOUT, HookType.CONFIRM_PROMOTION, skip_analysis=True)
    )
    assert made.write(V2) == THROUGH[1:]
    assert (made.tried, made.primary, made.weights) == ([], V2, [])


@pytest.mark.parametrize("good", [True, False])
def test_post_rollout_webhooks_hear_of_every_end(good: bool) -> None:  # noqa: FBT001
    made = world(gated(HookType.POST_ROLLOUT, threshold=1))
    made.metric = says(Finding.PASSED if good else Finding.FAILED, "so it is")
    made.write(V2)
    assert made.status.phase is (Phase.SUCCEEDED if good else Phase.FAILED)
    assert made.called == ["post-rollout"]


def test_a_canary_that_is_deleted_during_a_run_leaves_no_traffic() -> None:
    made = until(world(), 50)
    made.deleted = True
    assert made.rolls() == [Phase.TERMINATED]
    assert (made.candidate, made.primary) == ("", V1)


def test_a_canary_that_reverts_leaves_what_is_written() -> None:
    made = until(world(canary(revert_on_deletion=True)), 50)
    made.deleted = True
    made.happened()
    assert (made.phases[-2:], made.candidate, made.primary) == ([Phase.TERMINATING, Phase.TERMINATED], "", V2)


def test_a_first_version_that_never_is_ready_can_be_replaced() -> None:
    made = World(canary=STEPS, serving=Replicas(wanted=1, trouble="exited with status 1"))
    made.happened()
    made.passed(10 * DEADLINE)
    assert made.status.phase is Phase.INITIALIZING
    made.written = V2
    made.happened()
    made.serving = READY
    assert made.rolls() == [Phase.INITIALIZED]
    assert (made.primary, made.tried) == (V2, [])
