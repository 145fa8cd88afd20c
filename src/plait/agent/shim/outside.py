"""Process ids as they are seen from outside the replica's own namespace."""

# pathlib would cost the shim memory.
# ruff: noqa: PTH123

from __future__ import annotations

import os


class Outside:
    """`proc`: what was /proc when the shim was still outside, open; None: it still is."""

    def __init__(self, proc: int | None = None) -> None:
        self._proc = proc
        self.own = os.getpid() if proc is None else int(os.readlink("self", dir_fd=proc))

    def of(self, child: int) -> int | None:
        """A child's id, by ours for it; None when it can't be known."""
        if self._proc is None:
            return child
        # A descriptor of a process is described with the ids of whatever /proc it is looked at through.
        try:
            process = os.pidfd_open(child)
        except OSError:
            return None
        try:
            described = os.open(f"self/fdinfo/{process}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._proc)
            with open(described, encoding="ascii") as file:
                return next((int(line.split()[1]) for line in file if line.startswith("Pid:")), None)
        except OSError:
            return None
        finally:
            os.close(process)
