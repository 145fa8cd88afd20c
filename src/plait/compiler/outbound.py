"""What every proxy of a mode is told alike, made once for a Mesh: clusters, routes, and how they are called.

In explicit mode applications ask for what they call by name: HTTP alone.  In transparent mode they call virtual
addresses: HTTP by the name or the address that they put into the authority, all else by address and port.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from plait.compiler.hosts import ByHost, destination_port, is_wildcard, service_of_host
from plait.compiler.references import called_ports
from plait.compiler.selection import selection
from plait.compiler.sharing import Made, PerMesh
from plait.compiler.virtual_addresses import virtual_addresses
from plait.model.catalog import Labels, Service, ServicePort
from plait.model.mesh import Cluster, ClusterKey, Mesh, Outbound, OutboundRoutes, TcpPort
from plait.model.names import Identity, Origin, aliases
from plait.model.routing import NO_POLICY, Backend, DestinationSettings, HostRoutes, RouteRule

_Target = tuple[Service | None, DestinationSettings | None]
"""What a backend names, and how that is called."""
Authority = tuple[str, str, int]
"""(text, host, port), as in Outbound."""


@dataclass(frozen=True, slots=True)
class _Mode:
    """What is told in one mode: to clients of a namespace, and to those of any other."""

    of_namespace: Mapping[str, Outbound]
    elsewhere: Outbound


def outbound(mesh: Mesh, *, transparent: bool, namespace: str) -> Outbound:
    """What clients of a namespace are told; the very same object for every call with the very same Mesh."""
    mode = (_transparent if transparent else _explicit)(mesh)
    return mode.of_namespace.get(namespace, mode.elsewhere)


def _of(mesh: Mesh, made: Made, *, transparent: bool) -> _Mode:
    inputs = (mesh.services, mesh.routes, mesh.destinations, mesh.members, mesh.settings)
    return made.whole("mode", inputs, partial(_mode, mesh, transparent))


def _mode(mesh: Mesh, transparent: bool, made: Made) -> _Mode:  # noqa: FBT001  # bound by position
    addresses = virtual_addresses(mesh) if transparent else {}
    inputs = (mesh.services, mesh.destinations, mesh.members, mesh.settings)
    clusters = made.whole("clusters", inputs, partial(_clusters, mesh, transparent))
    routes = tuple(_routes(mesh, made, transparent=transparent))
    keys = {(one.key.host, one.key.port, one.key.subset) for one in clusters}
    named = {
        (backend.host, backend.port, backend.subset)
        for one in routes
        for rule in one.rules
        for backend in rule.destinations
    }
    common = (
        clusters,
        made.same("routes", routes),
        made.same("missing", tuple(ClusterKey(*key) for key in sorted(named - keys))),
        made.whole("tcp", (mesh.services, addresses), partial(_tcp, mesh, addresses)) if transparent else (),
    )
    called = tuple(sorted({(one.host not in mesh.services, one.host, one.port) for one in routes}))
    clients = frozenset(member.namespace for member in mesh.members)
    authorities = made.whole(
        "authorities", (called, clients, addresses), partial(_authorities, called, clients, addresses)
    )
    return _Mode(
        {name: made.of(("client", name), (texts, *common), _outbound) for name, texts in authorities.items()},
        _outbound((), *common),
    )


def _outbound(
    authorities: tuple[Authority, ...],
    clusters: tuple[Cluster, ...],
    routes: tuple[OutboundRoutes, ...],
    missing: tuple[ClusterKey, ...],
    tcp: tuple[TcpPort, ...],
) -> Outbound:
    return Outbound(authorities=authorities, clusters=clusters, routes=routes, missing=missing, tcp=tcp)


_explicit = PerMesh(partial(_of, transparent=False))
_transparent = PerMesh(partial(_of, transparent=True))


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


def _clusters(mesh: Mesh, transparent: bool, made: Made) -> tuple[Cluster, ...]:  # noqa: FBT001  # bound by position
    destinations = ByHost.of(mesh.destinations)
    selected = selection(mesh)
    found: list[Cluster] = []
    for host, service in mesh.services.items():
        settings = destinations.get(host)
        accounts = tuple(
            tuple(sorted({one.service_account for one in selected.behind(service, labels)}))
            for _, labels, _ in subsets(settings)
        )
        inputs = (service, settings, accounts, mesh.settings.trust_domain, transparent)
        found += made.of(host, inputs, _clusters_of)
    return made.same("", tuple(found))


def _clusters_of(
    service: Service,
    settings: DestinationSettings | None,
    accounts: tuple[tuple[str, ...], ...],
    trust_domain: str,
    transparent: bool,  # noqa: FBT001  # what a thing is made of comes in order
) -> tuple[Cluster, ...]:
    """The clusters of a service; `accounts`: as whom each part of it runs."""
    return tuple(
        Cluster(
            key=ClusterKey(service.host, port.number, subset),
            protocol=port.protocol,
            service_namespace=service.namespace,
            service_name=service.name,
            identities=tuple(Identity(trust_domain, service.namespace, account) for account in runs_as),
            policy=settings.policy(subset, port.number) if settings else NO_POLICY,
            origins=(service.origin, *origins),
        )
        for (subset, _, origins), runs_as in zip(subsets(settings), accounts, strict=True)
        for port in called(service, subset, transparent=transparent)
    )


def _routes(mesh: Mesh, made: Made, *, transparent: bool) -> Iterator[OutboundRoutes]:
    owners, destinations = ByHost.of(mesh.routes), ByHost.of(mesh.destinations)
    for host, service in mesh.services.items():
        owner = owners.get(host)
        targets = _targets(mesh, destinations, owner) if owner else ((service, destinations.get(host)),)
        yield from made.of(("routes", host), (service, owner, targets, transparent), _routes_of)
    for host, owner in mesh.routes.items():
        if host not in mesh.services and not is_wildcard(host):
            for port in called_ports(mesh, host, owner, undeclared=transparent):
                ruled = (owner, _targets(mesh, destinations, owner), host, port, (owner.origin,))
                yield made.of(("route", host, port), ruled, _ruled)


def _targets(mesh: Mesh, destinations: ByHost[DestinationSettings], owner: HostRoutes) -> tuple[_Target, ...]:
    """Whom the backends of some routes name, one after the other."""
    return tuple(
        (mesh.services.get(backend.host), destinations.get(backend.host))
        for rule in owner.rules
        for backend in rule.destinations
    )


def _routes_of(
    service: Service,
    owner: HostRoutes | None,
    targets: tuple[_Target, ...],
    transparent: bool,  # noqa: FBT001  # what a thing is made of comes in order
) -> tuple[OutboundRoutes, ...]:
    """The routes of a service, a port each."""
    ports = (port.number for port in service.ports if _is_routed(port, transparent=transparent))
    if owner is None:
        return tuple(_default(service, targets[0], port) for port in ports)
    return tuple(_ruled(owner, targets, service.host, port, (owner.origin, service.origin)) for port in ports)


def _default(service: Service, target: _Target, port: int) -> OutboundRoutes:
    """Everything to the port that was called."""
    backend = _resolved(target, Backend(host=service.host, port=port, origin=service.origin), port)
    rule = RouteRule(backends=(backend,), origin=service.origin)
    return OutboundRoutes(host=service.host, port=port, rules=(rule,), origins=(service.origin,))


def _ruled(
    owner: HostRoutes,
    targets: tuple[_Target, ...],
    host: str,
    port: int,
    origins: tuple[Origin, ...],
) -> OutboundRoutes:
    left = iter(targets)
    rules = [_at_port(rule, left, port) for rule in owner.rules]
    return OutboundRoutes(
        host=host, port=port, rules=tuple(rule for rule in rules if rule is not None), origins=origins
    )


def _at_port(rule: RouteRule, targets: Iterator[_Target], port: int) -> RouteRule | None:
    """A rule as it holds at one port that is called; None when it is for others.  Takes its targets in any case."""
    backends = tuple(_resolved(next(targets), backend, port) for backend in rule.backends)
    mirrors = tuple(
        replace(mirror, backend=_resolved(next(targets), mirror.backend, port)) for mirror in rule.mirrors
    )
    matches = tuple(match for match in rule.matches if match.port in (0, port))
    if rule.matches and not matches:
        return None
    return replace(rule, matches=matches, backends=backends, mirrors=mirrors)


def _resolved(target: _Target, backend: Backend, caller: int) -> Backend:
    """A backend with its port, and with what chooses its replica."""
    service, settings = target
    port = destination_port(service, backend, caller)
    balancing = settings.policy(backend.subset, port).load_balancing if settings else None
    key = balancing.hash_key if balancing else None
    return backend if (port, key) == (backend.port, None) else replace(backend, port=port, hash_key=key)


def _tcp(mesh: Mesh, addresses: Mapping[str, str], made: Made) -> tuple[TcpPort, ...]:
    found: list[TcpPort] = []
    for host, service in mesh.services.items():
        found += made.of(host, (service, addresses[host]), _tcp_of)
    return made.same("", tuple(found))


def _tcp_of(service: Service, address: str) -> tuple[TcpPort, ...]:
    return tuple(
        TcpPort(
            host=service.host,
            port=port.number,
            protocol=port.protocol,
            address=address,
            origins=(service.origin,),
        )
        for port in service.ports
        if port.protocol.may_be_tcp
    )


def _authorities(
    called: Iterable[tuple[bool, str, int]], clients: Iterable[str], addresses: Mapping[str, str], made: Made
) -> Mapping[str, tuple[Authority, ...]]:
    """Every text that a client may call, by its namespace; a text that two hosts have means the first of them.

    `called`: (whether it is no service, host, port); `addresses`: the virtual addresses of hosts, by which they may
    be called as well.
    """
    common: dict[str, Authority] = {}
    own: dict[str, list[tuple[int, tuple[Authority, ...]]]] = {}
    """By namespace, what is called there alone, and how many of the common ones stand before."""
    for _, host, port in called:
        inputs = (host, port, addresses.get(host))
        namespace, short, full = made.of(("authorities", host, port), inputs, _authorities_of)
        if short:
            own.setdefault(namespace, []).append((len(common), short))
        for authority in full:
            common.setdefault(authority[0], authority)
    everywhere = tuple(common.values())
    return {
        client: made.of(("woven", client), (everywhere, own.get(client, ())), _woven)
        for client in sorted(clients)
    }


def _authorities_of(
    host: str, port: int, address: str | None
) -> tuple[str, tuple[Authority, ...], tuple[Authority, ...]]:
    """The namespace of a host, by what it may be called in that namespace alone, and by what anywhere."""

    def authorities(texts: Iterable[str]) -> tuple[Authority, ...]:
        return tuple(
            (authority, host, port)
            for text in texts
            for authority in ((text, f"{text}:80") if port == 80 else (f"{text}:{port}",))
        )

    last = (address,) if address else ()
    of_service = service_of_host(host)
    if of_service is None:
        return "", (), authorities((host, *last))
    namespace, name = of_service
    short, *full = aliases(namespace, name, namespace)
    return namespace, authorities((short,)), authorities((*full, *last))


def _woven(
    everywhere: tuple[Authority, ...], own: Iterable[tuple[int, tuple[Authority, ...]]]
) -> tuple[Authority, ...]:
    """What a namespace may call: its own names before the full ones of the same host."""
    woven: list[Authority] = []
    done = 0
    for before, short in own:
        woven += everywhere[done:before]
        woven += short
        done = before
    return (*woven, *everywhere[done:])
