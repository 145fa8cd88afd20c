"""What is remembered of rollouts, and what versions run by it."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from plait.model.catalog import Protocol, WorkloadPort
from plait.model.finding import Severity
from plait.model.rollout import Affinity, AlertSeverity, Analysis, HookType, Shift
from plait.rollout.status import Command, Effect, Finding, Phase, Status, Step, Tally, Told, Verdict
from plait.run.rollouts import kept
from plait.run.rollouts.kept import FORGOTTEN, MOST_EVENTS, MOST_UNTOLD, News, Rollout
from tests.run.rollouts.scene import canary, workload

CANARY = canary()
V1, V2, V3 = workload("v1"), workload("v2"), workload("v3")
ROLLOUT = Rollout(canary=CANARY.key, target=CANARY.target)
TOLD = Told(severity=AlertSeverity.WARN, text="10 % of the traffic", alert=True)
FULL = replace(
    ROLLOUT,
    revert=True,
    status=Status(
        phase=Phase.WAITING_PROMOTION,
        weight=50,
        promoted="a",
        applied="b",
        opened=HookType.CONFIRM_PROMOTION,
        verdicts=(Verdict(metric="m", finding=Finding.WAITING, text="12 of 100", value=1.5),),
        tallies=(Tally(metric="m", canary=3, evidence=(-1.25, 3.0)),),
    ),
    primary=replace(V1, labels=(("app", "tables"),)),
    candidate=V2,
    cookie="abc",
    commands=(Command.APPROVE, Command.PAUSE),
    untold=(News(status=Status(weight=3), told=(TOLD,), hooks=("after",)),),
).told([TOLD], 12.5)


def test_what_is_kept_is_found_again_and_is_for_nobody_else(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.json"
    assert kept.load(path) == ((), ())
    both = (FULL, ROLLOUT)
    kept.save(path, map(kept.line, both))
    assert kept.load(path) == (both, ())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", [b'{"canary": {', b"[]", b'{"canary": 1}', b"\xff\xfe"])
def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "rollouts.json"
    path.touch(0o600)
    path.write_bytes(damage)
    found, (finding,) = kept.load(path)
    assert found == ()
    assert (finding.severity, finding.code) == (Severity.ERROR, FORGOTTEN)
    assert [one.name for one in tmp_path.iterdir()] == ["rollouts.json.damaged"]
    assert (tmp_path / "rollouts.json.damaged").read_bytes() == damage
    kept.save(path, [kept.line(FULL)])
    assert kept.load(path)[0] == (FULL,)


def test_a_file_that_others_may_write_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.json"
    kept.save(path, [kept.line(FULL)])
    path.chmod(0o666)
    assert kept.load(path)[0] == ()


def test_of_the_history_the_latest_is_kept() -> None:
    rollout = ROLLOUT
    for number in range(MOST_EVENTS + 7):
        rollout = rollout.told([replace(TOLD, text=str(number))], number)
    assert [one.told.text for one in rollout.history] == [str(n) for n in range(7, MOST_EVENTS + 7)]


def test_of_what_is_to_be_told_the_latest_waits_and_what_says_nothing_does_not() -> None:
    rollout = ROLLOUT
    for number in range(MOST_UNTOLD + 3):
        told = replace(TOLD, text=str(number))
        rollout = kept.stepped(rollout, CANARY, Step(status=Status(), told=(told,)), V1, 1.0)
        rollout = kept.stepped(rollout, CANARY, Step(status=Status(weight=1)), V1, 1.0)
    assert [one.told[0].text for one in rollout.untold] == [str(n) for n in range(3, MOST_UNTOLD + 3)]


@pytest.mark.parametrize(
    ("effects", "before", "after"),
    [
        ((), (V1, V2), (V1, V2)),
        ((Effect.ADOPT,), (None, None), (V3, None)),
        ((Effect.TRY,), (V1, None), (V1, V3)),
        ((Effect.PROMOTE,), (V1, V2), (V2, V2)),
        ((Effect.PROMOTE,), (V1, None), (V3, None)),
        ((Effect.END_TRIAL,), (V1, V2), (V1, None)),
        ((Effect.END_TRIAL, Effect.TRY), (V1, V2), (V1, V3)),
        ((Effect.END_TRIAL, Effect.ADOPT), (V1, V2), (V3, None)),
        ((Effect.PROMOTE, Effect.END_TRIAL), (V1, V2), (V2, None)),
    ],
)
def test_effects_say_which_versions_run_and_twice_is_as_once(
    effects: tuple[Effect, ...], before: tuple[object, ...], after: tuple[object, ...]
) -> None:
    rollout = replace(ROLLOUT, primary=before[0], candidate=before[1])  # type: ignore[arg-type]
    done = Step(status=Status(phase=Phase.PROGRESSING), effects=effects)
    once = kept.stepped(rollout, CANARY, done, V3, 1.0)
    assert (once.primary, once.candidate, once.status) == (*after, done.status)
    if effects != (Effect.PROMOTE, Effect.END_TRIAL):
        assert kept.stepped(once, CANARY, done, V3, 1.0) == once


def test_a_target_that_is_gone_takes_nothing_from_what_serves() -> None:
    rollout = replace(ROLLOUT, primary=V1)
    done = Step(status=Status(), effects=(Effect.ADOPT,))
    assert kept.stepped(rollout, CANARY, done, None, 1.0).primary == V1


def test_labels_and_ports_follow_what_is_written_in_the_version_that_is_written_alone() -> None:
    port = WorkloadPort(name="http", number=80, protocol=Protocol.HTTP)
    labelled = replace(V2, labels=(("app", "other"),), process=replace(V2.process, ports=(port,)))
    rollout = replace(ROLLOUT, primary=V1, candidate=V2)
    assert kept.followed(rollout, labelled) == replace(rollout, candidate=labelled)
    assert kept.followed(replace(rollout, primary=V2), labelled).primary == labelled
    assert kept.followed(rollout, V3) is rollout
    assert kept.followed(rollout, replace(V2)) is rollout
    assert kept.followed(rollout, None) is rollout


def test_while_nobody_looked_no_deadline_ran() -> None:
    status = Status(phase=Phase.PROGRESSING, weight=10, progressed=5.0, starved=6.0, due=7.0, since=4.0)
    running = replace(ROLLOUT, status=status)
    assert kept.resumed(running, 100.0).status == replace(status, progressed=100.0, starved=100.0)
    enough = replace(status, starved=0.0)
    assert kept.resumed(replace(ROLLOUT, status=enough), 100.0).status.starved == 0
    ended = replace(ROLLOUT, status=replace(status, phase=Phase.FAILED))
    assert kept.resumed(ended, 100.0) is ended


def test_shifts_follow_from_what_is_kept_and_send_nothing_to_what_does_not_run() -> None:
    assert kept.shift(ROLLOUT) is None
    status = Status(weight=30, mirrored=20, matched=True)
    running = replace(ROLLOUT, primary=V1, candidate=V2, status=status, cookie="abc")
    assert kept.shift(running) == Shift(
        primary=V1, candidate=V2, weight=30, mirrored=20, matched=True, cookie="abc"
    )
    assert kept.shift(replace(running, candidate=None)) == Shift(primary=V1)


def test_a_cookie_is_of_one_run_and_only_where_the_canary_asks_for_it_and_somebody_is_sent() -> None:
    sticky = canary(analysis=Analysis(steps=(10,), affinity=Affinity(cookie="c")))
    rollout = replace(ROLLOUT, primary=V1, candidate=V2)

    def cookie(by: object, **status: object) -> str:
        done = Step(status=Status(**status))  # type: ignore[arg-type]
        return kept.stepped(rollout, by, done, V2, 1.0).cookie  # type: ignore[arg-type]

    first = cookie(sticky, weight=10, applied="b", run=1)
    assert first
    assert first == cookie(sticky, weight=50, applied="b", run=1)
    assert (
        len(
            {
                first,
                cookie(sticky, weight=10, applied="b", run=2),
                cookie(sticky, weight=10, applied="c", run=1),
            }
        )
        == 3
    )
    assert cookie(sticky, weight=0, applied="b", run=1) == ""
    assert cookie(CANARY, weight=10, applied="b", run=1) == ""
