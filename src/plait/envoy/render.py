"""From a View to the Resources of one proxy, each made once for everybody who gets it.

Most of what a proxy is told it shares with all others of its mode or namespace: these are Tables, and from build
to build the very same ones when nothing in them has changed.  What is its own hangs on a few of its fields.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from weakref import WeakValueDictionary

from plait.envoy import build, clusters, endpoints, names, routes, runtime, tracing
from plait.envoy.filters import admission, ext_authz, jwt
from plait.envoy.listeners import inbound, outbound
from plait.envoy.runtime import NOT_TAPPED, Tapped
from plait.model.catalog import Protocol
from plait.model.locality import Place
from plait.model.mesh import Cluster, Endpoints, InboundPort, OutboundRoutes, View
from plait.model.names import Origin, ReplicaKey
from plait.model.policy import MtlsMode
from plait.model.settings import OutboundTrafficPolicy
from plait.model.telemetry import NOTHING_SAID, Observed
from plait.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    LISTENER,
    NO_TABLE,
    ROUTES,
    RUNTIME,
    SCOPED_ROUTES,
    TYPES,
    Layered,
    Resource,
    Table,
    Tables,
)


@dataclass(slots=True)
class _Piece:
    """What a Resource is made from; equal contents make equal Resources."""

    type_url: str
    name: str
    content: Hashable
    make: Callable[[], Any]
    origins: tuple[Origin, ...] = ()

    def resource(self) -> Resource:
        return build.resource(self.type_url, self.name, self.make(), self.origins)


_Made = dict[tuple[str, str], tuple[Hashable, Resource]]


@dataclass(slots=True, weakref_slot=True)
class _Shared:
    """One Table, and what it was made from."""

    inputs: tuple[object, ...] = ()
    made: _Made | None = None
    table: Table = NO_TABLE


@dataclass(slots=True)
class _Alike:
    """What all proxies of a mode and namespace share, and what it was made from."""

    inputs: tuple[object, ...]
    parts: Mapping[str, _Shared]
    tables: Tables
    asked: int = 0
    """The sweep before which it was asked for last."""


@dataclass(slots=True)
class _Own:
    """The resources of one proxy alone, what they were made from, and all that it was told last."""

    inputs: tuple[object, ...] = ()
    made: _Made | None = None
    tables: Tables | None = None
    snapshot: Layered | None = None
    asked: int = 0
    """The sweep before which it was asked for last."""


_UNGUARDED: Mapping[str, Any] = {"policies": (), "limits": (), "tokens": (), "authorizer": None}
"""Of a port, without all that says who may."""


class Renderer:
    """Renders Views; what was made before is found again by its content.

    Inputs are compared part by part, so that those which are the very same as the last time cost nothing.
    `sweep` forgets what nobody asked for since it was last called.
    """

    def __init__(self) -> None:
        self._alike: dict[Hashable, _Alike] = {}
        self._shared: WeakValueDictionary[Hashable, _Shared] = WeakValueDictionary()
        """What proxies of several modes or namespaces share, as long as there are such."""
        self._own: dict[ReplicaKey, _Own] = {}
        self._known: WeakValueDictionary[Hashable, Resource] = WeakValueDictionary()
        """What proxies have each for itself, and yet is the same for many."""
        self._sweeps = 0

    def render(self, view: View, found: Endpoints, tapped: Tapped = NOT_TAPPED) -> Layered:
        """Everything that one proxy is told; a cluster that nobody serves gets an empty list of endpoints.

        When that is made of the very same parts as what this proxy was told last, it is the very same.
        """
        shared = self._of_all_alike(view, found)
        kept = self._own.get(view.node)
        if kept is None:
            kept = self._own[view.node] = _Own()
        own = self._of_one(view, tapped, kept)
        if kept.snapshot is None or kept.snapshot.shared is not shared or kept.snapshot.own is not own:
            kept.snapshot = Layered(shared, own)
        return kept.snapshot

    def sweep(self) -> None:
        """Forget what nobody asked for since the last sweep."""
        alike = [key for key, kept in self._alike.items() if kept.asked != self._sweeps]
        for key in alike:
            del self._alike[key]
        own = [node for node, one in self._own.items() if one.asked != self._sweeps]
        for node in own:
            del self._own[node]
        self._sweeps += 1

    def _of_all_alike(self, view: View, found: Endpoints) -> Tables:
        sidecar = view.sidecar
        client, _ = tracing.of_listeners(view)
        place = (sidecar.outbound, sidecar.ipv6, _said(client)) if sidecar.transparent else None
        key = (view.node.workload.namespace, place, view.outbound.scope, view.outbound.place)
        inputs = (view.outbound, view.settings, found)
        kept = self._alike.get(key)
        if kept is None or kept.inputs != inputs:
            parts = dict(self._parts(view, client, found))
            tables = {kind: parts[kind].table if kind in parts else NO_TABLE for kind in TYPES}
            kept = self._alike[key] = _Alike(inputs, parts, Tables.of(tables, kept.tables if kept else None))
        kept.inputs, kept.asked = inputs, self._sweeps
        return kept.tables

    def _parts(self, view: View, client: Observed, found: Endpoints) -> Iterator[tuple[str, _Shared]]:
        told, sidecar, domains = view.outbound, view.sidecar, view.settings.trust_domains
        mode = (sidecar.transparent, told.scope)
        yield (
            CLUSTER,
            self._part((CLUSTER, mode), (told.clusters, domains), lambda: _clusters(told.clusters, domains)),
        )
        yield (
            ENDPOINTS,
            self._part(
                (ENDPOINTS, mode, told.place),
                (told.clusters, found),
                lambda: _endpoints(told.clusters, told.place, found),
            ),
        )
        yield (
            SCOPED_ROUTES,
            self._part(
                (SCOPED_ROUTES, mode, () if sidecar.transparent else view.node.workload.namespace),
                (told.authorities,),
                lambda: _scopes(told.authorities),
            ),
        )
        yield ROUTES, self._part((ROUTES, mode), (told.routes,), lambda: _routes(told.routes))
        if sidecar.transparent:
            place = (told.scope, sidecar.outbound, sidecar.ipv6, view.settings, _said(client))
            yield LISTENER, self._part((LISTENER, *place), (told.tcp,), lambda: _listeners(view, client))

    def _part(
        self,
        key: Hashable,
        inputs: tuple[object, ...],
        pieces: Callable[[], Iterable[_Piece]],
    ) -> _Shared:
        kept = self._shared.get(key)
        if kept is None:
            kept = self._shared[key] = _Shared()
        if kept.made is None or kept.inputs != inputs:
            kept.made = _made(pieces(), kept.made or {}, self._same)  # most is the same in every scope
            kept.table = Table.of((resource for _, resource in kept.made.values()), kept.table)
        kept.inputs = inputs
        return kept

    def _of_one(self, view: View, tapped: Tapped, kept: _Own) -> Tables:
        inputs = (
            *(view.sidecar, view.settings, view.inbound),
            *(view.client, view.server, view.origins, tapped),
        )
        if kept.tables is None or kept.inputs != inputs:
            kept.made = _made(_of_proxy(view, tapped), kept.made or {}, self._same)
            of_type: dict[str, list[Resource]] = {}
            for _, resource in kept.made.values():
                of_type.setdefault(resource.type_url, []).append(resource)
            before = kept.tables.of_type if kept.tables is not None else {}
            tables = {kind: Table.of(resources, before.get(kind)) for kind, resources in of_type.items()}
            kept.tables = Tables.of(tables, kept.tables)
        kept.inputs, kept.asked = inputs, self._sweeps
        return kept.tables

    def _same(self, piece: _Piece) -> Resource:
        """The Resource made of this for any proxy."""
        key = (piece.type_url, piece.name, piece.content, piece.origins)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = piece.resource()
        return found


def _said(observed: Observed) -> Observed | None:
    """What is told beside what always is; most often nothing, which costs no hash."""
    return None if observed is NOTHING_SAID else observed


def _made(pieces: Iterable[_Piece], before: _Made, make: Callable[[_Piece], Resource]) -> _Made:
    """Every piece's Resource: the one from before where it is made from the same."""
    found: _Made = {}
    for piece in pieces:
        key, content = (piece.type_url, piece.name), (piece.content, piece.origins)
        kept = before.get(key)
        found[key] = kept if kept is not None and kept[0] == content else (content, make(piece))
    return found


def _clusters(called: Iterable[Cluster], trust_domains: tuple[str, ...]) -> Iterator[_Piece]:
    for one in called:
        yield _Piece(
            CLUSTER,
            names.cluster(one.key),
            (one, trust_domains),
            partial(clusters.outbound, one, trust_domains),
            one.origins,
        )


def _endpoints(called: Iterable[Cluster], place: Place | None, found: Endpoints) -> Iterator[_Piece]:
    for one in called:
        behind = found.get(one.behind, ())
        if one.policy.clear:
            behind = tuple(replace(endpoint, mtls=False) for endpoint in behind)
        balancing = one.policy.by_locality if place is not None else None
        if place is None or balancing is None:
            content: Hashable = behind
            make = partial(endpoints.assignment, one.key, behind)
        else:
            content = (behind, balancing, place)
            make = partial(endpoints.by_locality, one.key, behind, balancing, place)
        yield _Piece(ENDPOINTS, names.cluster(one.key), content, make, one.origins)


def _scopes(authorities: Iterable[tuple[str, str, int]]) -> Iterator[_Piece]:
    for authority, host, port in authorities:
        yield _Piece(
            SCOPED_ROUTES,
            authority,
            (host, port),
            partial(routes.scope, authority, host, port),
        )


def _routes(called: Iterable[OutboundRoutes]) -> Iterator[_Piece]:
    for one in called:
        name = names.routes(one.host, one.port)
        yield _Piece(ROUTES, name, one, partial(routes.outbound, one), one.origins)


def _listeners(view: View, client: Observed) -> Iterator[_Piece]:
    """Where everything comes to that an application in transparent mode sends, and the ports that are not HTTP."""
    yield _main_listener(view, client)
    for port in view.outbound.tcp:
        name = names.tcp_listener(port.host, port.port)
        yield _Piece(LISTENER, name, (port, _said(client)), partial(outbound.tcp, port, client), port.origins)


def _main_listener(view: View, client: Observed) -> _Piece:
    sidecar, settings = view.sidecar, view.settings
    shared = sidecar.transparent
    place: tuple[Hashable, ...] = (sidecar.outbound, sidecar.ipv6) if shared else (sidecar,)
    return _Piece(
        LISTENER,
        names.OUTBOUND_LISTENER,
        (*place, settings, _said(client)),
        partial(outbound.main, sidecar, settings, client),
        () if shared else view.origins,
    )


def _of_proxy(view: View, tapped: Tapped) -> Iterator[_Piece]:
    """What one proxy has for itself: runtime, outbound listener in explicit mode, and everything about its own ports.

    Each piece is made from a port without what it does not depend on, so that it is not made again for that.
    """
    client, server = tracing.of_listeners(view)
    values = runtime.runtime(view, tapped)
    content = json.dumps(values, sort_keys=True)
    yield _Piece(RUNTIME, names.RUNTIME_LAYER, content, partial(runtime.layer, values))
    if not view.sidecar.transparent:
        yield _main_listener(view, client)
    if view.inbound:
        ports = tuple(replace(port, **_UNGUARDED) for port in view.inbound)
        admitting = []
        for port in view.inbound:
            if port.policies and port.protocol.may_be_tcp and (mark := admission.mark(port)):
                admitting.append((port.number, mark))  # noqa: PERF401  # most proxies have none, and pay nothing
        yield _Piece(
            LISTENER,
            names.INBOUND_LISTENER,
            (view.sidecar, view.settings, ports, tuple(admitting), _said(server)),
            partial(inbound.listener, view.sidecar, view.settings, ports, dict(admitting), server),
            tuple(dict.fromkeys(origin for port in ports for origin in port.origins)),
        )
    for port in view.inbound:
        yield from _application(port)
        ruled = replace(port, address="", port=0, app_address="", app_port=0, mtls=MtlsMode.STRICT)
        yield from _guards(ruled)
    if view.sidecar.transparent or any(port.protocol.may_be_tcp for port in view.inbound):
        yield _Piece(CLUSTER, names.BLACK_HOLE_CLUSTER, (), clusters.black_hole)
    if view.sidecar.transparent:
        domains = view.settings.trust_domains
        yield _Piece(CLUSTER, names.REPLICAS_CLUSTER, domains, partial(clusters.replicas, domains))
    anywhere = view.settings.outbound_traffic_policy is OutboundTrafficPolicy.ALLOW_ANY
    if view.sidecar.transparent and anywhere:
        yield _Piece(CLUSTER, names.PASSTHROUGH_CLUSTER, (), clusters.passthrough)


def _application(port: InboundPort) -> Iterator[_Piece]:
    """To the application itself."""
    there = replace(port, address="", port=0, mtls=MtlsMode.STRICT, services=(), **_UNGUARDED)
    name = names.inbound(port.number)
    yield _Piece(CLUSTER, name, there, partial(clusters.inbound, there), port.origins)
    if port.protocol is Protocol.UNDECLARED:
        name = names.inbound_http(port.number)
        yield _Piece(CLUSTER, name, there, partial(clusters.inbound_http, there), port.origins)


def _guards(port: InboundPort) -> Iterator[_Piece]:
    """Who may, how often, and as which service it was called."""
    name = names.inbound(port.number)
    origins = (*port.origins, *(policy.origin for policy in port.policies))
    if port.protocol.may_be_tcp:
        ruled = replace(port, limits=(), tokens=(), authorizer=None)
        yield _Piece(EXTENSION, name, ruled, partial(admission.extension, ruled), origins)
    if port.protocol.may_be_http:
        yield from _questions(port)
        limits = tuple(limit.origin for limit in port.limits)
        yield _Piece(ROUTES, name, port, partial(routes.inbound, port), (*origins, *limits))


def _questions(port: InboundPort) -> Iterator[_Piece]:
    """Whose tokens hold, and who is asked."""
    if port.tokens:
        origins = tuple(dict.fromkeys(rule.origin for rule in port.tokens))
        name = jwt.JWT.at(port.number)
        yield _Piece(EXTENSION, name, port.tokens, partial(jwt.extension, port.number, port.tokens), origins)
    if port.authorizer is not None and ext_authz.asks(port):
        one = port.authorizer
        name = ext_authz.EXT_AUTHZ.at(port.number)
        yield _Piece(EXTENSION, name, one, partial(ext_authz.extension, one, port.number), (one.origin,))
