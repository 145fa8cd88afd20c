"""How requests to a host are routed, in words that belong to no dialect."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from plait.model.catalog import Labels
from plait.model.names import Export, ObjectRef, Origin
from plait.model.traffic import HashKey


class MatchKind(StrEnum):
    EXACT = "exact"
    PREFIX = "prefix"
    SEGMENTS = "segments"
    """The first segments of a path: /a is those of /a and of /a/b, and not of /ab."""
    REGEX = "regex"
    PRESENT = "present"


@dataclass(frozen=True, slots=True, order=True)
class StringMatch:
    """A test of one string; `regex` is RE2 and must match the whole of it."""

    kind: MatchKind
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """Who asks: workloads of a namespace ("": any) that have all of these labels."""

    namespace: str = ""
    labels: Labels = ()


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
    clients: Clients | None = None
    """None: whoever asks."""
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
    """A destination with its share; `host` is fully qualified, `subset` may be empty, `port` 0: the caller's.

    Without a host it is nobody: its share is answered as a rule without backends is.
    """

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


class SessionKind(StrEnum):
    """What a client shows who it was that answered it."""

    COOKIE = "cookie"
    HEADER = "header"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who was answered once by a replica is led back to it, as long as it is there.

    The answer gives the client a cookie (for the paths that are matched, and for so many seconds; None: until the
    browser is closed) or a header, and the client shows it with what it asks next.
    """

    kind: SessionKind
    name: str
    """Of the cookie or header; that of a header is lower case."""
    lifetime: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRule:
    """One rule: what matches (None: every request) is answered at once, or sent to the backends by weight."""

    name: str = ""
    match: RequestMatch | None = None
    answer: Redirect | DirectResponse | None = None
    """None: the backends answer."""
    backends: tuple[Backend, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    path: PathChange | None = None
    changes: Changes = NO_CHANGES
    fault: Fault | None = None
    cors: Cors | None = None
    session: Session | None = None
    timeout: float | None = None
    retries: Retries | None = None
    """None: the safe default.  Attempts 0: the user wants none."""
    try_timeout: float | None = None
    """Seconds that each try of the safe default may take; retries that are asked for have their own."""
    nobody_status: int = 503
    """The answer when there is nobody to send to: 503 with Istio, 500 with the Gateway API."""
    delegate: ObjectRef | None = None
    """Not in a Mesh: whose rules stand here, of those requests that match; what they leave open is said here."""
    origin: Origin

    @property
    def destinations(self) -> tuple[Backend, ...]:
        """Everybody who may be sent a request, or a copy of one."""
        return (*self.backends, *(mirror.backend for mirror in self.mirrors))


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRoutes:
    """The ordered rules for requests to some hosts (fully qualified), from one object that owns them alone."""

    hosts: tuple[str, ...]
    rules: tuple[RouteRule, ...]
    export: Export = None
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class DelegateRoutes:
    """Rules without a host: they hold where a rule of another object says that they do."""

    rules: tuple[RouteRule, ...]
    export: Export = None
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A service that routes are attached to; `port` 0 and `section` "": at every port, else at that number or name."""

    host: str
    port: int = 0
    section: str = ""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedRule:
    """A rule, and how specific its match is, as its API counts that: what is greater comes first."""

    rule: RouteRule
    specificity: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedRoutes:
    """Rules that share their parents with those of other objects: the most specific match comes first."""

    parents: tuple[Parent, ...]
    rules: tuple[AttachedRule, ...]
    grpc: bool = False
    """Rules for gRPC, which are not mixed with those for HTTP: at a port that has both only these hold."""
    created: str = ""
    """When the object was made (RFC 3339), if anybody knows."""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Who may refer to services of a namespace from another one; a name "" stands for each of the services."""

    namespace: str
    sources: tuple[tuple[str, str, str], ...]
    """(group, kind, namespace)"""
    names: tuple[str, ...]
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """The ordered rules for requests to one host; no rule that matches: 404.

    `ports`: where they hold, what comes to the others goes to the service itself; (): at every port.
    """

    rules: tuple[RouteRule, ...]
    ports: tuple[int, ...] = ()
    origins: tuple[Origin, ...]
