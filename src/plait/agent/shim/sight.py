"""What a user must see of the machine, what hides it, and how a view shows it all the same.  Looks, changes nothing.

A path is hidden by the topmost folder on its way that the user may not enter, or by one that each replica has of
its own (PRIVATE).  Such a folder gets a cover, an empty file system, in which only the way to what is needed is made
again: folders as folders, symbolic links as links, and what they lead to by mounting it there.  A link that the user
itself may have made opens no closed folder: it could name any.
"""

# pathlib would cost the shim memory.
# ruff: noqa: PTH115, PTH116

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from plait.agent.shim.spec import Account, Visible

PRIVATE = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108 - those that everybody writes to
READ, ENTER = 4, 1
"""Bits of a mode, as of others."""
_LINKS = 40


@dataclass(frozen=True, slots=True)
class Cover:
    """A folder that is covered; `private`: by one that everybody may write to."""

    path: str
    private: bool


@dataclass(frozen=True, slots=True)
class Link:
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A view; paths without symbolic links in them.  `steps` are to be taken in their order."""

    steps: tuple[Cover | Link | Visible, ...]


def plan(needed: Iterable[Visible], account: Account) -> Plan:
    """How a user comes to see what it needs; what is not there is left out."""
    private = own()
    shown: dict[str, Visible] = {}
    links: dict[str, Link] = {}
    for one in needed:
        if (found := follow(one.path)) is not None:
            passed, real = found
            if any(is_of(link.path, account) for link in passed) and _hider(real, "", account, ()):
                continue
            links |= {link.path: link for link in passed}
            writable = one.writable or (real in shown and shown[real].writable)
            shown[real] = Visible(path=real, writable=writable)
    covers = {path: Cover(path, private=True) for path in private}
    steps: dict[str, Cover | Link | Visible] = dict(covers)
    for item in (shown | links).values():
        if item.path in private:
            continue
        around = _around(item.path, shown)
        folder = _hider(item.path, around, account, private)
        if folder:
            steps.setdefault(folder, Cover(folder, private=False))
            steps[item.path] = item
        elif around and isinstance(item, Visible) and item.writable and not shown[around].writable:
            steps[item.path] = item
    return Plan(tuple(steps[path] for path in sorted(steps, key=lambda path: path.split("/"))))


def own() -> tuple[str, ...]:
    """The folders that each replica has of its own, as far as there are such."""
    return tuple(dict.fromkeys(found[1] for path in PRIVATE if (found := follow(path)) is not None))


def hider(path: str, account: Account) -> str:
    """The folder that hides a path from a user; empty: none does."""
    found = follow(path)
    return "" if found is None else _hider(found[1], "", account, own())


def follow(path: str) -> tuple[list[Link], str] | None:
    """The symbolic links on the way to a path, and where it really is; None when it is nowhere."""
    links: list[Link] = []
    real, ahead = "", path.split("/")[::-1]
    while ahead:
        name = ahead.pop()
        if name == "..":
            real = real.rpartition("/")[0]
        if name in {"", ".", ".."}:
            continue
        step = f"{real}/{name}"
        try:
            target = os.readlink(step) if stat.S_ISLNK(os.lstat(step).st_mode) else ""
        except OSError:
            return None
        if not target:
            real = step
        elif len(links) == _LINKS:
            return None
        else:
            links.append(Link(step, target))
            real = "" if target.startswith("/") else real
            ahead += target.split("/")[::-1]
    return links, real or "/"


def may(path: str, account: Account, bits: int) -> bool:
    """Whether the mode of a file gives a user these rights of READ and ENTER."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    if found.st_uid == account.uid:
        return (found.st_mode >> 6 & bits) == bits
    if found.st_gid == account.gid or found.st_gid in account.groups:
        return (found.st_mode >> 3 & bits) == bits
    return (found.st_mode & bits) == bits


def is_of(path: str, account: Account) -> bool:
    """Whether a file, or a symbolic link itself, is the user's own."""
    try:
        return os.lstat(path).st_uid == account.uid
    except OSError:
        return False


def _hider(path: str, below: str, account: Account, private: tuple[str, ...]) -> str:
    """The topmost folder on the way to `path`, under `below`, that is not to be entered as it is."""
    end = path.find("/", len(below) + 1)
    while end > 0:
        folder = path[:end]
        if folder in private or not may(folder, account, ENTER):
            return folder
        end = path.find("/", end + 1)
    return ""


def _around(path: str, shown: dict[str, Visible]) -> str:
    """The innermost of the shown folders that has `path` in it; empty: none has."""
    folder = path.rpartition("/")[0]
    while folder and folder not in shown:
        folder = folder.rpartition("/")[0]
    return folder
