"""The state directory: where everything of one mesh lies, and the lock that says who runs it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from plait.local.journal import Journal

_LONGEST_SOCKET_PATH = 107
"""What the kernel takes for the path of a Unix socket."""
_LONGEST_SOCKET_NAME = len("run/12345678/admin") + 1
_MOMENT, _PAUSE = 0.3, 0.02
"""Seconds that the lock is waited for, and between two tries."""


class StateDirectoryError(Exception):
    """The directory can't be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """Paths below one root.  All of it is private to the user who runs the mesh, and gone after `plait down`."""

    root: Path

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def authority(self) -> Path:
        return self.root / "ca"

    @property
    def control_plane(self) -> Path:
        return self.root / "control-plane"

    @property
    def agent(self) -> Path:
        return self.root / "agent"

    @property
    def api_socket(self) -> Path:
        return self.root / "run" / "api.sock"

    @property
    def api_token(self) -> Path:
        """What lets one use the API over TCP, where it is served there; another at each start."""
        return self.control_plane / "api-token"

    @property
    def api_address(self) -> Path:
        """HOST:PORT of the API, where it is served over TCP."""
        return self.control_plane / "api-address"

    @property
    def dashboard_log(self) -> Path:
        return self.control_plane / "dashboard.log"

    @property
    def xds_socket(self) -> Path:
        """In a directory of its own, which is all of this one that Envoys of other users are shown."""
        return self.root / "run" / "xds" / "sock"

    @property
    def link_socket(self) -> Path:
        return self.root / "run" / "link.sock"

    @property
    def join_socket(self) -> Path:
        return self.root / "run" / "join.sock"

    def create(self) -> None:
        """Make the directory and its parts, 0700; refuse one that holds what is not ours or that others can write."""
        longest = len(os.fsencode(self.root)) + _LONGEST_SOCKET_NAME
        if longest > _LONGEST_SOCKET_PATH:
            raise StateDirectoryError(
                f"{self.root}: the path is {longest - _LONGEST_SOCKET_PATH} bytes too long for the sockets in it; "
                "name a shorter one with --state-dir"
            )
        try:
            self._create()
        except OSError as error:
            raise StateDirectoryError(f"{error.filename or self.root}: {error.strerror}") from error

    def _create(self) -> None:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        strangers = sorted(
            entry.name for entry in self.root.iterdir() if entry.name not in PARTS or entry.is_symlink()
        )
        if strangers:
            raise StateDirectoryError(
                f"{self.root} holds something that is not Plait's ({strangers[0]}); "
                "name an empty or a new directory with --state-dir"
            )
        if self.root.stat().st_uid != os.getuid():
            raise StateDirectoryError(f"{self.root} belongs to another user")
        self.root.chmod(0o700)
        Journal(self.root)  # first of all: by it the rest is known as a mesh's, should we be killed here
        for part in (
            self.authority,
            self.control_plane,
            self.agent,
            self.root / "names",
            self.root / "run",
            self.root / "replicas",
        ):
            part.mkdir(mode=0o700, exist_ok=True)
        self.xds_socket.parent.mkdir(exist_ok=True)
        self.xds_socket.parent.chmod(0o755)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the directory and be the one who runs a mesh from it."""
        self.create()
        with self.held() as descriptor:
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            self.create()  # the one who had it before may just have removed it
            yield

    @contextmanager
    def held(self, patience: float = _MOMENT) -> Iterator[int]:
        """Be the only one who works with the directory, which is there; waits for others up to `patience` seconds."""
        descriptor = self._take(time.monotonic() + patience)
        try:
            os.ftruncate(descriptor, 0)
            yield descriptor
        finally:
            os.close(descriptor)

    def owner(self) -> int | None:
        """The process that holds the lock, or None when nobody does."""
        try:
            descriptor = os.open(self.lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            if _lock(descriptor):
                return None
            text = _written(descriptor)
            return int(text) if text.isdecimal() else None
        finally:
            os.close(descriptor)

    def mine(self) -> bool:
        """Whether the directory still is the one that this process has locked: somebody may have removed it."""
        try:
            return self.lock.read_text().strip() == str(os.getpid())
        except OSError:
            return False

    def _take(self, deadline: float) -> int:
        """The lock's descriptor.  Who only looks at the lock has it for a moment too, so that we try more than once."""
        while True:
            try:
                descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise StateDirectoryError(f"{self.lock}: {error.strerror}") from error
            taken = False
            try:
                taken = _lock(descriptor) and _is_at(descriptor, self.lock)
                if not taken and time.monotonic() > deadline:
                    raise StateDirectoryError(
                        f"a mesh runs from {self.root} already (process {_written(descriptor) or 'unknown'}); "
                        "stop it with `plait down`, or name another directory with --state-dir"
                    )
            finally:
                if not taken:
                    os.close(descriptor)
            if taken:
                return descriptor
            time.sleep(_PAUSE)


def _lock(descriptor: int) -> bool:
    """Take the lock, unless somebody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether a file is still the one at a path, and not one that was removed meanwhile."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _written(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode(errors="replace").strip()


PARTS = frozenset({"lock", "journal.jsonl", "ca", "run", "control-plane", "agent", "names", "replicas"})
"""Everything that Plait makes in a state directory."""
