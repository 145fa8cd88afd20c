"""The way out of the mesh, where there is one: slirp4netns, a network stack in a program without rights.

It gives the fabric a link, and makes of what comes over it connections and datagrams of the host's own, so that
nothing of the host has to be changed for it.  It asks the host's resolver whatever is asked at RESOLVER.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path

from plait.local import journal
from plait.local.network import programs
from plait.local.network.fabric import EGRESS_LINK, Fabric, way_out_of_ipv6

PROGRAM = "slirp4netns"
RESOLVER = "198.19.0.3"
ROLE = "egress"
_NETWORK = "198.19.0.0/24"
_ADDRESS_6, _ROUTER_6 = "fd00::100", "fd00::2"
"""What the program calls itself over IPv6, and what it expects to be called by."""
_MTU = 65520
_READY_WITHIN_SECONDS = 5.0


def open_way(fabric: Fabric, state: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Starts it for a fabric that has no way out, and waits until there is one.  OSError."""
    ready, tell = os.pipe()
    try:
        with (state / "agent" / "egress.log").open("ab") as log:
            process = subprocess.Popen(
                (
                    *(
                        programs.find(PROGRAM) or PROGRAM,
                        "--netns-type=path",
                        "--configure",
                        f"--mtu={_MTU}",
                        f"--cidr={_NETWORK}",
                    ),
                    *("--disable-host-loopback", "--enable-sandbox", f"--ready-fd={tell}"),
                    *(("--enable-ipv6",) if fabric.ipv6 else ()),
                    *(f"/proc/self/fd/{fabric.descriptor}", EGRESS_LINK),
                ),
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(tell, fabric.descriptor),
                start_new_session=True,
            )
    finally:
        os.close(tell)
    try:
        journal.Journal(state).process(process.pid, ROLE)
        _wait(ready, state)
        if fabric.ipv6:
            way_out_of_ipv6(fabric, _ADDRESS_6, _ROUTER_6)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        os.close(ready)
    return process


def _wait(ready: int, state: Path) -> None:
    """Until the program says that there is a way out.  OSError."""
    heard, _, _ = select.select([ready], [], [], _READY_WITHIN_SECONDS)
    if not heard or not os.read(ready, 1):
        raise OSError(f"{PROGRAM} opens no way out; its log: {state / 'agent' / 'egress.log'}")


def leads_out_of_the_host_by_ipv6() -> bool:
    """Whether this machine has a way for IPv6 itself.

    Without one, a workload is better off without: its programs then try IPv4 at once.
    """
    try:
        routes = [line.split() for line in Path("/proc/net/ipv6_route").read_text().splitlines()]
    except OSError:
        return False
    return any(int(route[0], 16) == 0 and int(route[1], 16) == 0 and route[9] != "lo" for route in routes)


def is_open(state: Path) -> bool:
    """Whether the one that was started last still runs."""
    started = [process for process in journal.processes(state) if process.role == ROLE]
    return bool(started) and journal.birth(started[-1].pid) == started[-1].birth


def close_way(state: Path) -> None:
    """Ends it, whoever started it."""
    for process in journal.processes(state):
        if process.role == ROLE and journal.birth(process.pid) == process.birth:
            os.kill(process.pid, signal.SIGKILL)
