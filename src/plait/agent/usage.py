"""What a process and its children use of the machine, by what /proc tells of them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from plait.agent.shim import processes
from plait.telemetry.reports import Usage

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class _Total:
    """Seconds of CPU that a process has used, with those of its children that have ended; bytes that are resident."""

    cpu: float
    memory: int


class Meter:
    """Reads one process after the other that takes the same place: each one's CPU begins at nothing."""

    def __init__(self) -> None:
        self._pid: int | None = None
        self._cpu = 0.0
        self._first = True

    def read(self, pid: int | None) -> Usage | None:
        """What was used since it was read before; None when there is no process, or nothing to know of it.

        The first time it may be an old process, of which nobody knows what it has used since when.
        """
        found = [total for one in processes.tree(pid) if (total := _total(one))] if pid else []
        if not found:
            return None
        cpu = sum(one.cpu for one in found)
        before = self._cpu if pid == self._pid else cpu if self._first else 0.0
        self._pid, self._cpu, self._first = pid, cpu, False
        # What was left behind by its parent is nobody's child here any more, and takes its seconds along.
        return Usage(cpu=max(0.0, cpu - before), memory=sum(one.memory for one in found))


def _total(pid: int) -> _Total | None:
    stat = processes.stat(pid)
    if stat is None:
        return None
    ticks = sum(map(int, stat[11:15]))  # its own and its children's, in user and in kernel mode
    return _Total(cpu=ticks / _TICKS, memory=int(stat[21]) * _PAGE)
