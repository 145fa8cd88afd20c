"""What processes have used is what the kernel says, and none outlives its context."""

import os
import sys
import time
from pathlib import Path

import pytest

from bench.control_plane.plane import BenchError
from bench.data_plane.processes import cpu, cpu_of_stat, free_ports, listens, memory, started

BUSY = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\nprint(flush=True)\ntime.sleep(60)"


def test_stat_is_read_behind_a_name_with_anything_in_it() -> None:
    stat = "42 (a) (b c) 9 9) S 1 42 42 0 -1 4194560 100 0 0 0 250 150 7 7 20 0 1 0 5000 1000 10"
    assert cpu_of_stat(stat) == pytest.approx(400 / os.sysconf("SC_CLK_TCK"))


def test_cpu_is_that_of_all_processes_and_agrees_with_proc(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    logs = tmp_path / "one", tmp_path / "other"
    with (
        started((sys.executable, "-c", BUSY), logs[0], core) as one,
        started((sys.executable, "-c", BUSY), logs[1], core) as other,
    ):
        deadline = time.monotonic() + 30
        while not all(log.read_text() for log in logs):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        told = sum(cpu_of_stat(Path(f"/proc/{pid}/stat").read_text()) for pid in (one, other))
        assert 0.4 <= cpu((one, other)) == pytest.approx(told, abs=0.05)
        assert memory((one, other)) > 2
        assert os.sched_getaffinity(one) == {core}
    assert not Path(f"/proc/{one}").exists()
    with pytest.raises(BenchError, match=f"process {one}"):
        cpu((one,))


def test_who_ends_before_it_listens_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "sad"
    (port,) = free_ports(1)
    core = min(os.sched_getaffinity(0))
    with (
        started((sys.executable, "-c", "print('oh no')"), log, core) as pid,
        pytest.raises(BenchError, match=r"sad:\noh no"),
    ):
        listens(port, pid, log)
