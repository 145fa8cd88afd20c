"""Starting shims and speaking to them.

A shim is started as a child of the agent but needs no parent: it lives in a session of its own, tells everything
over its socket and in status.json, and is spoken to in the same way by the agent that started it and by the next.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plait.agent.shim
from plait.agent.record import MESH, REPLICA, STATUS, ReplicaFiles, ShimStatus
from plait.agent.shim.processes import all_pids, environment_has, started_at
from plait.agent.shim.spec import ALREADY_RUNNING, LOCK

_PROGRAM = str(Path(plait.agent.shim.__file__).with_name("__main__.py"))
_ENTER_WITHIN = 15.0
_CONNECT_WITHIN = 15.0
_PAUSE = 0.02


class ShimLostError(Exception):
    """The shim does not answer, or has gone without a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where a shim begins that is shut in: open files, which stay the caller's too.

    `network`: its network namespace, ready made.  `keep`: what it is to hold for as long as it lives.
    """

    network: int
    keep: tuple[int, ...] = ()


class Entered:
    """A shim that is the first process of its namespaces, and no child of ours; to be asked like a Popen."""

    def __init__(self, pid: int) -> None:
        """`pid`: as we see it.  OSError when there is no such process."""
        self.pid = pid
        self.returncode: int | None = None
        self._process: int | None = None
        self._process = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """None while it lives; 0 once it is gone, and everything of the replica with it."""
        if self.returncode is None and self._process is not None:
            poll = select.poll()
            poll.register(self._process, select.POLLIN)
            if poll.poll(0):
                self.returncode = 0
        if self.returncode is not None:
            self._close()
        return self.returncode

    def _close(self) -> None:
        if self._process is not None:
            os.close(self._process)
            self._process = None

    __del__ = _close


def start(
    files: ReplicaFiles, env: Mapping[str, str], entry: Entry | None = None
) -> subprocess.Popen[bytes] | Entered:
    """Starts the shim of a replica whose record is written; with an entry, returns when it is in there.

    OSError, which says what it is that the kernel refuses.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    log = os.open(files.shim_log, flags, 0o600)
    options, handed = _options(entry)
    try:
        program = subprocess.Popen(
            (sys.executable, "-I", "-S", _PROGRAM, str(files.record), *options),
            env=dict(env),
            cwd=files.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if entry else log,
            stderr=log,
            start_new_session=True,
            pass_fds=handed,
        )
    finally:
        os.close(log)
    return _entered(program, files) if entry else program


def _options(entry: Entry | None) -> tuple[list[str], tuple[int, ...]]:
    if entry is None:
        return [], ()
    words = ["--network", str(entry.network)]
    for descriptor in entry.keep:
        words += ["--keep", str(descriptor)]
    return words, (entry.network, *entry.keep)


def _entered(program: subprocess.Popen[bytes], files: ReplicaFiles) -> Entered:
    """What the program, and the shim that it has started, say of themselves until both are silent."""
    try:
        said, _ = program.communicate(timeout=_ENTER_WITHIN)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        program.communicate()
        raise OSError(f"the shim took longer than {_ENTER_WITHIN:g} s to be shut in") from None
    told: dict[str, Any] = {}
    for line in said.splitlines():
        told |= json.loads(line)
    if "error" in told:
        raise OSError(told["error"])
    if program.returncode == ALREADY_RUNNING:
        raise OSError("an earlier shim of this replica still runs")
    if "pid" not in told:
        raise OSError(f"the shim ended with code {program.returncode}; its log: {files.shim_log}")
    try:
        return Entered(told["pid"])
    except ProcessLookupError:
        raise OSError(f"the shim has ended at once; its log: {files.shim_log}") from None


def alive(files: ReplicaFiles) -> bool:
    """Whether the replica has a living shim: then it holds its lock."""
    try:
        file = os.open(files.directory / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)


async def end_remains(files: ReplicaFiles) -> None:
    """Kills every process that carries the marks of this replica: what a killed shim may have left behind."""
    marks = frozenset({f"{MESH}={files.state}".encode(), f"{REPLICA}={files.id}".encode()})
    while remaining := [pid for pid in all_pids() if environment_has(pid, marks) and started_at(pid)]:
        for pid in remaining:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(_PAUSE)


class Shim:
    """A connection to one shim."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @staticmethod
    async def connect(path: Path, *, coming: Callable[[], bool]) -> Shim:
        """Connects, waiting for a shim that is only starting while `coming` says so.  ShimLostError."""
        try:
            async with asyncio.timeout(_CONNECT_WITHIN):
                while True:
                    try:
                        return Shim(*await asyncio.open_unix_connection(str(path)))
                    except (FileNotFoundError, ConnectionRefusedError):
                        if not coming():
                            raise
                        await asyncio.sleep(_PAUSE)
        except (TimeoutError, OSError) as error:
            raise ShimLostError(f"the shim does not answer at {path}") from error

    async def statuses(self) -> AsyncIterator[ShimStatus]:
        """What the shim tells, the current status first, until it leaves."""
        try:
            while line := await self._reader.readline():
                said = json.loads(line)
                if "status" in said:
                    yield STATUS.from_json(said["status"])
        except (ConnectionError, ValueError) as error:
            raise ShimLostError(str(error)) from error

    def stop(self, drain_seconds: float) -> None:
        """Has it drain, stop and leave."""
        self._say({"command": "stop", "drain_seconds": drain_seconds})

    def kill(self) -> None:
        self._say({"command": "kill"})

    def close(self) -> None:
        self._writer.close()

    def _say(self, what: dict[str, Any]) -> None:
        if not self._writer.is_closing():
            self._writer.write(json.dumps(what).encode() + b"\n")


async def execute(path: Path, argv: tuple[str, ...], files: tuple[int, int, int]) -> tuple[int, str]:
    """Runs a command in the application's place with these standard files: its exit code, and why if it never ran.

    Cancelled, it ends the command.  ShimLostError.
    """
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, str(path))
            line = json.dumps({"command": "exec", "argv": argv}).encode() + b"\n"
            sent = socket.send_fds(connection, [line], list(files))
            await loop.sock_sendall(connection, line[sent:])
            text = b""
            while True:
                *lines, text = text.split(b"\n")
                for said in map(json.loads, lines):
                    if "exit" in said:
                        return int(said["exit"]), str(said.get("error", ""))
                if not (chunk := await loop.sock_recv(connection, 1 << 16)):
                    raise ShimLostError("the replica is gone")
                text += chunk
        except OSError as error:
            raise ShimLostError(f"the replica does not answer: {error.strerror}") from error
