"""Whom the processes of a shut-in replica run as: two users of its own, for its Envoy and for its application.

They are numbers that nobody has.  The range is one that systemd and the usual tools leave free; where a container
maps fewer numbers, the one that services of a moment use.
"""

from __future__ import annotations

import os
import pwd
import random
from collections.abc import Collection
from pathlib import Path

from plait.agent.shim.spec import Account

ENVOY_NAME, APP_NAME = "plait-envoy", "plait-app"
APP_HOME = "/tmp"  # noqa: S108 - the replica's own, which nobody else sees

_RANGES = ((0x70000000, 0x7FFFFFF0), (61184, 65520))
_TRIES = 1000


class NoUserError(Exception):
    """There is nobody to run as; the message says why."""


def draw(taken: Collection[int], chance: random.Random | None = None) -> tuple[Account, Account]:
    """(Envoy's, the application's) users, neither in use nor among `taken`.  NoUserError."""
    chance = chance or random.SystemRandom()
    first, end = _range()
    for _ in range(_TRIES):
        envoy = chance.randrange(first, end - 1, 2)
        if not {envoy, envoy + 1} & set(taken) and not _known(envoy) and not _known(envoy + 1):
            return Account(uid=envoy, gid=envoy), Account(uid=envoy + 1, gid=envoy + 1)
    raise NoUserError(f"every user from {first} to {end} is in use")


def named(user: str) -> Account:
    """The account of a user by name or number, with all its groups.  NoUserError, for root too."""
    try:
        entry = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise NoUserError(f"no such user: {user}") from None
    if entry.pw_uid == 0:
        raise NoUserError(f"{user} is root, whom nothing in the mesh runs as: name another user")
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return Account(uid=entry.pw_uid, gid=entry.pw_gid, groups=tuple(sorted(groups)))


def passwd(envoy: Account, app: Account) -> tuple[str, str]:
    """The texts of /etc/passwd and /etc/group with the two users in them, for programs that ask who they are."""
    own = ((ENVOY_NAME, envoy), (APP_NAME, app))
    users = "".join(
        f"{name}:x:{one.uid}:{one.gid}::{APP_HOME}:/usr/sbin/nologin\n"
        for name, one in own
        if not _known(one.uid)
    )
    groups = "".join(f"{name}:x:{one.gid}:\n" for name, one in own if not _known(one.uid))
    return _text("/etc/passwd") + users, _text("/etc/group") + groups


def _known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _text(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    return text if text.endswith("\n") or not text else text + "\n"


def _range() -> tuple[int, int]:
    """The first range that this user namespace has whole."""
    for first, end in _RANGES:
        if any(start <= first and end <= start + length for start, length in _mapped()):
            return first, end
    raise NoUserError(
        "this user namespace has no spare users: neither 61184 and on nor 1879048192 and on is mapped"
    )


def _mapped() -> list[tuple[int, int]]:
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    return [(int(start), int(length)) for start, _, length in (line.split() for line in lines)]
