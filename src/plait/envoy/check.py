"""The last look at a snapshot before it is sent: what it names is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from plait.envoy import api, names
from plait.model.mesh import ClusterKey
from plait.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    LISTENER,
    NO_TABLE,
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
    shared = _tables(tuple(layers), *(one.table for one in layers.values()))
    return tuple(
        sorted({*shared.faults, *_own(layers), *_unpaired(layers, shared), *_lost(layers, shared, missing)})
    )


@dataclass(frozen=True, slots=True)
class _Shared:
    """What is wrong with the tables of a proxy, and what may be wrong with them unless its own resources help."""

    faults: tuple[str, ...]
    bare: frozenset[str]
    """Clusters without endpoints."""
    strays: frozenset[str]
    """Endpoints without a cluster."""
    lacking: tuple[tuple[str, str, str], ...]
    """(name of a resource, type and name of what it needs)"""


@lru_cache(maxsize=16)
def _tables(kinds: tuple[str, ...], *of_kinds: Table) -> _Shared:
    """Most proxies have the same tables as the one before; what one table says of another is kept beneath that."""
    tables = dict(zip(kinds, of_kinds, strict=True))
    bare, strays = _pairs(tables.get(CLUSTER, NO_TABLE), tables.get(ENDPOINTS, NO_TABLE), ENDPOINTS)
    return _Shared(
        faults=tuple(fault for kind, table in tables.items() for fault in _faults_in(table, table, kind)),
        bare=bare,
        strays=strays,
        lacking=tuple(
            (name, kind, wanted)
            for user, used in _USERS.items()
            for kind in used
            for name, wanted in _lacking(tables.get(user, NO_TABLE), tables.get(kind, NO_TABLE), kind)
        ),
    )


def _own(layers: Mapping[str, Layers]) -> Iterator[str]:
    """What is wrong with a proxy's own resources, each by itself."""
    for type_url, of_type in layers.items():
        if of_type.own:
            yield from _faults_of(of_type.own, type_url)


@_once
def _faults_in(table: Table, _: Table, type_url: str) -> tuple[str, ...]:
    return tuple(_faults_of(table.resources, type_url))


def _faults_of(resources: Mapping[str, Resource], type_url: str) -> Iterator[str]:
    for name, resource in resources.items():
        if (resource.type_url, resource.name) != (type_url, name):
            yield f"{name}: kept as {type_url}, but is {resource.name} of {resource.type_url}"
        elif type_url == LISTENER:
            yield from (f"{name}: {fault}" for fault in _needs(resource).faults)


def _unpaired(layers: Mapping[str, Layers], shared: _Shared) -> Iterator[str]:
    clusters, found = layers.get(CLUSTER, _NONE), layers.get(ENDPOINTS, _NONE)
    own = (name for name in clusters.own if names.cluster_key(name) is not None)
    yield from (
        f"{name}: a cluster without endpoints resource"
        for name in chain(shared.bare, own)
        if name not in found
    )
    strays = chain(shared.strays, found.own)
    yield from (f"{name}: endpoints of no cluster" for name in strays if name not in clusters)


@_once
def _pairs(clusters: Table, found: Table, _: str) -> tuple[frozenset[str], frozenset[str]]:
    """Clusters without endpoints, and endpoints without a cluster."""
    wanted = {name for name in clusters.resources if names.cluster_key(name) is not None}
    return frozenset(wanted - found.resources.keys()), frozenset(found.resources.keys() - wanted)


def _lost(layers: Mapping[str, Layers], shared: _Shared, missing: Iterable[ClusterKey]) -> Iterator[str]:
    """Whatever leads to what is not there."""
    own = (
        (resource.name, kind, wanted)
        for user in _USERS
        for resource in layers.get(user, _NONE).own.values()
        for kind, found in _needs(resource).of.items()
        for wanted in found
    )
    lost = [
        (name, kind, wanted)
        for name, kind, wanted in chain(shared.lacking, own)
        if wanted not in layers.get(kind, _NONE)
    ]
    if lost:
        meant = frozenset(names.cluster(key) for key in missing)
        for name, kind, wanted in lost:
            if kind != CLUSTER or wanted not in meant:
                yield f"{name}: leads to {wanted}, which is {_NO[kind]}"


@_once
def _lacking(users: Table, provided: Table, kind: str) -> tuple[_Named, ...]:
    """What resources of one table need that is not in another."""
    return tuple(
        (resource.name, wanted)
        for resource in users.resources.values()
        for wanted in _needs(resource).of.get(kind, ())
        if wanted not in provided.resources
    )


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
        one for group in (*listener.filter_chains, listener.default_filter_chain) for one in group.filters
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
    twice = Counter(group.name for group in listener.filter_chains if group.name)
    return _Needs(
        {CLUSTER: clusters, ROUTES: routes - {""}, EXTENSION: extensions},
        faults=tuple(f"filter chain {name} stands there twice" for name, count in twice.items() if count > 1),
    )
