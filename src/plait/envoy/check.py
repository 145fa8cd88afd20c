"""The last look at a snapshot before it is sent: what it names is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from plait.envoy import api, names
from plait.model.mesh import ClusterKey
from plait.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    LISTENER,
    ROUTES,
    SCOPED_ROUTES,
    Resource,
    Snapshot,
)

_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"


def check(snapshot: Snapshot, missing: Iterable[ClusterKey] = ()) -> tuple[str, ...]:
    """What is wrong with a snapshot, sorted; `missing` are clusters that routes may name though there are none.

    A snapshot with problems is ours to mend, not the user's: it is not sent, and the last good one stays.
    """
    absent = frozenset(names.cluster(key) for key in missing)
    return tuple(sorted({*_misnamed(snapshot), *_endpoints(snapshot), *_references(snapshot, absent)}))


def _misnamed(snapshot: Snapshot) -> Iterator[str]:
    for type_url, resources in snapshot.items():
        for name, resource in resources.items():
            if (resource.type_url, resource.name) != (type_url, name):
                yield f"{name}: kept as {type_url}, but is {resource.name} of {resource.type_url}"


def _endpoints(snapshot: Snapshot) -> Iterator[str]:
    wanted = {name for name in snapshot.get(CLUSTER, {}) if names.cluster_key(name) is not None}
    found = set(snapshot.get(ENDPOINTS, {}))
    yield from (f"{name}: a cluster without endpoints resource" for name in wanted - found)
    yield from (f"{name}: endpoints of no cluster" for name in found - wanted)


def _references(snapshot: Snapshot, missing: frozenset[str]) -> Iterator[str]:
    clusters = snapshot.get(CLUSTER, {}).keys() | missing
    routes = snapshot.get(ROUTES, {}).keys()
    extensions = snapshot.get(EXTENSION, {}).keys()
    for type_url in (ROUTES, SCOPED_ROUTES, EXTENSION, LISTENER):
        for resource in snapshot.get(type_url, {}).values():
            needs = _needs(resource)
            yield from (f"{resource.name}: {fault}" for fault in needs.faults)
            for name in needs.clusters - clusters:
                yield f"{resource.name}: leads to {name}, which is no cluster"
            for name in needs.routes - routes:
                yield f"{resource.name}: leads to {name}, which is no route configuration"
            for name in needs.extensions - extensions:
                yield f"{resource.name}: asks for {name}, which is no extension"


@dataclass(frozen=True, slots=True)
class _Needs:
    """What a resource refers to, and what is wrong with it alone."""

    clusters: frozenset[str] = frozenset()
    routes: frozenset[str] = frozenset()
    extensions: frozenset[str] = frozenset()
    faults: tuple[str, ...] = ()


@lru_cache(maxsize=1 << 16)
def _needs(resource: Resource) -> _Needs:
    """Read once for each content: most resources are the same from proxy to proxy and from build to build."""
    message = api.parse(resource.type_url, resource.body)
    if resource.type_url == ROUTES:
        return _Needs(clusters=frozenset(_clusters_of_routes(message)))
    if resource.type_url == SCOPED_ROUTES:
        return _Needs(routes=frozenset((message.route_configuration_name,)))
    if resource.type_url == EXTENSION:  # it leads to the port that it is named after
        return _Needs(clusters=frozenset((resource.name,)))
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
        clusters=frozenset(clusters),
        routes=frozenset(routes - {""}),
        extensions=frozenset(extensions),
        faults=tuple(
            f"filter chain {chain} stands there twice" for chain, count in twice.items() if count > 1
        ),
    )
