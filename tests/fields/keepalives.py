"""How the kernel keeps the connections of another process alive."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

_PIDFD_GETFD = 438
_OPTIONS = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)


def keepalives(pid: int, peers: Collection[str]) -> list[tuple[int, ...]]:
    """Time, interval (seconds) and probes of each connection that a child of this process has to some addresses.

    () for one that nobody asks after.  Linux alone.
    """
    return [_keepalive(one) for one in _opened(pid) if one.getpeername()[0] in peers]


def _keepalive(one: socket.socket) -> tuple[int, ...]:
    asked = one.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    return tuple(one.getsockopt(socket.IPPROTO_TCP, option) for option in _OPTIONS) if asked else ()


def _opened(pid: int) -> Iterator[socket.socket]:
    """The TCP connections of a process, each by one more handle, which is closed when the next one is asked for."""
    there = os.pidfd_open(pid)
    try:
        for path in Path(f"/proc/{pid}/fd").iterdir():
            number = ctypes.CDLL(None).syscall(_PIDFD_GETFD, there, int(path.name), 0)
            if number < 0:
                continue  # closed meanwhile
            if not str(Path(f"/proc/self/fd/{number}").readlink()).startswith("socket:"):
                os.close(number)
                continue
            with socket.socket(fileno=number) as one, suppress(OSError):
                if one.family == socket.AF_INET and one.type == socket.SOCK_STREAM and one.getpeername():
                    yield one
    finally:
        os.close(there)
