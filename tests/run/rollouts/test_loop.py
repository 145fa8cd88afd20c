"""Rollouts are run: in which order things are kept, asked and done, and what a kill at any instant changes (nothing)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plait.api.targets import NotFound
from plait.model.names import WorkloadKey
from plait.model.rollout import Analysis, HookType, Plans
from plait.rollout.status import Answer, Command, Finding, Phase, Seen, Step, Verdict
from plait.run.rollouts import kept
from plait.run.rollouts import loop as module
from plait.run.rollouts.kept import FORGOTTEN, Rollout
from tests.run.rollouts.scene import (
    Rules,
    Scene,
    canary,
    changes,
    hook,
    metric,
    rev,
    running,
    until,
    workload,
)

KEY = WorkloadKey("bistro", "tables")
LOOKS = Analysis(steps=(10, 50), webhooks=(hook("gate"),), metrics=(metric("m"),))
V1, V2, V3 = workload("v1"), workload("v2"), workload("v3")


@pytest.fixture(autouse=True)
def rules(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("needs", "step", "refused"):
        monkeypatch.setattr(module, name, getattr(Rules, name))
    monkeypatch.setattr(module, "_BREATH", 0.0)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with running(tmp_path / "rollouts.json") as one:
        yield one


async def initialized(scene: Scene, **more: Any) -> None:
    scene.state(canary(**more))
    scene.write(V1)
    await until(lambda: scene.phase() == "Initialized", "the first version to be adopted")


async def ended(scene: Scene) -> None:
    """Wait for the end of a run, and for the mesh to be compiled after it."""

    def so() -> bool:
        shifts = scene.rollouts.shifts()
        return (
            scene.phase() in {"Succeeded", "Failed"}
            and shifts[KEY].candidate is None
            and scene.in_force[-1] == shifts
        )

    await until(so, "an end")


async def test_a_new_version_takes_over_step_by_step(scene: Scene) -> None:
    published = scene.events.subscribe()
    await initialized(scene, analysis=LOOKS)
    assert scene.serving() == {"primary": "v1"}
    scene.write(V2)
    await ended(scene)
    published.close()
    assert list(changes([one async for one in published])) == [
        "Initialized",
        "Progressing",
        "Promoting",
        "Succeeded",
    ]
    assert scene.weights() == [0, 10, 50, 0]
    assert scene.serving() == {"primary": "v2"}
    assert scene.told() == ["initialized", "begun", "10 %", "50 %", "promoting", "succeeded"]
    await until(lambda: len(scene.others.heard) == 6, "all to be told")
    assert scene.others.heard == scene.told()
    assert scene.others.alerted == ["begun", "succeeded"]


async def test_a_bad_look_takes_the_traffic_back(scene: Scene) -> None:
    await initialized(scene, analysis=LOOKS)
    scene.others.verdicts["m"] = Verdict(
        metric="m", finding=Finding.FAILED, text="93 % is under 99 %", value=93.0
    )
    scene.write(V2)
    await ended(scene)
    assert scene.serving() == {"primary": "v1"}
    assert scene.weights() == [0]
    (view,) = scene.rollouts.views()
    assert (view.phase, view.message, view.promoted, view.applied) == (
        "Failed",
        "93 % is under 99 %",
        rev("v1"),
        rev("v2"),
    )
    assert [(one.metric, one.finding, one.text, one.value) for one in view.checks] == [
        ("m", "failed", "93 % is under 99 %", 93.0)
    ]


async def test_every_state_is_on_the_disk_before_anything_follows_from_it(scene: Scene) -> None:
    on_disk = []

    def look() -> None:
        (rollout,) = kept.load(scene.path)[0]
        on_disk.append(kept.shift(rollout) == scene.rollouts.shifts()[KEY])

    scene.touched = look
    await initialized(scene)
    scene.write(V2)
    await ended(scene)
    assert len(on_disk) >= 5
    assert all(on_disk)


async def test_what_is_promoted_is_kept_with_the_phase_that_says_so(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[Rollout] = []
    save = kept.save

    def save_too(path: Path, lines: Iterable[bytes]) -> None:
        save(path, lines)
        saved.extend(kept.load(path)[0])

    monkeypatch.setattr(kept, "save", save_too)
    await initialized(scene)
    scene.write(V2)
    await ended(scene)
    for rollout in saved:
        assert rollout.primary is not None
        assert rollout.status.promoted == rev(*rollout.primary.process.command)
        if rollout.status.phase is Phase.PROGRESSING:
            assert rollout.candidate == V2


async def test_from_whatever_was_ever_kept_the_end_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill at any instant leaves one of the files that were written."""
    files: list[Path] = []
    save = kept.save

    def saved(path: Path, lines: Iterable[bytes]) -> None:
        save(path, lines)
        if path.parent == tmp_path:
            files.append(tmp_path / f"state-{len(files)}")
            shutil.copy(path, files[-1])

    monkeypatch.setattr(kept, "save", saved)
    async with running(tmp_path / "rollouts.json") as scene:
        await initialized(scene, analysis=LOOKS)
        scene.write(V2)
        await ended(scene)
        told, serving = scene.told(), scene.serving()
    assert len(files) >= 6
    for number, file in enumerate(files):
        folder = tmp_path / f"again-{number}"
        folder.mkdir()
        shutil.copy(file, folder / "rollouts.json")
        async with running(folder / "rollouts.json") as again:
            before = again.rollouts.shifts()
            again.stated, again.written = {"tables": canary(analysis=LOOKS)}, {"tables": V2}
            again.compile()
            assert again.in_force == [before]
            await ended(again)
            assert (again.told(), again.serving()) == (told, serving), file
            await until(lambda again=again: not again.rollouts._known(KEY).rollout.untold, "all to be told")  # type: ignore[misc]
            ((left,), _) = kept.load(file)
            heard = told[: len(left.history) - sum(len(news.told) for news in left.untold)]
            assert [*heard, *again.others.heard] == told, file


async def test_no_step_is_taken_before_what_the_last_one_led_to_is_compiled(scene: Scene) -> None:
    await initialized(scene)
    scene.compiling = False
    scene.write(V2)
    await until(lambda: scene.phase() == "Progressing", "the run to begin")
    for _ in range(20):
        scene.rollouts.replica_changed(KEY)
        await asyncio.sleep(0.002)
    assert scene.status().weight == 0
    scene.compile()
    await until(lambda: scene.status().weight == 10, "the first weight")
    await asyncio.sleep(0.02)
    assert scene.status().weight == 10


async def test_replicas_that_get_ready_are_looked_at_at_once(scene: Scene) -> None:
    await initialized(scene)
    scene.ready = False
    scene.write(V2)
    await until(lambda: scene.phase() == "Progressing", "the run to begin")
    await asyncio.sleep(0.1)
    assert scene.status().weight == 0
    scene.ready = True
    scene.rollouts.replica_changed(WorkloadKey("bistro", "tables-canary"))
    await ended(scene)
    assert scene.serving() == {"primary": "v2"}


@pytest.mark.parametrize(("name", "woken"), [("tables", True), ("tables-canary", True), ("others", False)])
async def test_who_is_woken_by_replicas(scene: Scene, name: str, *, woken: bool) -> None:
    await initialized(scene)
    news = scene.rollouts._known(KEY).news
    news.clear()
    scene.rollouts.replica_changed(WorkloadKey("bistro", name))
    assert news.is_set() is woken


async def test_a_slow_webhook_holds_up_nobody_else(scene: Scene) -> None:
    scene.others.held["gate"] = asyncio.Event()
    scene.state(canary(analysis=LOOKS), canary("other", "other"))
    scene.write(V1, workload("v1", name="other"))
    await until(lambda: {scene.phase(), scene.phase("other")} == {"Initialized"}, "both to be adopted")
    scene.write(V2, workload("v2", name="other"))
    await until(lambda: scene.phase("other") == "Succeeded", "the other to end")
    assert scene.phase() == "Progressing"
    scene.others.held["gate"].set()
    await ended(scene)
    assert scene.phase() == "Succeeded"


async def asked(scene: Scene) -> None:
    """A run whose gate has been asked and does not answer."""
    await initialized(scene, analysis=LOOKS)
    scene.others.held["gate"] = asyncio.Event()
    scene.write(V2)
    await until(lambda: "gate" in scene.others.asked, "the gate to be asked")


async def test_who_was_asked_about_another_revision_is_asked_no_more(scene: Scene) -> None:
    await asked(scene)
    scene.write(V3)
    await until(lambda: scene.others.cancelled == ["gate"], "the question to be taken back")
    scene.others.held["gate"].set()
    await ended(scene)
    assert scene.serving() == {"primary": "v3"}
    assert scene.told().count("begun anew") == 1


async def test_who_was_asked_by_another_plan_is_asked_anew(scene: Scene) -> None:
    await asked(scene)
    scene.state(canary(analysis=replace(LOOKS, steps=(20,))))
    await until(lambda: scene.others.asked.count("gate") == 2, "the gate to be asked again")
    assert scene.others.cancelled == ["gate"]
    scene.others.held["gate"].set()
    await ended(scene)
    assert scene.weights() == [0, 20, 0]


async def test_replicas_that_change_take_no_question_back(scene: Scene) -> None:
    await asked(scene)
    for _ in range(10):
        scene.rollouts.replica_changed(KEY)
        await asyncio.sleep(0.002)
    assert scene.others.asked.count("gate") == 1
    scene.others.held["gate"].set()
    await ended(scene)
    assert scene.others.cancelled == []


async def test_an_abort_waits_for_no_webhook(scene: Scene) -> None:
    await asked(scene)
    await scene.rollouts.command(KEY, Command.ABORT)
    await ended(scene)
    assert scene.status().message == "aborted by a user"
    assert scene.others.cancelled == ["gate"]


async def test_commands_that_make_no_sense_are_refused(scene: Scene) -> None:
    await initialized(scene)
    with pytest.raises(NotFound, match="there is no Canary bistro/nobody"):
        await scene.rollouts.command(WorkloadKey("bistro", "nobody"), Command.ABORT)
    with pytest.raises(NotFound):
        scene.rollouts.history(WorkloadKey("bistro", "nobody"))
    with pytest.raises(ValueError, match="there is nothing to abort"):
        await scene.rollouts.command(KEY, Command.ABORT)


async def test_a_command_that_was_taken_outlives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.json"
    async with running(path) as scene:
        await asked(scene)
        scene.compiling = False
        scene.rollouts._in_force = {}  # so that no step is taken any more
        await scene.rollouts.command(KEY, Command.ABORT)
        assert scene.phase() == "Progressing"
    async with running(path) as again:
        again.stated, again.written = {"tables": canary(analysis=LOOKS)}, {"tables": V2}
        again.compile()
        await ended(again)
        assert again.status().message == "aborted by a user"


async def test_a_run_that_is_taken_up_has_its_deadlines_anew(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.json"
    async with running(path) as scene:
        await asked(scene)
    (rollout,), _ = kept.load(path)
    waited = replace(rollout, status=replace(rollout.status, progressed=1.0, starved=2.0))
    kept.save(path, [kept.line(waited)])
    async with running(path) as again:
        assert (again.status().progressed, again.status().starved) == (again.now, again.now)


async def test_a_mesh_that_is_being_stopped_is_left_as_it_is(scene: Scene) -> None:
    await asked(scene)
    before = scene.path.read_bytes()
    scene.rollouts.stop()
    await until(lambda: scene.others.cancelled == ["gate"], "the question to be taken back")
    scene.write(V3)
    await asyncio.sleep(0.02)
    assert scene.path.read_bytes() == before
    with pytest.raises(ValueError, match="stopped"):
        await scene.rollouts.command(KEY, Command.ABORT)


async def test_while_nothing_is_due_nothing_is_looked_at(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Seen] = []

    def counted(*arguments: Any) -> Step:
        steps.append(arguments[2])
        return Rules.step(*arguments)

    monkeypatch.setattr(module, "step", counted)
    await initialized(scene)
    await until(lambda: scene.others.heard == ["initialized"], "all to be told")
    await asyncio.sleep(0.3)
    before = len(steps)
    await asyncio.sleep(0.3)
    assert len(steps) == before


async def test_what_is_due_is_looked_at_then(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def later(canary_: Any, status: Any, seen: Any, now: float) -> Step:
        found = Rules.step(canary_, status, seen, now)
        if status.phase is Phase.PROGRESSING and now < status.due:
            return Step(status=status)
        return replace(found, status=replace(found.status, due=now + 0.02))

    monkeypatch.setattr(module, "step", later)
    clock = asyncio.get_running_loop().time
    scene.rollouts._clock = clock
    await initialized(scene)
    scene.write(V2)
    await ended(scene)
    assert scene.weights() == [0, 10, 50, 0]


async def test_a_run_is_looked_at_in_every_interval_whatever_it_says_is_due(scene: Scene) -> None:
    await initialized(scene, analysis=Analysis(interval=0.02, steps=(10,)))
    scene.ready = False
    scene.write(V2)
    await until(lambda: scene.phase() == "Progressing", "the run to begin")
    scene.ready = True  # and nobody says so
    await ended(scene)


async def test_a_mistake_of_ours_stops_one_rollout_alone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    broken = True

    def step(canary_: Any, *more: Any) -> Step:
        if broken and canary_.name == "tables":
            raise RuntimeError("a mistake")
        return Rules.step(canary_, *more)

    monkeypatch.setattr(module, "step", step)
    scene.state(canary(), canary("other", "other"))
    scene.write(V1, workload("v1", name="other"))
    await until(lambda: scene.phase("other") == "Initialized", "the other to be adopted")
    stopped = "the rollout of bistro/tables is stopped by a mistake"
    await until(lambda: stopped in caplog.text, "the mistake to be told")
    broken = False
    scene.write(V2)
    await until(lambda: scene.phase() == "Initialized", "it to go on")


async def test_a_disk_that_takes_nothing_holds_no_rollback_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await asked(scene)
    save = kept.save

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "save", full)
    scene.others.answers["gate"] = Answer(agreed=False, text="no")
    scene.others.held["gate"].set()
    await ended(scene)
    assert scene.status().message == "no"
    assert caplog.text.count("is not kept") == 1
    monkeypatch.setattr(kept, "save", save)
    scene.write(V3)
    scene.others.answers.clear()
    await until(lambda: scene.phase() == "Succeeded", "the next run")
    assert kept.load(scene.path)[0][0].status == scene.status()


async def test_a_canary_that_is_deleted_ends_its_trial_and_is_forgotten(scene: Scene) -> None:
    await asked(scene)
    published = scene.events.subscribe()
    del scene.stated["tables"]
    scene.compile()
    await until(lambda: scene.rollouts.views() == (), "it to be forgotten")
    published.close()
    assert list(changes([one async for one in published])) == ["Terminated"]
    assert scene.rollouts.shifts() == {}
    assert kept.load(scene.path)[0] == ()
    await until(lambda: scene.others.heard[-1:] == ["terminated"], "others to be told")
    scene.state(canary())
    await until(lambda: scene.phase() == "Initialized", "it to be there again")
    assert scene.serving() == {"primary": "v2"}


async def test_a_deletion_while_nobody_looked_is_seen_after_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rollouts.json"
    async with running(path) as scene:
        await asked(scene)
        scene.state(canary(analysis=LOOKS, revert_on_deletion=True))
        await scene.rollouts.command(KEY, Command.ABORT)
        await ended(scene)
    seen: list[bool] = []

    def step(canary_: Any, status: Any, now_seen: Seen, now: float) -> Step:
        seen.append(now_seen.deleted and canary_.revert_on_deletion)
        return Rules.step(canary_, status, now_seen, now)

    monkeypatch.setattr(module, "step", step)
    async with running(path) as again:
        again.compile()
        await until(lambda: again.rollouts.views() == (), "it to be forgotten")
    assert seen == [True]
    assert kept.load(path)[0] == ()


async def test_another_target_is_another_rollout(scene: Scene) -> None:
    await asked(scene)
    scene.state(canary(target="other"))
    scene.write(workload("v7", name="other"))
    await until(lambda: scene.phase() == "Initialized", "the other to be adopted")
    assert scene.serving() == {"primary": "v7"}
    assert scene.told() == ["initialized"]


async def test_of_two_canaries_for_one_target_or_host_the_first_holds(scene: Scene) -> None:
    scene.state(canary(), canary("again"), replace(canary("host", "other"), service="tables"))
    scene.write(V1, workload("v1", name="other"))
    await until(lambda: scene.phase("again") == "Initialized", "the first to be adopted")
    assert [one.name for one in scene.rollouts.views()] == ["again"]


async def test_what_is_no_revision_is_followed_at_once_and_kept(scene: Scene) -> None:
    await initialized(scene)
    labelled = replace(V1, labels=(("app", "tables"),), replicas=3)
    scene.write(labelled)
    await until(lambda: scene.rollouts.shifts()[KEY].primary == labelled, "the labels to be there")
    assert kept.load(scene.path)[0][0].primary == labelled
    assert scene.phase() == "Initialized"


async def test_who_could_not_be_told_is_in_the_history(scene: Scene) -> None:
    scene.others.answers["after"] = Answer(agreed=False, text="HTTP 500")
    scene.others.deaf = ["nobody was told"]
    await initialized(scene, analysis=Analysis(steps=(10,), webhooks=(hook("after", HookType.POST_ROLLOUT),)))
    scene.write(V2)
    await ended(scene)
    await until(lambda: len(scene.told()) == 8, "the failures to be told")
    assert sorted(scene.told()[-2:]) == ["nobody was told", "post-rollout webhook after: HTTP 500"]
    assert scene.phase() == "Succeeded"


async def test_what_can_not_be_read_is_said_and_what_is_written_serves(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.json"
    path.touch(0o600)
    path.write_bytes(b"{")
    async with running(path) as scene:
        assert [one.code for one in scene.found] == [FORGOTTEN]
        await initialized(scene)
        assert scene.serving() == {"primary": "v1"}


async def test_a_hundred_rollouts_at_once(scene: Scene) -> None:
    names = [f"w{number}" for number in range(100)]

    def all_are(phase: str) -> bool:
        views = scene.rollouts.views()
        return len(views) == 100 and {one.phase for one in views} == {phase}

    scene.state(*(canary(name, name) for name in names))
    scene.write(*(workload("v1", name=name) for name in names))
    await until(lambda: all_are("Initialized"), "all to be adopted")
    scene.write(*(workload("v2", name=name) for name in names))
    await until(lambda: all_are("Succeeded"), "all to end")
    assert {scene.serving(name)["primary"] for name in names} == {"v2"}
    assert len(kept.load(scene.path)[0]) == 100


async def test_a_canary_that_comes_along_with_a_change_is_about_that_change(scene: Scene) -> None:
    plan = canary()
    plans = Plans(canaries=(plan,), targets={plan.key: V2})
    assert scene.rollouts.met(plans, {V1.key: V1})
    assert scene.rollouts.shifts()[plan.key].primary == V1
    assert not scene.rollouts.met(plans, {V1.key: V1}), "it is known by now"
    scene.write(V2)
    scene.state(plan)
    await ended(scene)
    assert scene.phase() == "Succeeded"
    assert scene.serving() == {"primary": "v2"}


async def test_what_serves_beside_such_a_canary_is_kept_before_any_step(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "step", lambda canary_, status, *_: Step(status=status))  # as if suspended
    plan = canary()
    assert scene.rollouts.met(Plans(canaries=(plan,), targets={plan.key: V2}), {V1.key: V1})
    scene.write(V2)
    scene.state(plan)
    path = tmp_path / "rollouts.json"
    await until(lambda: [one.primary for one in kept.load(path)[0]] == [V1], "it to be kept")


async def test_a_canary_whose_target_stays_as_it_is_begins_with_that(scene: Scene) -> None:
    plan = canary()
    assert not scene.rollouts.met(Plans(canaries=(plan,), targets={plan.key: V1}), {V1.key: V1})
