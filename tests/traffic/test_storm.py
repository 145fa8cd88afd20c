"""Through kills, restarts, rolls and flapping health: no POST is done twice, and only what was killed over it fails."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.mesh import until
from tests.traffic.storm import Failure, Storm, storm


def judge(weather: Storm) -> Counter[str]:
    """Failed POSTs by what was killed over them; anything else that has failed is a fault of the mesh."""
    orders, ledger = weather.orders, dict(weather.ledger)
    assert len(ledger) == len(weather.ledger), "a POST was done twice"
    assert orders.done <= ledger.keys(), "a POST was answered that nobody has done"
    causes: Counter[str] = Counter()
    faults = []
    for failure in orders.failures:
        killed = [kill for kill in weather.kills if kill.host and failure.over(kill)]
        if failure.order in ledger:
            killed = [kill for kill in killed if kill.host == ledger[failure.order]]
        sent = failure.answer.startswith("503 ") and "connection failure" not in failure.answer
        if failure.method == "POST" and sent and killed:
            causes[killed[-1].what] += 1
        else:
            faults.append(told(failure, weather))
    assert not faults, "\n".join(faults)
    return causes


def told(failure: Failure, weather: Storm) -> str:
    """What is known of a failure, and what was killed around it."""
    near = [
        f"{kill.what} {kill.host} {kill.at - failure.sent:+.3f} s"
        for kill in weather.kills
        if abs(kill.at - failure.sent) < 8
    ]
    by = dict(weather.ledger).get(failure.order, "nobody")
    lasted = failure.ended - failure.sent
    return f"{failure.method} by {by}, failed after {lasted:.3f} s: {failure.answer}; killed: {near}"


@pytest.mark.timeout(180)
async def test_a_storm_doubles_no_post_and_fails_no_get(tmp_path: Path) -> None:
    async with storm(tmp_path, replicas=3, rate=80, seed=5) as weather:
        weather.roll()
        await weather.kill("application")
        await weather.fall_ill()
        await weather.kill("Envoy")
        await weather.kill_part("agent")
        await weather.kill("application")
        await weather.kill_part("control plane")
        await weather.fall_ill()
        await until(weather.rolled, "every kitchen to be a new one")
    judge(weather)
    assert weather.orders.answered["GET"] >= weather.orders.total // 2


@pytest.mark.prove
@pytest.mark.timeout(900)
async def test_ten_minutes_of_storm_double_no_post_and_fail_no_get(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    async with storm(tmp_path, replicas=4, rate=100, seed=6) as weather:
        await rage(weather, 600)
    causes = judge(weather)
    orders = weather.orders
    record_property("requests in ten minutes", orders.total)
    record_property("GETs failed", sum(failure.method == "GET" for failure in orders.failures))
    record_property("POSTs done, none of them twice", len(weather.ledger))
    for what in ("application", "Envoy"):
        record_property(f"POSTs failed over the kill of their {what}", causes[what])
    for what, times in sorted(weather.happened.items()):
        record_property(what, times)


async def rage(weather: Storm, seconds: float) -> None:
    """Something happens every other second; a roll begins when the last one is over, every half minute at most."""
    end, next_roll = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        what = weather.chance.choices(
            ("application", "Envoy", "ill", "control plane", "agent"), (8, 4, 6, 1, 1)
        )[0]
        if time.monotonic() > next_roll and (not weather.turn or weather.rolled()):
            weather.roll()
            next_roll = time.monotonic() + 30
        if what in {"application", "Envoy"}:
            await weather.kill(what)
        elif what == "ill":
            await weather.fall_ill()
        else:
            await weather.kill_part(what)
        await asyncio.sleep(weather.chance.uniform(0.2, 2.0))
