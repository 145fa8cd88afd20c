"""What somebody tries who wants out of a workload: one attempt a word, told as `NAME: what came of it`."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

libc = ctypes.CDLL(None, use_errno=True)
PTRACE_ATTACH = 16
CLONE_NEWNET, CLONE_NEWUSER, CLONE_NEWNS = 0x40000000, 0x10000000, 0x00020000


def outcome(act: Callable[..., Any], *arguments: Any) -> str:
    try:
        found = act(*arguments)
    except OSError as error:
        return type(error).__name__
    return f"done {found}" if found is not None else "done"


def called(name: str, *arguments: Any) -> None:
    if getattr(libc, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def others() -> list[int]:
    """Every process but our own that /proc shows."""
    return sorted(int(name) for name in os.listdir("/proc") if name.isdecimal() and int(name) != os.getpid())


def identity(*_: str) -> str:
    wanted = ("Uid", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")
    with open("/proc/self/status") as file:
        lines = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    return " ".join(f"{name}={lines[name].split()[0]}" for name in wanted)


def connect(host: str, port: str, kind: str = "tcp") -> str:
    """What a server says to a connection, `closed` when it says nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as made:
        made.settimeout(3)
        made.connect((host, int(port)))
        made.sendall(b"GET /secret HTTP/1.1\r\nhost: x\r\n\r\n")
        return (
            repr(made.recv(300)[:60])
            if kind == "udp"
            else (made.recv(300)[:60].decode("latin-1") or "closed")
        )


def setuid(uid: str) -> None:
    os.setresuid(int(uid), int(uid), int(uid))


def nft(*words: str) -> str:
    done = subprocess.run(["nft", *words], capture_output=True, text=True, check=False)
    return f"exit {done.returncode} {done.stderr.splitlines()[-1] if done.stderr else ''}"


def enter(path: str) -> None:
    """Into the network namespace of another process."""
    descriptor = os.open(path, os.O_RDONLY)
    called("setns", descriptor, CLONE_NEWNET)


def enter_all(*_: str) -> list[str]:
    return [outcome(enter, f"/proc/{pid}/ns/net") for pid in others()]


def trace(pid: str) -> None:
    called("ptrace", PTRACE_ATTACH, int(pid), 0, 0)


def kill(pid: str) -> None:
    os.kill(int(pid), signal.SIGKILL)


def read(path: str) -> int:
    with open(path, "rb") as file:
        return len(file.read())


def look(path: str) -> str:
    return ",".join(sorted(os.listdir(path)))


def user_namespace(host: str, port: str) -> object:
    """Root in a namespace of its own making: is that worth anything outside of it?"""
    called("unshare", CLONE_NEWUSER)
    with_rights = (
        [outcome(called, "setns", os.open("/proc/1/ns/net", os.O_RDONLY), CLONE_NEWNET)]
        if os.path.exists("/proc/1/ns/net")
        else []
    )
    return with_rights, outcome(nft, "flush", "ruleset"), outcome(connect, host, port)


print(f"{sys.argv[1]}: {outcome(globals()[sys.argv[1]], *sys.argv[2:])}")
