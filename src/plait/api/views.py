"""What the API answers, as values.  Their fields are the fields of the JSON, documented in docs/cli-output.md."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

from plait.telemetry.queries import Group, Signals


class ReplicaState(StrEnum):
    """Where a replica stands in its life; what each means is told in docs/cli-output.md."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadStatus:
    """One replica of a workload.  Times are ISO 8601 in UTC."""

    namespace: str
    name: str
    replica: int
    state: ReplicaState
    restarts: int = 0
    address: str = ""
    identity: str = ""
    certificate_expires: str | None = None
    exit_code: int | None = None
    message: str = ""

    @property
    def node(self) -> str:
        """The replica's own name, which is its proxy's node id too: NAMESPACE/WORKLOAD/NUMBER."""
        return f"{self.namespace}/{self.name}/{self.replica}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nack:
    """What a proxy refuses as it is now, and why."""

    reason: str
    resources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyTypeStatus:
    """How one type of resource (`Cluster`, `Listener`, ...) stands with one proxy.

    Counted are resources: `wanted` by the proxy now, `acknowledged` of these in their newest version, and
    `sent` since it connected.  `latency_ms` is that of the last acknowledgement.
    """

    type: str
    wanted: int
    acknowledged: int
    sent: int
    latency_ms: float | None = None
    nack: Nack | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyStatus:
    """One proxy: since when it is connected (ISO 8601; null: it is not), and how its configuration stands."""

    namespace: str
    name: str
    replica: int
    connected: str | None
    synced: bool
    types: tuple[ProxyTypeStatus, ...] = ()

    @property
    def node(self) -> str:
        return f"{self.namespace}/{self.name}/{self.replica}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Where something is said: in which field of which object, and in which file and line ("" and 0: not known)."""

    kind: str
    namespace: str
    name: str
    field: str = ""
    file: str = ""
    line: int = 0

    @property
    def object(self) -> str:
        """KIND NAMESPACE/NAME, as findings have it."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def place(self) -> str:
        """FILE:LINE, as an editor takes it."""
        return f"{self.file}:{self.line}" if self.file and self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingView:
    """One remark about what was written; `object` is its kind, namespace and name, `line` 0 the file as a whole.

    `remedy` says what is mostly to be done about it.
    """

    severity: str
    code: str
    message: str
    object: str = ""
    field: str = ""
    file: str = ""
    line: int = 0
    remedy: str = ""

    @property
    def place(self) -> str:
        """FILE:LINE, as an editor takes it."""
        return f"{self.file}:{self.line}" if self.file and self.line else self.file

    @property
    def text(self) -> str:
        """Everything but the severity, in one line."""
        subject = " ".join(part for part in (self.object, self.field) if part)
        return ": ".join(part for part in (self.place, subject, f"{self.message} [{self.code}]") if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionView:
    """A condition as Kubernetes writes it: `status` is True or False."""

    type: str
    status: str
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteParentStatus:
    """How a route stands with one parent: a host, and the number or name of its port when only that is meant."""

    parent: str
    port: int
    section: str
    conditions: tuple[ConditionView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteStatus:
    """An HTTPRoute or a GRPCRoute that is attached to services."""

    kind: str
    namespace: str
    name: str
    parents: tuple[RouteParentStatus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshStatus:
    """The mesh as a whole.  `wanted` replicas by its documents; `ready` ones serve, or are jobs that are over."""

    version: str
    trust_domain: str
    started: str
    agents: tuple[str, ...]
    wanted: int
    ready: int
    generation: int
    errors: int
    warnings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The answer of GET /v1/status."""

    mesh: MeshStatus
    workloads: tuple[WorkloadStatus, ...]
    routes: tuple[RouteStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxies:
    """The answer of GET /v1/proxies."""

    proxies: tuple[ProxyStatus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The answer of GET /v1/findings."""

    findings: tuple[FindingView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """The body of POST /v1/tokens; `lifetime` in seconds."""

    agent: str
    lifetime: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """The answer of POST /v1/tokens: the only time that the token is seen."""

    token: str = field(repr=False)
    id: str
    agent: str
    expires: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerView:
    """A certificate of the authority: a root that is trusted (or leaves), or who signs (or follows).

    `holders` is how many replicas and agents have a certificate that it has signed; `given`: it is the user's own.
    """

    role: str
    subject: str
    fingerprint: str
    not_before: str
    not_after: str
    holders: int = 0
    given: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorityStatus:
    """The answer of GET /v1/authority.  `certificate_lifetime` is in seconds, `since` when the phase began.

    `waits_for` names the replicas and agents that the phase waits for; `others` is how many have a certificate of
    somebody who signs no more.
    """

    trust_domain: str
    certificate_lifetime: float
    phase: str
    since: str
    waits_for: tuple[str, ...]
    roots: tuple[SignerView, ...]
    issuers: tuple[SignerView, ...]
    others: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationRequest:
    """The body of POST /v1/authority/rotate: root, intermediate or leaves."""

    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStatus:
    """A join token that may still be used, once, by one agent."""

    id: str
    agent: str
    expires: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenList:
    """The answer of GET /v1/tokens."""

    tokens: tuple[TokenStatus, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecStart:
    """The first message of a client on /v1/exec: which replica of what (NAMESPACE/WORKLOAD[/NUMBER]), and what to run."""

    target: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecEnd:
    """The last message of the server on /v1/exec."""

    exit_code: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """A line of GET /v1/logs, or, with `error`, the end of a replica's log before its time."""

    replica: str
    line: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TapFilter:
    """Which requests somebody wants to see on /v1/tap; what is empty leaves out none.

    `source` and `destination` are NAMESPACE/WORKLOAD, `namespace` is that of the destination; `path` is a beginning or,
    with a `*`, a pattern for the whole, and `status` a number or such as 5xx.
    """

    source: str = ""
    destination: str = ""
    namespace: str = ""
    method: str = ""
    path: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TappedRequest:
    """A request, or a connection that is not HTTP (its `protocol` is TCP), as the proxy at one end of it saw it.

    `replica` is whose proxy, `side` (client, server) at which end.  `source` and `destination` are
    NAMESPACE/WORKLOAD, empty where a proxy can't tell; `service` is the host that was called.  `path` has no query.
    `status` is 0 without an answer, `grpc_status` null where gRPC was not spoken.  `time` is when it began.
    """

    time: str
    side: str
    replica: str
    source: str
    source_version: str
    source_principal: str
    destination: str
    destination_version: str
    service: str
    protocol: str
    method: str
    authority: str
    path: str
    status: int
    grpc_status: int | None
    flags: str
    details: str
    duration_ms: int
    received_bytes: int
    sent_bytes: int
    cluster: str
    route: str
    request_id: str
    trace_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TapLine:
    """A line of GET /v1/tap: a request, or null where there was none for a while.

    `left_out` is how many more there were so far that are not shown (about, once proxies had to leave some out), and
    `proxies` how many tell.
    """

    request: TappedRequest | None
    left_out: int
    proxies: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeView:
    """What a span says beside the rest."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanView:
    """One span of a trace.  `parent` "" is a root's; `start_ms` is from the beginning of the trace.

    `workload` and `replica` are who told it (`by`: its sidecar or its application), `service` is how that calls itself.
    `flags`: what Envoy's response flags mean, in plain words.
    """

    id: str
    parent: str
    name: str
    kind: str
    start_ms: float
    duration_ms: float
    service: str
    workload: str
    replica: int | None
    by: str
    failed: bool
    message: str
    attributes: tuple[AttributeView, ...]
    flags: tuple[str, ...] = ()

    def attribute(self, name: str) -> str:
        """One of the attributes; "" when it has none of this name."""
        return next((one.value for one in self.attributes if one.name == name), "")

    @property
    def called(self) -> str:
        """Whom it called, HOST or HOST:PORT as the caller has it; "" where it does not say."""
        return urlsplit(self.attribute("http.url")).netloc


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSummary:
    """One trace in a list: `name` and `service` are its first span's, `failed` how many spans have."""

    trace: str
    started: str
    duration_ms: float
    spans: int
    failed: int
    service: str
    name: str
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """The answer of GET /v1/traces, the newest first."""

    traces: tuple[TraceSummary, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceView:
    """The answer of GET /v1/traces/{id}: one trace whole, its spans in the order in which they began."""

    trace: str
    started: str
    duration_ms: float
    spans: tuple[SpanView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a request could not be answered."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The body of every answer that is an error."""

    error: Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficGroup:
    """How what is told apart went over the window and, where steps were asked for, in each; null: nobody listened."""

    group: Group
    signals: Signals
    points: tuple[Signals | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The answer of GET /v1/traffic: `window` seconds up to `until`, for `heard` of which somebody listened.

    The points of groups are `step` seconds each, from `since` on; "" and 0: no steps were asked for.  `left_out`: there
    was more than is told apart, and it is in no group.
    """

    by: str
    until: str
    window: float
    heard: float
    left_out: bool = False
    since: str = ""
    step: float = 0.0
    groups: tuple[TrafficGroup, ...]
