"""A Plane whose state a test sets, served on a real socket."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from plait.api.events import Events, Subscription
from plait.api.listening import serving
from plait.api.plane import Unavailable
from plait.api.proxies import ProxyView
from plait.api.rollouts import CanaryEvent, CanaryView, CheckView
from plait.api.services import ObjectView, RefusalView, ServiceView
from plait.api.targets import NotFound
from plait.api.views import (
    AuthorityStatus,
    ConditionView,
    FindingView,
    MeshStatus,
    Nack,
    ProxyStatus,
    ProxyTypeStatus,
    ReplicaState,
    RouteParentStatus,
    RouteStatus,
    SignerView,
    TapFilter,
    TapLine,
    TappedRequest,
    TokenStatus,
    TokenView,
    TraceSummary,
    TraceView,
    WorkloadStatus,
)
from plait.model.names import ReplicaKey, WorkloadKey
from plait.rollout.status import Command
from plait.telemetry.graph import Graph
from plait.telemetry.queries import Queries
from plait.telemetry.spans import Search


def workload(
    name: str = "frontend", replica: int = 0, state: ReplicaState = ReplicaState.READY
) -> WorkloadStatus:
    return WorkloadStatus(
        namespace="bistro",
        name=name,
        replica=replica,
        state=state,
        restarts=replica,
        address=f"127.77.0.{replica + 1}",
        identity=f"spiffe://cluster.local/ns/bistro/sa/{name}",
        certificate_expires="2931-02-03T04:05:06Z",
    )


FINDING = FindingView(
    severity="error",
    code="route.missing-subset",
    message="no subset v3",
    object="VirtualService bistro/reservations",
    field="spec.http[0]",
    file="/etc/bistro/routes.yaml",
    line=12,
)
WARNING = FindingView(severity="warning", code="field.unsupported", message="not honoured yet", file="a.yaml")

PROXY = ProxyStatus(
    namespace="bistro",
    name="frontend",
    replica=0,
    connected="2031-02-03T04:05:06Z",
    synced=True,
    types=(
        ProxyTypeStatus(
            type="Cluster",
            wanted=3,
            acknowledged=3,
            sent=5,
            latency_ms=4.25,
        ),
    ),
)
AUTHORITY = AuthorityStatus(
    trust_domain="cluster.local",
    certificate_lifetime=86_400.0,
    phase="spreading",
    since="2031-02-03T04:05:06Z",
    waits_for=("bistro/frontend/0",),
    roots=tuple(
        SignerView(
            role=role,
            subject=f"CN=Plait root {role}",
            fingerprint="ab" * 32,
            not_before="2030-02-03T04:05:06Z",
            not_after="2931-02-03T04:05:06Z",
        )
        for role in ("trusted", "leaving")
    ),
    issuers=(
        SignerView(
            role="signs",
            subject="CN=our own",
            fingerprint="cd" * 32,
            not_before="2030-02-03T04:05:06Z",
            not_after="2931-02-03T04:05:06Z",
            holders=3,
            given=True,
        ),
    ),
    others=2,
)
REQUEST = TappedRequest(
    time="2031-02-03T04:05:06.789+00:00",
    side="client",
    replica="bistro/frontend/0",
    source="bistro/frontend",
    source_version="v1",
    source_principal="",
    destination="bistro/payments",
    destination_version="v2",
    service="payments.bistro.svc.cluster.local",
    protocol="HTTP/1.1",
    method="POST",
    authority="payments:8080",
    path="/deposit",
    status=503,
    grpc_status=None,
    flags="UF,URX",
    details="upstream_reset_before_response_started",
    duration_ms=12,
    received_bytes=3,
    sent_bytes=91,
    cluster="outbound|8080||payments.bistro.svc.cluster.local",
    route="",
    request_id="c0ffee",
    trace_id="0af7651916cd43dd8448eb211c80319c",
)
ROUTE = RouteStatus(
    kind="HTTPRoute",
    namespace="bistro",
    name="split",
    parents=(
        RouteParentStatus(
            parent="reservations.bistro.svc.cluster.local",
            port=8080,
            section="",
            conditions=(
                ConditionView(type="Accepted", status="True", reason="Accepted"),
                ConditionView(type="ResolvedRefs", status="False", reason="BackendNotFound", message="no v3"),
                ConditionView(type="Programmed", status="True", reason="Programmed"),
            ),
        ),
    ),
)
REFUSED = ProxyTypeStatus(
    type="RouteConfiguration",
    wanted=2,
    acknowledged=1,
    sent=2,
    nack=Nack(reason="no such cluster", resources=("outbound|80|a",)),
)

CANARY = CanaryView(
    namespace="bistro",
    name="reservations",
    target="reservations",
    host="reservations.bistro.svc.cluster.local",
    strategy="canary",
    phase="Progressing",
    since="2031-02-03T04:05:06+00:00",
    weight=20,
    step=20,
    total=50,
    failed_checks=1,
    threshold=5,
    message="waiting for traffic: 12 of 100 requests",
    promoted="0c5e7a",
    applied="9d31b2",
    checks=(
        CheckView(
            metric="request-success-rate",
            finding="passed",
            text="request-success-rate 99.9 % is not under 99 %",
            value=99.9,
        ),
        CheckView(
            metric="request-duration", finding="waiting", text="waiting for traffic: 12 of 100 requests"
        ),
    ),
    due="2031-02-03T04:05:16+00:00",
)
STARTED = CanaryEvent(
    at="2031-02-03T04:05:06+00:00",
    severity="info",
    text="bistro/reservations: 20 % of the traffic go to the new version",
    phase="Progressing",
    weight=20,
)
HELD = CanaryEvent(
    at="2031-02-03T04:05:16+00:00",
    severity="warn",
    text="request-success-rate 93.2 % is under 99 %",
    phase="Progressing",
    weight=20,
    failed_checks=1,
)


NO_GRAPH = Graph(
    until="2031-02-03T04:05:06+00:00",
    window=60.0,
    heard=0.0,
    left_out=False,
    services=(),
    workloads=(),
    edges=(),
)


class FakeSession:
    """A session that runs a function of ours: (stdin, write) -> exit code."""

    def __init__(self, act: Act) -> None:
        self.code = 255
        self.error = ""
        self.closed = asyncio.Event()
        self._act = act
        self._typed: asyncio.Queue[bytes] = asyncio.Queue()

    async def write(self, data: bytes) -> None:
        self._typed.put_nowait(data)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        async for item in self._act(self._typed, self):
            yield item
            if self.closed.is_set():
                return

    async def close(self) -> None:
        self.closed.set()


class FakeLooking:
    """Somebody who looks: some lines, and then one without a request again and again."""

    def __init__(self, lines: tuple[TapLine, ...]) -> None:
        self.closed = asyncio.Event()
        self._lines = lines

    async def __aiter__(self) -> AsyncIterator[TapLine]:
        for line in self._lines:
            yield line
        last = replace(self._lines[-1], request=None)
        while not self.closed.is_set():
            yield last
            await asyncio.sleep(0.02)

    def close(self) -> None:
        self.closed.set()


Act = Callable[[asyncio.Queue[bytes], FakeSession], AsyncIterator[tuple[int, bytes]]]


@dataclass
class FakePlane:
    """Everything that the API can ask for, as a test wants it to be."""

    replicas: tuple[WorkloadStatus, ...] = (workload(),)
    found: tuple[FindingView, ...] = ()
    proxied: tuple[ProxyStatus, ...] = (PROXY,)
    routed: tuple[RouteStatus, ...] = ()
    traced: tuple[TraceView, ...] = ()
    drawn: Graph = NO_GRAPH
    traffic: Queries | None = None
    agents: tuple[str, ...] = ("local",)
    rolling: tuple[CanaryView, ...] = ()
    services: tuple[ServiceView, ...] = ()
    refused: tuple[RefusalView, ...] = ()
    objects: tuple[ObjectView, ...] = ()
    pushed: dict[str, ProxyView] = field(default_factory=dict)
    joining: dict[str, TokenStatus] = field(default_factory=dict)
    bus: Events = field(default_factory=Events)
    act: Act | None = None
    asked: list[Any] = field(default_factory=list)
    sessions: list[FakeSession] = field(default_factory=list)
    seen: tuple[TapLine, ...] = (TapLine(request=None, left_out=0, proxies=2),)
    """What one who looks sees at once; nothing after that."""
    looking: list[FakeLooking] = field(default_factory=list)
    directory: Path = Path()

    @property
    def socket(self) -> Path:
        return self.directory / "run" / "api.sock"

    def mesh(self) -> MeshStatus:
        return MeshStatus(
            version="0.1.0",
            trust_domain="cluster.local",
            started="2031-02-03T04:05:06Z",
            agents=self.agents,
            wanted=len(self.replicas),
            ready=sum(1 for item in self.replicas if item.state is ReplicaState.READY),
            generation=7,
            errors=sum(1 for item in self.found if item.severity == "error"),
            warnings=sum(1 for item in self.found if item.severity == "warning"),
        )

    def workloads(self) -> tuple[WorkloadStatus, ...]:
        return self.replicas

    def proxies(self) -> tuple[ProxyStatus, ...]:
        return self.proxied

    def routes(self) -> tuple[RouteStatus, ...]:
        return self.routed

    def findings(self) -> tuple[FindingView, ...]:
        return self.found

    async def graph(self, window: float, namespace: str, until: float | None) -> Graph:
        self.asked.append((window, namespace, until))
        return self.drawn

    def service(self, namespace: str, name: str) -> ServiceView:
        for one in self.services:
            if (one.namespace, one.name) == (namespace, name):
                return one
        raise NotFound(f"there is no service {namespace}/{name}")

    async def refusals(self, window: float, service: str, until: float | None) -> tuple[RefusalView, ...]:
        self.asked.append((window, service, until))
        return tuple(one for one in self.refused if service in {"", one.service})

    def object(self, kind: str, namespace: str, name: str) -> ObjectView:
        for one in self.objects:
            if (one.written.kind, one.written.namespace, one.written.name) == (kind, namespace, name):
                return one
        raise NotFound(f"there is no {kind} {namespace}/{name}")

    def proxy(self, replica: ReplicaKey) -> ProxyView:
        for one in self.proxied:
            if one.node == str(replica):
                return self.pushed.get(one.node, ProxyView(status=one))
        raise NotFound(f"there is no proxy {replica}")

    def queries(self) -> Queries:
        assert self.traffic is not None
        return self.traffic

    def events(self) -> Subscription:
        return self.bus.subscribe()

    def create_token(self, agent: str, lifetime: float) -> TokenView:
        if agent == "BAD":
            raise ValueError("no such name")
        if agent == "bug":
            raise RuntimeError("secret detail")
        self.joining["1"] = TokenStatus(id="1", agent=agent, expires=f"{lifetime}")
        return TokenView(token="t0ken", id="1", agent=agent, expires=f"{lifetime}")

    def authority(self) -> AuthorityStatus:
        return AUTHORITY

    def rotate(self, what: str) -> None:
        if what == "leaves":
            raise ValueError("a rotation is under way (spreading)")
        self.asked.append(what)

    def tokens(self) -> tuple[TokenStatus, ...]:
        return tuple(self.joining.values())

    def revoke_token(self, token_id: str) -> bool:
        return self.joining.pop(token_id, None) is not None

    def exec(self, replica: ReplicaKey, command: tuple[str, ...]) -> FakeSession:
        self.asked.append((replica, command))
        return self._session()

    def logs(self, replica: ReplicaKey, *, envoy: bool, tail: int, follow: bool) -> FakeSession:
        self.asked.append((replica, envoy, tail, follow))
        return self._session()

    async def traces(self, search: Search) -> tuple[TraceSummary, ...]:
        self.asked.append(search)
        return tuple(
            TraceSummary(
                trace=one.trace,
                started=one.started,
                duration_ms=one.duration_ms,
                spans=len(one.spans),
                failed=sum(span.failed for span in one.spans),
                service=one.spans[0].service,
                name=one.spans[0].name,
                services=tuple(dict.fromkeys(span.service for span in one.spans)),
            )
            for one in self.traced
        )

    async def trace(self, prefix: str) -> TraceView | None:
        found = [one for one in self.traced if one.trace.startswith(prefix)]
        if len(found) > 1:
            raise ValueError(f"more than one trace begins with {prefix}")
        return found[0] if found else None

    def tap(self, wanted: TapFilter, *, rate: int) -> FakeLooking:
        if wanted.destination == "bistro/nobody":
            raise NotFound("there is no workload bistro/nobody")
        self.asked.append((wanted, rate))
        self.looking.append(FakeLooking(self.seen))
        return self.looking[-1]

    def canaries(self) -> tuple[CanaryView, ...]:
        return self.rolling

    def canary_history(self, key: WorkloadKey) -> tuple[CanaryEvent, ...]:
        self._canary(key)
        return (STARTED, HELD)

    async def canary_command(self, key: WorkloadKey, command: Command) -> None:
        gate = self._canary(key).gate
        if command is Command.APPROVE and not gate:
            raise ValueError(f"{key} waits at no gate")
        self.asked.append((key, command))

    def _canary(self, key: WorkloadKey) -> CanaryView:
        for one in self.rolling:
            if WorkloadKey(one.namespace, one.name) == key:
                return one
        raise NotFound(f"there is no Canary {key}")

    def proxy_metrics(self, replica: ReplicaKey) -> FakeSession:
        self.asked.append(replica)
        return self._session()

    def metrics(self) -> bytes:
        return b"plait_joins_total 1.0\n"

    def shutdown(self) -> None:
        self.asked.append("shutdown")

    def _session(self) -> FakeSession:
        if self.act is None:
            raise Unavailable("the agent is away")
        self.sessions.append(FakeSession(self.act))
        return self.sessions[-1]


@asynccontextmanager
async def served(plane: FakePlane) -> AsyncIterator[FakePlane]:
    with tempfile.TemporaryDirectory(prefix="plait-") as directory:
        plane.directory = Path(directory)
        (plane.directory / "run").mkdir(mode=0o700)
        async with serving(plane, plane.socket):
            yield plane


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that has no event of its own."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a condition of any kind
            await asyncio.sleep(0.01)
