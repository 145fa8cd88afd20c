"""What every proxy of a mode is told alike, made once for a Mesh: clusters, routes, and how they are called.

In explicit mode applications ask for what they call by name: HTTP alone.  In transparent mode they call virtual
addresses, and that is what says whom they call, whatever they say in the bytes that follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from plait.compiler.hosts import ByHost, called_ports, destination_port, is_wildcard, service_of_host
from plait.compiler.scopes import Scope
from plait.compiler.selection import selection
from plait.compiler.sharing import Made, PerMesh
from plait.compiler.virtual_addresses import virtual_addresses
from plait.model.catalog import Labels, Service, ServicePort
from plait.model.locality import Place
from plait.model.mesh import Cluster, ClusterKey, Mesh, Outbound, OutboundRoutes, TcpPort
from plait.model.names import Identity, Origin, aliases
from plait.model.rollout import TRIED
from plait.model.routing import Backend, RouteRule, RouteTable
from plait.model.scope import Sight
from plait.model.traffic import NO_POLICY, ConnectionPool, DestinationSettings, TrafficPolicy

_Target = tuple[Service | None, DestinationSettings | None]
"""What a backend names, and how that is called."""
Authority = tuple[str, str, int]
"""(text, host, port), as in Outbound."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What is told in one mode and scope: to clients of a namespace, and to those of any other."""

    of_namespace: Mapping[str, Outbound]
    elsewhere: Outbound


def outbound(mesh: Mesh, scope: Scope, *, transparent: bool, namespace: str) -> Outbound:
    """What clients of a scope and namespace are told; the very same object for every call with the very same Mesh."""
    return (_transparent if transparent else _explicit)(mesh).of(scope, namespace)


class _Mode:
    """What is told in one mode, by scope."""

    def __init__(self, transparent: bool, mesh: Mesh, made: Made) -> None:  # noqa: FBT001  # bound by position
        self._mesh = mesh
        self._made = made
        self._transparent = transparent
        self._told: dict[tuple[str, ...], _Told] = {}
        self._addresses = virtual_addresses(mesh) if transparent else {}

    def of(self, scope: Scope, namespace: str) -> Outbound:
        told = self._scope(scope)
        found = told.of_namespace.get(namespace, told.elsewhere)
        if scope.place is None:
            return found
        key = ("placed", scope.label, scope.place, namespace)
        return self._made.of(key, (found, scope.place), _standing)

    def _scope(self, scope: Scope) -> _Told:
        told = self._told.get(scope.label)
        if told is None:
            mesh = self._mesh
            inputs = (scope.sight, scope.namespace, mesh.members, mesh.settings.trust_domain, self._addresses)
            told = self._told[scope.label] = self._made.whole(scope.label, inputs, partial(self._of, scope))
        return told

    def _of(self, scope: Scope, made: Made) -> _Told:
        mesh, sight, transparent = self._mesh, scope.sight, self._transparent
        inputs = (sight.services, sight.destinations, mesh.members, mesh.settings.trust_domain)
        clusters = made.whole("clusters", inputs, partial(_clusters, mesh, sight, transparent))
        routes = tuple(_routes(sight, made, transparent=transparent))
        keys = {(one.key.host, one.key.port, one.key.subset) for one in clusters}
        named = {
            (backend.host, backend.port, backend.subset)
            for one in routes
            for rule in one.rules
            for backend in rule.destinations
        }
        addresses = self._addresses
        told = Outbound(
            scope=scope.label,
            authorities=(),
            clusters=clusters,
            routes=made.same("routes", routes),
            missing=made.same("missing", tuple(ClusterKey(*key) for key in sorted(named - keys))),
            tcp=made.whole(
                "tcp", (sight.services, sight.destinations, addresses), partial(_tcp, sight, addresses)
            )
            if transparent
            else (),
        )
        called = tuple(sorted({(one.host not in sight.services, one.host, one.port) for one in routes}))
        if transparent:
            by_address = made.whole("addresses", (called, addresses), partial(_by_address, called, addresses))
            return _Told({}, made.same("told", replace(told, authorities=by_address)))
        elsewhere = made.same("told", told)
        every = frozenset(member.namespace for member in mesh.members)
        clients = frozenset((scope.namespace,)) if scope.namespace else every
        authorities = made.whole("authorities", (called, clients), partial(_by_name, called, clients))
        return _Told(
            {
                name: made.of(("client", name), (elsewhere, texts), _calling)
                for name, texts in authorities.items()
            },
            elsewhere,
        )


def _calling(told: Outbound, authorities: tuple[Authority, ...]) -> Outbound:
    return replace(told, authorities=authorities)


def _standing(told: Outbound, place: Place) -> Outbound:
    return replace(told, place=place)


_explicit = PerMesh(partial(_Mode, False))
_transparent = PerMesh(partial(_Mode, True))


def subsets(settings: DestinationSettings | None) -> Iterator[tuple[str, Labels, tuple[Origin, ...]]]:
    """Name, labels and origins of each part of a service, the whole of it (no name) first."""
    yield "", (), ()
    for subset in settings.subsets if settings else ():
        yield subset.name, subset.labels, (subset.origin,)


def called(service: Service, *, whole: bool, transparent: bool) -> tuple[ServicePort, ...]:
    """The ports at which a service may be called, or a subset of it, which only what may be HTTP chooses."""
    return tuple(
        port
        for port in service.ports
        if _is_routed(port, transparent=transparent) or (transparent and port.protocol.may_be_tcp and whole)
    )


def _is_routed(port: ServicePort, *, transparent: bool) -> bool:
    return port.protocol.may_be_http if transparent else port.protocol.is_http


def _clusters(
    mesh: Mesh,
    sight: Sight,
    transparent: bool,  # noqa: FBT001  # bound by position
    made: Made,
) -> tuple[Cluster, ...]:
    selected = selection(mesh)
    found: list[Cluster] = []
    for host, service in sight.services.items():
        settings = sight.destinations.get(host)
        accounts = tuple(
            tuple(
                sorted(
                    {
                        one.service_account
                        for one in selected.behind(service, labels)
                        if TRIED not in one.labels or TRIED in labels or TRIED in service.selector
                    }
                )
            )
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
            labels=labels,
            policy=settings.policy(subset, port.number) if settings else NO_POLICY,
            origins=(service.origin, *origins),
        )
        for (subset, labels, origins), runs_as in zip(subsets(settings), accounts, strict=True)
        for port in called(service, whole=not subset, transparent=transparent)
    )


def _routes(sight: Sight, made: Made, *, transparent: bool) -> Iterator[OutboundRoutes]:
    owners = ByHost.of(sight.routes)
    for host, service in sight.services.items():
        tables = owners.get(host) or ()
        mine = (service, sight.destinations.get(host))
        inputs = (mine, tables, _targets(sight, tables), transparent)
        yield from made.of(("routes", host), inputs, _routes_of)
    for host, tables in sight.routes.items():
        if host not in sight.services and not is_wildcard(host):
            table = tables[0]
            for port in called_ports(sight, host, table, undeclared=transparent):
                ruled = (table, _targets(sight, (table,)), host, port, table.origins)
                yield made.of(("route", host, port), ruled, _ruled)


def routes_of(sight: Sight, service: Service, *, transparent: bool) -> tuple[OutboundRoutes, ...]:
    """The routes of one service as clients with this sight are told them, a port each."""
    tables = ByHost.of(sight.routes).get(service.host) or ()
    mine = (service, sight.destinations.get(service.host))
    return _routes_of(mine, tables, _targets(sight, tables), transparent)


def _targets(sight: Sight, tables: Iterable[RouteTable]) -> tuple[_Target, ...]:
    """Whom the backends of some routes name, one after the other."""
    return tuple(
        (sight.services.get(backend.host), sight.destinations.get(backend.host))
        for table in tables
        for rule in table.rules
        for backend in rule.destinations
    )


def _routes_of(
    own: tuple[Service, DestinationSettings | None],
    tables: tuple[RouteTable, ...],
    targets: tuple[_Target, ...],
    transparent: bool,  # noqa: FBT001  # what a thing is made of comes in order
) -> tuple[OutboundRoutes, ...]:
    """The routes of a service, a port each: as the first table says that holds there, or to the service itself."""
    service, _ = own
    ports = tuple(port.number for port in service.ports if _is_routed(port, transparent=transparent))
    found: dict[int, OutboundRoutes] = {}
    left = iter(targets)
    for table in tables:
        mine = tuple(next(left) for rule in table.rules for _ in rule.destinations)
        origins = (*table.origins, service.origin)
        for port in ports:
            if port not in found and (not table.ports or port in table.ports):
                found[port] = _ruled(table, mine, service.host, port, origins)
    return tuple(found.get(port) or _default(service, own, port) for port in ports)


def _default(service: Service, target: _Target, port: int) -> OutboundRoutes:
    """Everything to the port that was called."""
    backend = _resolved(target, Backend(host=service.host, port=port, origin=service.origin), port)
    rule = RouteRule(backends=(backend,), origin=service.origin)
    return OutboundRoutes(host=service.host, port=port, rules=(rule,), origins=(service.origin,))


def _ruled(
    table: RouteTable,
    targets: tuple[_Target, ...],
    host: str,
    port: int,
    origins: tuple[Origin, ...],
) -> OutboundRoutes:
    left = iter(targets)
    rules = [_at_port(rule, left, port) for rule in table.rules]
    return OutboundRoutes(
        host=host, port=port, rules=tuple(rule for rule in rules if rule is not None), origins=origins
    )


def _at_port(rule: RouteRule, targets: Iterator[_Target], port: int) -> RouteRule | None:
    """A rule as it holds at one port that is called; None when it is for others.  Takes its targets in any case."""
    backends = tuple(_resolved(next(targets), backend, port) for backend in rule.backends)
    mirrors = tuple(
        replace(mirror, backend=_resolved(next(targets), mirror.backend, port)) for mirror in rule.mirrors
    )
    if rule.match is not None and rule.match.port not in (0, port):
        return None
    return replace(rule, backends=backends, mirrors=mirrors)


def _resolved(target: _Target, backend: Backend, caller: int) -> Backend:
    """A backend with its port, and with what chooses its replica."""
    service, settings = target
    if not backend.host:
        return backend
    port = destination_port(service, backend, caller)
    balancing = settings.policy(backend.subset, port).load_balancing if settings else None
    key = balancing.hash_key if balancing else None
    return backend if (port, key) == (backend.port, None) else replace(backend, port=port, hash_key=key)


def _tcp(sight: Sight, addresses: Mapping[str, str], made: Made) -> tuple[TcpPort, ...]:
    found: list[TcpPort] = []
    for host, service in sight.services.items():
        inputs = (service, addresses[host], sight.destinations.get(host))
        found += made.of(host, inputs, _tcp_of)
    return made.same("", tuple(found))


def _tcp_of(service: Service, address: str, settings: DestinationSettings | None) -> tuple[TcpPort, ...]:
    return tuple(
        _tcp_port(service, port, address, settings.policy("", port.number) if settings else NO_POLICY)
        for port in service.ports
        if port.protocol.may_be_tcp
    )


def _tcp_port(service: Service, port: ServicePort, address: str, policy: TrafficPolicy) -> TcpPort:
    pool = policy.connections or ConnectionPool()
    return TcpPort(
        host=service.host,
        port=port.number,
        protocol=port.protocol,
        address=address,
        idle_timeout=pool.tcp_idle_timeout,
        longest=pool.max_connection_duration,
        origins=(service.origin,),
    )


def _by_address(
    called: Iterable[tuple[bool, str, int]], addresses: Mapping[str, str], made: Made
) -> tuple[Authority, ...]:
    """Every virtual address and port that a client may call; `called`: (whether it is no service, host, port)."""
    return tuple(
        made.of((host, port), (addresses[host], host, port), _address_of) for _, host, port in called
    )


def _address_of(address: str, host: str, port: int) -> Authority:
    return f"{address}:{port}", host, port


def _by_name(
    called: Iterable[tuple[bool, str, int]], clients: Iterable[str], made: Made
) -> Mapping[str, tuple[Authority, ...]]:
    """Every text that a client may call, by its namespace; a text that two hosts have means the first of them.

    `called`: (whether it is no service, host, port).
    """
    common: dict[str, Authority] = {}
    own: dict[str, list[tuple[int, tuple[Authority, ...]]]] = {}
    """By namespace, what is called there alone, and how many of the common ones stand before."""
    for _, host, port in called:
        namespace, short, full = made.of(("authorities", host, port), (host, port), _authorities_of)
        if short:
            own.setdefault(namespace, []).append((len(common), short))
        for authority in full:
            common.setdefault(authority[0], authority)
    everywhere = tuple(common.values())
    return {
        client: made.of(("woven", client), (everywhere, own.get(client, ())), _woven)
        for client in sorted(clients)
    }


def _authorities_of(host: str, port: int) -> tuple[str, tuple[Authority, ...], tuple[Authority, ...]]:
    """The namespace of a host, by what it may be called in that namespace alone, and by what anywhere."""

    def authorities(texts: Iterable[str]) -> tuple[Authority, ...]:
        return tuple(
            (authority, host, port)
            for text in texts
            for authority in ((text, f"{text}:80") if port == 80 else (f"{text}:{port}",))
        )

    of_service = service_of_host(host)
    if of_service is None:
        return "", (), authorities((host,))
    namespace, name = of_service
    short, *full = aliases(namespace, name, namespace)
    return namespace, authorities((short,)), authorities(full)


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
