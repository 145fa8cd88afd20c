"""The last look at a snapshot before it is sent: what it names is in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from plait.envoy import api, names
from plait.model.mesh import ClusterKey
from plait.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SCOPED_ROUTES, Snapshot

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
    routes = snapshot.get(ROUTES, {})
    for resource in routes.values():
        for cluster in _clusters_of_routes(api.parse(ROUTES, resource.body)):
            if cluster not in clusters:
                yield f"{resource.name}: routes to {cluster}, which is no cluster"
    for resource in snapshot.get(SCOPED_ROUTES, {}).values():
        wanted = api.parse(SCOPED_ROUTES, resource.body).route_configuration_name
        if wanted not in routes:
            yield f"{resource.name}: leads to {wanted}, which is no route configuration"
    for resource in snapshot.get(LISTENER, {}).values():
        yield from _of_listener(resource.name, api.parse(LISTENER, resource.body), routes, clusters)


def _clusters_of_routes(configuration: Any) -> Iterator[str]:
    for host in configuration.virtual_hosts:
        for route in host.routes:
            if route.route.cluster:
                yield route.route.cluster
            yield from (share.name for share in route.route.weighted_clusters.clusters)


def _of_listener(name: str, listener: Any, routes: Iterable[str], clusters: Iterable[str]) -> Iterator[str]:
    twice = Counter(chain.name for chain in listener.filter_chains if chain.name)
    yield from (
        f"{name}: filter chain {chain} stands there twice" for chain, count in twice.items() if count > 1
    )
    for network_filter in (one for chain in listener.filter_chains for one in chain.filters):
        config = network_filter.typed_config
        match config.type_url.removeprefix(api.TYPE_PREFIX):
            case wanted if wanted == _HCM:
                rds = api.parse(_HCM, config.value).rds.route_config_name
                if rds and rds not in routes:
                    yield f"{name}: wants routes {rds}, which are not there"
            case wanted if wanted == _TCP_PROXY:
                cluster = api.parse(_TCP_PROXY, config.value).cluster
                if cluster not in clusters:
                    yield f"{name}: forwards to {cluster}, which is no cluster"
            case _:
                pass
