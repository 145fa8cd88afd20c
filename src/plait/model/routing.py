"""How requests to a host are routed, in words that belong to no dialect."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from plait.model.catalog import Labels
from plait.model.names import Origin


class MatchKind(StrEnum):
    EXACT = "exact"
    PREFIX = "prefix"
    REGEX = "regex"
    PRESENT = "present"


@dataclass(frozen=True, slots=True, order=True)
class StringMatch:
    """A test of one string; `regex` is RE2 and must match the whole of it."""

    kind: MatchKind
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMatch:
    """A request passes when every part given here holds; names of headers are lower case."""

    path: StringMatch | None = None
    ignore_path_case: bool = False
    method: StringMatch | None = None
    scheme: StringMatch | None = None
    authority: StringMatch | None = None
    port: int = 0
    """The port that was called; 0: any."""
    headers: tuple[tuple[str, StringMatch], ...] = ()
    without_headers: tuple[tuple[str, StringMatch], ...] = ()
    query: tuple[tuple[str, StringMatch], ...] = ()
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderChanges:
    """What is done to the headers of a request or a response; names are lower case.

    A value may name what is known of the request as Envoy writes it, `%REQ(x-user)%`; a percent sign is `%%`.
    """

    set: tuple[tuple[str, str], ...] = ()
    """Whatever was there before is replaced."""
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is changed of a request on its way, and of the response on its way back; "": the authority stays."""

    authority: str = ""
    request: HeaderChanges = HeaderChanges()
    response: HeaderChanges = HeaderChanges()


NO_CHANGES = Changes()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A destination with its share; `host` is fully qualified, `subset` may be empty, `port` 0: the caller's."""

    host: str
    subset: str = ""
    port: int = 0
    weight: int = 1
    changes: Changes = NO_CHANGES
    """Of what goes here alone, after those of the rule; the authority of the rule comes first."""
    hash_key: HashKey | None = None
    """In a View: what of a request chooses the replica."""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A destination that gets a copy of some requests, and whose answers nobody sees; `millionths` of all requests."""

    backend: Backend
    millionths: int = 1_000_000


class PathPart(StrEnum):
    """What of a path is replaced by another text."""

    PREFIX = "prefix"
    """As much as the match has looked at: its prefix, or everything."""
    WHOLE = "whole"
    """All but the query."""
    PATTERN = "pattern"
    """Whatever matches a pattern, everywhere; the text names its groups as \\1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathChange:
    """Another path for a request; `pattern` (RE2) belongs to PATTERN."""

    part: PathPart
    text: str
    pattern: str = ""


class RedirectPort(StrEnum):
    """The port in the place that a redirect leads to, when it is not a number."""

    KEPT = "kept"
    """As the client wrote it, unless host or scheme are others."""
    CALLED = "called"
    """The port that was called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """The answer that what is asked for is elsewhere; what is "" or None stays as the client wrote it."""

    scheme: str = ""
    host: str = ""
    port: int | RedirectPort = RedirectPort.KEPT
    path: PathChange | None = None
    status: int = 301


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectResponse:
    """An answer that no application gives."""

    status: int
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Retries asked for by the user, for every method; times in seconds.  `on` is Envoy's list of conditions."""

    attempts: int
    per_try_timeout: float | None = None
    on: tuple[str, ...] = ()
    back_off: float | None = None
    """The least time between two tries; it doubles from try to try, by chance.  None: Envoy's 25 ms."""
    other_hosts: bool = True
    """Whether hosts are avoided that were tried already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """A share of the requests waits so many seconds before it is sent on."""

    seconds: float
    millionths: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Abort:
    """A share of the requests is answered with a status, of HTTP or of gRPC, and sent to nobody."""

    status: int
    grpc: bool
    millionths: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong on purpose: the delay first."""

    delay: Delay | None = None
    abort: Abort | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cors:
    """Who else may read answers in a browser (https://fetch.spec.whatwg.org/#http-cors-protocol); `max_age` in seconds.

    A preflight of another origin is sent on to the application, or answered with nothing allowed.
    """

    origins: tuple[StringMatch, ...]
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    max_age: float | None = None
    credentials: bool = False
    forward_unmatched: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRule:
    """One rule: any of the matches (none: every request) is answered at once, or sent to the backends by weight."""

    name: str = ""
    matches: tuple[RequestMatch, ...] = ()
    answer: Redirect | DirectResponse | None = None
    """None: the backends answer."""
    backends: tuple[Backend, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    path: PathChange | None = None
    changes: Changes = NO_CHANGES
    fault: Fault | None = None
    cors: Cors | None = None
    timeout: float | None = None
    retries: Retries | None = None
    """None: the safe default.  Attempts 0: the user wants none."""
    origin: Origin

    @property
    def destinations(self) -> tuple[Backend, ...]:
        """Everybody who may be sent a request, or a copy of one."""
        return (*self.backends, *(mirror.backend for mirror in self.mirrors))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRoutes:
    """The ordered rules for requests to some hosts (fully qualified); no rule that matches: 404."""

    hosts: tuple[str, ...]
    rules: tuple[RouteRule, ...]
    origin: Origin


class Balance(StrEnum):
    """Who of several is called."""

    LEAST_REQUEST = "least request"
    """Of two, drawn by chance, the less busy one."""
    ROUND_ROBIN = "round robin"
    RANDOM = "random"
    RING_HASH = "ring hash"
    """The same one for the same key, as far as that is still there."""
    MAGLEV = "maglev"
    """As RING_HASH: evener and faster, but more keys move when one is gone."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """When TCP asks a silent peer whether it is still there; None: as the system does it.  Seconds."""

    probes: int | None = None
    time: float | None = None
    interval: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionPool:
    """The most that one client keeps open to a destination, and for how long; None: no limit, or Plait's own.

    What would be more is answered 503 at once.
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

    def under(self, wider: TrafficPolicy) -> TrafficPolicy:
        """This policy, and what it does not speak of as a wider one has it."""
        return TrafficPolicy(
            load_balancing=self.load_balancing or wider.load_balancing,
            connections=self.connections or wider.connections,
            outliers=self.outliers or wider.outliers,
            retry_budget=self.retry_budget or wider.retry_budget,
        )


NO_POLICY = TrafficPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class PortPolicies:
    """A policy, and those of single ports, which it does not reach."""

    everywhere: TrafficPolicy = NO_POLICY
    ports: tuple[tuple[int, TrafficPolicy], ...] = ()

    def at(self, port: int) -> TrafficPolicy | None:
        """What is said of one port alone; budgets of retries are for all ports."""
        budget = TrafficPolicy(retry_budget=self.everywhere.retry_budget)
        return next((policy.under(budget) for number, policy in self.ports if number == port), None)


LONGEST_IDLE = 300.0
"""Seconds that an idle connection between two sidecars is kept: the one that answers waits longer than who asks."""


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
    origin: Origin

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
