"""The last look at a snapshot before it is sent: what it names is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from plait.envoy import access_log, api, names
from plait.model.mesh import ClusterKey
from plait.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    LISTENER,
    NO_LAYERS,
    NO_TABLE,
    ROUTES,
    SCOPED_ROUTES,
    Layered,
    Resource,
    Snapshot,
    Table,
    Tables,
)

_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_JWT = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
_EXT_AUTHZ = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"

_USERS = {
    ROUTES: (CLUSTER, EXTENSION),
    SCOPED_ROUTES: (ROUTES,),
    EXTENSION: (CLUSTER,),
    LISTENER: (CLUSTER, ROUTES, EXTENSION),
}
"""What resources of a type may name."""
_NO = {CLUSTER: "no cluster", ROUTES: "no route configuration", EXTENSION: "no extension"}
K = TypeVar("K")
P = ParamSpec("P")
T = TypeVar("T")


def _once(function: Callable[Concatenate[K, P], T]) -> Callable[Concatenate[K, P], T]:
    """Remembers what is found of something for as long as that lives."""
    known: WeakKeyDictionary[K, dict[object, T]] = WeakKeyDictionary()

    def remembered(one: K, /, *args: P.args, **kwargs: P.kwargs) -> T:
        found = known.get(one)
        if found is None:
            found = known[one] = {}
        if args not in found:
            found[args] = function(one, *args, **kwargs)
        return found[args]

    return remembered


def check(snapshot: Snapshot, missing: Iterable[ClusterKey] = ()) -> tuple[str, ...]:
    """What is wrong with a snapshot, sorted; `missing` are clusters that routes may name though there are none.

    A snapshot with problems is ours to mend, not the user's: it is not sent, and the last good one stays.  What
    proxies share is looked at once for all, what is a proxy's own once for it, and both together only where one
    of them alone lacks something.
    """
    layered = Layered.of(snapshot)
    shared, own = _alone(layered.shared), _alone(layered.own)
    if shared.sound and own.sound:
        return ()
    found = {*shared.faults, *own.faults}
    for alone in (shared, own):
        found.update(_unpaired(layered, alone))
        found.update(_lost(layered, alone, missing))
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class _Alone:
    """What is wrong with some tables, and what is wrong with them unless others help."""

    faults: tuple[str, ...]
    bare: frozenset[str]
    """Clusters without endpoints."""
    strays: frozenset[str]
    """Endpoints without a cluster."""
    lacking: tuple[tuple[str, str, str], ...]
    """(name of a resource, type and name of what it needs)"""
    sound: bool


@_once
def _alone(tables: Tables) -> _Alone:
    of_type = tables.of_type
    clusters = _paired(of_type.get(CLUSTER, NO_TABLE))
    found = of_type.get(ENDPOINTS, NO_TABLE).resources.keys()
    faults = tuple(fault for kind, table in of_type.items() for fault in _faults(table, kind))
    bare, strays = clusters - found, found - clusters
    lacking = tuple(
        (name, kind, wanted)
        for user, used in _USERS.items()
        for kind in used
        for name, wanted in _lacking(of_type.get(user, NO_TABLE), of_type.get(kind, NO_TABLE), kind)
    )
    return _Alone(faults, bare, frozenset(strays), lacking, sound=not (faults or bare or strays or lacking))


@_once
def _faults(table: Table, type_url: str) -> tuple[str, ...]:
    """What is wrong with resources of a type, each by itself."""
    return tuple(_faults_of(table, type_url))


def _faults_of(table: Table, type_url: str) -> Iterator[str]:
    for name, resource in table.resources.items():
        if (resource.type_url, resource.name) != (type_url, name):
            yield f"{name}: kept as {type_url}, but is {resource.name} of {resource.type_url}"
        elif type_url == LISTENER:
            yield from (f"{name}: {fault}" for fault in _needs(resource).faults)


@_once
def _paired(clusters: Table) -> frozenset[str]:
    """The clusters that have to have endpoints of the same name."""
    return frozenset(name for name in clusters.resources if names.cluster_key(name) is not None)


def _unpaired(layered: Layered, alone: _Alone) -> Iterator[str]:
    clusters, found = layered.get(CLUSTER, NO_LAYERS), layered.get(ENDPOINTS, NO_LAYERS)
    yield from (f"{name}: a cluster without endpoints resource" for name in alone.bare if name not in found)
    yield from (f"{name}: endpoints of no cluster" for name in alone.strays if name not in clusters)


def _lost(layered: Layered, alone: _Alone, missing: Iterable[ClusterKey]) -> Iterator[str]:
    """Whatever leads to what is not there."""
    lost = [one for one in alone.lacking if one[2] not in layered.get(one[1], NO_LAYERS)]
    if lost:
        meant = frozenset(names.cluster(key) for key in missing)
        for name, kind, wanted in lost:
            if kind != CLUSTER or wanted not in meant:
                yield f"{name}: leads to {wanted}, which is {_NO[kind]}"


def _lacking(users: Table, provided: Table, kind: str) -> Iterator[tuple[str, str]]:
    """What resources of one table need that is not in another."""
    lost = _wanted(users, kind).difference(provided.resources)
    if lost:
        for resource in users.resources.values():
            yield from (
                (resource.name, wanted) for wanted in _needs(resource).of.get(kind, ()) if wanted in lost
            )


@_once
def _wanted(users: Table, kind: str) -> frozenset[str]:
    """The names of all of a type that resources of a table need."""
    return frozenset(chain.from_iterable(_needs(one).of.get(kind, ()) for one in users.resources.values()))


@dataclass(frozen=True, slots=True)
class _Needs:
    """What a resource refers to, by type, and what is wrong with it alone."""

    of: Mapping[str, Collection[str]]
    faults: tuple[str, ...] = ()


@_once
def _needs(resource: Resource) -> _Needs:
    """Read once for each content, as long as somebody has it: most resources are the same from build to build."""
    message = api.parse(resource.type_url, resource.body)
    if resource.type_url == ROUTES:
        found = {CLUSTER: frozenset(_clusters_of_routes(message)), EXTENSION: _discovered_by(message)}
        return _Needs(found)
    if resource.type_url == SCOPED_ROUTES:
        return _Needs({ROUTES: (message.route_configuration_name,)})
    if resource.type_url == EXTENSION:
        return _Needs({CLUSTER: frozenset(_clusters_of_extension(message))})
    return _of_listener(message)


def _clusters_of_routes(configuration: Any) -> Iterator[str]:
    for host in configuration.virtual_hosts:
        for route in host.routes:
            if route.route.cluster:
                yield route.route.cluster
            yield from (share.name for share in route.route.weighted_clusters.clusters)
            yield from (mirror.cluster for mirror in route.route.request_mirror_policies)


def _discovered_by(configuration: Any) -> frozenset[str]:
    """The filters whose configuration must be there since routes enable them."""
    return frozenset(name for name in configuration.typed_per_filter_config if name.startswith("inbound|"))


def _clusters_of_extension(extension: Any) -> Iterator[str]:
    match extension.typed_config.type_url.removeprefix(api.TYPE_PREFIX):
        case wanted if wanted == _JWT:
            providers = api.parse(_JWT, extension.typed_config.value).providers.values()
            fetched = (one.remote_jwks.http_uri.cluster for one in providers)
            yield from (name for name in fetched if names.cluster_key(name) is not None)
        case wanted if wanted == _EXT_AUTHZ:
            asked = api.parse(_EXT_AUTHZ, extension.typed_config.value)
            yield asked.http_service.server_uri.cluster or asked.grpc_service.envoy_grpc.cluster_name
        case _:  # it leads to the port that it is named after
            yield extension.name


def _told(filter_config: Any) -> Iterator[str]:
    """The clusters to which access logs are told."""
    for log in filter_config.access_log:
        if log.typed_config.type_url.removeprefix(api.TYPE_PREFIX) == access_log.OTLP:
            told = api.parse(access_log.OTLP, log.typed_config.value).grpc_service.envoy_grpc.cluster_name
            if names.cluster_key(told) is not None:
                yield told


def _of_listener(listener: Any) -> _Needs:
    routes: set[str] = set()
    clusters: set[str] = set()
    extensions: set[str] = set()
    for one in (
        one for group in (*listener.filter_chains, listener.default_filter_chain) for one in group.filters
    ):
        match one.typed_config.type_url.removeprefix(api.TYPE_PREFIX):
            case wanted if wanted == _HCM:
                manager = api.parse(_HCM, one.typed_config.value)
                routes.add(manager.rds.route_config_name)
                clusters.update(_told(manager))
            case wanted if wanted == _TCP_PROXY:
                proxy = api.parse(_TCP_PROXY, one.typed_config.value)
                clusters.add(proxy.cluster)
                clusters.update(_told(proxy))
            case "":
                extensions.add(one.name)
            case _:
                pass
    twice = Counter(group.name for group in listener.filter_chains if group.name)
    return _Needs(
        {CLUSTER: clusters, ROUTES: routes - {""}, EXTENSION: extensions},
        faults=tuple(f"filter chain {name} stands there twice" for name, count in twice.items() if count > 1),
    )
