"""What hosts mean: wildcards, and the port that a route sends to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from plait.model.catalog import Protocol, Service
from plait.model.names import CLUSTER_DOMAIN
from plait.model.routing import Backend
from plait.model.scope import EgressHosts

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
