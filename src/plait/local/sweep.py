"""Removing whatever is left of a mesh, after anything: its processes, its sockets, its files.

A process belongs to a mesh when its environment says so (PLAIT_MESH), when the journal says so, or when it is a
shim that answers at a socket of the mesh.  Only files that Plait makes are removed, and only from a directory
that has a mesh's journal; what somebody else put there stays, and is named.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from plait.agent.record import MESH
from plait.agent.shim.processes import all_pids, environment_has, started_at
from plait.local import journal

_HEX = "[0-9a-f]" * 8
MADE = (
    "ca/*",
    "run/xds/*",
    f"run/{_HEX}/*",
    "run/*",
    "names/*",
    "control-plane/*",
    "agent/*",
    f"replicas/{_HEX}/*",
    f"replicas/{_HEX}/secrets/*",
    journal.NAME,  # so late, so that a sweep that was cut short can be taken up again
    "lock",  # whoever sweeps holds it, and keeps others out until the end
)
"""Every file that Plait makes in a state directory."""
_WITHIN = 10.0
_PAUSE = 0.02
_SHIM_ANSWERS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep did.  `left`: paths in the directory that are not ours, relative to it."""

    killed: int = 0
    surviving: tuple[int, ...] = ()
    removed: int = 0
    left: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        return not self.surviving and not self.left


def sweep(directory: Path) -> Swept:
    """Ends every process of the mesh and removes its files; does nothing where nothing is left."""
    killed, surviving = _end_processes(directory)
    if not directory.is_dir():
        return Swept(killed=killed, surviving=surviving)
    if surviving or not journal.is_mesh(directory):
        left = tuple(sorted(entry.name for entry in directory.iterdir()))
        return Swept(killed=killed, surviving=surviving, left=left)
    journal.Journal(directory)  # should this sweep be cut short, the next one knows the directory by it
    removed = sum(_remove(directory, pattern.split("/")) for pattern in MADE)
    left = tuple(sorted(_content(directory)))
    if not left:
        with suppress(OSError):  # somebody else may begin a mesh in there at this moment
            directory.rmdir()
    return Swept(killed=killed, removed=removed, left=left)


def belonging(directory: Path) -> tuple[int, ...]:
    """The living processes of the mesh, this one left out."""
    written = {(process.pid, process.birth) for process in journal.processes(directory)}
    found = {pid for pid, birth in written if journal.birth(pid) == birth}
    marks = [frozenset({f"{MESH}={home}".encode()}) for home in journal.homes(directory)]
    for pid in all_pids():
        if any(environment_has(pid, mark) for mark in marks) and started_at(pid) is not None:
            found.add(pid)
    return tuple(sorted(found - {os.getpid()}))


def _end_processes(directory: Path) -> tuple[int, tuple[int, ...]]:
    """Kills until nobody is left, because those who are killed may just have started others."""
    _tell_shims(directory)
    killed: set[int] = set()
    until = time.monotonic() + _WITHIN
    while remaining := belonging(directory):
        for pid in remaining:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        if time.monotonic() > until:
            return len(killed - set(remaining)), remaining
        time.sleep(_PAUSE)
    return len(killed), ()


def _tell_shims(directory: Path) -> None:
    """Has every shim end its replica: the one way that also works where processes can't be looked at."""
    with ExitStack() as open_ones:
        told = []
        for path in sorted(directory.glob("run/*.shim")):
            shim = open_ones.enter_context(socket.socket(socket.AF_UNIX))
            shim.settimeout(_SHIM_ANSWERS)
            with suppress(OSError):
                shim.connect(str(path))
                shim.sendall(b'{"command":"kill"}\n')
                told.append(shim)
        for shim in told:
            with suppress(OSError):
                while shim.recv(1 << 12):  # until it leaves
                    pass


def _remove(directory: Path, pattern: list[str]) -> int:
    """Removes the files of one pattern, then the directories that this has emptied; never through a link."""
    first, *rest = pattern
    removed = 0
    try:
        found = [entry for entry in directory.iterdir() if fnmatch(entry.name, first)]
    except OSError:  # gone, or not ours to look into
        return 0
    for path in found:
        if not rest:
            if path.is_symlink() or not path.is_dir():
                with suppress(OSError):  # what can't be removed is told as left
                    path.unlink()
                    removed += 1
        elif path.is_dir() and not path.is_symlink():
            removed += _remove(path, rest)
            with suppress(OSError):  # a later pattern, or somebody else, has more in there
                path.rmdir()
    return removed


def _content(directory: Path) -> list[str]:
    """All that is left in a directory, directories only where they are empty."""
    found = []
    for folder, folders, files in os.walk(directory):
        here = Path(folder).relative_to(directory)
        found += [str(here / name) for name in files]
        found += [str(here / name) for name in folders if (Path(folder) / name).is_symlink()]
        if not files and not folders and folder != str(directory):
            found.append(str(here))
    return found
