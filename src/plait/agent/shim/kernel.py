"""Calls to the kernel that Python 3.11 has no words for.  Each raises OSError with the name of the call."""

from __future__ import annotations

import ctypes
import os
import sys

CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
"""<linux/sched.h>"""

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
"""<linux/mount.h>"""

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
"""<linux/prctl.h>"""

_CAPABILITY_VERSION_3 = 0x20080522
_MOUNT_SETATTR = 442
"""The number of this call is the same on every architecture that Python runs on but alpha."""
_KEYCTL = {"x86_64": 250, "aarch64": 219}
_KEYCTL_JOIN_SESSION_KEYRING = 1
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Other systems have no such call: there the agent finds what a killed shim leaves behind."""
    if sys.platform == "linux":
        _call("prctl", option, value, 0, 0, 0)


def unshare(what: int) -> None:
    _call("unshare", what)


def setns(namespace: int, kind: int) -> None:
    _call("setns", namespace, kind)


def mount(source: str | None, target: str, kind: str | None = None, *, flags: int, options: str = "") -> None:
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind, options or None)]
    _call("mount", *texts[:3], ctypes.c_ulong(flags), texts[3], about=target)


def restrict(target: str, flags: int) -> None:
    """Sets flags (MS_RDONLY, MS_NOSUID, MS_NODEV) on the mount at `target` and all below it; Linux 5.12."""
    attributes = (ctypes.c_uint64 * 4)(flags)  # struct mount_attr: set, clear, propagation, user namespace
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    where = os.fsencode(target)
    arguments = (_AT_FDCWD, where, _AT_RECURSIVE, ctypes.byref(attributes), size)
    _call("syscall", ctypes.c_long(_MOUNT_SETATTR), *arguments, about=f"mount_setattr {target}")


def set_capabilities(held: int) -> None:
    """The capabilities of this thread, as bits: permitted and effective alike, nothing inheritable."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    low, high = held & 0xFFFFFFFF, held >> 32
    _call("capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)))


def leave_keyring() -> None:
    """Gives this process and its children an empty session keyring, where the number of the call is known."""
    if number := _KEYCTL.get(os.uname().machine):
        _libc.syscall(ctypes.c_long(number), ctypes.c_long(_KEYCTL_JOIN_SESSION_KEYRING), None)


def _call(name: str, *arguments: object, about: str = "") -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{about or name}: {os.strerror(number).lower()}")
