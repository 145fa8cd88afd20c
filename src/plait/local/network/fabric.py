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
from ipaddress import IPv4Address
from pathlib import Path
from socket import AF_INET6
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from plait.local.network import namespace, rules
from plait.model.catalog import SidecarAddresses
from plait.model.names import REPLICA_NETWORK_6
from plait.model.settings import OutboundTrafficPolicy

GATEWAY = "169.254.1.1"
"""The router that every replica sees at the other end of its link."""
GATEWAY_6 = "fe80::1"
EGRESS_LINK = "egress"
_LINK = "eth0"
_SCOPE_LINK = 253
_FORWARDING_6 = "net/ipv6/conf/all/forwarding"


@dataclass(frozen=True, slots=True)
class Fabric:
    """The fabric of one mesh; `descriptor` keeps it alive.  `ipv6`: it has a way out for IPv6 too."""

    descriptor: int
    policy: OutboundTrafficPolicy
    ipv6: bool = False

    @staticmethod
    def make(policy: OutboundTrafficPolicy, *, ipv6: bool = False) -> Fabric:
        """A new one.  OSError."""
        fabric = Fabric(namespace.make(), policy, ipv6)
        try:
            namespace.inside(fabric.descriptor, lambda: _as_router(ipv6=ipv6))
            fabric.guard()
        except BaseException:
            fabric.close()
            raise
        return fabric

    @staticmethod
    def found(descriptor: int, policy: OutboundTrafficPolicy) -> Fabric:
        """The one that is there, under the policy that holds now.  OSError."""
        fabric = Fabric(descriptor, policy, namespace.inside(descriptor, _routes_ipv6))
        fabric.guard()
        return fabric

    def guard(self) -> None:
        """Loads its rules.  OSError."""
        text = rules.of_fabric(egress=EGRESS_LINK, policy=self.policy, ipv6=self.ipv6)
        rules.load(self.descriptor, text)

    def close(self) -> None:
        os.close(self.descriptor)

    def join(self, name: str, sidecar: SidecarAddresses, *, envoy_uid: int, udp_ports: Iterable[int]) -> int:
        """A descriptor of a new namespace for a replica: its rules stand before its link does.

        `name` is short and its alone; a link of that name that is there is an earlier life's, and goes.  OSError.
        """
        inside = namespace.make()
        try:
            namespace.inside(inside, lambda: _as_workload(ipv6=sidecar.ipv6))
            text = rules.of_replica(sidecar, envoy_uid=envoy_uid, udp_ports=udp_ports, policy=self.policy)
            rules.load(inside, text)
            namespace.inside(self.descriptor, lambda: _told(_wire, name, sidecar, inside))
            namespace.inside(inside, lambda: _told(_plug, sidecar))
        except BaseException:
            os.close(inside)
            raise
        return inside


def way_out_of_ipv6(fabric: Fabric, address: str, router: str) -> None:
    """Gives the link out of the fabric its address, which nobody there hands out.  OSError."""

    def configure(kernel: Any) -> None:
        index = _index(kernel, EGRESS_LINK)
        kernel.addr("add", index=index, address=address, prefixlen=64)
        kernel.route("replace", dst="default", family=AF_INET6, gateway=router, oif=index)

    namespace.inside(fabric.descriptor, lambda: _told(configure))


def _as_router(*, ipv6: bool) -> None:
    _set("net/ipv4/conf/all/rp_filter", 1)
    _set("net/ipv4/conf/default/rp_filter", 1)
    _ipv6(wanted=ipv6)
    _told(_loopback, GATEWAY)
    _set("net/ipv4/ip_forward", 1)
    if ipv6:
        _set(_FORWARDING_6, 1)


def _routes_ipv6() -> bool:
    try:
        return Path("/proc/sys", _FORWARDING_6).read_text().strip() == "1"
    except OSError:
        return False


def _as_workload(*, ipv6: bool) -> None:
    _ipv6(wanted=ipv6)
    _set("net/ipv4/ip_unprivileged_port_start", 0)  # a server without rights may have port 80: it is shut in
    _told(_loopback, "")


def _ipv6(*, wanted: bool) -> None:
    """IPv6 on links to come, with the addresses that we give them; or on no link but the loopback."""
    with suppress(FileNotFoundError):  # a kernel without it
        if wanted:
            _set("net/ipv6/conf/default/accept_ra", 0)
            _set("net/ipv6/conf/default/accept_dad", 0)
        else:
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


def _wire(kernel: Any, name: str, sidecar: SidecarAddresses, inside: int) -> None:
    """The pair of links, one end in the fabric, and the way to the replica over it."""
    with suppress(NetlinkError):
        kernel.link("del", ifname=name)
    kernel.link("add", ifname=name, kind="veth", peer={"ifname": _LINK, "net_ns_fd": inside})
    index = _index(kernel, name)
    kernel.link("set", index=index, state="up")
    kernel.route("add", dst=f"{sidecar.address}/32", oif=index, scope=_SCOPE_LINK)
    if sidecar.ipv6:
        kernel.addr("add", index=index, address=GATEWAY_6, prefixlen=64)
        kernel.route("add", dst=f"{_address_6(sidecar)}/128", oif=index)


def _plug(kernel: Any, sidecar: SidecarAddresses) -> None:
    """The other end, as the replica's only way to anywhere."""
    index = _index(kernel, _LINK)
    kernel.addr("add", index=index, address=sidecar.address, prefixlen=32)
    kernel.link("set", index=index, state="up")
    kernel.route("add", dst=f"{GATEWAY}/32", oif=index, scope=_SCOPE_LINK)
    kernel.route("add", dst="default", gateway=GATEWAY, oif=index)
    if sidecar.ipv6:
        kernel.addr("add", index=index, address=_address_6(sidecar), prefixlen=128)
        kernel.route("add", dst="default", family=AF_INET6, gateway=GATEWAY_6, oif=index)


def _address_6(sidecar: SidecarAddresses) -> str:
    return str(REPLICA_NETWORK_6[int(IPv4Address(sidecar.address))])


def _index(kernel: Any, name: str) -> int:
    found: list[int] = list(kernel.link_lookup(ifname=name))
    if not found:
        raise OSError(errno.ENODEV, f"no link {name}")
    return found[0]
