"""How clients call one service: mostly all of them alike, and some otherwise or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from plait.compiler.hosts import ByHost
from plait.compiler.outbound import called, routes_of, subsets
from plait.compiler.scopes import scopes
from plait.model.catalog import Labels, Service
from plait.model.mesh import ClusterKey, Mesh, OutboundRoutes
from plait.model.names import Origin, WorkloadKey
from plait.model.routing import RouteTable
from plait.model.scope import Sight


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How some clients call a service; of whom a rule asks say the rules themselves."""

    namespaces: tuple[str, ...] = ()
    """Those of which it is all clients."""
    workloads: tuple[WorkloadKey, ...] = ()
    """Single clients of other namespaces; neither these nor namespaces: whoever is of no other way."""
    routes: tuple[OutboundRoutes, ...] = ()
    """A port each."""
    missing: frozenset[ClusterKey] = frozenset()
    """What these routes name and nothing defines."""
    hidden: tuple[Origin, ...] = ()
    """What keeps the service from these clients, so that there are no routes."""


@dataclass(slots=True)
class _Found:
    """A way, and who goes it."""

    way: Way
    clients: list[WorkloadKey] = field(default_factory=list)


def ways(mesh: Mesh, service: Service, *, transparent: bool) -> tuple[Way, ...]:
    """Every way in which a service is called; the last one, that of most clients, is for whoever is not named."""
    clients = _clients(mesh)
    seen: dict[int, tuple[Sight, list[WorkloadKey]]] = {}
    shut: dict[str, dict[WorkloadKey, Origin]] = {}
    """Who can't call, by the kind of what keeps the service from them."""
    for client, labels in clients.items():
        sight = _sight(mesh, service, client.namespace, labels)
        if isinstance(sight, Origin):
            shut.setdefault(sight.ref.kind, {})[client] = sight
        else:
            seen.setdefault(id(sight), (sight, []))[1].append(client)
    found: list[_Found] = []
    for sight, some in seen.values() or [(mesh.common, [])]:
        way = _way(sight, service, transparent=transparent)
        same = next((one for one in found if one.way == way), None)
        if same is None:
            found.append(_Found(way, some))
        else:
            same.clients += some
    found += [_Found(Way(hidden=tuple(dict.fromkeys(some.values()))), list(some)) for some in shut.values()]
    most, *others = sorted(found, key=lambda one: -len(one.clients))
    named = [_named(one, clients) for one in others]
    return (*sorted(named, key=lambda way: (way.hidden != (), way.namespaces, way.workloads)), most.way)


def _clients(mesh: Mesh) -> Mapping[WorkloadKey, Labels]:
    """Whoever may call; a namespace of which something is said and where nothing runs is somebody without a name."""
    found = {one.key: one.labels for one in mesh.workloads.values()}
    lived = {key.namespace for key in found}
    return found | {WorkloadKey(namespace, ""): () for namespace in mesh.sights if namespace not in lived}


def _sight(mesh: Mesh, service: Service, namespace: str, labels: Labels) -> Sight | Origin:
    """What a client sees of this service, rules for single clients among it, or what keeps it from the client."""
    sight = mesh.sight(namespace)
    if service.host not in sight.services:
        return service.origin
    if not (mesh.egress or mesh.for_clients):
        return sight
    scope = scopes(mesh).of(namespace, labels)
    if service.host not in scope.sight.services:
        return scope.egress.origin if scope.egress is not None else service.origin
    led = (one.host for table in _tables(sight, service) for rule in table.rules for one in rule.destinations)
    hosts = frozenset((service.host, *led))
    alike = all(scope.sight.destinations.get(host) == sight.destinations.get(host) for host in hosts)
    same = [one.origins for one in _tables(scope.sight, service)] == [
        one.origins for one in _tables(sight, service)
    ]
    return sight if alike and same else scope.sight


def _tables(sight: Sight, service: Service) -> tuple[RouteTable, ...]:
    return ByHost.of(sight.routes).get(service.host) or ()


def _way(sight: Sight, service: Service, *, transparent: bool) -> Way:
    routes = routes_of(sight, service, transparent=transparent)
    named = {
        ClusterKey(one.host, one.port, one.subset)
        for route in routes
        for rule in route.rules
        for one in rule.destinations
        if one.host
    }
    return Way(
        routes=routes,
        missing=frozenset(key for key in named if not _is_there(sight, key, transparent=transparent)),
    )


def _is_there(sight: Sight, key: ClusterKey, *, transparent: bool) -> bool:
    service = sight.services.get(key.host)
    if service is None:
        return False
    ports = {port.number for port in called(service, whole=not key.subset, transparent=transparent)}
    return key.port in ports and key.subset in {
        name for name, _, _ in subsets(sight.destinations.get(key.host))
    }


def _named(found: _Found, clients: Iterable[WorkloadKey]) -> Way:
    mine = frozenset(found.clients)
    left = {key.namespace for key in clients if key not in mine}
    way = found.way
    return Way(
        namespaces=tuple(sorted({key.namespace for key in mine} - left)),
        workloads=tuple(sorted(key for key in mine if key.namespace in left)),
        routes=way.routes,
        missing=way.missing,
        hidden=way.hidden,
    )
