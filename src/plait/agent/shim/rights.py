"""Who a process is and what it may: everything given up for a child, all but the necessary for the shim itself."""

# pathlib would cost the shim memory.
# ruff: noqa: PTH123

from __future__ import annotations

import os

from plait.agent.shim import kernel
from plait.agent.shim.spec import Account

KEPT = {
    0: "CHOWN",
    1: "DAC_OVERRIDE",  # logs and the status are written, folders that others closed are looked into
    2: "DAC_READ_SEARCH",
    3: "FOWNER",
    5: "KILL",  # children that run as others are ended
    6: "SETGID",
    7: "SETUID",
    8: "SETPCAP",  # a child's bounding set is emptied
    18: "SYS_CHROOT",  # setns into a mount namespace takes this one and the last
    19: "SYS_PTRACE",  # /proc is read of children that run as others: hidepid, and the sockets that they have
    21: "SYS_ADMIN",
}
"""What a shim keeps of root's capabilities once its rooms are made."""


def become(account: Account) -> None:
    """Makes this process one of `account` that has no capability and can never get one.  OSError."""
    _bound(0)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    os.setgroups(account.groups)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    # Leaving root has emptied the permitted and the effective set, and the ambient with them: but only as long as
    # nobody has set securebits, so it is said again.
    kernel.set_capabilities(0)
    # Until it runs its program it is still the shim in what it has open and in memory: no sibling may look into it.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def reduce() -> None:
    """Gives up every capability but those KEPT, for good."""
    kept = sum(1 << number for number in KEPT)
    _bound(kept)
    kernel.set_capabilities(_held() & kept)


def _bound(kept: int) -> None:
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        last = int(file.read())
    for number in range(last + 1):
        if not kept >> number & 1:
            kernel.prctl(kernel.PR_CAPBSET_DROP, number)


def _held() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith("CapPrm:"))
