"""What processes use, by /proc: real ones, that use something."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from plait.agent.usage import Meter

BURN = "\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"
ALONE = "import sys, time" + BURN + "print(flush=True); sys.stdin.read()"
PARENT = (
    "import subprocess, sys, time\n"
    f"child = subprocess.Popen([sys.executable, '-c', {ALONE.format(seconds=0.3)!r}], stdin=subprocess.PIPE)\n"
    "sys.stdin.read(); child.stdin.close(); child.wait()"
)


@contextmanager
def running(program: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def burnt(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    process.stdout.readline()


def test_cpu_is_what_was_used_since_and_children_count() -> None:
    meter = Meter()
    with running(PARENT) as process:
        assert meter.read(None) is None
        first = meter.read(process.pid)
        assert first is not None
        assert first.cpu == 0  # it may have run for long
        burnt(process)
        second = meter.read(process.pid)
        assert second is not None
        assert second.cpu >= 0.25
        assert second.memory > first.memory  # there are two of them
        third = meter.read(process.pid)
        assert third is not None
        assert third.cpu < second.cpu


def test_another_process_in_the_same_place_begins_at_nothing() -> None:
    meter = Meter()
    with running(ALONE.format(seconds=0.1)) as one, running(ALONE.format(seconds=0.3)) as two:
        burnt(one)
        burnt(two)
        assert meter.read(one.pid)
        used = meter.read(two.pid)
        assert used is not None
        assert used.cpu >= 0.25
    assert meter.read(two.pid) is None
