"""What is reported of one proxy: how much of everything there was since its report before.

Numbers are increments, so that who takes them needs to remember nothing: whatever was not reported, since nobody
listened, is a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from plait.model.names import ReplicaKey

Bins = tuple[tuple[int, int], ...]
"""(bin, how many) in ascending order; bins are those of `histogram`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Requests (`http`) or connections (`tcp`) that are alike in all that they are counted by.

    `packed` is the text that the proxy counted by (see `plait.envoy.labels`), with the word of its family first.
    """

    packed: str
    count: int
    """Requests; of connections, those that were opened."""
    closed: int = 0
    """Connections that ended."""
    received: int = 0
    sent: int = 0
    """Bytes of connections, from and to the caller; 0 of requests."""
    durations: Bins = ()
    """Milliseconds that requests took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a process and its children use: seconds of CPU since the report before, and bytes of memory now."""

    cpu: float
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What goes on between a proxy and one cluster (by its name in Envoy) now; the last three came since the report before."""

    cluster: str
    connections: int
    requests: int
    overflowed: int
    """Requests that were turned away, for there were too many."""
    retried: int
    """Attempts that were not a request's first."""
    unreached: int = 0
    """Attempts for which nobody could be reached, whatever became of the request: no connection, or nobody healthy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyReport:
    """All that one proxy, and the application beside it, did in `seconds` seconds up to `at` (since the epoch)."""

    node: ReplicaKey
    at: float
    seconds: float
    traffic: tuple[Traffic, ...] = ()
    pools: tuple[Pool, ...] = ()
    sidecar: Usage | None = None
    application: Usage | None = None
    ejected: tuple[str, ...] | None = None
    """The endpoints (HOST:PORT) that it leaves alone for now, for they failed (outlier detection); None: not known."""


class Takes(Protocol):
    """Whoever keeps what is reported."""

    def take(self, report: ProxyReport) -> None:
        """Keep it; must not take long, and raises nothing."""
