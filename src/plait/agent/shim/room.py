"""Rooms: mount namespaces that are made once, with a view of the machine in each, and entered by whoever is to run there.

A room is kept by a descriptor.  It begins as a copy of the shim's own view, so the host sees nothing of it.
"""

# pathlib would cost the shim memory.
# ruff: noqa: PTH102, PTH103, PTH110, PTH115, PTH116, PTH120, PTH211

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Sequence
from typing import NoReturn

from plait.agent.shim import kernel
from plait.agent.shim.kernel import MS_BIND, MS_NODEV, MS_NOSUID, MS_RDONLY, MS_REC, MS_REMOUNT
from plait.agent.shim.sight import Cover, Link, Plan
from plait.agent.shim.spec import Visible

_WORDS = 4096
_CLOSED = MS_RDONLY | MS_NOSUID


class RoomError(Exception):
    """A view could not be made, in words."""


def make(draw: Callable[[], Plan], files: Sequence[tuple[str, str]]) -> int:
    """A descriptor of a new room; RoomError.

    `draw`: what says what is to be seen, called in the process that makes the room.  `files`: pairs of a file and
    the path that it is laid over.
    """
    ours, theirs = socket.socketpair()
    with ours:
        pid = os.fork()
        if pid == 0:
            _furnish(draw, files, theirs)
        theirs.close()
        words, descriptors, _, _ = socket.recv_fds(ours, _WORDS, 1)
    os.waitpid(pid, 0)
    if not descriptors:
        raise RoomError(words.decode(errors="replace") or "the process that makes it was killed")
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


def _furnish(draw: Callable[[], Plan], files: Sequence[tuple[str, str]], tell: socket.socket) -> NoReturn:
    """The helper's part; it never returns."""
    try:
        kernel.unshare(kernel.CLONE_NEWNS)
        os.umask(0o022)
        _build(draw(), files)
        namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        socket.send_fds(tell, [b"made"], [namespace])
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is told
        tell.send((str(error) or type(error).__name__).encode(errors="replace")[:_WORDS])
    finally:
        os._exit(0)


def _build(plan: Plan, files: Sequence[tuple[str, str]]) -> None:
    """Mounts a view.  What will be shown is opened before anything covers it.  OSError."""
    sources = {step.path: _opened(step.path, real=True) for step in plan.steps if isinstance(step, Visible)}
    laid = [(_opened(source), target) for source, target in files]
    covers = [step for step in plan.steps if isinstance(step, Cover)]
    for step in plan.steps:
        match step:
            case Cover():
                _cover(step)
            case Link(path=path, target=target):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.symlink(target, path)
            case Visible(path=path):
                _show(sources[path], path, 0 if step.writable else _CLOSED)
    for source, target in laid:
        _lay_over(source, os.path.realpath(target), covers)
    for cover in covers:
        if not cover.private:
            flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV
            kernel.mount(None, cover.path, flags=flags)
    for source in (*sources.values(), *(source for source, _ in laid)):
        os.close(source)


def _cover(cover: Cover) -> None:
    options = "mode=1777" if cover.private else "mode=0755,size=1m"
    kernel.mount("plait", cover.path, "tmpfs", flags=MS_NOSUID | MS_NODEV, options=options)


def _show(source: int, path: str, flags: int) -> None:
    """Mounts what is open as `source`, with all that is mounted below it."""
    if not os.path.lexists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if stat.S_ISDIR(os.fstat(source).st_mode):
            os.mkdir(path, 0o755)
        else:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    kernel.mount(f"/proc/self/fd/{source}", path, flags=MS_BIND | MS_REC)
    kernel.restrict(path, flags | MS_NOSUID)


def _lay_over(source: int, target: str, covers: Sequence[Cover]) -> None:
    """Lays a file over another; over one that is not there only where the view itself has made the folder."""
    if os.path.exists(target) or _device(os.path.dirname(target)) in {
        _device(cover.path) for cover in covers
    }:
        _show(source, target, _CLOSED)


def _device(path: str) -> int:
    """The file system that a path is on; 0 where there is none."""
    return os.stat(path).st_dev if os.path.exists(path) else 0


def _opened(path: str, *, real: bool = False) -> int:
    """`real`: no symbolic link may have come into the way since somebody looked."""
    file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if real and os.readlink(f"/proc/self/fd/{file}") != path:
        raise OSError(f"{path} leads elsewhere than a moment ago")
    return file
