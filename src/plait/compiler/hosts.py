"""What hosts mean: wildcards, the ports at which they are called, and the port that a route sends to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from plait.model.catalog import Protocol, Service
from plait.model.names import CLUSTER_DOMAIN
from plait.model.routing import Backend, RouteTable
from plait.model.scope import EgressHosts, Sight

T = TypeVar("T")

_SERVICE_DOMAIN = f".svc.{CLUSTER_DOMAIN}"


def is_wildcard(host: str) -> bool:
    return host.startswith("*")


def covers(pattern: str, host: str) -> bool:
    """Whether a wildcard (`*`, `*.bistro.svc.cluster.local`) means a host."""
    return host.endswith(pattern[1:]) and len(host) >= len(pattern)


def covers_egress(hosts: EgressHosts, namespace: str, host: str) -> bool:
    """Whether hosts that clients call mean a host that belongs to a namespace."""
    if hosts.namespace not in ("*", namespace):
        return False
    return covers(hosts.host, host) if is_wildcard(hosts.host) else hosts.host == host


@dataclass(frozen=True, slots=True)
class ByHost(Generic[T]):
    """What is said of hosts, the most specific first: the host itself, then the longest wildcard."""

    entries: Mapping[str, T]
    lengths: tuple[int, ...]
    """How long its wildcards are, the longest first: a host has one of each length that could cover it."""

    @staticmethod
    def of(entries: Mapping[str, T]) -> ByHost[T]:
        lengths = {len(host) for host in entries if is_wildcard(host)}
        return ByHost(entries, tuple(sorted(lengths, reverse=True)))

    def get(self, host: str) -> T | None:
        if host in self.entries:
            return self.entries[host]
        patterns = (f"*{host[len(host) + 1 - length :]}" for length in self.lengths if length <= len(host))
        return next((self.entries[pattern] for pattern in patterns if pattern in self.entries), None)


def destination_port(service: Service | None, backend: Backend, caller: int) -> int:
    """The port that a backend means: the one it names, the only one its service has, or the one called."""
    if backend.port:
        return backend.port
    ports = [port.number for port in service.ports if port.protocol is not Protocol.UDP] if service else []
    return ports[0] if len(ports) == 1 else caller


def called_ports(sight: Sight, host: str, table: RouteTable, *, undeclared: bool = True) -> tuple[int, ...]:
    """The ports at which a host may be called: a service's HTTP ports; for other names 80 and its backends' own.

    `undeclared`: ports count too of which nobody says what is spoken there.
    """

    def numbers(services: Iterable[Service]) -> set[int]:
        return {
            port.number
            for one in services
            for port in one.ports
            if port.protocol.is_http or (undeclared and port.protocol.may_be_http)
        }

    if is_wildcard(host):
        matching = (
            one for name, one in sight.services.items() if covers(host, name) and name not in sight.routes
        )
        return _of_table(numbers(matching), table)
    service = sight.services.get(host)
    if service is not None:
        return _of_table(numbers((service,)), table)
    backends = (backend.host for rule in table.rules for backend in rule.backends)
    found = {80} | numbers(sight.services[name] for name in backends if name in sight.services)
    return _of_table(found, table)


def _of_table(ports: Iterable[int], table: RouteTable) -> tuple[int, ...]:
    return tuple(sorted(port for port in ports if not table.ports or port in table.ports))


def service_of_host(host: str) -> tuple[str, str] | None:
    """(namespace, name) when a host has the form of a Service's full name."""
    match host.removesuffix(_SERVICE_DOMAIN).split("."):
        case [name, namespace] if host.endswith(_SERVICE_DOMAIN) and name and namespace:
            return namespace, name
        case _:
            return None


def hint(host: str, services: Iterable[str]) -> str:
    """What a host that is no service was perhaps meant to be, as the end of a message."""
    for full in (f"{host}{_SERVICE_DOMAIN}", f"{host}.{CLUSTER_DOMAIN}"):
        if full in services:
            return f"; did you mean {full}?"
    return ""
