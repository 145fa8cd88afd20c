"""Starting a child: fork, become what it should be, exec; whatever goes wrong on the way is told in words.

A child gets a session of its own, dies with the shim (Linux: PR_SET_PDEATHSIG, set after the change of user, which
clears it), and inherits nothing but its three standard files.  One that is shut in enters its room first, gives up
all rights, and is told what it can't see before it comes to run.
"""

# pathlib would cost the shim memory.
# ruff: noqa: PTH110, PTH118

from __future__ import annotations

import errno
import os
import pwd
import select
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from plait.agent.shim import kernel, needs, refusal, rights
from plait.agent.shim.spec import Account

NOT_FOUND = 127
NOT_RUNNABLE = 126
"""Exit codes as shells use them."""
_TOLD_BYTES = 8192
_WITHIN = 5.0
"""Seconds in which a child comes to run its program."""


class SpawnError(Exception):
    """Why a program does not run, in words for its owner, and the exit code that a shell would give."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Shut:
    """How a program is shut in: as whom, and by the descriptor of its room.

    `words`: it is not started either while a word of its command names a file that it may not read.
    """

    account: Account
    room: int
    words: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, as whom, and where.  `user` empty: as the shim itself; `shut` says it instead."""

    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    directory: str
    user: str = ""
    umask: int = 0o077
    shut: Shut | None = None


def adopt_orphans() -> None:
    """Whatever a descendant leaves behind becomes a child of ours."""
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)


def spawn(program: Program, files: Sequence[int]) -> int:
    """Starts a program with `files` as its standard input, output and error; its process id.  SpawnError."""
    account = _account(program.user)
    if program.shut and program.shut.account.uid == 0:
        raise SpawnError("nothing that is shut in runs as root: name another user", NOT_RUNNABLE)
    told, tell = os.pipe()
    parent = os.getpid()
    # Until the child has dropped our handlers, a signal meant for it must wait, or it would be lost.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _become(program, account, files, parent=parent, tell=tell)
    finally:
        os.close(tell)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        # Once it is its user's, another of that user's may stop it, and must not stop the shim with it.
        late = not select.select([told], [], [], _WITHIN)[0]
        told_text = b"" if late else os.read(told, _TOLD_BYTES)
    finally:
        os.close(told)
    if late:
        os.kill(pid, signal.SIGKILL)
        told_text = f"time {errno.ETIMEDOUT} ".encode()
    if told_text:
        os.waitpid(pid, 0)
        stage, number, about = os.fsdecode(told_text).split(" ", 2)
        raise _explained(program, stage, int(number), about)
    return pid


def _account(user: str) -> pwd.struct_passwd | None:
    if not user:
        return None
    try:
        account = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except KeyError:
        raise SpawnError(f"no such user: {user}", NOT_RUNNABLE) from None
    return None if account.pw_uid == os.geteuid() else account


def _become(
    program: Program,
    account: pwd.struct_passwd | None,
    files: Sequence[int],
    *,
    parent: int,
    tell: int,
) -> NoReturn:
    """The child, between fork and exec; it never returns."""
    stage, about, found = "prepare", "", program.command[0]
    try:
        _begin_afresh(program.umask, files)
        hurdles: list[tuple[str, int]] = []
        if program.shut is not None:
            search = needs.Search.of(program.env, program.directory, program.shut.account)
            # Looked for with the shim's eyes, so that what is not to be had can be named.
            found = search.find(program.command[0])
            hurdles = needs.hurdles(search, program.command, words=program.shut.words)
            stage = "room"
            kernel.setns(program.shut.room, kernel.CLONE_NEWNS)
            stage = "user"
            rights.become(program.shut.account)
        elif account is not None:
            stage = "user"
            os.initgroups(account.pw_name, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before it could take us along
            os._exit(NOT_RUNNABLE)
        stage = "directory"
        os.chdir(program.directory)
        for about, wanted in hurdles:
            stage = "run" if wanted & os.X_OK else "read"
            if not os.access(about, wanted):
                raise PermissionError(errno.EACCES, about)
        stage, about = "command", ""
        os.execvpe(program.command[0], program.command, dict(program.env))  # noqa: S606 - no shell is wanted
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in a word of the command
        number = getattr(error, "errno", None) or errno.EINVAL
        if stage == "command" and number == errno.EACCES and not found:
            number = errno.ENOENT  # in a folder that is closed to its user, who can't tell
        os.write(tell, os.fsencode(f"{stage} {number} {about}"))
    finally:
        os._exit(NOT_FOUND)


def _begin_afresh(umask: int, files: Sequence[int]) -> None:
    """Nothing of the shim's own is left in how the child takes signals, nor in its session and standard files."""
    signal.set_wakeup_fd(-1)
    for caught in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(caught, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()
    os.umask(umask)
    for standard, file in enumerate(files):
        os.dup2(file, standard, inheritable=True)


def _explained(program: Program, stage: str, number: int, about: str) -> SpawnError:
    why = os.strerror(number).lower()
    command = program.command[0]
    if program.shut is not None and stage in {"directory", "run", "read"}:
        path = about or program.directory
        return SpawnError(refusal.told(stage, path, why, program.shut.account), NOT_RUNNABLE)
    match stage, number:
        case "user", _:
            user = program.shut.account.uid if program.shut else program.user
            return SpawnError(f"cannot run as user {user}: {why}", NOT_RUNNABLE)
        case "directory", _:
            return SpawnError(f"cannot enter working directory {program.directory}: {why}", NOT_RUNNABLE)
        case "command", errno.ENOENT if "/" in command and os.path.exists(
            os.path.join(program.directory, command)
        ):
            return SpawnError(f"cannot run {command}: the interpreter it names was not found", NOT_FOUND)
        case "command", errno.ENOENT:
            return SpawnError(f"command not found: {command}", NOT_FOUND)
        case "command", _:
            return SpawnError(f"cannot run {command}: {why}", NOT_RUNNABLE)
        case _:
            return SpawnError(f"cannot start {command}: {why}", NOT_RUNNABLE)
