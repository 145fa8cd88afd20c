"""Files that nobody else may read or plant: directories of 0700, files of 0600 from their first moment on."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path


class Insecure(Exception):  # noqa: N818 - what it says of a file
    """A file or directory could be read or replaced by somebody else."""


def private_directory(path: Path, *, group: int | None = None) -> None:
    """Make a directory with what leads to it, or check one that is there: ours, 0700 and no symbolic link.

    `group`: a group that may look into it too (0750), which takes root's rights.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise Insecure(f"{path} is a symbolic link; remove it")
    if group is not None:
        os.chown(path, -1, group, follow_symlinks=False)
        path.chmod(0o750)
        found = path.lstat()
    _check(path, found, allowed=0o700 if group is None else 0o750)


def write_private(path: Path, data: bytes, *, owner: int | None = None) -> None:
    """Replace a file by one of 0600 in a single step; a symbolic link in its place is replaced, not followed.

    `owner`: a user whose it is to be instead of ours, which takes root's rights.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None:
                os.fchown(descriptor, owner, -1)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def read_private(path: Path, *, owner: int | None = None) -> bytes:
    """The bytes of a file of `owner` (None: ours); Insecure when it is not, lets others read it, or is a link."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Insecure(f"{path} is a symbolic link; remove it") from error
        raise
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Insecure(f"{path} is no plain file; remove it")
        _check(path, found, allowed=0o600, owner=owner)
        return file.read()


def _check(path: Path, found: os.stat_result, *, allowed: int, owner: int | None = None) -> None:
    if found.st_uid != (os.geteuid() if owner is None else owner):
        raise Insecure(f"{path} belongs to another user (uid {found.st_uid})")
    mode = stat.S_IMODE(found.st_mode)
    if mode & ~allowed:
        raise Insecure(f"{path} has mode {mode:04o}, wider than {allowed:04o}; run: chmod {allowed:o} {path}")
