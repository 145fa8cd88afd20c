"""Starting a child: fork, become what it should be, exec; whatever goes wrong on the way is told in words.

A child gets a session of its own, dies with the shim (Linux: PR_SET_PDEATHSIG, set after the change of user, which
clears it), and inherits nothing but its three standard files.
"""

# pathlib would cost the shim memory.
# ruff: noqa: PTH110, PTH118

from __future__ import annotations

import errno
import os
import pwd
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

NOT_FOUND = 127
NOT_RUNNABLE = 126
"""Exit codes as shells use them."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

if sys.platform == "linux":
    import ctypes

    _libc = ctypes.CDLL(None, use_errno=True)

    def _prctl(option: int, value: int) -> None:
        if _libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")

else:

    def _prctl(option: int, value: int) -> None:
        """Other systems have no such call: there the agent finds what a killed shim leaves behind."""


class SpawnError(Exception):
    """Why a program does not run, in words for its owner, and the exit code that a shell would give."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run, as whom, and where.  `user` empty: as the shim itself."""

    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    directory: str
    user: str = ""
    umask: int = 0o077


def adopt_orphans() -> None:
    """Whatever a descendant leaves behind becomes a child of ours."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def spawn(program: Program, files: Sequence[int]) -> int:
    """Starts a program with `files` as its standard input, output and error; its process id.  SpawnError."""
    account = _account(program.user)
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
        told_text = os.read(told, 64)
    finally:
        os.close(told)
    if told_text:
        os.waitpid(pid, 0)
        stage, _, number = told_text.decode().partition(" ")
        raise _explained(program, stage, int(number))
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
    stage = "prepare"
    try:
        signal.set_wakeup_fd(-1)
        for caught in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(caught, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setsid()
        os.umask(program.umask)
        for standard, file in enumerate(files):
            os.dup2(file, standard, inheritable=True)
        if account is not None:
            stage = "user"
            os.initgroups(account.pw_name, account.pw_gid)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before it could take us along
            os._exit(NOT_RUNNABLE)
        stage = "directory"
        os.chdir(program.directory)
        stage = "command"
        os.execvpe(program.command[0], program.command, dict(program.env))  # noqa: S606 - no shell is wanted
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in a word of the command
        number = getattr(error, "errno", None) or errno.EINVAL
        os.write(tell, f"{stage} {number}".encode())
    finally:
        os._exit(NOT_FOUND)


def _explained(program: Program, stage: str, number: int) -> SpawnError:
    why = os.strerror(number).lower()
    command = program.command[0]
    match stage, number:
        case "user", _:
            return SpawnError(f"cannot run as user {program.user}: {why}", NOT_RUNNABLE)
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
