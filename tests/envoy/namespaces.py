"""Network namespaces for tests: each like a replica's in transparent mode, joined by a bridge in one more.

They live as long as a process that sleeps in them; nothing of them is seen outside.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

ENVOY_UID = 41007
OUTSIDE = "203.0.113.9"
"""Somewhere that belongs to no mesh; it is the hub's."""

_HUB_ADDRESS = "198.18.255.254"
_PROGRAMS = ("ip", "nft", "nsenter", "setpriv", "unshare")
_CLONE_NEWNET = 0x40000000

_RULES = """
table inet plait {{
  chain out {{ type nat hook output priority -100;
    meta skuid {uid} return
    oifname "lo" ip daddr 127.0.0.0/8 return
    meta l4proto tcp redirect to :15001
  }}
  chain in {{ type nat hook prerouting priority dstnat;
    tcp dport {{ 15021, 15090 }} return
    meta l4proto tcp redirect to :15006
  }}
}}
"""


def needed() -> None:
    """Skips the tests of a module where there can't be any namespace."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root", allow_module_level=True)
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"network namespaces need {', '.join(missing)}", allow_module_level=True)


@dataclass(frozen=True, slots=True)
class Namespace:
    """One network namespace, by the process that keeps it."""

    address: str
    process: subprocess.Popen[bytes]

    @property
    def enter(self) -> tuple[str, ...]:
        """The words before a command that is to run inside."""
        return ("nsenter", f"--net={_net(self.process.pid)}")

    def run(self, *command: str, stdin: str = "") -> None:
        done = subprocess.run(
            [*self.enter, *command], input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets made meanwhile are made in there; nothing may be awaited."""
        libc = ctypes.CDLL(None, use_errno=True)
        with _net(self.process.pid).open() as there, _net("thread-self").open() as here:
            assert libc.setns(there.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(here.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())

    def open(self) -> socket.socket:
        with self.inside():
            made = socket.socket()
        made.setblocking(False)
        return made

    def listen(self, port: int, address: str = "127.0.0.1") -> socket.socket:
        made = self.open()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen()
        return made


@contextmanager
def hub() -> Iterator[Namespace]:
    """The namespace that joins the others."""
    with _namespace(_HUB_ADDRESS) as made:
        for command in (
            ("link", "set", "lo", "up"),
            ("addr", "add", f"{OUTSIDE}/32", "dev", "lo"),
            ("link", "add", "bridge", "type", "bridge"),
            ("addr", "add", f"{_HUB_ADDRESS}/16", "dev", "bridge"),
            ("link", "set", "bridge", "up"),
        ):
            made.run("ip", *command)
        yield made


@contextmanager
def replica_namespace(to: Namespace, address: str, *, redirected: bool = True) -> Iterator[Namespace]:
    """A namespace of its own, joined to a hub; `redirected`: its traffic comes to a sidecar."""
    name = "v" + address.replace(".", "-")[-12:]
    with _namespace(address) as made:
        to.run("ip", "link", "add", name, "type", "veth", "peer", "eth0", "netns", str(made.process.pid))
        to.run("ip", "link", "set", name, "master", "bridge", "up")
        for command in (
            ("link", "set", "lo", "up"),
            ("addr", "add", f"{address}/16", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("route", "add", "default", "via", _HUB_ADDRESS),
        ):
            made.run("ip", *command)
        if redirected:
            made.run("nft", "-f", "-", stdin=_RULES.format(uid=ENVOY_UID))
        yield made


def _net(process: int | str) -> Path:
    return Path(f"/proc/{process}/ns/net")


@contextmanager
def _namespace(address: str) -> Iterator[Namespace]:
    before = _net("self").readlink()
    process = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
    try:
        while _net(process.pid).readlink() == before:
            assert process.poll() is None
        yield Namespace(address, process)
    finally:
        process.kill()
        process.wait()
