"""How many requests a workload takes in."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from plait.model.catalog import Labels
from plait.model.names import Origin
from plait.model.routing import RequestMatch


class LimitScope(StrEnum):
    """Whose requests are counted together."""

    EVERYBODY = "Everybody"
    EACH_IDENTITY = "EachIdentity"
    """Those of each caller by its certificate; those of all who show none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """So many requests in a time, of those that match; each replica counts for itself at each of its ports.

    A bucket of `burst` tokens, from which every request takes one; `requests` of them come back, evenly, in `per`
    seconds.  Without matches every request counts, with some each that meets one of them.
    """

    index: int
    requests: int
    per: float
    burst: int
    scope: LimitScope = LimitScope.EVERYBODY
    matches: tuple[RequestMatch, ...] = ()
    origin: Origin


class TargetKind(StrEnum):
    SERVICE = "Service"
    """What comes to the ports that it leads to, under whatever name they were called."""
    WORKLOAD = "Workload"


@dataclass(frozen=True, slots=True)
class LimitTarget:
    """One object of the namespace."""

    kind: TargetKind
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """Limits of some workloads of a namespace: of all of them, of those that a selector selects, or of a target."""

    namespace: str
    name: str
    selector: Labels = ()
    target: LimitTarget | None = None
    limits: tuple[Limit, ...]
    """Each that is met counts; the request passes when all of them let it."""
    origin: Origin
