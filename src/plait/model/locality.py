"""Where clients and replicas are, and which replicas a client prefers for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from plait.model.catalog import Labels

REGION = "topology.kubernetes.io/region"
ZONE = "topology.kubernetes.io/zone"
SUBZONE = "topology.istio.io/subzone"
_WHOLE = ("topology.istio.io/locality", "istio-locality")
"""Labels that say all three parts at once, `region.zone.subzone`, and come before those of the parts (Istio's order)."""
_DISTANCES = 5
"""One more than the largest distance."""


@dataclass(frozen=True, slots=True, order=True)
class Locality:
    """A place, or with `*` for a part every place that agrees in the other parts."""

    region: str = ""
    zone: str = ""
    subzone: str = ""

    @staticmethod
    def of(labels: Labels) -> Locality:
        """Where a workload is that has these labels; what they do not say is ""."""
        said = dict(labels)
        whole = next((said[name] for name in _WHOLE if name in said), None)
        if whole is None:
            return Locality(said.get(REGION, ""), said.get(ZONE, ""), said.get(SUBZONE, ""))
        region, zone, subzone = (*whole.split("."), "", "")[:3]
        return Locality(region, zone, subzone)

    @staticmethod
    def parse(text: str) -> Locality:
        """Of `region/zone/subzone`, which may end early: what is not said may be anything."""
        region, zone, subzone = (*text.split("/"), "*", "*")[:3]
        return Locality(region, zone, subzone)

    @property
    def parts(self) -> tuple[str, str, str]:
        return self.region, self.zone, self.subzone

    def covers(self, place: Locality) -> bool:
        """Whether a place is one of those that this stands for."""
        return all(mine in ("*", other) for mine, other in zip(self.parts, place.parts, strict=True))

    def meets(self, other: Locality) -> bool:
        """Whether some place is one of those that this stands for, and of those of the other."""
        return all(
            "*" in (mine, theirs) or mine == theirs
            for mine, theirs in zip(self.parts, other.parts, strict=True)
        )


NOWHERE = Locality()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a client stands: its locality, and those of its labels that somebody asks for."""

    locality: Locality = NOWHERE
    labels: Labels = ()

    @staticmethod
    def of(labels: Labels, asked: Iterable[str]) -> Place:
        """That of a workload, of which some labels are asked for."""
        return Place(
            locality=Locality.of(labels), labels=tuple((name, label(labels, name)) for name in sorted(asked))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """The shares (percent) of localities in what clients at some places send; others get nothing."""

    clients: Locality
    shares: tuple[tuple[Locality, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalityBalancing:
    """Which replicas a client prefers: by shares, or the nearest that are healthy."""

    enabled: bool = True
    distributions: tuple[Distribution, ...] = ()
    """The first for a client holds; with any of these nobody is nearer than another."""
    failover: tuple[tuple[str, str], ...] = ()
    """(region of the client, region that is asked before all others when its own has nobody)"""
    priority: tuple[tuple[str, str | None], ...] = ()
    """Labels that a replica has to have, the most important first; None: the same as the client."""

    @property
    def asked(self) -> tuple[str, ...]:
        """The labels of a client that matter."""
        return tuple(name for name, value in self.priority if value is None)

    def shares(self, client: Place) -> tuple[tuple[Locality, int], ...]:
        """The shares of localities in what a client sends; none: as many as there are replicas."""
        found = (one.shares for one in self.distributions if one.clients.covers(client.locality))
        return next(found, ())

    def distance(self, client: Place, labels: Labels) -> int:
        """How far a replica with these labels is: a client asks the nearest ones as long as they are healthy.

        By labels first, where they are said, and then by region, zone and subzone (Istio's order).
        """
        far = self._label_distance(client, labels)
        if self.priority and not self.failover:
            return far
        return far * _DISTANCES + self._region_distance(client.locality, Locality.of(labels))

    def _label_distance(self, client: Place, labels: Labels) -> int:
        own = dict(client.labels)
        for index, (name, value) in enumerate(self.priority):
            if label(labels, name) != (own[name] if value is None else value):
                return len(self.priority) - index
        return 0

    def _region_distance(self, client: Locality, place: Locality) -> int:
        if client.region != place.region:
            wanted = dict(self.failover).get(client.region, place.region)
            return 3 if wanted == place.region else 4
        if client.zone != place.zone:
            return 2
        return 1 if client.subzone != place.subzone else 0


def label(labels: Labels, name: str) -> str:
    """A label of a workload, "" when it has none; those of its locality may be said by another one."""
    parts = dict(zip((REGION, ZONE, SUBZONE), Locality.of(labels).parts, strict=True))
    return parts[name] if name in parts else dict(labels).get(name, "")
