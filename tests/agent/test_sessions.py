"""Commands in a replica's place, against a real shim."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from plait.agent import sessions
from plait.agent.record import ReplicaFiles
from plait.agent.sessions import run_command
from plait.link.messages import Exited
from tests.agent.shims import Bench, bench


@pytest.fixture
def replica() -> Iterator[Bench]:
    with bench(Bench) as made:
        made.start(made.app()).status_where(lambda status: status["phase"] == "ready")
        (made.root / "run").mkdir()
        (made.root / "run" / "0.shim").symlink_to(made.socket)
        yield made


async def nothing() -> AsyncIterator[bytes]:
    return
    yield b""


async def run(root: Path, script: str, write: Any) -> Exited:
    command = ("/bin/sh", "-c", script)
    return await asyncio.wait_for(run_command(ReplicaFiles(root, "0"), command, nothing(), write), 30)


async def test_a_slow_reader_gets_all_of_it(replica: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_LAST_WORDS", 0.01)
    got = 0

    async def write(_: int, data: bytes) -> None:
        nonlocal got
        await asyncio.sleep(0.03)  # slower than anybody would be waited for
        got += len(data)

    exited = await run(replica.root, "head -c 400000 /dev/zero", write)
    assert (exited.code, got) == (0, 400_000)


async def test_what_runs_on_in_the_background_is_not_waited_for(replica: Bench) -> None:
    got = bytearray()

    async def write(_: int, data: bytes) -> None:
        got.extend(data)

    exited = await run(replica.root, "echo before; sleep 1000 & exit 3", write)
    assert (exited.code, bytes(got)) == (3, b"before\n")


async def test_a_replica_without_a_shim_says_so(tmp_path: Path) -> None:
    async def write(_: int, data: bytes) -> None: ...

    exited = await run(tmp_path, "true", write)
    assert exited.code == 255
    assert "the replica does not answer" in exited.error
