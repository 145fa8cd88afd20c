"""Processes that are measured: started, kept to one core, and asked what they have used."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.control_plane.plane import BenchError

LOOPBACK = "127.0.0.1"
_START, _END = 30.0, 10.0
_PAUSE = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_UTIME, _STIME = 11, 12
"""Where /proc/PID/stat says them, counted from behind the name."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Load and server share one core, all proxies another."""

    load: int
    proxies: int

    @staticmethod
    def of_this_machine() -> Cores:
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            raise BenchError("the data plane is measured on two cores; there is one")
        return Cores(usable[0], usable[-1])


@contextmanager
def started(
    command: Sequence[str],
    log: Path,
    core: int,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Iterator[int]:
    """A process that lives as long as the context, and the processes that it starts, all on one core."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            ("taskset", "--cpu-list", str(core), *command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=None if environment is None else {**os.environ, **environment},
            cwd=folder,
            start_new_session=True,
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def pin(pid: int, core: int) -> None:
    """Keep every thread of a process to a core; those that it makes later inherit it."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core})


def cpu(pids: Iterable[int]) -> float:
    """Seconds that all threads of these processes have used, those that ended too, in user and kernel mode."""
    return sum(_cpu(pid) for pid in pids)


def cpu_of_stat(stat: str) -> float:
    """The same, of the text of /proc/PID/stat, which counts in hundredths of a second."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) / _TICKS


def _cpu(pid: int) -> float:
    """What /proc says too, to the nanosecond: the process's own clock, see clock_getcpuclockid(3)."""
    try:
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        raise BenchError(f"a proxy that is measured (process {pid}) has ended") from None


def memory(pids: Iterable[int]) -> float:
    """MB that these processes keep resident, as /proc tells."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 1e6 for pid in pids)


def free_ports(number: int) -> list[int]:
    """So many ports of the loopback that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind((LOOPBACK, 0))
        return [int(one.getsockname()[1]) for one in sockets]


def listens(port: int, pid: int, log: Path) -> None:
    """Return once somebody takes connections at a port; BenchError when the process ends, or never comes to it."""
    deadline = time.monotonic() + _START
    while True:
        with socket.socket() as attempt:
            if attempt.connect_ex((LOOPBACK, port)) == 0:
                return
        if time.monotonic() > deadline or os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            said = log.read_text(errors="replace")[-2000:]
            raise BenchError(f"nothing listens at port {port} of {log.stem}:\n{said}")
        time.sleep(_PAUSE)
