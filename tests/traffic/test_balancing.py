"""Who of several answers: by weight, by key, and who is left alone because it fails."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from plait.agent.observing import Observer
from plait.link.messages import ReplicaReport, State
from plait.run.intake import Intake
from plait.run.registry import Registry
from tests.envoy.support import eventually
from tests.run.test_intake import Kept
from tests.traffic.binomial import bounds
from tests.traffic.mesh import Mesh, running
from tests.traffic.wire import Answer, Kitchens, get, open_kitchens, post, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

KITCHENS = 5
REQUESTS = 20_000
WEIGHTS = [(99, 1), (50, 50), (33, 33, 34)]
RISK = 1e-6 / sum(map(len, WEIGHTS))
"""Of each share, so that all of them hold in all but one of a million runs."""
KEYS = 1000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with running(KITCHENS) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kitchens(mesh: Mesh) -> AsyncIterator[Kitchens]:
    async with open_kitchens(mesh) as opened:
        yield opened


def shares(weights: tuple[int, ...]) -> str:
    """A VirtualService that gives the versions these weights."""
    route = [
        {"destination": {"host": "kitchen", "subset": f"v{number}"}, "weight": weight}
        for number, weight in enumerate(weights)
    ]
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: kitchen, namespace: bistro}}
spec: {{hosts: [kitchen], http: [{{route: {route}}}]}}
"""


def called(policy: str) -> str:
    """A DestinationRule with a traffic policy."""
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: called, namespace: bistro}}
spec:
  host: kitchen
  trafficPolicy: {policy}
"""


@pytest.mark.parametrize("weights", WEIGHTS, ids=lambda weights: "/".join(map(str, weights)))
async def test_weights_hold_within_what_chance_allows(
    mesh: Mesh, kitchens: Kitchens, weights: tuple[int, ...]
) -> None:
    await mesh.say(shares(weights))
    answers = await send(mesh.proxies["guest"], (get() for _ in range(REQUESTS)))
    assert {one.status for one in answers} == {200}
    counts = Counter(one.by for one in answers)
    assert counts.total() == REQUESTS
    assert counts.keys() == set(mesh.kitchens[: len(weights)])
    for name, weight in zip(mesh.kitchens, weights, strict=False):
        least, most = bounds(REQUESTS, weight / 100, RISK)
        assert least <= counts[name] <= most, counts


async def whom(mesh: Mesh) -> list[str]:
    """Who answers for each of the keys."""
    answers = await send(mesh.proxies["guest"], [get(x_user=str(key)) for key in range(KEYS)])
    assert {one.status for one in answers} == {200}
    return [one.by for one in answers]


@pytest.mark.parametrize(
    ("algorithm", "most"),
    [("", 1.5), (", maglev: {}", 1.5), (", ringHash: {}", 2.5)],
    ids=["by default", "maglev", "ring hash"],
)
async def test_when_one_of_several_goes_few_keys_move_and_all_return_with_it(
    mesh: Mesh, kitchens: Kitchens, algorithm: str, most: float
) -> None:
    """`most`: as many times the share of one.

    A ring has as many places however few there are to share them: those who stay get more of them when one goes,
    and so keys of each other.  With five replicas 1.6 shares move, with very many 2.
    """
    text = called(f"{{loadBalancer: {{consistentHash: {{httpHeaderName: x-user{algorithm}}}}}}}")
    await mesh.say(text)
    before = await whom(mesh)
    assert before == await whom(mesh)
    gone = "kitchen-2"
    await mesh.say(text, absent={gone})
    without = await whom(mesh)
    moved = [(owner, heir) for owner, heir in zip(before, without, strict=True) if owner != heir]
    assert gone not in without
    assert len(moved) <= most * KEYS / KITCHENS
    heirs = Counter(heir for owner, heir in moved if owner == gone)
    assert heirs.keys() == set(mesh.kitchens) - {gone}
    assert max(heirs.values()) <= heirs.total() / 2
    await mesh.say(text)
    assert await whom(mesh) == before


ERRORS = 5
INTERVAL, EJECTION = 1.0, 4.0
OUTLIERS = f"""{{
  loadBalancer: {{simple: ROUND_ROBIN}},
  outlierDetection: {{
    consecutive5xxErrors: {ERRORS}, interval: {INTERVAL}s, baseEjectionTime: {EJECTION}s, maxEjectionPercent: 50}}}}"""


async def test_who_fails_is_asked_no_more_for_a_while_and_then_as_often_as_the_others(
    mesh: Mesh, kitchens: Kitchens
) -> None:
    await mesh.say(called(OUTLIERS))
    kitchens.failing.add("kitchen-3")
    kitchens.asked.clear()
    answers = await one_by_one(mesh, 2 * ERRORS * KITCHENS)
    assert [one.by for one in answers] == kitchens.asked
    assert [one.by for one in answers if one.status != 200] == ["kitchen-3"] * ERRORS
    assert "kitchen-3" not in kitchens.asked[ERRORS * KITCHENS :], "asked after it was ejected"
    assert kitchens.asked.count("kitchen-3") == ERRORS
    kitchens.failing.clear()
    await eventually(lambda: asked_again(mesh, kitchens, "kitchen-3"))
    answers = await one_by_one(mesh, 100)
    assert {one.status for one in answers} == {200}
    assert set(Counter(one.by for one in answers).values()) == {100 // KITCHENS}


async def test_who_is_left_alone_is_told_with_who_does_so_until_it_is_asked_again(
    mesh: Mesh, kitchens: Kitchens, tmp_path: Path
) -> None:
    """Through the agent's looks at the guest's Envoy, and what the control plane makes of them."""
    await mesh.say(called(OUTLIERS))
    guest, registry = mesh.proxies["guest"], Registry.load(tmp_path / "registry.jsonl")
    for one in mesh.replicas.values():
        state = State.READY
        registry.report("local", ReplicaReport(replica=one, revision="", state=state, identity=""))
    intake = Intake(registry, Kept())
    observer = Observer(guest.replica.key, guest.folder / "a", lambda: (guest.process.pid, None))
    await observer.look()  # what was counted before is not told

    async def ejections() -> Mapping[str, tuple[str, ...]]:
        report = await observer.look()
        assert report is not None
        intake.take("local", report, time.time())
        return intake.ejections(time.time())

    assert await ejections() == {}
    kitchens.failing.add("kitchen-1")
    await one_by_one(mesh, ERRORS * KITCHENS)
    kitchens.failing.clear()
    failed = str(mesh.replicas["kitchen-1"].key)
    assert await ejections() == {failed: (str(guest.replica.key),)}
    await eventually(lambda: asked_again(mesh, kitchens, "kitchen-1"))
    assert await ejections() == {}


async def one_by_one(mesh: Mesh, number: int) -> list[Answer]:
    return await send(mesh.proxies["guest"], [post()] * number, at_a_time=1)


async def asked_again(mesh: Mesh, kitchens: Kitchens, name: str) -> bool:
    kitchens.asked.clear()
    await one_by_one(mesh, KITCHENS)
    return name in kitchens.asked


@pytest.mark.prove
async def test_who_fails_is_left_alone_within_an_interval_and_asked_again_within_one(
    mesh: Mesh, kitchens: Kitchens, record_property: Callable[[str, object], None]
) -> None:
    """One after the other fails, is given another chance, fails again, and recovers.

    For an interval after somebody has come back, Envoy counts no failures.
    """
    await mesh.say(called(OUTLIERS))
    first, again, back = [], [], []
    for name in mesh.kitchens[:3]:
        await asyncio.sleep(INTERVAL)
        kitchens.failing.add(name)
        first.append(await left_alone_after(mesh, kitchens, name))
        back.append(await asked_after(mesh, kitchens, name))
        again.append(await left_alone_after(mesh, kitchens, name))
        kitchens.failing.clear()
        await asked_after(mesh, kitchens, name)
    record_property("seconds until a failing replica was left alone, at most", f"{max(first):.2f}")
    record_property("when it failed again at once", f"{max(again):.2f}")
    record_property(f"seconds until it was asked again, ejected for {EJECTION:g}", f"{max(back):.2f}")
    assert max(first) < INTERVAL
    assert max(again) < INTERVAL + 0.5
    assert min(back) >= EJECTION
    assert max(back) < EJECTION + INTERVAL + 0.5


LONGEST_PAUSE = 0.5
"""So long nobody of several is left out by chance; in seconds."""


async def left_alone_after(mesh: Mesh, kitchens: Kitchens, name: str) -> float:
    """Seconds until it was asked for the last time."""
    began = last = time.monotonic()
    while time.monotonic() - last < LONGEST_PAUSE:
        if await asked_again(mesh, kitchens, name):
            last = time.monotonic()
    return last - began


async def asked_after(mesh: Mesh, kitchens: Kitchens, name: str) -> float:
    """Seconds that it has been left alone for altogether, when it is asked again."""
    began = time.monotonic()
    await eventually(lambda: asked_again(mesh, kitchens, name))
    return time.monotonic() - began + LONGEST_PAUSE
