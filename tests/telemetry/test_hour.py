"""An hour and a half of what 200 proxies report, at the pace of a machine: what is kept stays within its bounds."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from plait.telemetry.database import KEPT, MINUTE, STEP
from plait.telemetry.reports import ProxyReport
from tests.telemetry.said import Clock, http, opened, report

pytestmark = [pytest.mark.prove, pytest.mark.timeout(1800)]

PROXIES, EDGES = 200, 10
MINUTES = 90
MOST_MEMORY, MOST_ON_DISK = 200, 400
"""Megabytes: of the process beyond what it had before the first report, and of the file."""


def reports(chance: random.Random) -> list[tuple[str, tuple[str, ...]]]:
    names = [f"shop/w-{number:03}" for number in range(PROXIES)]
    return [(name, tuple(chance.sample(names, EDGES))) for name in names]


def made(name: str, others: tuple[str, ...], at: float, chance: random.Random) -> ProxyReport:
    """Half of its traffic is called by it, and half calls it."""
    took = [chance.lognormvariate(3, 0.8) for _ in range(8)]
    half = len(others) // 2
    told = [http("source", name, other, *took) for other in others[:half]]
    told += [http("destination", other, name, *took) for other in others[half:]]
    return report(name, *told, at=at)


def resident() -> float:
    """Megabytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6


def on_disk(folder: Path) -> float:
    """Megabytes of what lies in it."""
    return sum(one.stat().st_size for one in folder.iterdir()) / 1e6


async def test_histories_stay_within_their_bound_for_an_hour_and_longer(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    clock, chance, path = Clock(), random.Random(5), tmp_path / "telemetry.db"
    whom = reports(chance)
    sizes: dict[int, float] = {}
    before = most = resident()
    async with opened(tmp_path, clock) as kept:
        for second in range(STEP, MINUTES * 60 + 1, STEP):
            clock.now += STEP
            for name, others in whom:
                kept.take(made(name, others, clock.now, chance))
            await kept.write(clock.now)
            if second % MINUTE == 0:
                sizes[second // MINUTE] = on_disk(tmp_path)
                most = max(most, resident())
        everything = await kept.window(3600)
        assert everything.heard >= 3600 - STEP
    with sqlite3.connect(path) as db:
        slots = db.execute("SELECT count(DISTINCT start) FROM points WHERE step = ?", (STEP,)).fetchone()[0]
        minutes = db.execute("SELECT count(DISTINCT start) FROM points WHERE step = ?", (MINUTE,)).fetchone()[
            0
        ]
    assert slots <= KEPT[STEP] / STEP + MINUTE / STEP
    assert minutes >= MINUTES - 2
    grown = (sizes[MINUTES] - sizes[62]) / (MINUTES - 62)
    assert grown < 0.4 * sizes[60] / 60  # only minutes come from then on: a slot for each is gone
    assert sizes[MINUTES] < MOST_ON_DISK
    assert most - before < MOST_MEMORY
    record_property("MB of the file after an hour", round(sizes[60], 1))
    record_property("MB of the file after 90 minutes", round(sizes[MINUTES], 1))
    record_property("MB of memory, at most", round(most - before, 1))
