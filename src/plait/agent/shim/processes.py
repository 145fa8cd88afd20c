"""What /proc tells of processes: children, start times, environments; empty answers where there is no /proc."""

# pathlib would cost the shim memory.
# ruff: noqa: PTH123, PTH208

from __future__ import annotations

import os


def children(pid: int) -> list[int]:
    """The direct children of a process, zombies too."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        found += [int(word) for word in _read(f"/proc/{pid}/task/{thread}/children").split()]
    return found


def tree(pid: int) -> list[int]:
    """A process and all its descendants, parents before their children."""
    found = [pid]
    for known in found:  # grows while it is walked
        found += children(known)
    return found


def started_at(pid: int) -> int | None:
    """When a process started, in the kernel's ticks since boot; None when there is none.

    With its pid this names a process for good: pids come back, start times do not.
    """
    fields = stat(pid)
    return int(fields[19]) if fields else None


def stat(pid: int) -> list[bytes] | None:
    """What follows the program's name in the stat of a process: its state first; None when there is none."""
    # The name stands in parentheses and may hold anything.
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return fields if len(fields) > 21 and fields[0] not in (b"Z", b"X") else None


def environment_has(pid: int, entries: frozenset[bytes]) -> bool:
    """Whether a process was started with all these `NAME=value` entries in its environment."""
    return entries <= set(_read(f"/proc/{pid}/environ").split(b"\0"))


def all_pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # gone, or not ours to look at
        return b""
