"""How a destination is called once routing has chosen it, in words that belong to no dialect."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from plait.model.catalog import Labels
from plait.model.locality import LocalityBalancing
from plait.model.names import Export, Origin


class Balance(StrEnum):
    """Who of several is called."""

    LEAST_REQUEST = "least request"
    """Of two, drawn by chance, the less busy one."""
    ROUND_ROBIN = "round robin"
    RANDOM = "random"
    RING_HASH = "ring hash"
    """The same one for the same key, as far as that is still there."""
    MAGLEV = "maglev"
    """As RING_HASH, but evener, and hardly more keys move than have to when one is gone: there up to twice as many."""


class HashKind(StrEnum):
    HEADER = "header"
    COOKIE = "cookie"
    QUERY = "query"
    SOURCE = "source"
    """The address of the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HashKey:
    """What of a request has to be the same for the same replica to answer; `name` is of a header, cookie or parameter.

    A cookie that a client has not got is made, for `path`, when it has a `lifetime` (seconds; 0: until the browser
    is closed).
    """

    kind: HashKind
    name: str = ""
    path: str = ""
    lifetime: float | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    """What else a cookie says that is made, such as SameSite; a value "" is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """A new replica gets more and more, from `least` percent, over so many seconds."""

    seconds: float
    least: float = 10.0
    aggression: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancing:
    """`hash_key` and `table_size` (0: Envoy's own) belong to RING_HASH and MAGLEV."""

    balance: Balance = Balance.LEAST_REQUEST
    hash_key: HashKey | None = None
    table_size: int = 0
    warm_up: WarmUp | None = None
    locality: LocalityBalancing | None = None
    """None: the nearest that are healthy, as far as anybody looks who is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """When TCP asks a silent peer whether it is still there; None: as the system does it.  Seconds."""

    probes: int | None = None
    time: float | None = None
    interval: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPool:
    """The most that one client keeps open to a destination, and for how long; None: no limit, or Plait's own.

    What would be more is answered 503 at once.  `idle_timeout` is of HTTP, `tcp_idle_timeout` of all else.
    """

    max_connections: int | None = None
    connect_timeout: float | None = None
    keepalive: Keepalive | None = None
    max_connection_duration: float | None = None
    max_pending_requests: int | None = None
    max_requests: int | None = None
    max_requests_per_connection: int | None = None
    max_retries: int | None = None
    max_concurrent_streams: int | None = None
    idle_timeout: float | None = None
    tcp_idle_timeout: float | None = None

    @property
    def is_of_http(self) -> bool:
        """Whether something is said that only requests have."""
        return self.max_concurrent_streams is not None or self.max_requests_per_connection is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierDetection:
    """Who fails is not called for a while; 0: not for this.  Seconds and percentages.

    `gateway_errors` counts 502, 503 and 504, `local_failures` what never came to an answer, and apart from the
    other two when `split_local` says so.
    """

    errors: int = 5
    gateway_errors: int = 0
    split_local: bool = False
    local_failures: int = 5
    interval: float = 10.0
    ejection: float = 30.0
    most_ejected: int = 10
    least_healthy: int = 0
    """Of fewer healthy ones everybody is called, ejected or not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBudget:
    """Retries are at most this part (percent) of the requests under way, but so many are always allowed."""

    percent: float = 20.0
    least: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficPolicy:
    """How a destination is called; None: as a wider policy says, or as Plait does by itself."""

    load_balancing: LoadBalancing | None = None
    connections: ConnectionPool | None = None
    outliers: OutlierDetection | None = None
    retry_budget: RetryBudget | None = None
    clear: bool | None = None
    """Whether it is called without TLS, also where that is not said of itself."""

    @property
    def by_locality(self) -> LocalityBalancing | None:
        """Whom clients prefer for where they are; None: nobody.

        Nobody is left for another one who is farther away before anybody looks who is healthy.
        """
        told = self.load_balancing.locality if self.load_balancing is not None else None
        found = told or _NEAREST
        effective = bool(found.distributions) or self.outliers is not None
        return found if found.enabled and effective else None

    def under(self, wider: TrafficPolicy) -> TrafficPolicy:
        """This policy, and what it does not speak of as a wider one has it."""
        return TrafficPolicy(
            load_balancing=self.load_balancing or wider.load_balancing,
            connections=self.connections or wider.connections,
            outliers=self.outliers or wider.outliers,
            retry_budget=self.retry_budget or wider.retry_budget,
            clear=wider.clear if self.clear is None else self.clear,
        )


NO_POLICY = TrafficPolicy()
_NEAREST = LocalityBalancing()


@dataclass(frozen=True, slots=True, kw_only=True)
class PortPolicies:
    """A policy, and those of single ports, which it does not reach."""

    everywhere: TrafficPolicy = NO_POLICY
    ports: tuple[tuple[int, TrafficPolicy], ...] = ()

    def at(self, port: int) -> TrafficPolicy | None:
        """What is said of one port alone; budgets of retries are for all ports."""
        budget = TrafficPolicy(retry_budget=self.everywhere.retry_budget)
        return next((policy.under(budget) for number, policy in self.ports if number == port), None)


_NOTHING = PortPolicies()
LONGEST_IDLE = 300.0
"""Seconds that an idle connection between two sidecars is kept: the one that answers waits longer than who asks."""
LONGEST_CONNECTION = 3000.0
"""Seconds that one of HTTP/1 between two sidecars is used: it can't be told to end without losing what is asked then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """A named part of a service's workloads, by labels."""

    name: str
    labels: Labels
    policies: PortPolicies = PortPolicies()
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationSettings:
    """What holds for calls to one host, after routing chose it."""

    host: str
    subsets: tuple[Subset, ...] = ()
    policies: PortPolicies = PortPolicies()
    export: Export = None
    clients: Labels = ()
    """Whose calls it is about: workloads of its own namespace that have all of these; (): all who see it."""
    origin: Origin

    @property
    def every_policy(self) -> Iterator[TrafficPolicy]:
        """What holds somewhere: for the whole and for each subset, at the ports of which something is said and at others."""
        parts = (self.policies, *(one.policies for one in self.subsets))
        ports = {0}.union(number for one in parts for number, _ in one.ports)
        if any(one != _NOTHING for one in parts):
            for subset in ("", *(one.name for one in self.subsets)):
                for port in ports:
                    yield self.policy(subset, port)

    def policy(self, subset: str, port: int) -> TrafficPolicy:
        """What holds at a port of a subset, or of the whole ("").

        What is said of a port replaces all that is said around it; a subset's word comes part by part before that.
        """
        wider = self.policies.at(port) or self.policies.everywhere
        mine = next((one.policies for one in self.subsets if one.name == subset), PortPolicies())
        alone = mine.at(port)
        if alone is not None:
            return alone.under(TrafficPolicy(retry_budget=wider.retry_budget))
        return mine.everywhere.under(wider)
