"""How a shim begins: with its replica's lock, and where the replica is shut in, as the first process in there.

    RECORD                                   everything as it is around us
    RECORD --network FD [--keep FD]...       in a network namespace that is ready made, and in new ones for
                                             processes, mounts and IPC

In the second form the program that was started forks and exits; its child is the shim.  On their standard output,
a JSON object a line, the one tells {"pid": ...}, as it is seen from outside, and either {"error": why}; the output
is closed once the shim has all it needs.  FDs are open files: `keep` is held for as long as the shim lives.
"""

# pathlib would cost the shim memory.
# ruff: noqa: PTH118

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence

from plait.agent.shim import kernel, rights
from plait.agent.shim.outside import Outside
from plait.agent.shim.quarters import Quarters
from plait.agent.shim.room import RoomError
from plait.agent.shim.shell import Shim
from plait.agent.shim.spawn import adopt_orphans
from plait.agent.shim.spec import ALREADY_RUNNING, LOCK, ShimSpec, read

NOT_ENTERED = 1
_NEW = kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC


def main(arguments: Sequence[str]) -> int:
    """Runs one replica until it is over."""
    path, *options = arguments
    umask = os.umask(0o077)
    spec = read(path)
    lock = os.open(os.path.join(spec.directory, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return ALREADY_RUNNING
    if spec.confinement is None:
        adopt_orphans()
        Shim(spec, umask=umask).run()
        return 0
    try:
        network, _ = _descriptors(options)
        return _enter(spec, umask, network)
    except (OSError, RoomError) as error:
        _say({"error": str(error)})
        return NOT_ENTERED


def _descriptors(options: Sequence[str]) -> tuple[int, list[int]]:
    """The open files that were handed to us: of the network, and those to keep; no child inherits one of them."""
    pairs = list(zip(options[::2], options[1::2], strict=True))
    for _, text in pairs:
        os.set_inheritable(int(text), False)
    networks, kept = (
        [int(text) for name, text in pairs if name == wanted] for wanted in ("--network", "--keep")
    )
    if len(networks) != 1:
        raise OSError("the replica is to be shut in, but no network was made for it")
    return networks[0], kept


def _enter(spec: ShimSpec, umask: int, network: int) -> int:
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    kernel.setns(network, kernel.CLONE_NEWNET)
    os.close(network)
    kernel.unshare(_NEW)
    if pid := os.fork():
        _say({"pid": pid})
        return 0
    kernel.leave_keyring()  # whoever has the agent's would have the keys in it
    kernel.mount(None, "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("proc", "/proc", "proc", flags=flags, options="hidepid=2")
    quarters = Quarters(spec)
    rights.reduce()
    os.dup2(2, 1)  # whoever reads our standard output knows by its end that nothing has gone wrong
    Shim(spec, umask=umask, quarters=quarters, outside=Outside(proc)).run()
    return 0


def _say(what: dict[str, object]) -> None:
    os.write(1, json.dumps(what).encode() + b"\n")
