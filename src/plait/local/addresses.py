"""Where the sidecar and the application of a replica listen.

Transparent mode: each replica has an address of its own on the mesh's network, where its ports keep their numbers,
and its application listens on the loopback of its own namespace.  Explicit mode: Linux answers for all of 127.0.0.0/8, so each sidecar gets an address 127.77.x.y of its own and its application
127.78.x.y, and ports keep their numbers.  Elsewhere everything is 127.0.0.1, told apart by allocated ports.
An address or port is free when it can be bound; it is not held, so a stranger may still take it, and then Envoy
or the application says so.
"""

from __future__ import annotations

import errno
import random
import socket
import sys
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Protocol

from plait.envoy import otlp
from plait.model.catalog import Binding, SidecarAddresses, WorkloadPort
from plait.model.names import REPLICA_NETWORK
from plait.model.settings import Mode

_TRIES = 200
_INSIST = 8
"""So many addresses are tried before a number that is taken everywhere (by somebody on 0.0.0.0) is given up."""
_SIDECARS, _APPLICATIONS = "127.77", "127.78"
LOOPBACK = "127.0.0.1"


class NoAddressError(Exception):
    """No place can be found for a replica; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where one replica lives: its sidecar's own ports, its declared ports, the address of its application."""

    sidecar: SidecarAddresses
    bindings: tuple[Binding, ...]
    host: str
    """What the application is told to listen on."""


NOWHERE = Places(sidecar=SidecarAddresses(address=""), bindings=(), host="")
"""For a replica that no place was found for."""


class Plan(Protocol):
    """How replicas are given places."""

    def choose(self, ports: tuple[WorkloadPort, ...], taken: Collection[str]) -> Places:
        """A place for a replica with these ports; `taken`: sidecar addresses in use.  NoAddressError."""


def plan(mode: Mode = Mode.EXPLICIT, *, ipv6: bool = False) -> Plan:
    """The plan for a mode on the system that this runs on."""
    if mode is Mode.TRANSPARENT:
        return OwnNamespaces(ipv6)
    return OwnAddresses() if sys.platform == "linux" else OwnPorts()


@dataclass(frozen=True, slots=True)
class OwnNamespaces:
    """Transparent mode: an address on the mesh's network, chosen at random, so that none is soon another's."""

    ipv6: bool = False
    random: random.Random = field(default_factory=random.SystemRandom)

    def choose(self, ports: tuple[WorkloadPort, ...], taken: Collection[str]) -> Places:
        grpc, http = _otlp(ports)
        for _ in range(_TRIES):
            address = str(REPLICA_NETWORK[self.random.randrange(1, REPLICA_NETWORK.num_addresses - 1)])
            if address not in taken:
                return Places(
                    sidecar=SidecarAddresses(
                        address=address,
                        otlp_grpc=grpc,
                        otlp_http=http,
                        transparent=True,
                        ipv6=self.ipv6,
                    ),
                    bindings=tuple(
                        _binding(port, (address, port.number), (LOOPBACK, port.number)) for port in ports
                    ),
                    host=LOOPBACK,
                )
        raise NoAddressError(f"no free address was found in {REPLICA_NETWORK}")


@dataclass(frozen=True, slots=True)
class OwnAddresses:
    """Linux: a pair of loopback addresses a replica, chosen at random, so that meshes stay out of each other's way.

    A number that may not be bound (below 1024) or is taken at every address is replaced by an allocated one.
    """

    random: random.Random = field(default_factory=random.SystemRandom)

    def choose(self, ports: tuple[WorkloadPort, ...], taken: Collection[str]) -> Places:
        grpc, http = _otlp(ports)
        sidecar = SidecarAddresses(address=LOOPBACK, otlp_grpc=grpc, otlp_http=http)
        own = _own_ports(sidecar)
        for port in ports:
            if port.number in own:
                raise NoAddressError(f"port {port.number} is one of the sidecar's own")
        for attempt in range(_TRIES):
            rest = f"{self.random.randrange(256)}.{self.random.randrange(1, 255)}"
            hosts = f"{_SIDECARS}.{rest}", f"{_APPLICATIONS}.{rest}"
            if hosts[0] in taken:
                continue
            with ExitStack() as bound:
                if not all(_bind(bound, hosts[0], number) for number in own):
                    continue
                bindings = [_bound(bound, port, hosts, insist=attempt < _INSIST) for port in ports]
                if None not in bindings:
                    return Places(
                        sidecar=replace(sidecar, address=hosts[0]),
                        bindings=tuple(binding for binding in bindings if binding),
                        host=hosts[1],
                    )
        raise NoAddressError(f"no free address was found in {_SIDECARS}.0.0/16 and {_APPLICATIONS}.0.0/16")


@dataclass(frozen=True, slots=True)
class OwnPorts:
    """Any system: one address, and as many ports as are needed, allocated by the kernel."""

    def choose(self, ports: tuple[WorkloadPort, ...], taken: Collection[str]) -> Places:  # noqa: ARG002 - the plan's form; an address in use is no obstacle here
        takes = _otlp(ports)
        with ExitStack() as bound:
            numbers = iter(lambda: _bind(bound, LOOPBACK, 0), None)
            sidecar = SidecarAddresses(
                address=LOOPBACK,
                outbound=next(numbers),
                inbound=next(numbers),
                health=next(numbers),
                metrics=next(numbers),
                otlp_grpc=next(numbers) if takes[0] else 0,
                otlp_http=next(numbers) if takes[1] else 0,
            )
            bindings = tuple(
                _binding(port, (LOOPBACK, next(numbers)), (LOOPBACK, next(numbers))) for port in ports
            )
            return Places(sidecar=sidecar, bindings=bindings, host=LOOPBACK)


def _own_ports(sidecar: SidecarAddresses) -> tuple[int, ...]:
    own = (sidecar.outbound, sidecar.inbound, sidecar.health, sidecar.metrics)
    return (*own, *(port for port in (sidecar.otlp_grpc, sidecar.otlp_http) if port))


def _otlp(ports: Iterable[WorkloadPort]) -> tuple[int, int]:
    """Where a sidecar takes spans, over gRPC and over HTTP: nowhere for who takes them itself."""
    collects = any(port.number in otlp.OFFERED for port in ports)
    return (0, 0) if collects else otlp.OFFERED


def _bound(bound: ExitStack, port: WorkloadPort, hosts: tuple[str, str], *, insist: bool) -> Binding | None:
    """A binding under the port's own number, or, where that may not be, another; None: `insist`, but it is taken."""
    outside, inside = hosts
    try:
        free = _bind(bound, outside, port.number) and _bind(bound, inside, port.number)
    except PermissionError:
        insist, free = False, 0
    if free:
        return _binding(port, (outside, port.number), (inside, port.number))
    if insist:
        return None
    return _binding(port, (outside, _bind(bound, outside, 0)), (inside, _bind(bound, inside, 0)))


def _binding(port: WorkloadPort, outside: tuple[str, int], inside: tuple[str, int]) -> Binding:
    return Binding(
        name=port.name,
        number=port.number,
        protocol=port.protocol,
        address=outside[0],
        port=outside[1],
        app_address=inside[0],
        app_port=inside[1],
    )


def _bind(bound: ExitStack, address: str, port: int) -> int:
    """Binds a port until the stack is left; its number, or 0 when somebody has it.  PermissionError."""
    probe = bound.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    try:
        probe.bind((address, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return 0
        raise
    number: int = probe.getsockname()[1]
    return number
