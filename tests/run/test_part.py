"""A part of the mesh: its last words, and that it is started again however long that takes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from plait.local.journal import Journal
from plait.run import part as module
from plait.run.part import Part
from tests.local.machines import until


@pytest.fixture
def made(tmp_path: Path) -> tuple[Part, list[str]]:
    said: list[str] = []
    (tmp_path / "logs").mkdir()
    command = (sys.executable, "-I", "-S", "-c", "import time; time.sleep(1000)")
    log, journal = tmp_path / "logs" / "log", Journal(tmp_path / "state")
    return Part("part", command, dict(os.environ), log, said.append, journal), said


def test_of_a_traceback_only_what_it_is_about_is_told(made: tuple[Part, list[str]]) -> None:
    part, _ = made
    part.log.write_text(
        "begun\nTraceback (most recent call last):\n  File x, line 1\n    y()\nOSError: it broke\n"
    )
    assert part.last_words() == "begun\nOSError: it broke"


async def test_a_part_that_cannot_be_started_is_told_once_and_tried_again(
    made: tuple[Part, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAUSES", (0.0, 0.01))
    part, said = made
    await part.start()
    assert part.process is not None
    first = part.process.pid
    part.log.parent.rename(part.log.parent.with_name("away"))
    keeping = asyncio.create_task(part.keep())
    os.kill(first, signal.SIGKILL)
    try:
        await until("it is told", lambda: len(said) > 1)
        part.log.parent.mkdir()
        await until("it runs again", lambda: part.process and part.process.pid != first)
    finally:
        await part.stop(5)
        await keeping
    assert [line.partition(" (")[0] for line in said][:1] == ["the part has ended"]
    assert len([line for line in said if "can't be started" in line]) == 1
