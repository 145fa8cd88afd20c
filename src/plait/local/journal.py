"""What was made on this machine for a mesh: written down before it is made, so that anything can be removed.

Lines of JSON, appended by every process of the mesh; each has an "act".  The first line says that the directory
is a mesh's, and which.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.agent.shim.processes import started_at

NAME = "journal.jsonl"
LOCK = "lock"
PARTS = ("agent", "ca", "control-plane", "names", "replicas", "run")
"""The directories that a state directory has from its first moment on."""
_MESH, _PROCESS = "mesh", "process"


@dataclass(frozen=True, slots=True, kw_only=True)
class Journalled:
    """A process that was started; `birth` tells it from a later one with the same number."""

    pid: int
    birth: str
    role: str


class Journal:
    """The journal of one state directory."""

    def __init__(self, directory: Path) -> None:
        """Opens it, and makes it and the directory (0700) where they are not there yet."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = directory / NAME
        if not self._path.exists():
            self.record(_MESH, durable=True, directory=str(directory.resolve()))

    def record(self, act: str, *, durable: bool = False, **facts: Any) -> None:
        """Appends one act; `durable`: it is on the disk when this returns, whatever happens to the machine."""
        line = json.dumps({"act": act, **facts}, separators=(",", ":")).encode() + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(self._path, flags, 0o600)
        try:
            os.write(file, line)  # one write a line: processes that append at once do not mix
            if durable:
                os.fsync(file)
        finally:
            os.close(file)

    def process(self, pid: int, role: str) -> None:
        """A process of the mesh runs."""
        self.record(_PROCESS, pid=pid, birth=birth(pid), role=role)


def is_mesh(directory: Path) -> bool:
    """Whether a directory is one that a mesh keeps its state in: it has a journal, or all of the parts.

    Nothing but a lock is what is left of one whose end was cut short.
    """
    entries = _entries(directory)
    if entries:
        return entries[0].get("act") == _MESH
    if [entry.name for entry in directory.iterdir()] == [LOCK]:
        lock = directory / LOCK
        return lock.is_file() and not lock.is_symlink() and not lock.read_bytes()[:32].strip(b"0123456789\n")
    return all((directory / part).is_dir() and not (directory / part).is_symlink() for part in PARTS)


def homes(directory: Path) -> frozenset[str]:
    """The paths under which the processes of the mesh may know this directory; it may have been moved."""
    written = (str(entry.get("directory", "")) for entry in _entries(directory) if entry.get("act") == _MESH)
    return frozenset((str(directory.resolve()), *written)) - {""}


def processes(directory: Path) -> tuple[Journalled, ...]:
    """Every process that was ever written down."""
    return tuple(
        Journalled(pid=entry["pid"], birth=str(entry["birth"]), role=str(entry.get("role", "")))
        for entry in _entries(directory)
        if entry.get("act") == _PROCESS and isinstance(entry.get("pid"), int) and entry.get("birth")
    )


def birth(pid: int) -> str:
    """When a process started, in words that are only compared; empty when there is none."""
    if Path("/proc/self/stat").exists():
        ticks = started_at(pid)
        return "" if ticks is None else str(ticks)
    shown = subprocess.run(
        ("/bin/ps", "-o", "lstart=", "-p", str(pid)), capture_output=True, text=True, check=False
    )
    return shown.stdout.strip()


def _entries(directory: Path) -> list[dict[str, Any]]:
    """All that was written; what a crash cut short is left out."""
    try:
        text = (directory / NAME).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    entries = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            entries.append(entry)
    return entries
