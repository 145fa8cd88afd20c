"""A Resource: what `envoy` makes and `xds` carries.  A name, a type, bytes and their hash.

What one proxy should have of a type are Layers: a Table that it shares with other proxies, and a few resources of
its own.  Tables are told apart by identity, so that what differs between two of them is found once for all; those
of all types together are, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import final
from weakref import WeakKeyDictionary

from plait.model.names import Origin

RUNTIME = "type.googleapis.com/envoy.service.runtime.v3.Runtime"
_TYPE = "type.googleapis.com/envoy.config."
CLUSTER = _TYPE + "cluster.v3.Cluster"
ENDPOINTS = _TYPE + "endpoint.v3.ClusterLoadAssignment"
LISTENER = _TYPE + "listener.v3.Listener"
EXTENSION = _TYPE + "core.v3.TypedExtensionConfig"
SCOPED_ROUTES = _TYPE + "route.v3.ScopedRouteConfiguration"
ROUTES = _TYPE + "route.v3.RouteConfiguration"

TYPES = (RUNTIME, CLUSTER, ENDPOINTS, EXTENSION, LISTENER, SCOPED_ROUTES, ROUTES)
"""Every type we serve, in the order that makes before it breaks; nothing hangs on the first."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Resource:
    """One named piece of configuration, serialised once for everybody who gets it.

    `version` is a hash of `body` alone, equal in every process that renders the same content.  `framed` is a whole
    `envoy.service.discovery.v3.DeltaDiscoveryResponse` of this one resource: a message of several is these, joined.
    """

    type_url: str
    name: str
    version: str
    body: bytes = field(repr=False)
    framed: bytes = field(repr=False, compare=False)
    origins: tuple[Origin, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a Table has that another has not: resources in another version or altogether, and names that are gone."""

    changed: Mapping[str, Resource]
    gone: frozenset[str]


@final
class Table:
    """Resources of one type by name, the same for many proxies.  Never changes; equal to itself alone."""

    __slots__ = ("__weakref__", "_since", "resources")

    def __init__(self, resources: Mapping[str, Resource]) -> None:
        self.resources = resources
        self._since: WeakKeyDictionary[Table, Difference] | None = None

    @staticmethod
    def of(resources: Iterable[Resource], before: Table | None = None) -> Table:
        """A Table of these; `before` itself when it holds the very same."""
        named = {resource.name: resource for resource in resources}
        if before is not None and len(named) == len(before.resources):
            kept = before.resources.get
            if all(kept(name) is resource for name, resource in named.items()):
                return before
        return Table(named)

    def since(self, before: Table) -> Difference:
        """What has to be told to whoever has `before`; found out once, for as long as anybody has that."""
        if before is self:
            return NO_DIFFERENCE
        if self._since is None:
            self._since = WeakKeyDictionary()
        found = self._since.get(before)
        if found is None:
            found = self._since[before] = self._compared(before.resources)
        return found

    def _compared(self, before: Mapping[str, Resource]) -> Difference:
        def differs(resource: Resource) -> bool:
            kept = before.get(resource.name)
            return kept is not resource and (kept is None or kept.version != resource.version)

        mine = self.resources
        changed = (
            {resource.name: resource for resource in mine.values() if differs(resource)} if before else mine
        )
        return Difference(changed, frozenset(before.keys() - mine.keys()))


NO_DIFFERENCE = Difference({}, frozenset())
NO_TABLE = Table({})


@final
class Tables:
    """A Table of each type, by type URL.  Never changes; equal to itself alone."""

    __slots__ = ("__weakref__", "of_type")

    def __init__(self, of_type: Mapping[str, Table]) -> None:
        self.of_type = of_type

    @staticmethod
    def of(of_type: Mapping[str, Table], before: Tables | None = None) -> Tables:
        """Tables of these; `before` itself when it holds the very same."""
        return before if before is not None and before.of_type == of_type else Tables(of_type)


@final
class Layers(Mapping[str, Resource]):
    """What one proxy should have of one type; its own resources come first.  Never changes."""

    __slots__ = ("own", "table")

    def __init__(self, table: Table = NO_TABLE, own: Mapping[str, Resource] | None = None) -> None:
        self.table = table
        self.own: Mapping[str, Resource] = own if own is not None else {}

    @staticmethod
    def of(resources: Mapping[str, Resource]) -> Layers:
        """Any mapping as Layers."""
        return resources if isinstance(resources, Layers) else Layers(Table(resources))

    def same(self, other: Layers) -> bool:
        """Whether these are made of the very same parts."""
        return self.table is other.table and (self.own is other.own or not (self.own or other.own))

    def __getitem__(self, name: str) -> Resource:
        found = self.own.get(name)
        return self.table.resources[name] if found is None else found

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self.table.resources

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from (name for name in self.table.resources if name not in self.own)

    def __len__(self) -> int:
        return len(self.table.resources) + sum(name not in self.table.resources for name in self.own)


NO_LAYERS = Layers()


Snapshot = Mapping[str, Mapping[str, Resource]]
"""All that one proxy should have: type URL -> name -> Resource.  Never mutated once handed over."""


@final
class Layered(dict[str, Layers]):
    """A Snapshot made of what a proxy shares with others and what is its own; never changes.

    What is shared has a Table for every type, be it an empty one.
    """

    __slots__ = ("own", "shared")

    def __init__(self, shared: Tables, own: Tables) -> None:
        alone = own.of_type
        super().__init__(
            {
                kind: Layers(table, alone.get(kind, NO_TABLE).resources)
                for kind, table in shared.of_type.items()
            }
        )
        self.shared = shared
        self.own = own

    @staticmethod
    def of(snapshot: Snapshot) -> Layered:
        """Any Snapshot as a Layered one."""
        if isinstance(snapshot, Layered):
            return snapshot
        layers = {kind: Layers.of(resources) for kind, resources in snapshot.items()}
        return Layered(
            Tables({kind: one.table for kind, one in layers.items()}),
            Tables({kind: Table(one.own) for kind, one in layers.items() if one.own}),
        )

    def same(self, other: Layered) -> bool:
        """Whether these are made of the very same parts."""
        return self.shared is other.shared and self.own is other.own
