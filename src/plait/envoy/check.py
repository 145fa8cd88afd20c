"""The last look at a snapshot before it is sent: what it names is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from plait.envoy import api, names
from plait.model.mesh import ClusterKey
from plait.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    LISTENER,
    ROUTES,
    SCOPED_ROUTES,
    Layers,
    Resource,
    Snapshot,
    Table,
)

_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"

_USERS = {
    ROUTES: (CLUSTER,),
    SCOPED_ROUTES: (ROUTES,),
    EXTENSION: (CLUSTER,),
    LISTENER: (CLUSTER, ROUTES, EXTENSION),
}
"""What resources of a type may name."""
_NO = {CLUSTER: "no cluster", ROUTES: "no route configuration", EXTENSION: "no extension"}
_NONE = Layers()

_Named = tuple[str, str]
"""(name of a resource, name of what it needs)."""

T = TypeVar("T")


def _once(function: Callable[[Table, Table, str], T]) -> Callable[[Table, Table, str], T]:
    """Remembers what is found of two tables for as long as both live; the third is the type of the second."""
    known: WeakKeyDictionary[Table, WeakKeyDictionary[Table, T]] = WeakKeyDictionary()

    def remembered(first: Table, second: Table, type_url: str) -> T:
        found = known.get(first)
        if found is None:
            found = known[first] = WeakKeyDictionary()
        if second not in found:
            found[second] = function(first, second, type_url)
        return found[second]

    return remembered


def check(snapshot: Snapshot, missing: Iterable[ClusterKey] = ()) -> tuple[str, ...]:
    """What is wrong with a snapshot, sorted; `missing` are clusters that routes may name though there are none.

    A snapshot with problems is ours to mend, not the user's: it is not sent, and the last good one stays.  The
    tables that proxies share are looked at once for all.
    """
    layers = {kind: Layers.of(resources) for kind, resources in snapshot.items()}
    return tuple(sorted({*_misnamed(layers), *_endpoints(layers), *_references(layers, missing)}))


def _misnamed(snapshot: Mapping[str, Layers]) -> Iterator[str]:
    for type_url, layers in snapshot.items():
        yield from _misnamed_in(layers.table, layers.table, type_url)
        yield from _misnamed_among(layers.own, type_url)


@_once
def _misnamed_in(table: Table, _: Table, type_url: str) -> tuple[str, ...]:
    return tuple(_misnamed_among(table.resources, type_url))


def _misnamed_among(resources: Mapping[str, Resource], type_url: str) -> Iterator[str]:
    for name, resource in resources.items():
        if (resource.type_url, resource.name) != (type_url, name):
            yield f"{name}: kept as {type_url}, but is {resource.name} of {resource.type_url}"


def _endpoints(snapshot: Mapping[str, Layers]) -> Iterator[str]:
    clusters, found = _of(snapshot, CLUSTER), _of(snapshot, ENDPOINTS)
    bare, strays = _unpaired(clusters.table, found.table, ENDPOINTS)
    own = {name for name in clusters.own if names.cluster_key(name) is not None}
    yield from (f"{name}: a cluster without endpoints resource" for name in bare | own if name not in found)
    strays = strays | found.own.keys()
    yield from (f"{name}: endpoints of no cluster" for name in strays if name not in clusters)


@_once
def _unpaired(clusters: Table, found: Table, _: str) -> tuple[frozenset[str], frozenset[str]]:
    """Clusters without endpoints, and endpoints without a cluster."""
    wanted = {name for name in clusters.resources if names.cluster_key(name) is not None}
    return frozenset(wanted - found.resources.keys()), frozenset(found.resources.keys() - wanted)


def _references(snapshot: Mapping[str, Layers], missing: Iterable[ClusterKey]) -> Iterator[str]:
    lacking = [
        (name, kind, wanted)
        for user, kinds in _USERS.items()
        for kind in kinds
        for name, wanted in _lacking(_of(snapshot, user).table, _of(snapshot, kind).table, kind)
    ]
    for user in _USERS:
        for resource in _of(snapshot, user).own.values():
            needs = _needs(resource)
            lacking += ((resource.name, kind, wanted) for kind, found in needs.of.items() for wanted in found)
            yield from (f"{resource.name}: {fault}" for fault in needs.faults)
    lacking = [(name, kind, wanted) for name, kind, wanted in lacking if wanted not in _of(snapshot, kind)]
    if lacking:
        meant = frozenset(names.cluster(key) for key in missing)
        for name, kind, wanted in lacking:
            if kind != CLUSTER or wanted not in meant:
                yield f"{name}: leads to {wanted}, which is {_NO[kind]}"
    listeners = _of(snapshot, LISTENER)
    yield from _faults_in(listeners.table, listeners.table, LISTENER)


def _of(snapshot: Mapping[str, Layers], type_url: str) -> Layers:
    return snapshot.get(type_url, _NONE)


@_once
def _lacking(users: Table, provided: Table, kind: str) -> tuple[_Named, ...]:
    """What resources of one table need that is not in another."""
    return tuple(
        (resource.name, wanted)
        for resource in users.resources.values()
        for wanted in _needs(resource).of.get(kind, ())
        if wanted not in provided.resources
    )


@_once
def _faults_in(table: Table, _: Table, _type_url: str) -> tuple[str, ...]:
    return tuple(f"{one.name}: {fault}" for one in table.resources.values() for fault in _needs(one).faults)


@dataclass(frozen=True, slots=True)
class _Needs:
    """What a resource refers to, by type, and what is wrong with it alone."""

    of: Mapping[str, Collection[str]]
    faults: tuple[str, ...] = ()


@lru_cache(maxsize=1 << 16)
def _needs(resource: Resource) -> _Needs:
    """Read once for each content: most resources are the same from proxy to proxy and from build to build."""
    message = api.parse(resource.type_url, resource.body)
    if resource.type_url == ROUTES:
        return _Needs({CLUSTER: frozenset(_clusters_of_routes(message))})
    if resource.type_url == SCOPED_ROUTES:
        return _Needs({ROUTES: (message.route_configuration_name,)})
    if resource.type_url == EXTENSION:  # it leads to the port that it is named after
        return _Needs({CLUSTER: (resource.name,)})
    return _of_listener(message)


def _clusters_of_routes(configuration: Any) -> Iterator[str]:
    for host in configuration.virtual_hosts:
        for route in host.routes:
            if route.route.cluster:
                yield route.route.cluster
            yield from (share.name for share in route.route.weighted_clusters.clusters)


def _of_listener(listener: Any) -> _Needs:
    routes, clusters, extensions = set(), set(), set()
    for one in (
        one for chain in (*listener.filter_chains, listener.default_filter_chain) for one in chain.filters
    ):
        match one.typed_config.type_url.removeprefix(api.TYPE_PREFIX):
            case wanted if wanted == _HCM:
                routes.add(api.parse(_HCM, one.typed_config.value).rds.route_config_name)
            case wanted if wanted == _TCP_PROXY:
                clusters.add(api.parse(_TCP_PROXY, one.typed_config.value).cluster)
            case "":
                extensions.add(one.name)
            case _:
                pass
    twice = Counter(chain.name for chain in listener.filter_chains if chain.name)
    return _Needs(
        {CLUSTER: clusters, ROUTES: routes - {""}, EXTENSION: extensions},
        faults=tuple(
            f"filter chain {chain} stands there twice" for chain, count in twice.items() if count > 1
        ),
    )
