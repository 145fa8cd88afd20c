"""Releases that shift by evidence and undo themselves: a real mesh under traffic, in which versions come that are good or bad."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
from collections.abc import Callable, Mapping
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.mesh import Load, until
from tests.e2e.rolling import (
    DURATION,
    RATE,
    SUCCESS,
    Rolling,
    answered,
    crashing,
    deaf,
    leaking,
    rolling,
    serving,
)

pytestmark = pytest.mark.timeout(300)

STEPS = (10, 40, 80)
ANALYSIS: Mapping[str, Any] = {
    "interval": "2s",
    "threshold": 2,
    "stepWeights": list(STEPS),
    "metrics": [SUCCESS],
    "trafficDeadlineSeconds": 120,
}
PATIENT: Mapping[str, Any] = {
    **ANALYSIS,
    "metrics": [{**SUCCESS, "minRequests": 20}],
    "trafficDeadlineSeconds": 900,
}
"""For a control plane that does not live long enough to hear of much."""
UNREADY = {"progressDeadlineSeconds": 8}
ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: tables, namespace: bistro}
spec:
  hosts: [tables]
  http:
    - match: [{headers: {x-user: {exact: tester}}}]
      headers: {response: {add: {x-rule: testers}}}
      route: [{destination: {host: tables}}]
    - timeout: 5s
      route: [{destination: {host: tables}}]
"""


@pytest.mark.prove  # docs/tasks/canary.md is its short form
async def test_a_good_version_takes_over_in_steps_and_no_request_fails(tmp_path: Path) -> None:
    async with rolling(tmp_path, ANALYSIS, documents=[ROUTE]) as (one, load):
        assert await answered(load) == {"v1": pytest.approx(2 * RATE, abs=RATE)}
        one.version(serving("v2"))
        last = await one.ended("Succeeded", runs=1)
        await one.alone()
        assert set(await answered(load)) == {"v2"}
        assert not load.failures, one.mesh.told()
        assert await one.phases() == [
            "Initializing",
            "Initialized",
            "Progressing",
            "Promoting",
            "Finalising",
            "Succeeded",
        ]
        assert await one.weights() == [0, *STEPS, 0]
        assert last["promoted"] == last["applied"]
        assert await one.names() == {"client", "tables"}


@pytest.mark.parametrize(
    ("bad", "metric", "reason", "share"),
    [
        pytest.param(
            serving("v2", FAIL_PERCENT="5"),
            SUCCESS,
            r"request-success-rate 9\d(\.\d+)? % is under 99 %",
            0.05,
            marks=pytest.mark.prove,
            id="5 % fail",
        ),
        pytest.param(
            serving("v2", SLOW_MS="300"),
            DURATION,
            r"request-duration \d+(\.\d+)? ms is over 280 ms",
            0.0,
            marks=pytest.mark.prove,
            id="300 ms slower",
        ),
        pytest.param(
            leaking("v2", RATE * 5 // 8),
            SUCCESS,
            r"request-success-rate \d+(\.\d+)? % is under 99 %",
            0.5,
            marks=pytest.mark.prove,
            id="fails above half",
        ),
    ],
)
async def test_a_version_that_serves_badly_is_rolled_back_for_that_reason(
    tmp_path: Path, bad: dict[str, Any], metric: Mapping[str, Any], reason: str, share: float
) -> None:
    """No more than the step's share is hurt, and nobody once it is over; `share` of the new version's requests fail."""
    async with rolling(tmp_path, {**ANALYSIS, "metrics": [metric]}) as (one, load):
        before = load.total
        one.version(bad)
        last = await one.ended("Failed", runs=1)
        assert re.search(reason, last["message"]), last
        assert last["weight"] == 0
        during, hurt = load.total - before, sum(load.failures.values())
        weights = await one.weights()
        likely = during * max(weights) / 100 * share
        assert hurt <= likely + 4 * sqrt(likely) + 1, (hurt, during, weights)
        assert set(load.failures) <= {500}, load.statuses
        await one.alone()
        load.statuses.clear()
        assert set(await answered(load)) == {"v1"}
        assert not load.failures
        if bad["command"][1] == "-c":
            assert weights == [0, *STEPS, 0]  # what leaks only under load is seen only there


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param(crashing(), r"not ready within 8 s: 0 of 1 replicas .*(code 3|restarted)", id="crashes"),
        pytest.param(
            deaf(),
            r"not ready within 8 s: 0 of 1 replicas .*not ready",
            marks=pytest.mark.prove,
            id="is never ready",
        ),
    ],
)
async def test_a_version_that_does_not_get_ready_is_met_by_nobody(
    tmp_path: Path, bad: dict[str, Any], reason: str
) -> None:
    async with rolling(tmp_path, ANALYSIS, UNREADY) as (one, load):
        one.version(bad)
        last = await one.ended("Failed", runs=1)
        assert re.search(reason, last["message"]), last
        await one.alone()
        assert await one.weights() == [0]
        assert set(load.answers) == {"v1"}
        assert not load.failures


@pytest.mark.prove
async def test_what_failed_is_tried_again_only_once_it_is_another(tmp_path: Path) -> None:
    async with rolling(tmp_path, ANALYSIS, UNREADY) as (one, load):
        one.version(crashing())
        await one.ended("Failed", runs=1)
        one.version(serving("v1"))  # the version that serves, once more
        await answered(load)
        assert await one.runs() == 1
        assert "tables-canary" not in await one.names()
        one.version(serving("v3"))
        await one.ended("Succeeded", runs=2)
        await one.alone()
        assert set(await answered(load)) == {"v3"}
        assert not load.failures, one.mesh.told()


@pytest.mark.prove
async def test_a_change_during_a_run_begins_anew_and_a_way_back_ends_it(tmp_path: Path) -> None:
    slow = {
        **ANALYSIS,
        "metrics": [{**SUCCESS, "minRequests": 10_000}],
    }  # which never go beyond the first weight
    async with rolling(tmp_path, slow) as (one, load):
        one.version(serving("v2"))
        await one.at("the first weight", weight=STEPS[0])
        first = (await one.status())["applied"]
        one.version(serving("v3"))
        await until(lambda: load.answers["v3"], "v3 to be tried")
        last = await one.at("the first weight again", weight=STEPS[0])
        assert last["applied"] != first
        assert await one.weights() == [0, STEPS[0], 0, STEPS[0]]
        one.version(serving("v1"))
        await one.at("the end", phase="Succeeded")
        await one.alone()
        assert set(await answered(load)) == {"v1"}
        assert "Promoting" not in await one.phases()
        assert not load.failures, one.mesh.told()


@pytest.mark.prove
async def test_too_little_traffic_is_waited_for_and_then_a_reason_of_its_own(tmp_path: Path) -> None:
    scarce = {**ANALYSIS, "metrics": [{**SUCCESS, "minRequests": 10_000}], "trafficDeadlineSeconds": 12}
    async with rolling(tmp_path, scarce) as (one, load):
        one.version(serving("v2"))
        last = await one.ended("Failed", runs=1)
        assert re.search(r"waiting for traffic: \d+ of 10000 requests", last["message"]), last
        assert last["failed_checks"] == 0
        assert not load.failures


@pytest.mark.prove
async def test_a_suspended_canary_begins_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    async with rolling(tmp_path, ANALYSIS) as (one, load):
        one.canary(ANALYSIS, {"suspend": True})
        await one.at("it to be suspended", suspended=True)
        one.version(serving("v2"))
        assert set(await answered(load, 5 * RATE)) == {"v1"}
        assert (await one.status())["phase"] == "Initialized"
        assert "tables-canary" not in await one.names()
        one.canary(ANALYSIS)
        await one.ended("Succeeded", runs=1)
        assert not load.failures


@pytest.mark.prove
async def test_a_user_pauses_and_aborts(tmp_path: Path) -> None:
    async with rolling(tmp_path, ANALYSIS) as (one, load):
        assert await one.say("abort") == 409
        one.version(serving("v2"))
        await one.at("the first weight", weight=STEPS[0])
        assert await one.say("pause") < 300
        await one.at("it to be paused", paused=True)
        paused = (await one.status())["weight"]
        await answered(load, 20 * RATE)
        assert (await one.status())["weight"] == paused
        assert await one.say("abort") < 300
        last = await one.ended("Failed", runs=1)
        assert "aborted by a user" in last["message"]
        await one.alone()
        assert set(await answered(load)) == {"v1"}
        assert not load.failures


@pytest.mark.prove
async def test_a_canary_that_is_deleted_leaves_what_is_written(tmp_path: Path) -> None:
    slow = {**ANALYSIS, "metrics": [{**SUCCESS, "minRequests": 10_000}]}
    async with rolling(tmp_path, slow, {"revertOnDeletion": True}) as (one, load):
        one.version(serving("v2"))
        await one.at("the first weight", weight=STEPS[0])
        one.uncanary()

        async def forgotten() -> bool:
            return not await one.status()

        await until(forgotten, "the rollout to be forgotten")
        await one.alone()
        await until(lambda: load.answers["v2"], "what is written to serve")
        assert set(await answered(load)) == {"v2"}
        assert not load.failures, one.mesh.told()
        one.canary(ANALYSIS)
        await one.at("it to be adopted", phase="Initialized")
        assert len(await one.history()) <= 3


@pytest.mark.prove
async def test_a_rollout_goes_on_after_kills_of_the_control_plane(tmp_path: Path) -> None:
    async with rolling(tmp_path, PATIENT, UNREADY) as (one, load):
        await _rollouts_under_kills(one, load, kills=4, longest=4.0)


@pytest.mark.prove
@pytest.mark.timeout(3600)
async def test_a_hundred_kills_of_the_control_plane_change_no_end(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    async with rolling(tmp_path, PATIENT, UNREADY) as (one, load):
        rollouts = await _rollouts_under_kills(one, load, kills=100, longest=12.0)
    record_property("kills of the control plane during rollouts", 100)
    record_property("rollouts, each with the end that it would have had", rollouts)
    record_property("requests meanwhile", load.total)
    record_property("failed requests", sum(load.failures.values()))


async def _rollouts_under_kills(one: Rolling, load: Load, kills: int, longest: float) -> int:
    """Rollouts of versions that are good, and of ones that crash, with kills at random instants; how many there were.

    No control plane lives longer than `longest` seconds before it is killed.
    """
    chance, left, number, good = random.Random(8), kills, 0, "v1"
    while left:
        number += 1
        bad = number % 2 == 0
        if bad:
            one.version({"command": ["python3", "-c", f"raise SystemExit({number})"]})
        else:
            good = f"v{number + 1}"
            one.version(serving(good))
        while left and not await _over(one, number):
            await asyncio.sleep(chance.uniform(0.0, longest))
            pid = one.mesh.pid("control plane")
            os.kill(pid, signal.SIGKILL)
            left -= 1
            await until(lambda pid=pid: one.mesh.pid("control plane") != pid, "another control plane")  # type: ignore[misc]
            await one.at("it to answer")
        last = await one.ended("Failed" if bad else "Succeeded", runs=number, seconds=300)
        assert ("not ready within" in last["message"]) is bad, last
        await one.alone()
        assert set(await answered(load)) == {good}
        assert not load.failures, one.mesh.told()
    return number


async def _over(one: Rolling, runs: int) -> bool:
    """Whether the n-th run has begun and ended."""
    status = await one.status()
    return status.get("phase") in {"Succeeded", "Failed"} and await one.runs() >= runs
