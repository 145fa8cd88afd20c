"""What every proxy of a mode is told alike, made once for a Mesh: clusters, routes, and how they are called.

In explicit mode applications ask for what they call by name: HTTP alone.  In transparent mode they call virtual
addresses: HTTP by the name or the address that they put into the authority, all else by address and port.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from plait.compiler.hosts import ByHost, destination_port, is_wildcard, service_of_host
from plait.compiler.references import called_ports
from plait.compiler.selection import behind, by_namespace
from plait.compiler.virtual_addresses import virtual_addresses
from plait.model.catalog import Labels, Member, Service, ServicePort
from plait.model.mesh import Cluster, ClusterKey, Mesh, OutboundRoutes, TcpPort
from plait.model.names import Identity, Origin, aliases
from plait.model.routing import Backend, DestinationSettings, HostRoutes, RouteRule

Authority = tuple[str, str, int]
"""(text, host, port), as in View."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """The shared part of every View of one Mesh in one mode."""

    clusters: tuple[Cluster, ...]
    routes: tuple[OutboundRoutes, ...]
    missing: tuple[ClusterKey, ...]
    authorities: Mapping[str, tuple[Authority, ...]]
    """By the namespace of the client."""
    services: Mapping[str, tuple[Service, ...]]
    """By namespace."""
    tcp: tuple[TcpPort, ...]


class _SameMesh:
    """A Mesh by identity: comparing two of them by content would cost more than to make all this anew."""

    __slots__ = ("mesh",)

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameMesh) and self.mesh is other.mesh

    def __hash__(self) -> int:
        return id(self.mesh)


def outbound(mesh: Mesh, *, transparent: bool) -> Outbound:
    """The shared part; the very same objects for every call with the very same Mesh and mode."""
    return _outbound(_SameMesh(mesh), transparent)


@lru_cache(maxsize=4)
def _outbound(same: _SameMesh, transparent: bool) -> Outbound:  # noqa: FBT001  # lru_cache counts a keyword apart
    mesh = same.mesh
    addresses = virtual_addresses(mesh) if transparent else {}
    clusters = tuple(_clusters(mesh, transparent=transparent))
    keys = {cluster.key for cluster in clusters}
    routes = tuple(_routes(mesh, transparent=transparent))
    named = {
        ClusterKey(backend.host, backend.port, backend.subset)
        for one in routes
        for rule in one.rules
        for backend in rule.backends
    }
    services: dict[str, list[Service]] = {}
    for service in mesh.services.values():
        services.setdefault(service.namespace, []).append(service)
    namespaces = {member.namespace for member in mesh.members}
    return Outbound(
        clusters=clusters,
        routes=routes,
        missing=tuple(sorted(named - keys)),
        authorities={name: tuple(_authorities(routes, mesh, name, addresses)) for name in sorted(namespaces)},
        services={name: tuple(inside) for name, inside in services.items()},
        tcp=tuple(_tcp(mesh, addresses)) if transparent else (),
    )


def subsets(settings: DestinationSettings | None) -> Iterator[tuple[str, Labels, tuple[Origin, ...]]]:
    """Name, labels and origins of each part of a service, the whole of it (no name) first."""
    yield "", (), ()
    for subset in settings.subsets if settings else ():
        yield subset.name, subset.labels, (subset.origin,)


def called(service: Service, subset: str, *, transparent: bool) -> tuple[ServicePort, ...]:
    """The ports at which a service, or a subset of it, may be called; only what may be HTTP chooses a subset."""
    return tuple(
        port
        for port in service.ports
        if _is_routed(port, transparent=transparent)
        or (transparent and port.protocol.may_be_tcp and not subset)
    )


def _is_routed(port: ServicePort, *, transparent: bool) -> bool:
    return port.protocol.may_be_http if transparent else port.protocol.is_http


def _clusters(mesh: Mesh, *, transparent: bool) -> Iterator[Cluster]:
    destinations = ByHost.of(mesh.destinations)
    members = by_namespace(mesh.members)
    for service in mesh.services.values():
        nearby = members.get(service.namespace, ())
        for name, labels, origins in subsets(destinations.get(service.host)):
            identities = _identities(mesh, behind(service, nearby, labels))
            for port in called(service, name, transparent=transparent):
                yield Cluster(
                    key=ClusterKey(service.host, port.number, name),
                    protocol=port.protocol,
                    service_namespace=service.namespace,
                    service_name=service.name,
                    identities=identities,
                    origins=(service.origin, *origins),
                )


def _identities(mesh: Mesh, members: tuple[Member, ...]) -> tuple[Identity, ...]:
    trust_domain = mesh.settings.trust_domain
    return tuple(sorted({Identity(trust_domain, one.namespace, one.service_account) for one in members}))


def _routes(mesh: Mesh, *, transparent: bool) -> Iterator[OutboundRoutes]:
    owners = ByHost.of(mesh.routes)
    for service in mesh.services.values():
        owner = owners.get(service.host)
        for port in service.ports:
            if not _is_routed(port, transparent=transparent):
                continue
            if owner is None:
                yield _default(service, port.number)
            else:
                origins = (owner.origin, service.origin)
                yield _ruled(mesh, owner, service.host, port.number, origins)
    for host, owner in mesh.routes.items():
        if host not in mesh.services and not is_wildcard(host):
            for number in called_ports(mesh, host, owner, undeclared=transparent):
                yield _ruled(mesh, owner, host, number, (owner.origin,))


def _default(service: Service, port: int) -> OutboundRoutes:
    """Everything to the port that was called."""
    backend = Backend(host=service.host, port=port, origin=service.origin)
    rule = RouteRule(backends=(backend,), origin=service.origin)
    return OutboundRoutes(host=service.host, port=port, rules=(rule,), origins=(service.origin,))


def _ruled(
    mesh: Mesh, owner: HostRoutes, host: str, port: int, origins: tuple[Origin, ...]
) -> OutboundRoutes:
    rules = tuple(
        replace(rule, backends=tuple(_with_port(mesh, backend, port) for backend in rule.backends))
        for rule in owner.rules
    )
    return OutboundRoutes(host=host, port=port, rules=rules, origins=origins)


def _with_port(mesh: Mesh, backend: Backend, caller: int) -> Backend:
    port = destination_port(mesh.services.get(backend.host), backend, caller)
    return backend if port == backend.port else replace(backend, port=port)


def _tcp(mesh: Mesh, addresses: Mapping[str, str]) -> Iterator[TcpPort]:
    for service in mesh.services.values():
        for port in service.ports:
            if port.protocol.may_be_tcp:
                yield TcpPort(
                    host=service.host,
                    port=port.number,
                    protocol=port.protocol,
                    address=addresses[service.host],
                    origins=(service.origin,),
                )


def _authorities(
    routes: tuple[OutboundRoutes, ...], mesh: Mesh, client_namespace: str, addresses: Mapping[str, str]
) -> Iterator[Authority]:
    """Every text that a client of this namespace may call; a text that two hosts have means the service.

    `addresses`: the virtual addresses of hosts, by which they may be called as well.
    """
    seen: set[str] = set()
    for one in sorted(routes, key=lambda one: (one.host not in mesh.services, one.host, one.port)):
        of_service = service_of_host(one.host)
        texts = aliases(*of_service, client_namespace) if of_service else (one.host,)
        for text in (*texts, addresses[one.host]) if addresses else texts:
            for authority in (text, f"{text}:80") if one.port == 80 else (f"{text}:{one.port}",):
                if authority not in seen:
                    seen.add(authority)
                    yield authority, one.host, one.port
