"""Scopes: which clients see the same.

What a client sees hangs on its namespace, on an egress scope that selects it, and on the rules that are for some
clients alone; whom of a service it calls may hang on where it is.  All who agree in these are one scope, and most
often everybody is of the same one, which is told once for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from plait.compiler.hosts import ByHost, covers_egress
from plait.compiler.sharing import Made, PerMesh
from plait.compiler.shifting import keeping
from plait.model.catalog import Labels, Service, selects
from plait.model.locality import Place
from plait.model.mesh import Mesh
from plait.model.routing import Clients, RouteRule, RouteTable
from plait.model.scope import EgressHosts, EgressScope, Sight
from plait.model.settings import MeshSettings
from plait.model.traffic import DestinationSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What some clients see; `label` is equal where that is, and () for everybody of whom nothing is said."""

    label: tuple[str, ...]
    namespace: str
    """The one that all of its clients are of; "": they may be of several."""
    sight: Sight
    settings: MeshSettings
    place: Place | None
    """Where all of these clients stand, by which they may call others of the same; None: nobody asks."""
    egress: EgressScope | None = None
    """What says whom these clients need at all."""


class _Scopes:
    """The scopes of one Mesh."""

    def __init__(self, mesh: Mesh, made: Made) -> None:
        self._mesh = mesh
        self._made = made
        self._known: dict[tuple[str, Labels], Scope] = {}
        self._asked = {
            namespace: made.of(("asked", namespace), (sight.routes,), _asked)
            for namespace, sight in (("", mesh.common), *mesh.sights.items())
        }
        """Of whom rules ask, by the namespace of a sight."""
        self._common = Scope(
            label=(),
            namespace="",
            sight=mesh.common,
            settings=mesh.settings,
            place=self._place(("",), mesh.common, ()),
        )
        self._alike = not (
            mesh.sights or mesh.egress or mesh.for_clients or self._asked[""] or self._common.place
        )

    def of(self, namespace: str, labels: Labels) -> Scope:
        if self._alike:
            return self._common
        found = self._known.get((namespace, labels))
        if found is None:
            found = self._known[namespace, labels] = self._of(namespace, labels)
        return found

    def _of(self, namespace: str, labels: Labels) -> Scope:
        mesh = self._mesh
        apart = namespace if namespace in mesh.sights else ""
        sight, label = mesh.sight(namespace), [apart]
        asked = self._asked[apart]
        if asked:
            met = frozenset(one for one in asked if _is(one, namespace, labels))
            label += sorted(f"{one.namespace} {one.labels}" for one in met)
            sight = self._made.of(("met", *label), (sight, met), _met)
        said = tuple(
            one
            for one in mesh.for_clients
            if one.origin.ref.namespace == namespace and selects(one.clients, labels)
        )
        if said:
            apart = namespace
            label += ["clients", namespace, *(one.origin.ref.name for one in said)]
            sight = self._made.of(tuple(label), (sight, said), _heeding)
        egress = self._egress(namespace, labels)
        settings = mesh.settings
        if egress is not None:
            label += ["egress", str(egress.origin.ref)]
            if egress.hosts is not None:
                apart = namespace
                label.append(namespace)
                sight = self._made.of(tuple(label), (sight, egress.hosts, namespace), _narrowed)
            if egress.outbound_traffic_policy is not None:
                settings = replace(settings, outbound_traffic_policy=egress.outbound_traffic_policy)
        return Scope(
            label=() if label == [""] else tuple(label),
            namespace=apart,
            sight=sight,
            settings=settings,
            place=self._place(tuple(label), sight, labels),
            egress=egress,
        )

    def _place(self, label: tuple[str, ...], sight: Sight, labels: Labels) -> Place | None:
        asked = self._made.of(("places", *label), (sight.destinations,), _asked_of_places)
        return None if asked is None else Place.of(labels, asked)

    def _egress(self, namespace: str, labels: Labels) -> EgressScope | None:
        """The one that selects a client, or that of its namespace, or that of the root namespace (Istio's order)."""
        found = [one for one in self._mesh.egress if one.namespace == namespace]
        selecting = [one for one in found if one.selector and selects(one.selector, labels)]
        root = self._mesh.settings.root_namespace
        everywhere = [one for one in self._mesh.egress if one.namespace == root]
        anyone = [one for one in (*found, *everywhere) if not one.selector]
        return next(iter((*selecting, *anyone)), None)


scopes = PerMesh(_Scopes)
"""Which scope a client of a Mesh is of."""


def _asked(routes: Mapping[str, tuple[RouteTable, ...]]) -> frozenset[Clients]:
    return frozenset(
        rule.match.clients
        for tables in routes.values()
        for table in tables
        for rule in table.rules
        if rule.match is not None and rule.match.clients is not None
    )


def _asked_of_places(destinations: Mapping[str, DestinationSettings]) -> frozenset[str] | None:
    """The labels of clients that matter, beside their locality, to whom they call; None: nothing of a client does."""
    found = [
        balancing
        for settings in destinations.values()
        for policy in settings.every_policy
        if (balancing := policy.by_locality) is not None
    ]
    return frozenset(name for one in found for name in one.asked) if found else None


def _is(clients: Clients, namespace: str, labels: Labels) -> bool:
    return clients.namespace in ("", namespace) and (not clients.labels or selects(clients.labels, labels))


def _heeding(sight: Sight, said: tuple[DestinationSettings, ...]) -> Sight:
    """A sight with settings for these clients alone in place of others; of several for a host the first holds."""
    nearest = ByHost.of({one.host: one for one in reversed(said)})
    own = {
        host: keeping(found, sight.destinations.get(host))
        for host in sight.services
        if (found := nearest.get(host)) is not None
    }
    return replace(sight, destinations={**sight.destinations, **own})


def _met(sight: Sight, met: frozenset[Clients]) -> Sight:
    """A sight with the rules that are for these clients, and for them without a condition."""
    return replace(
        sight, routes={host: tuple(_for(one, met) for one in tables) for host, tables in sight.routes.items()}
    )


def _for(table: RouteTable, met: frozenset[Clients]) -> RouteTable:
    if all(rule.match is None or rule.match.clients is None for rule in table.rules):
        return table
    return replace(table, rules=tuple(_rules(table.rules, met)))


def _rules(rules: Iterable[RouteRule], met: frozenset[Clients]) -> Iterator[RouteRule]:
    for rule in rules:
        match = rule.match
        if match is None or match.clients is None:
            yield rule
        elif match.clients in met:
            yield replace(rule, match=replace(match, clients=None))


def _narrowed(sight: Sight, hosts: tuple[EgressHosts, ...], namespace: str) -> Sight:
    """A sight of the services that are named, and of those to which routes of these lead."""

    def named(place: str, host: str) -> bool:
        return any(covers_egress(one, place, host) for one in hosts)

    def reached(host: str, table: RouteTable) -> bool:
        places = {origin.ref.namespace for origin in table.origins}
        if host in services and namespace in places:
            return True
        return any(named(place, host) for place in places)

    services: dict[str, Service] = {
        host: one for host, one in sight.services.items() if named(one.namespace, host)
    }
    routes = {
        host: kept
        for host, tables in sight.routes.items()
        if (kept := tuple(table for table in tables if reached(host, table)))
    }
    led = {
        backend.host
        for tables in routes.values()
        for table in tables
        for rule in table.rules
        for backend in rule.destinations
    }
    called = {host: one for host, one in sight.services.items() if host in services or host in led}
    return Sight(
        services=called,
        routes=routes,
        destinations={host: one for host, one in sight.destinations.items() if host in called},
    )
