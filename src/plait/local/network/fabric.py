"""The fabric: one network namespace between those of the replicas, which forwards from each to each.

Each replica is joined to it by a pair of links of its own, as to a router: no two replicas share a wire, so that
none can answer in another's name, and a packet with a false source goes no further.  The fabric lives by the
descriptors that the agent and every shim hold of it, and vanishes with the last of them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from plait.local.network import namespace, rules
from plait.model.catalog import SidecarAddresses
from plait.model.settings import OutboundTrafficPolicy

GATEWAY = "169.254.1.1"
"""The router that every replica sees at the other end of its link."""
EGRESS_LINK = "egress"
_LINK = "eth0"


@dataclass(frozen=True, slots=True)
class Fabric:
    """The fabric of one mesh; `descriptor` keeps it alive.  `replicas`: the network of all replicas (CIDR)."""

    descriptor: int
    replicas: str
    policy: OutboundTrafficPolicy

    @staticmethod
    def make(replicas: str, policy: OutboundTrafficPolicy) -> Fabric:
        """A new one.  OSError."""
        fabric = Fabric(namespace.make(), replicas, policy)
        try:
            namespace.inside(fabric.descriptor, _as_router)
            fabric.guard()
        except BaseException:
            fabric.close()
            raise
        return fabric

    def guard(self) -> None:
        """Loads its rules.  OSError."""
        text = rules.of_fabric(replicas=self.replicas, egress=EGRESS_LINK, policy=self.policy)
        rules.load(self.descriptor, text)

    def close(self) -> None:
        os.close(self.descriptor)

    def join(self, name: str, sidecar: SidecarAddresses, *, envoy_uid: int, udp_ports: Iterable[int]) -> int:
        """A descriptor of a new namespace for a replica: its rules stand before its link does.

        `name` is short and its alone; a link of that name that is there is an earlier life's, and goes.  OSError.
        """
        inside = namespace.make()
        try:
            namespace.inside(inside, _as_workload)
            rules.load(
                inside,
                rules.of_replica(
                    sidecar,
                    envoy_uid=envoy_uid,
                    udp_ports=udp_ports,
                    replicas=self.replicas,
                    policy=self.policy,
                ),
            )
            namespace.inside(self.descriptor, lambda: _told(_wire, name, sidecar.address, inside))
            namespace.inside(inside, lambda: _told(_plug, sidecar.address))
        except BaseException:
            os.close(inside)
            raise
        return inside


def _as_router() -> None:
    _set("net/ipv4/conf/all/rp_filter", 1)
    _set("net/ipv4/conf/default/rp_filter", 1)
    _without_ipv6()
    _told(_loopback, GATEWAY)
    _set("net/ipv4/ip_forward", 1)


def _as_workload() -> None:
    _without_ipv6()
    _set("net/ipv4/ip_unprivileged_port_start", 0)  # a server without rights may have port 80: it is shut in
    _told(_loopback, "")


def _without_ipv6() -> None:
    """IPv6 on no link but the loopback."""
    with suppress(FileNotFoundError):  # a kernel without it
        _set("net/ipv6/conf/default/disable_ipv6", 1)


def _set(name: str, value: int) -> None:
    """A setting of the network namespace that this thread is in."""
    Path("/proc/sys", name).write_text(str(value))


def _told(act: Callable[..., None], *arguments: Any) -> None:
    """Calls with a connection to the kernel; its refusals become OSErrors."""
    try:
        with IPRoute() as kernel:
            act(kernel, *arguments)
    except NetlinkError as error:
        raise OSError(error.code, f"{act.__name__.strip('_')}: {os.strerror(error.code).lower()}") from error


def _loopback(kernel: Any, address: str) -> None:
    index = _index(kernel, "lo")
    if address:
        kernel.addr("add", index=index, address=address, prefixlen=32)
    kernel.link("set", index=index, state="up")


def _wire(kernel: Any, name: str, address: str, inside: int) -> None:
    """The pair of links, one end in the fabric, and the way to the replica over it."""
    with suppress(NetlinkError):
        kernel.link("del", ifname=name)
    kernel.link("add", ifname=name, kind="veth", peer={"ifname": _LINK, "net_ns_fd": inside})
    index = _index(kernel, name)
    kernel.link("set", index=index, state="up")
    kernel.route("add", dst=f"{address}/32", oif=index, scope=253)


def _plug(kernel: Any, address: str) -> None:
    """The other end, as the replica's only way to anywhere."""
    index = _index(kernel, _LINK)
    kernel.addr("add", index=index, address=address, prefixlen=32)
    kernel.link("set", index=index, state="up")
    kernel.route("add", dst=f"{GATEWAY}/32", oif=index, scope=253)
    kernel.route("add", dst="default", gateway=GATEWAY, oif=index)


def _index(kernel: Any, name: str) -> int:
    found: list[int] = list(kernel.link_lookup(ifname=name))
    if not found:
        raise OSError(errno.ENODEV, f"no link {name}")
    return found[0]
