"""What is reported is kept exactly, for as long as is said, across whatever happens to the control plane."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from plait.model.names import ReplicaKey, WorkloadKey
from plait.telemetry import database, store
from plait.telemetry.reports import Pool, Traffic, Usage
from plait.telemetry.series import OTHER, Family, Total, total_of
from plait.telemetry.store import Store
from tests.telemetry.said import NOW, Clock, bins, http, opened, report

ROOT = Path(__file__).parent.parent.parent
GUEST = "shop/guest"


def asks(*milliseconds: float, code: str = "200") -> Traffic:
    return http("source", GUEST, "shop/menu-v1", *milliseconds, code=code)


async def pass_by(kept: Store, clock: Clock, seconds: float) -> None:
    clock.now += seconds
    await kept.write(clock.now)


async def totals(kept: Store, seconds: float, end: float | None = None) -> Total:
    return total_of((await kept.window(seconds, end)).totals.values())


async def test_all_that_replicas_report_is_added_up_and_comes_back_exactly(tmp_path: Path) -> None:
    clock, chance = Clock(), random.Random(7)
    told: list[float] = []
    async with opened(tmp_path, clock) as kept:
        for _ in range(30):
            clock.now += 5
            for number in range(3):
                some = [chance.lognormvariate(3, 1) for _ in range(chance.randrange(40))]
                told += some
                kept.take(report(GUEST, asks(*some), at=clock.now + 0.3, number=number))
            clock.now += 0.5
            await kept.write(clock.now)
            clock.now -= 0.5
        await pass_by(kept, clock, 10)
        found = await kept.window(600)
        assert len(found.totals) == 1  # replicas are one
        (one,) = found.totals.values()
        assert one.count == len(told)
        assert tuple(sorted(one.bins.items())) == bins(*told)
        assert found.heard == 150


async def test_bytes_and_connections_come_back_exactly(tmp_path: Path) -> None:
    clock = Clock()
    said = http("destination", GUEST, "shop/db", family="tcp")
    async with opened(tmp_path, clock) as kept:
        kept.take(report("shop/db", replace(said, count=3, closed=2, received=10, sent=1 << 40), at=NOW))
        kept.take(report("shop/db", replace(said, count=1, closed=2, received=5, sent=7), at=NOW, number=1))
        await pass_by(kept, clock, 5)
        assert await totals(kept, 60) == Total(count=4, closed=4, received=15, sent=(1 << 40) + 7)


async def test_time_in_which_nobody_listened_is_a_gap_and_no_zero(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as kept:
        for number in range(6):
            if number not in {2, 3}:
                kept.take(report(GUEST, *([asks(1.0)] if number == 1 else []), at=NOW + 5 * number + 5.4))
            await pass_by(kept, clock, 5)
        await pass_by(kept, clock, 5)
        _, step, steps = await kept.steps(
            35, 5, lambda _: True, lambda one: (one.heard, sum(t.count for t in one.totals.values()))
        )
        assert step == 5
        assert steps == [(5, 0), (5, 1), (0, 0), (0, 0), (5, 0), (5, 0), (0, 0)]


async def test_a_report_of_several_slots_leaves_no_gap(tmp_path: Path) -> None:
    clock = Clock(NOW + 14)
    async with opened(tmp_path, clock) as kept:
        kept._sealed = int(NOW)
        kept.take(report(GUEST, asks(1.0), at=NOW + 15.2, seconds=15.0))
        await pass_by(kept, clock, 6)
        _, _, steps = await kept.steps(20, 5, lambda _: True, lambda one: (one.heard, len(one.totals)))
        assert steps == [(5, 0), (5, 0), (5, 1), (0, 0)]


async def test_what_comes_late_or_from_a_clock_ahead_counts_once_in_what_is_open(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as kept:
        await pass_by(kept, clock, 20)
        kept.take(report(GUEST, asks(1.0), at=NOW - 400))
        kept.take(report(GUEST, asks(1.0), at=NOW + 4000))
        await pass_by(kept, clock, 5)
        found = await kept.window(5)
        assert (found.start, found.end) == (NOW + 20, NOW + 25)
        assert total_of(found.totals.values()).count == 2


async def test_slots_are_kept_for_a_while_and_minutes_for_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert database.KEPT == {5: 3600, 60: 86_400}
    monkeypatch.setitem(database.KEPT, 5, 600)
    monkeypatch.setitem(database.KEPT, 60, 3600)
    clock, path = Clock(), tmp_path / "telemetry.db"
    async with opened(tmp_path, clock) as kept:

        async def go_on(minutes: int) -> None:
            for _ in range(minutes):  # one slot of each
                kept.take(report(GUEST, asks(1.0, 20.0), at=clock.now + 5))
                await pass_by(kept, clock, 60)

        await go_on(90)
        with sqlite3.connect(path) as db:
            rows = dict(db.execute("SELECT step, count(*) FROM points GROUP BY step"))
            assert rows == {5: 10, 60: 60}
            assert db.execute("SELECT count(*) FROM slots").fetchone() == (70,)
        found = await kept.window(86_400)
        assert total_of(found.totals.values()) == Total(
            count=120, bins={key: 60 for key, _ in bins(1.0, 20.0)}
        )
        assert found.heard == 60 * 5
        long_ago = await kept.window(600, clock.now - 1800)
        assert total_of(long_ago.totals.values()).count == 20
        _, step, steps = await kept.steps(1200, 5, lambda _: True, lambda one: one.heard)
        assert (step, steps) == (60, [5] * 20)  # of what is older, minutes
        size = path.stat().st_size
        await go_on(30)
        assert path.stat().st_size == size  # what was forgotten makes room


async def test_what_there_was_of_a_past_is_told_by_the_slots_of_that_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database.KEPT, 5, 600)
    clock = Clock()
    async with opened(tmp_path, clock) as kept:

        async def codes(since: float, until: float | None) -> list[str]:
            return sorted(one.code for one in await kept.seen(since, until))

        for code in ("200", "404", "500"):
            kept.take(report(GUEST, asks(1.0, code=code), at=clock.now + 5))
            await pass_by(kept, clock, 60)
        kept.take(report(GUEST, asks(1.0, code="200"), at=clock.now + 5))
        assert await codes(NOW + 60, None) == ["200", "404", "500"], "with what is not written yet"
        assert await codes(NOW + 60, NOW + 120) == ["404"]
        assert await codes(NOW + 5, NOW + 125) == ["404", "500"]
        assert await codes(NOW - 86_400, NOW) == await codes(0, 0) == []
        await pass_by(kept, clock, 1200)
        assert await codes(NOW + 60, NOW + 120) == ["404"], "of minutes alone, by now"
        assert await codes(NOW + 1000, None) == []


async def test_who_is_not_seen_for_a_day_is_forgotten(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as kept:
        kept.take(report(GUEST, asks(1.0), at=clock.now))
        await pass_by(kept, clock, 60)
        assert len(await kept.seen(NOW - 60)) == 1
        await pass_by(kept, clock, 86_400 + 120)
        assert await kept.seen(0) == ()
        with sqlite3.connect(tmp_path / "telemetry.db") as db:
            assert db.execute("SELECT count(*) FROM series").fetchone() == (0,)
        kept.take(report(GUEST, asks(1.0), at=clock.now))
        await pass_by(kept, clock, 5)
        assert (await totals(kept, 60)).count == 1


async def test_beyond_a_bound_new_series_are_one_and_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MOST_SERIES", 10)
    clock = Clock()
    async with opened(tmp_path, clock) as kept:
        for code in range(100, 200):
            kept.take(report(GUEST, asks(1.0, code=str(code)), at=clock.now))
            await pass_by(kept, clock, 5 if code in {109, 110} else 0)
            assert (await kept.window(60)).left_out == (code > 109)
        await pass_by(kept, clock, 5)
        found = (await kept.window(60)).totals
        assert len(found) == 11
        assert found[OTHER].count == 90
        assert sum(one.count for one in found.values()) == 100
        await pass_by(kept, clock, 60)
        kept.take(report(GUEST, asks(1.0, code="100"), at=clock.now))
        await pass_by(kept, clock, 5)
        assert not (await kept.window(30)).left_out
        assert (await kept.window(60, clock.now - 30)).left_out


async def test_what_is_no_text_of_labels_is_not_kept(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as kept:
        kept.take(report(GUEST, Traffic(packed="nonsense|", count=1), asks(1.0), at=clock.now))
        await pass_by(kept, clock, 5)
        assert (await totals(kept, 60)).count == 1


async def test_what_processes_use_is_kept_by_replica_and_pools_are_those_of_now(tmp_path: Path) -> None:
    clock = Clock()
    pool = Pool(
        cluster="outbound|80||menu.shop.svc.cluster.local", connections=2, requests=1, overflowed=0, retried=0
    )
    async with opened(tmp_path, clock) as kept:
        for second in range(0, 120, 5):
            usage = Usage(cpu=0.5, memory=1000 + second)
            kept.take(report(GUEST, at=clock.now + 5, sidecar=usage, application=None, pools=(pool,)))
            await pass_by(kept, clock, 5)
        for window in (60, 300):
            (found,) = (await kept.usage(window)).items()
            assert found[0] == ("shop/guest/0", "sidecar")
            assert found[1].cpu / found[1].heard == 0.1
            assert found[1].memory == 1115
        assert kept.pools() == {ReplicaKey(WorkloadKey("shop", "guest"), 0): (pool,)}
        await pass_by(kept, clock, 90)
        assert kept.pools() == {}


async def test_what_is_used_over_several_slots_is_of_all_of_them(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as kept:
        kept.take(report(GUEST, at=clock.now + 5, seconds=15.0, sidecar=Usage(cpu=1.5, memory=1)))
        await pass_by(kept, clock, 5)
        (used,) = (await kept.usage(60)).values()
        assert used.cpu / used.heard == 0.1


async def test_series_of_another_version_of_ours_are_in_nobodys_way(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as kept:
        kept.take(report(GUEST, asks(1.0), at=clock.now))
        await pass_by(kept, clock, 5)
    with sqlite3.connect(tmp_path / "telemetry.db") as db:
        db.execute("UPDATE series SET labels = '{}'")
    async with opened(tmp_path, clock) as kept:
        kept.take(report(GUEST, asks(1.0, 2.0), at=clock.now))
        await pass_by(kept, clock, 60)
        assert (await totals(kept, 120)).count == 2


async def test_after_a_restart_all_is_there_and_the_time_between_is_a_gap(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as kept:
        kept.take(report(GUEST, asks(1.0), at=clock.now + 5))
        clock.now += 3
    clock.now += 300
    async with opened(tmp_path, clock) as kept:
        kept.take(report(GUEST, asks(1.0, 2.0), at=clock.now + 5))
        await pass_by(kept, clock, 60)
        found = await kept.window(600)
        assert total_of(found.totals.values()).count == 3
        assert found.heard == 10
        assert len(await kept.seen(NOW)) == 1


_WRITES_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from tests.telemetry.said import Clock, http, opened, report

async def main() -> None:
    clock = Clock()
    async with opened(Path(sys.argv[1]), clock) as kept:
        while True:
            for number in range(40):
                said = http("source", "shop/guest", f"shop/menu{number}", 1.0, 1.0)
                kept.take(report("shop/guest", said, at=clock.now + 5))
            clock.now += 5
            await kept.write(clock.now)
            print(flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("written", [1, 25])
async def test_a_kill_in_the_midst_of_writing_leaves_whole_slots(tmp_path: Path, written: int) -> None:
    writing = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WRITES_FOR_EVER, str(tmp_path)), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert writing.stdout is not None
    for _ in range(written):
        await writing.stdout.readline()
    writing.kill()
    await writing.communicate()
    clock = Clock(NOW + 86_000)
    async with opened(tmp_path, clock) as kept:
        found = await kept.window(86_400)
        slots = found.heard // 5
        assert slots >= written
        assert {one.count for one in found.totals.values()} == {2 * slots}
        assert len(found.totals) == 40
        kept.take(report(GUEST, asks(1.0), at=clock.now))
        await pass_by(kept, clock, 60)
        assert (await totals(kept, 60)).count == 1


async def test_a_damaged_file_is_forgotten_and_another_begun(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "telemetry.db"
    path.write_bytes(b"no database at all" * 1000)
    clock = Clock()
    async with opened(tmp_path, clock) as kept:
        assert "forgotten" in caplog.text
        kept.take(report(GUEST, asks(1.0), at=clock.now))
        await pass_by(kept, clock, 5)
        assert (await totals(kept, 60)).count == 1


async def test_a_disk_that_takes_no_more_costs_what_was_seen_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    async with opened(tmp_path, clock) as kept:
        kept._writer._db.execute("PRAGMA max_page_count = 1")
        kept.take(report(GUEST, *(asks(1.0, code=str(code)) for code in range(100, 600)), at=clock.now))
        await pass_by(kept, clock, 5)
        assert "lost" in caplog.text
        assert (await kept.window(60)).heard == 0
        kept._writer._db.execute("PRAGMA max_page_count = 100000")
        kept.take(report(GUEST, asks(1.0, code="100"), at=clock.now))
        await pass_by(kept, clock, 5)
        (labels,) = (await kept.window(60)).totals
        assert (labels.family, labels.code) == (Family.HTTP, "100")


def test_files_are_for_the_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        writer = database.Writer(tmp_path / "telemetry.db")
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
        writer.close()
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}
    assert len(modes) == 3


def test_histograms_add_up_when_they_are_joined() -> None:
    chance = random.Random(3)
    some = [{chance.randrange(900): chance.randrange(1, 10_000_000) for _ in range(30)} for _ in range(20)]
    wanted: dict[int, int] = {}
    for one in some:
        for number, count in one.items():
            wanted[number] = wanted.get(number, 0) + count
    assert database.unpacked(b"".join(map(database.packed, some))) == wanted
