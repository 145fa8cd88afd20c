"""Why a user can't enter, run or read something, and what to do about it, in words."""

# pathlib would cost the shim memory.
# ruff: noqa: PTH116

from __future__ import annotations

import os
import stat

from plait.agent.shim import sight
from plait.agent.shim.spec import Account

_WAYS = {
    "directory": ("enter working directory", sight.ENTER, "o+x"),
    "run": ("run", sight.ENTER | sight.READ, "o+rx"),
    "read": ("read", sight.READ, "o+r"),
}


def told(what: str, path: str, why: str, account: Account) -> str:
    """`what`: directory, run or read; `why`: the kernel's own word for it."""
    verb, bits, change = _WAYS[what]
    cannot = f"cannot {verb} {path}"
    found = sight.follow(path)
    if found is None:
        return f"{cannot}: {why}"
    real = found[1]
    cannot = f"{cannot} as user {account.uid}"
    if not sight.may(real, account, bits):
        return f"{cannot}: its mode is {_mode(real)}; chmod {change} {real}"
    hider = sight.hider(real, account)
    if hider in sight.own():
        return f"{cannot}: a replica has a {hider} of its own; keep it elsewhere, or in the working directory"
    if hider:
        closed = f"the mode of {hider} is {_mode(hider)}"
        return f"{cannot}: {closed}; keep it in the working directory, or chmod o+x {hider}"
    return f"{cannot}: {why}"


def _mode(path: str) -> str:
    found = os.stat(path)
    return f"{stat.S_IMODE(found.st_mode):04o} and its owner {found.st_uid}:{found.st_gid}"
