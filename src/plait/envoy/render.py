"""From a View to the Resources of one proxy, each made once for everybody who gets it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from plait.envoy import build, clusters, endpoints, names, routes
from plait.envoy.filters import admission
from plait.envoy.listeners import inbound, outbound
from plait.model.catalog import Protocol
from plait.model.mesh import Cluster, ClusterKey, Endpoint, InboundPort, OutboundRoutes, TcpPort, View
from plait.model.names import Origin
from plait.model.settings import OutboundTrafficPolicy
from plait.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, SCOPED_ROUTES, Resource, Snapshot

Endpoints = Mapping[ClusterKey, tuple[Endpoint, ...]]
_Named = Mapping[str, Resource]


class Renderer:
    """Renders Views; what was made before is found again by its content.

    A rebuild renders the View of every proxy, with the same endpoints, and then calls `sweep`.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Resource] = {}
        self._before: dict[Hashable, Resource] = {}
        self._shared: dict[tuple[int, ...], tuple[tuple[object, ...], _Named]] = {}

    def render(self, view: View, found: Endpoints) -> Snapshot:
        """Everything that one proxy is told; a cluster that nobody serves gets an empty list of endpoints."""
        trust_domain = view.settings.trust_domain
        shared_clusters = self._share(
            (view.clusters,), lambda: (self._cluster(one, trust_domain) for one in view.clusters)
        )
        shared_routes = self._share((view.routes,), lambda: (self._routes(one) for one in view.routes))
        return {
            CLUSTER: {**shared_clusters, **_by_name(self._own_clusters(view))},
            ENDPOINTS: self._share(
                (view.clusters, found),
                lambda: (self.render_endpoints(one, found.get(one.key, ())) for one in view.clusters),
            ),
            LISTENER: _by_name(self._listeners(view)),
            EXTENSION: _by_name(self._admission(one) for one in view.inbound if one.protocol.may_be_tcp),
            SCOPED_ROUTES: self._share((view.authorities, view.routes), lambda: self._scopes(view)),
            ROUTES: {
                **shared_routes,
                **_by_name(self._inbound_routes(one) for one in view.inbound if one.protocol.may_be_http),
            },
        }

    def render_endpoints(self, cluster: Cluster, found: tuple[Endpoint, ...]) -> Resource:
        """The endpoints of one cluster."""
        name, content = names.cluster(cluster.key), (found, cluster.origins)
        return self._make(
            ENDPOINTS, name, content, lambda: endpoints.assignment(cluster.key, found), cluster.origins
        )

    def sweep(self) -> None:
        """Forget what nobody asked for since the last sweep."""
        self._before, self._made = self._made, {}
        self._shared.clear()

    def _share(self, values: tuple[object, ...], make: Callable[[], Iterable[Resource]]) -> _Named:
        """The same mapping for the very same values: most Views of a rebuild share theirs."""
        key = tuple(id(value) for value in values)
        kept = self._shared.get(key)
        if kept is None:
            kept = self._shared[key] = (values, _by_name(make()))  # the values are kept, and so their ids
        return kept[1]

    def _make(
        self,
        type_url: str,
        name: str,
        content: Hashable,
        message: Callable[[], Any],
        origins: tuple[Origin, ...],
    ) -> Resource:
        """The Resource made of this content."""
        key = (type_url, name, content)
        made = self._made.get(key) or self._before.get(key)
        if made is None:
            made = build.resource(type_url, name, message(), origins)
        self._made[key] = made
        return made

    def _cluster(self, cluster: Cluster, trust_domain: str) -> Resource:
        return self._make(
            CLUSTER,
            names.cluster(cluster.key),
            (cluster, trust_domain),
            lambda: clusters.outbound(cluster, trust_domain),
            cluster.origins,
        )

    def _own_clusters(self, view: View) -> Iterable[Resource]:
        """To the application itself, and to where no service is."""
        for port in view.inbound:
            yield self._inbound_cluster(names.inbound(port.number), port, clusters.inbound)
            if port.protocol is Protocol.UNDECLARED:
                yield self._inbound_cluster(names.inbound_http(port.number), port, clusters.inbound_http)
        if view.sidecar.transparent or any(port.protocol.may_be_tcp for port in view.inbound):
            yield self._make(CLUSTER, names.BLACK_HOLE_CLUSTER, (), clusters.black_hole, ())
        anywhere = view.settings.outbound_traffic_policy is OutboundTrafficPolicy.ALLOW_ANY
        if view.sidecar.transparent and anywhere:
            yield self._make(CLUSTER, names.PASSTHROUGH_CLUSTER, (), clusters.passthrough, ())

    def _inbound_cluster(self, name: str, port: InboundPort, make: Callable[[InboundPort], Any]) -> Resource:
        return self._make(CLUSTER, name, port, lambda: make(port), port.origins)

    def _routes(self, found: OutboundRoutes) -> Resource:
        name = names.routes(found.host, found.port)
        return self._make(ROUTES, name, found, lambda: routes.outbound(found), found.origins)

    def _inbound_routes(self, port: InboundPort) -> Resource:
        name = names.inbound(port.number)
        return self._make(ROUTES, name, port, lambda: routes.inbound(port), _guarded(port))

    def _admission(self, port: InboundPort) -> Resource:
        name = names.inbound(port.number)
        return self._make(EXTENSION, name, port, lambda: admission.extension(port), _guarded(port))

    def _scopes(self, view: View) -> Iterable[Resource]:
        origins = {(one.host, one.port): one.origins for one in view.routes}
        for authority, host, port in view.authorities:
            yield self._scope(authority, host, port, origins[host, port])

    def _scope(self, authority: str, host: str, port: int, origins: tuple[Origin, ...]) -> Resource:
        content = (host, port, origins)
        return self._make(
            SCOPED_ROUTES, authority, content, lambda: routes.scope(authority, host, port), origins
        )

    def _listeners(self, view: View) -> Iterable[Resource]:
        proxy = (view.node, view.settings, view.labels, view.service_account, view.sidecar)
        name = names.OUTBOUND_LISTENER
        yield self._make(LISTENER, name, (proxy, view.origins), lambda: outbound.main(view), view.origins)
        for port in view.tcp:
            yield self._tcp_listener(view, port, proxy)
        if view.inbound:
            name = names.INBOUND_LISTENER
            content = (proxy, view.inbound)
            origins = tuple(dict.fromkeys(origin for port in view.inbound for origin in port.origins))
            yield self._make(LISTENER, name, content, lambda: inbound.listener(view), origins)

    def _tcp_listener(self, view: View, port: TcpPort, proxy: Hashable) -> Resource:
        name = names.tcp_listener(port.host, port.port)
        return self._make(LISTENER, name, (proxy, port), lambda: outbound.tcp(view, port), port.origins)


def _guarded(port: InboundPort) -> tuple[Origin, ...]:
    return (*port.origins, *(policy.origin for policy in port.policies))


def _by_name(resources: Iterable[Resource]) -> dict[str, Resource]:
    return {resource.name: resource for resource in resources}
