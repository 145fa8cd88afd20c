"""What agents tell of what proxies do: real requests through real Envoys, counted once, whoever starts anew."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from plait.agent import observing
from plait.link.messages import ReplicaReport, State
from tests.local.machines import FLUSH, Mesh, mesh, until, web, wishes
from tests.local.test_machine import ask


@pytest.fixture
async def local(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mesh]:
    monkeypatch.setattr(observing, "EVERY", 0.4)
    async with mesh() as made:
        yield made


def told(local: Mesh) -> int:
    """How many requests were reported so far; every one of them has a duration."""
    traffic = [one for report in local.plane.seen for one in report.traffic]
    assert all(one.packed.startswith("http|destination|none|") for one in traffic)
    assert all(sum(count for _, count in one.durations) == one.count for one in traffic)
    return sum(one.count for one in traffic)


async def sent(report: ReplicaReport, number: int) -> None:
    for _ in range(number):
        assert await asyncio.to_thread(ask, report) == 200


async def looked(local: Mesh, times: int = 2) -> None:
    """Wait until so many more reports have come."""
    before = len(local.plane.seen)
    await until("more reports", lambda: len(local.plane.seen) >= before + times)


async def test_every_request_is_told_once_over_restarts_of_envoy_and_of_the_agent(
    local: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ready(report: ReplicaReport) -> bool:
        return report.state is State.READY

    async with local.running() as machine:
        await machine.deliver(wishes(web(work=local.work)))
        report = await local.reported(ready)
        await sent(report, 7)
        await until("7 requests", lambda: told(local) == 7)
        await sent(report, 5)
        await until("12 requests", lambda: told(local) == 12)
        await looked(local)
        assert told(local) == 12

        status = local.files().last_status()
        assert status is not None
        assert status.envoy_pid is not None
        os.kill(status.envoy_pid, signal.SIGKILL)
        report = await local.reported(lambda one: not ready(one))
        report = await local.reported(ready)
        await sent(report, 4)
        await until("16 requests", lambda: told(local) == 16)

    last = local.plane.seen[-1]
    assert last.node == report.replica.key
    assert last.sidecar is not None
    assert last.application is not None
    assert min(last.sidecar.memory, last.application.memory) > 1_000_000
    assert sum(one.sidecar.cpu for one in local.plane.seen if one.sidecar) > 0

    await sent(report, 3)  # nobody looks
    async with local.running() as machine:
        await looked(local, 1)
        assert told(local) == 16
        await sent(report, 6)
        await until("22 requests", lambda: told(local) == 22)
        await looked(local)
        assert told(local) == 22

        monkeypatch.setattr(observing, "EVERY", 3600.0)
        await looked(local, 1)
        await sent(report, 2)
        await asyncio.sleep(2 * FLUSH)  # Envoy adds up its histograms so often
        await machine.deliver(wishes())
        await until("what came before it was told to stop", lambda: told(local) == 24)


def test_looks_come_at_multiples_of_the_interval_and_a_little_later() -> None:
    def next_at(now: float) -> float:
        return round(now + observing.until_next(now, spread=0.25), 6)

    assert [next_at(now) for now in (1000.25, 1001.0, 1002.0, 1004.9)] == [1005.25, 1005.25, 1005.25, 1010.25]
    assert next_at(1005.2499) == 1010.25  # the clock of the sleep was a little ahead: it has just been looked
    assert next_at(1006.9) == 1010.25
