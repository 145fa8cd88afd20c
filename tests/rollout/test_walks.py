"""Whatever happens in whichever order: no traffic where none may be, no way back in time, and every run ends."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from plait.model.rollout import Canary, HookType
from plait.rollout.status import Answer, Command, Finding, Phase, Tally, Verdict
from tests.rollout.canaries import (
    AB,
    BACKWARDS,
    BLUE_GREEN,
    COPIED,
    CRASHED,
    HALF,
    INTERVAL,
    MIRRORED,
    READY,
    STARTING,
    STEPS,
    V1,
    V2,
    V3,
    hook,
)
from tests.rollout.states import CASES
from tests.rollout.world import IDLE, World, agreed, good

PLANS = {
    "steps": STEPS,
    "mirrored": MIRRORED,
    "A/B": AB,
    "blue-green": BLUE_GREEN,
    "copied": COPIED,
    "backwards": BACKWARDS,
}
EVENTS = 3_000
EDGES = {(case.status.phase, case.step.status.phase) for case in CASES}
"""From phase to phase, as docs/rollout-states.md says."""
HOOKS = tuple(hook(type_) for type_ in HookType)


def changed(plan: Canary, random: Random) -> Canary:
    """A Canary that has been written anew."""
    analysis = replace(
        plan.analysis,
        webhooks=tuple(one for one in HOOKS if random.random() < 0.3),
        threshold=random.randint(1, 3),
    )
    return replace(
        plan,
        analysis=analysis,
        suspend=random.random() < 0.1,
        skip_analysis=random.random() < 0.1,
        revert_on_deletion=random.random() < 0.5,
    )


def verdict(random: Random, name: str) -> Verdict:
    finding = random.choices(list(Finding), (40, 4, 2, 1, 1))[0]
    tally = Tally(metric=name, canary=random.randrange(100)) if random.random() < 0.5 else None
    return Verdict(metric=name, finding=finding, text=str(finding), tally=tally)


def answer(random: Random, name: str) -> Answer:
    chance = 0.02 if name == "rollback" else 0.5 if name.startswith("confirm") else 0.95
    return Answer(agreed=random.random() < chance)


def goes_on(world: World, plan: Canary, random: Random) -> None:
    """One thing happens, whatever it is."""
    command = None
    match random.choices(range(7), (80, 3, 3, 3, 3, 4, 3))[0]:
        case 0:
            world.now += random.choice((0.0, 1.0, INTERVAL, INTERVAL, INTERVAL, 100.0))
            if world.status.phase in IDLE:
                world.written, world.trying, world.serving = random.choice((V1, V2, V3)), READY, READY
        case 1:
            world.now += random.choice((-100_000.0, -1.0, 100_000.0))
        case 2:
            world.written = random.choice((V1, V2, V3, V3, ""))
        case 3:
            world.trying = random.choice((READY, READY, HALF, STARTING, CRASHED))
        case 4:
            world.serving = random.choice((READY, READY, HALF, STARTING))
        case 5:
            command = random.choice(list(Command))
        case _:
            world.canary = changed(plan, random)
            world.deleted = random.random() < 0.1
    world.happened(command)


@pytest.mark.parametrize("name", PLANS)
def test_a_walk_keeps_to_the_edges_and_sends_nobody_astray(name: str) -> None:
    random, plan = Random(name), PLANS[name]
    world = World(canary=plan)
    world.metric = lambda metric: verdict(random, metric)
    world.hook = lambda hook_: answer(random, hook_)
    for _ in range(EVENTS):
        goes_on(world, plan, random)
    walked = [Phase.INITIALIZING, *world.phases]
    assert set(pairwise(walked)) <= EDGES
    assert set(walked) == set(Phase)


@pytest.mark.parametrize("name", PLANS)
def test_every_run_ends_once_all_is_well(name: str) -> None:
    for seed in range(200):
        random, plan = Random(f"{name} {seed}"), PLANS[name]
        world = World(canary=plan)
        world.metric = lambda metric, random=random: verdict(random, metric)  # type: ignore[misc]
        world.hook = lambda hook_, random=random: answer(random, hook_)  # type: ignore[misc]
        for _ in range(random.randrange(60)):
            goes_on(world, plan, random)
        world.canary, world.deleted = replace(plan, analysis=replace(plan.analysis, webhooks=HOOKS)), False
        world.metric, world.hook, world.serving, world.trying = good, agreed, READY, READY
        world.written = V2
        world.rolls(Command.RESUME)
        assert world.status.phase in IDLE
        assert world.written in {world.status.promoted, world.status.applied}
        assert world.status.phase is Phase.FAILED or world.primary == world.written
