"""What a burst has freed is given back once it is over, and not before."""

import asyncio
import ctypes
import time
from types import SimpleNamespace

import pytest

from plait.run import control_plane


async def test_memory_is_given_back_once_after_a_burst_and_only_when_it_is_calm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = iter((0.0, 0.02, 0.9, 1.8, 1.81, 1.82, 1.83, 1.9))
    """CPU seconds at each look: calm, busy, busy, calm from then on; the one after a return is that of its end."""
    done = asyncio.Event()
    given: list[float] = []
    last = 0.0

    def used() -> float:
        nonlocal last
        last = next(looks, None) or last
        if last == 1.9:
            done.set()
        return last

    monkeypatch.setattr(control_plane, "_LOOK", 1e-3)
    monkeypatch.setattr(control_plane, "_CALM", 50.0)  # of a thousandth of a second: 0.05 s a look
    monkeypatch.setattr(time, "process_time", used)
    libc = SimpleNamespace(malloc_trim=lambda _: given.append(last))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: libc)
    task = asyncio.create_task(control_plane._give_back())
    await asyncio.wait_for(done.wait(), 10)
    task.cancel()
    assert given == [1.81]


async def test_where_the_c_library_can_not_give_back_there_is_nothing_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    await asyncio.wait_for(control_plane._give_back(), 10)
