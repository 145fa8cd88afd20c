"""A program that tells, as JSON, who it is, what it sees, and what it can do to those who are not meant for it.

inquiry.py ENVOY_UID [FOLDER]...
"""

# ruff: noqa: PTH102, PTH106, PTH115, PTH118, PTH123, PTH208, T201

import ctypes
import json
import os
import socket
import sys
import time
from collections.abc import Callable

libc = ctypes.CDLL(None, use_errno=True)
ENVOY_UID, FOLDERS = int(sys.argv[1]), sys.argv[2:]
_ATTACH, _DETACH = 16, 17
_MORE_PIDS_THAN_THERE_ARE = 400


def outcome(act: Callable[..., object], *arguments: object) -> str:
    """Empty when it could be done; otherwise the error's name."""
    try:
        act(*arguments)
    except OSError as error:
        return type(error).__name__
    return ""


def call(name: str, *arguments: object) -> None:
    if getattr(libc, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def trace(pid: int) -> None:
    call("ptrace", _ATTACH, pid, None, None)
    os.waitpid(pid, 0)
    call("ptrace", _DETACH, pid, None, None)


def read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def in_a_user_namespace(act: Callable[[], None]) -> str:
    """What comes of it for root of a user namespace of its own, which anybody may make."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        made = outcome(call, "unshare", 0x10000000 | 0x00020000)
        os.write(tell, (made or outcome(act) or "done").encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return os.read(told, 100).decode()


def uncover() -> None:
    for folder in FOLDERS:
        call("umount2", folder.encode(), 2)


def look_below() -> None:
    """Mounts the root alone, without what is mounted on it, and looks at what that had covered."""
    os.mkdir("/tmp/below")
    try:
        call("mount", b"/", b"/tmp/below", None, 4096, None)
    finally:
        os.rmdir("/tmp/below")


def to_others() -> dict[str, list[int]]:
    """The processes to which something could be done, and those that are there and refuse; not what ends at once."""
    found: dict[str, list[int]] = {"refusing": [], "signalled": [], "traced": [], "read": [], "listed": []}
    own = {os.getpid(), os.getppid()}
    there = [
        pid for pid in range(1, _MORE_PIDS_THAN_THERE_ARE) if outcome(os.kill, pid, 0) != "ProcessLookupError"
    ]
    time.sleep(0.3)  # a probe has come and gone by then
    for pid in set(there) - own:
        match outcome(os.kill, pid, 0):
            case "ProcessLookupError":
                continue
            case "PermissionError":
                found["refusing"].append(pid)
            case _:
                found["signalled"].append(pid)
        if not outcome(trace, pid):
            found["traced"].append(pid)
        if not all(outcome(read, f"/proc/{pid}/{name}") for name in ("environ", "mem", "maps", "cmdline")):
            found["read"].append(pid)
        if not outcome(os.listdir, f"/proc/{pid}/fd"):
            found["listed"].append(pid)
    return found


def status() -> dict[str, str]:
    with open("/proc/self/status") as file:
        pairs = [line.partition(":") for line in file]
    return {name: value.strip() for name, _, value in pairs}


def listing(folder: str) -> list[str] | str:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        return type(error).__name__


def main() -> None:
    told = {
        "pid": os.getpid(),
        "status": status(),
        "groups": os.getgroups(),
        "seen": sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()),
        "folders": {folder: listing(folder) for folder in FOLDERS},
        "open": {name: os.readlink(f"/proc/self/fd/{name}") for name in ("0", "1", "2")},
        "others": to_others(),
        "attempts": {
            "become root": outcome(os.setuid, 0),
            "become Envoy": outcome(os.setuid, ENVOY_UID),
            "become Envoy's group": outcome(os.setgid, ENVOY_UID),
            "take groups": outcome(os.setgroups, [ENVOY_UID]),
            "leave the network": outcome(call, "unshare", 0x40000000),
            "leave the room": outcome(call, "unshare", 0x00020000),
            "enter the shim's room": outcome(os.open, "/proc/1/ns/mnt", os.O_RDONLY),
            "mount": outcome(call, "mount", b"none", b"/mnt", b"tmpfs", 0, None),
            "uncover": outcome(uncover),
            "see packets": outcome(socket.socket, socket.AF_PACKET, socket.SOCK_RAW),
            "write to a cover": outcome(os.mkdir, os.path.join(FOLDERS[-1], "made")),
            "change a setting": outcome(os.open, "/proc/sys/net/ipv4/ip_forward", os.O_WRONLY),
        },
        "in a user namespace": {
            "uncover": in_a_user_namespace(uncover),
            "look below": in_a_user_namespace(look_below),
            "become Envoy": in_a_user_namespace(lambda: os.setuid(ENVOY_UID)),
        },
    }
    print(json.dumps(told))


main()
