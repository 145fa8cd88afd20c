"""Whether this machine, and who we are on it, allow transparent mode; and if not, what is missing and how to get it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from plait.agent.shim.rights import KEPT
from plait.local.network import egress, namespace, programs, rules
from plait.local.users import NoUserError, draw
from plait.model.catalog import SidecarAddresses
from plait.model.settings import OutboundTrafficPolicy

_CAPABILITIES = KEPT | {12: "NET_ADMIN"}


def missing(policy: OutboundTrafficPolicy) -> tuple[str, ...]:
    """What transparent mode lacks here, a sentence each; nothing: it can be had."""
    if sys.platform != "linux":
        return ("it needs Linux, whose network namespaces it is made of",)
    lacking = [*_rights(), *_programs(policy)]
    return tuple(lacking or _trial())


def _rights() -> list[str]:
    if os.geteuid() != 0:
        return ["it needs root's rights: run the same command with sudo"]
    held = _effective()
    names = [name for number, name in _CAPABILITIES.items() if not held >> number & 1]
    if not names:
        return []
    flags = " ".join(f"--cap-add {name}" for name in names)
    return [
        f"root lacks capabilities here: {', '.join(names)}; start the container with {flags} (or --privileged)"
    ]


def _effective() -> int:
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("CapEff:")).split()[1], 16)
    return 0


def _programs(policy: OutboundTrafficPolicy) -> list[str]:
    wanted = [(rules.PROGRAM, "nftables")]
    if policy is OutboundTrafficPolicy.ALLOW_ANY:
        wanted.append((egress.PROGRAM, egress.PROGRAM))
    return [
        f"the program {program} is not installed: apt-get install {package}"
        for program, package in wanted
        if programs.find(program) is None
    ]


def _trial() -> list[str]:
    """Makes, for a moment, what every replica needs."""
    try:
        draw(())
    except NoUserError as error:
        return [str(error)]
    sample = SidecarAddresses(address="198.18.0.1", transparent=True)
    text = rules.of_replica(sample, envoy_uid=1, udp_ports=(1,), policy=OutboundTrafficPolicy.REGISTRY_ONLY)
    try:
        made = namespace.make()
    except OSError as error:
        return [f"no network namespace can be made here ({error.strerror})"]
    try:
        rules.load(made, text)
    except OSError as error:
        return [f"the kernel does not take the rules ({error}); are the modules of nftables' NAT there?"]
    finally:
        os.close(made)
    return _trial_of_process_namespaces()


def _trial_of_process_namespaces() -> list[str]:
    trial = (sys.executable, "-I", "-S", "-c", _ENTER)
    done = subprocess.run(trial, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [f"no process can be shut in here: {done.stdout.strip()}"]


_ENTER = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        print(f"{name}: {os.strerror(ctypes.get_errno()).lower()}", flush=True)
        os._exit(1)
call("unshare", 0x00020000 | 0x20000000 | 0x08000000)
if libc.syscall(442, -1, b"", 0, None, 0) < 0 and ctypes.get_errno() == errno.ENOSYS:
    print("mount_setattr: it needs Linux 5.12 or newer", flush=True)
    os._exit(1)
pid = os.fork()
if pid == 0:
    call("mount", b"none", b"/", None, 0x44000, None)
    call("mount", b"proc", b"/proc", b"proc", 0, b"hidepid=2")
    call("mount", b"tmpfs", b"/tmp", b"tmpfs", 0, None)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
"""A process in namespaces of its own (mount, pid, ipc), which mounts what a shim mounts."""
