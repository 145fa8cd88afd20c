"""Meshes that are played, not run: what a control plane would say of them, for looking at pages without Envoys.

`bistro()` is small and has something of everything: a split between versions, an edge that fails, somebody who is
refused, a canary at a gate, a proxy that rejects.  `large()` has 300 services and 2,000 edges.  `Scene.moment` moves them on: rates go
up and down by it, and nothing is by chance.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from zlib import crc32

from plait.api.events import CanaryChanged
from plait.api.proxies import ProxyView, PushView
from plait.api.rollouts import CanaryEvent, CanaryView, CheckView
from plait.api.services import (
    DestinationView,
    InstanceView,
    ObjectView,
    PolicyRuleView,
    PolicyView,
    PortView,
    RefusalView,
    RoutesView,
    RuleView,
    ServiceView,
)
from plait.api.views import (
    AttributeView,
    FindingView,
    Nack,
    ProxyStatus,
    ProxyTypeStatus,
    SpanView,
    TapFilter,
    TapLine,
    TraceSummary,
    TraceView,
    Written,
)
from plait.explain import flags
from plait.model.names import WorkloadKey, service_host
from plait.rollout.status import Command
from plait.telemetry.graph import Edge, Graph, ProcessUse, ServiceNode, WorkloadNode
from plait.telemetry.queries import ANYBODY, By, Callee, Counts, Group, History, Measured, Signals, Where
from plait.telemetry.spans import Search
from plait.telemetry.store import LONG
from tests.api.planes import REQUEST, FakeLooking, FakePlane, workload
from tests.dashboard import rollouts

Who = tuple[str, str, str]
"""Namespace, name and version."""
NOBODY: Who = ("", "", "")
_TOLD_EVERY = 0.1
"""Seconds between two words to who taps."""


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What goes from somebody to a service, and who of it answers; times in milliseconds.

    It goes on from `begins` to `ends` (seconds since the epoch).
    """

    source: Who
    service: str
    to: Who
    rate: float
    errors: float = 0.0
    p50: float = 4.0
    p99: float = 20.0
    refused: float = 0.0
    protocol: str = "http"
    mtls: bool | None = True
    idle: bool = False
    begins: float = 0.0
    ends: float = math.inf

    def signals(self, window: float, moment: float) -> Signals:
        """At a moment; the same at the same."""
        lasting = min(moment, self.ends) - max(moment - window, self.begins)
        if self.idle or lasting <= 0:
            return Signals()
        phase = crc32(repr((self.source, self.service, self.to)).encode()) % 628 / 100
        rate = self.rate * (1 + 0.15 * math.sin(moment / 40 + phase)) * min(1.0, lasting / window)
        tcp = self.protocol == "tcp"
        requests = 0 if tcp else round(rate * window)
        return Signals(
            requests=requests,
            rate=0.0 if tcp else rate,
            error_share=self.errors if requests else None,
            p50_ms=self.p50 if requests else None,
            p90_ms=(self.p50 + self.p99) / 2 if requests else None,
            p99_ms=self.p99 if requests else None,
            connections=rate if tcp else 0.0,
            received=rate * 900 if tcp else 0.0,
            sent=rate * 4000 if tcp else 0.0,
            refused=self.refused,
        )


def together(some: list[Signals]) -> Signals:
    """Of several flows; percentiles here are the largest, which is enough for a play."""
    requests = sum(one.requests for one in some)
    known = [one for one in some if one.requests]
    return Signals(
        requests=requests,
        rate=sum(one.rate for one in some),
        error_share=sum((one.error_share or 0) * one.requests for one in known) / requests
        if requests
        else None,
        p50_ms=max((one.p50_ms or 0 for one in known), default=None),
        p90_ms=max((one.p90_ms or 0 for one in known), default=None),
        p99_ms=max((one.p99_ms or 0 for one in known), default=None),
        connections=sum(one.connections for one in some),
        received=sum(one.received for one in some),
        sent=sum(one.sent for one in some),
        refused=sum(one.refused for one in some),
    )


@dataclass
class Scene(FakePlane):
    """A mesh as its flows say; `moment` (seconds since the epoch) None: now."""

    flows: list[Flow] = field(default_factory=list)
    standing: dict[Who, tuple[str, ...]] = field(default_factory=dict)
    """The workloads, and the hosts of the services that each is behind."""
    moment: float | None = None
    happened: dict[str, tuple[CanaryEvent, ...]] = field(default_factory=dict)
    """What happened to the rollouts of each Canary (NAMESPACE/NAME)."""

    telling: bool = True
    """Whether who taps is told of the requests."""

    def __post_init__(self) -> None:
        self.traffic = SceneQueries(self)

    def at(self, until: float | None) -> float:
        return until if until is not None else self.moment if self.moment is not None else time.time()

    async def graph(self, window: float, namespace: str, until: float | None) -> Graph:
        self.asked.append((window, namespace, until))
        moment = self.at(until)
        edges = [
            Edge(
                source_namespace=flow.source[0],
                source=flow.source[1],
                source_version=flow.source[2],
                service=flow.service,
                destination_namespace=flow.to[0],
                destination=flow.to[1],
                destination_version=flow.to[2],
                protocol=flow.protocol,
                mtls=flow.mtls,
                idle=flow.idle,
                signals=flow.signals(window, moment),
            )
            for flow in self.flows
        ]
        hosts = {host for some in self.standing.values() for host in some}
        named = hosts | {edge.service for edge in edges}
        shown = [
            edge
            for edge in edges
            if namespace
            in {"", edge.source_namespace, edge.destination_namespace, edge.service.split(".")[1]}
        ]
        return Graph(
            until=iso(moment),
            window=window,
            heard=window,
            left_out=False,
            services=tuple(
                ServiceNode(
                    host=host,
                    namespace=host.split(".")[1] if host in hosts else "",
                    name=host.split(".")[0] if host in hosts else host,
                    external=host not in hosts,
                    signals=together([edge.signals for edge in edges if edge.service == host]),
                    pool_connections=2,
                    pool_requests=1,
                )
                for host in sorted(named)
                if namespace in {"", host.split(".")[1]} or any(edge.service == host for edge in shown)
            ),
            workloads=tuple(
                WorkloadNode(
                    namespace=who[0],
                    name=who[1],
                    version=who[2],
                    replicas=1,
                    services=some,
                    signals=together(
                        [
                            edge.signals
                            for edge in edges
                            if (edge.destination_namespace, edge.destination, edge.destination_version) == who
                        ]
                    ),
                    sidecar=ProcessUse(cpu=0.02, memory=48_000_000),
                    application=ProcessUse(cpu=0.05, memory=31_000_000),
                )
                for who, some in sorted(self.standing.items())
                if namespace in {"", who[0]}
            ),
            edges=tuple(shown),
        )

    def tap(self, wanted: TapFilter, *, rate: int) -> FakeLooking:
        if not self.telling:
            return super().tap(wanted, rate=rate)
        self.asked.append((wanted, rate))
        self.looking.append(SceneLooking(self, wanted.destination, rate))
        return self.looking[-1]

    async def traces(self, search: Search) -> tuple[TraceSummary, ...]:
        found = zip(self.traced, await super().traces(search), strict=True)
        some = [summary for trace, summary in found if rollouts.fits(trace, summary, search)]
        return tuple(sorted(some, key=lambda one: one.started, reverse=True)[: search.limit])

    def canary_history(self, key: WorkloadKey) -> tuple[CanaryEvent, ...]:
        return self.happened.get(str(self._canary(key).key), ())

    async def canary_command(self, key: WorkloadKey, command: Command) -> None:
        await super().canary_command(key, command)
        for one in self.rolling:
            if one.key == str(key):
                self.turn(rollouts.after(one, command))

    def turn(self, canary: CanaryView) -> None:
        """A rollout stands so from now on, and whoever listens hears of it."""
        self.rolling = tuple(canary if one.key == canary.key else one for one in self.rolling)
        self.bus.publish(CanaryChanged(canary))


class SceneLooking(FakeLooking):
    """Told of what a workload serves, as evenly as its flows go; what is more than the rate is left out."""

    def __init__(self, scene: Scene, destination: str, rate: int) -> None:
        super().__init__(scene.seen)
        self._scene, self._destination, self._rate = scene, destination, rate

    async def __aiter__(self) -> AsyncIterator[TapLine]:
        owed: dict[tuple[str, Who], float] = {}
        left_out = 0
        yield TapLine(request=None, left_out=left_out, proxies=1)
        while not self.closed.is_set():
            room = self._rate * _TOLD_EVERY
            for flow in self._scene.flows:
                to = f"{flow.to[0]}/{flow.to[1]}"
                if to != self._destination:
                    continue
                key = flow.service, flow.to
                now = flow.signals(1, self._scene.at(None))
                owed[key] = owed.get(key, 0.0) + (now.rate + now.connections) * _TOLD_EVERY
                for _ in range(int(owed[key])):
                    owed[key] -= 1
                    room -= 1
                    if room < 0:
                        left_out += 1
                        continue
                    request = replace(
                        REQUEST, side="server", source="/".join(flow.source[:2]), source_version=flow.source[2],
                        destination=to, destination_version=flow.to[2], service=flow.service, status=200,
                    )  # fmt: skip
                    yield TapLine(request=request, left_out=left_out, proxies=1)
            await asyncio.sleep(_TOLD_EVERY)


class SceneQueries:
    """What the flows of a scene answer to questions about traffic."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    async def measure(
        self, by: By, where: Where = ANYBODY, *, window: float, end: float | None = None, at_least: int = 1
    ) -> Measured:
        end = self._scene.at(end)
        start = end - window if window < LONG else (end - window) // 60 * 60  # as the store does
        groups = self._groups(by, where, end - start, end)
        return Measured(start=start, end=end, heard=end - start, groups=groups)

    async def history(  # noqa: PLR0913 - see Queries
        self,
        by: By,
        where: Where = ANYBODY,
        *,
        window: float,
        step: float,
        end: float | None = None,
        at_least: int = 1,
    ) -> History:
        end = self._scene.at(end) // step * step
        moments = [end - window + step * (number + 1) for number in range(int(window // step))]
        points = [self._groups(by, where, step, moment) for moment in moments]
        return History(
            start=end - window,
            step=step,
            groups={
                group: tuple(one.get(group, Signals()) for one in points)
                for group in sorted({group for one in points for group in one})
            },
        )

    async def count(self, callee: Callee, **_: float) -> Counts:
        return Counts(start=0, end=0, heard=0)

    def _groups(self, by: By, where: Where, window: float, moment: float) -> dict[Group, Signals]:
        found: dict[Group, list[Signals]] = {}
        for flow in self._scene.flows:
            if not _asked_for(flow, where):
                continue
            signals = flow.signals(window, moment)
            if by is By.CODE:
                failed = round(signals.requests * flow.errors)
                for code, number in (("200", signals.requests - failed), ("503", failed)):
                    part = replace(
                        signals, requests=number, rate=number / window, error_share=float(code == "503")
                    )
                    found.setdefault(Group(service=flow.service, code=code), []).append(part)
                continue
            found.setdefault(_group(flow, by), []).append(signals)
        return {group: together(some) for group, some in found.items()}


def _asked_for(flow: Flow, where: Where) -> bool:
    pairs = (
        (where.source_namespace, flow.source[0]),
        (where.source_workload, flow.source[1]),
        (where.source_version, flow.source[2]),
        (where.destination_namespace, flow.to[0]),
        (where.destination_workload, flow.to[1]),
        (where.destination_version, flow.to[2]),
        (where.service, flow.service),
    )
    return not flow.idle and all(wanted in {"", had} for wanted, had in pairs)


def _group(flow: Flow, by: By) -> Group:
    to = {
        "destination_namespace": flow.to[0],
        "destination_workload": flow.to[1],
        "destination_version": flow.to[2],
    }
    of = {
        "source_namespace": flow.source[0],
        "source_workload": flow.source[1],
        "source_version": flow.source[2],
    }
    match by:
        case By.EDGE:
            return Group(service=flow.service, **of, **to)
        case By.VERSION:
            return Group(service=flow.service, **to)
        case _:
            return Group(service=flow.service)


def _host(name: str) -> str:
    return service_host("bistro", name)


def _who(name: str, version: str = "v1") -> Who:
    return ("bistro", name, version)


SPLIT = Written(
    kind="VirtualService",
    namespace="bistro",
    name="reservations",
    field="spec.http[1]",
    file="bistro/routing.yaml",
    line=24,
)
ALLOW = Written(
    kind="AuthorizationPolicy",
    namespace="bistro",
    name="reservations",
    field="spec.rules[0]",
    file="bistro/policies.yaml",
    line=31,
)
ROUTING = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reservations
  namespace: bistro
spec:
  hosts: [reservations]
  http:
    # testers see the new version
    - match: [{headers: {x-user: {exact: tester}}}]
      route: [{destination: {host: reservations, subset: v2}}]
    - route:
        - destination: {host: reservations, subset: v1}
          weight: 90
        - destination: {host: reservations, subset: v2}
          weight: 10
"""


POLICY = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: reservations
  namespace: bistro
spec:
  selector:
    matchLabels: {app: reservations}
  action: ALLOW
  rules:
    # the frontend alone, and nobody changes anything
    - from: [{source: {principals: [cluster.local/ns/bistro/sa/frontend]}}]
      to: [{operation: {methods: [GET]}}]
"""


def bistro() -> Scene:
    """The demo's restaurant guide."""
    frontend, v1, v2 = _who("frontend"), _who("reservations"), _who("reservations", "v2")
    flows = [
        Flow(source=_who("diner"), service=_host("frontend"), to=frontend, rate=20, p50=22, p99=140),
        Flow(source=frontend, service=_host("reservations"), to=v1, rate=18, p50=3, p99=12),
        Flow(source=frontend, service=_host("reservations"), to=v2, rate=2, p50=3.5, p99=15),
        Flow(source=frontend, service=_host("restaurants"), to=_who("restaurants"), rate=20, p50=9, p99=60),
        Flow(source=_who("restaurants"), service=_host("reviews"), to=_who("reviews"), rate=16, errors=0.12, p50=7, p99=900),
        Flow(source=_who("restaurants"), service=_host("reviews"), to=_who("reviews-canary", "v1"), rate=4, p50=7, p99=40),
        Flow(source=frontend, service=_host("payments"), to=_who("payments"), rate=0.6, errors=0, p50=1, p99=2, refused=0.6),
        Flow(source=v1, service=_host("payments"), to=_who("payments"), rate=3, p50=5, p99=30),
        Flow(source=NOBODY, service=_host("frontend"), to=frontend, rate=0.2, p50=20, p99=100, mtls=False),
        Flow(source=v1, service=_host("cache"), to=_who("cache"), rate=1.2, protocol="tcp"),
        Flow(source=v2, service="api.example.com", to=NOBODY, rate=0.4, p50=80, p99=210, mtls=False),
        Flow(source=v2, service=_host("payments"), to=_who("payments"), rate=0, idle=True),
    ]  # fmt: skip
    standing: dict[Who, tuple[str, ...]] = {flow.to: (flow.service,) for flow in flows if flow.to != NOBODY}
    standing[_who("diner")] = ()
    names = ["cache", "diner", "frontend", "payments", "reservations", "restaurants", "reviews"]
    now = time.time()
    return Scene(
        flows=flows,
        standing=standing,
        replicas=tuple(
            replace(one, certificate_expires=iso(now + (900 if one.name == "cache" else 70_000)))
            for one in (*(workload(name) for name in names), workload("reservations", 1))
        ),
        found=FINDINGS,
        proxied=tuple(_proxy(name, rejects=name == "payments") for name in names),
        pushed={f"bistro/{name}/0": _pushes(_proxy(name, rejects=name == "payments"), now) for name in names},
        services=tuple(_service(name) for name in names if name != "diner"),
        refused=(REFUSAL, _STRANGER),
        objects=(
            ObjectView(written=replace(SPLIT, field="", line=10), text=ROUTING),
            ObjectView(written=replace(ALLOW, field="", line=20), text=POLICY),
        ),
        traced=(_trace(now - 20, "4bf92f3577b34da6a3ce929d0e0e4736", failed=True), _trace(now - 90, "0af7651916cd43dd8448eb211c80319c")),
        rolling=(_canary(now),),
        happened={"bistro/reviews": rollouts.history(_canary(now), now)},
    )  # fmt: skip


FINDINGS = (
    FindingView(
        severity="error",
        code="envoy.rejected",
        message="Envoy refuses inbound|8080 (bistro/payments/0): the regular expression is too large",
        object="VirtualService bistro/payments",
        field="spec.http[0].match[0].uri.regex",
        file="bistro/routing.yaml",
        line=41,
        remedy="Mend the field; the proxy keeps its last good configuration until then.",
    ),
    FindingView(
        severity="warning",
        code="tracing.lost-context",
        message="bistro/restaurants is sent trace context and calls bistro/reviews without it",
        object="Workload bistro/restaurants",
        file="bistro/restaurants.yaml",
        line=3,
        remedy="Have it pass traceparent and tracestate on with its own calls.",
    ),
    FindingView(
        severity="info",
        code="host.nobody",
        message="nothing selects the host menu",
        object="VirtualService bistro/menu",
        field="spec.hosts[0]",
        file="bistro/routing.yaml",
        line=62,
        remedy="Write a Service of this name, or take the host out.",
    ),
)
REFUSAL = RefusalView(
    source_namespace="bistro",
    source="frontend",
    source_version="v1",
    service=_host("payments"),
    destination_namespace="bistro",
    destination="payments",
    destination_version="v1",
    requests=36,
    reason="no rule of AuthorizationPolicy bistro/payments or bistro/allow-nothing allows it",
    written=None,
)
_STRANGER = replace(
    REFUSAL,
    source="diner",
    service=_host("reservations"),
    destination="reservations",
    requests=4,
    reason="rules[0] of AuthorizationPolicy bistro/reservations denies it",
    written=ALLOW,
)


def _proxy(name: str, *, rejects: bool) -> ProxyStatus:
    nack = (
        Nack(reason="the regular expression is too large", resources=("inbound|8080",)) if rejects else None
    )
    counts = {"Cluster": 12, "ClusterLoadAssignment": 12, "Listener": 4, "RouteConfiguration": 9, "Secret": 2}
    return ProxyStatus(
        namespace="bistro",
        name=name,
        replica=0,
        connected=iso(time.time() - 7_900),
        synced=not rejects,
        types=tuple(
            ProxyTypeStatus(
                type=type_,
                wanted=number,
                acknowledged=number - (1 if rejects and type_ == "RouteConfiguration" else 0),
                sent=number + 3,
                latency_ms=4.0 + number / 4,
                nack=nack if type_ == "RouteConfiguration" else None,
            )
            for type_, number in counts.items()
        ),
    )


def _pushes(status: ProxyStatus, now: float) -> ProxyView:
    last = "rejected" if not status.synced else "acknowledged"
    return ProxyView(
        status=status,
        identity=f"spiffe://cluster.local/ns/bistro/sa/{status.name}",
        certificate_expires=iso(now + 70_000),
        pushes=tuple(
            PushView(
                at=iso(now - 7 * number),
                type=("RouteConfiguration", "ClusterLoadAssignment", "Cluster")[number % 3],
                resources=1 + number % 4,
                removed=0,
                bytes=900 + 340 * number,
                outcome=last if not number else "acknowledged",
                latency_ms=3.2 + number,
                reason="the regular expression is too large" if not number and not status.synced else "",
            )
            for number in range(10)
        ),
        written=() if status.synced else (replace(SPLIT, name="payments", line=41),),
    )


def _service(name: str) -> ServiceView:
    host = _host(name)
    split = name == "reservations"
    both = (
        DestinationView(host=host, subset="v1", port=8080, share=90.0),
        DestinationView(host=host, subset="v2", port=8080, share=10.0),
    )
    whole = DestinationView(host=host, subset="", port=8080, share=100.0)
    rule = RuleView(
        name="",
        matches=(),
        answer="",
        destinations=both if split else (whole,),
        more=(),
        written=SPLIT if split else None,
    )
    tester = RuleView(
        name="",
        matches=("header x-user is tester",),
        answer="",
        destinations=(replace(both[1], share=100.0),),
        more=("timeout 2s", "2 retries on 5xx"),
        written=replace(SPLIT, field="spec.http[0]", line=19),
    )
    return ServiceView(
        namespace="bistro",
        name=name,
        host=host,
        ports=(PortView(name="http", number=8080, protocol="http"),),
        routes=(RoutesView(ports=(8080,), rules=(tester, rule) if split else (rule,)),),
        policies=(
            PolicyView(
                action="ALLOW",
                dry_run=False,
                workload=f"bistro/{name}",
                rules=(
                    PolicyRuleView(
                        who=("cluster.local/ns/bistro/sa/frontend",), what=("GET", "/*"), when=(), written=ALLOW
                    ),
                ),
                written=replace(ALLOW, field=""),
            ),
        ),
        mtls=("STRICT",),
        instances=(
            InstanceView(node=f"bistro/{name}/0", version="v1", state="ready", address="198.18.0.7", restarts=0, certificate_expires=iso(time.time() + 70_000)),
            InstanceView(
                node="bistro/reviews-canary/0" if name == "reviews" else f"bistro/{name}/1",
                version="v2" if split else "v1",
                state="ready",
                address="198.18.0.8",
                restarts=2,
                certificate_expires=iso(time.time() + 70_000),
                ejected_by=("bistro/frontend/0",),
            ),
        ),
        written=Written(kind="Service", namespace="bistro", name=name, file=f"bistro/{name}.yaml", line=1),
    )  # fmt: skip


def _trace(began: float, trace: str, *, failed: bool = False) -> TraceView:
    hops = [
        ("client", "diner", "GET /menu", 0.0, 48.0, "frontend"),
        ("server", "frontend", "GET /menu", 1.0, 46.0, "frontend"),
        ("client", "frontend", "GET /list", 3.0, 38.0, "restaurants"),
        ("server", "restaurants", "GET /list", 4.0, 36.0, "restaurants"),
        ("client", "restaurants", "GET /for/3", 9.0, 28.0, "reviews"),
        ("server", "reviews", "GET /for/3", 10.0, 26.0, "reviews"),
        ("client", "frontend", "GET /tables", 42.0, 4.0, "reservations"),
        ("server", "reservations", "GET /tables", 42.6, 3.0, "reservations"),
    ]
    parents = ("", "0", "1", "2", "3", "4", "1", "6")
    return TraceView(
        trace=trace,
        started=iso(began),
        duration_ms=48.0,
        spans=tuple(
            SpanView(
                id=f"{number:016x}",
                parent=f"{int(parent):016x}" if parent else "",
                name=name,
                kind=kind,
                start_ms=start,
                duration_ms=duration,
                service=f"bistro/{of}",
                workload=f"bistro/{of}",
                replica=0,
                by="sidecar",
                failed=(failed and of == "reviews") or (failed and number == 4),
                message="upstream_reset_before_response_started" if failed and number == 4 else "",
                flags=tuple(flag.words for flag in flags.words("UC")) if failed and number == 4 else (),
                attributes=tuple(
                    AttributeView(name=key, value=value)
                    for key, value in {
                        "http.method": "GET",
                        "http.url": f"http://{to}:8080{name.split()[1]}",
                        "http.status_code": "503" if failed and number in {4, 5} else "200",
                        "upstream_cluster": f"outbound|8080||{_host(to)}",
                        "response_flags": "UC" if failed and number == 4 else "-",
                    }.items()
                ),
            )
            for number, ((kind, of, name, start, duration, to), parent) in enumerate(
                zip(hops, parents, strict=True)
            )
        ),
    )


def _canary(now: float) -> CanaryView:
    return CanaryView(
        namespace="bistro",
        name="reviews",
        target="reviews",
        host=_host("reviews"),
        strategy="canary",
        phase="Progressing",
        since=iso(now - 95),
        weight=20,
        step=20,
        total=50,
        failed_checks=1,
        threshold=5,
        message="the gate confirm-increase is closed",
        gate="confirm-traffic-increase",
        promoted="0c5e7a",
        applied="9d31b2",
        checks=(
            CheckView(
                metric="request-success-rate",
                finding="passed",
                text="request-success-rate 99.9 % is not under 99 % (1,204 requests)",
                value=99.9,
            ),
            CheckView(
                metric="request-duration",
                finding="waiting",
                text="waiting for traffic: 12 of 100 requests",
            ),
        ),
        due=iso(now + 8),
    )


def rolling() -> Scene:
    """The bistro with a Canary in every phase, and many traces."""
    scene, now = bistro(), time.time()
    scene.rolling = rollouts.every_phase(now)
    scene.happened = {one.key: rollouts.history(one, now) for one in scene.rolling}
    scene.traced = (*scene.traced, *rollouts.many_traces(now), rollouts.deep_trace(now))
    for name in ("reservations", "payments", "failed"):
        tried = (*_who(f"{name}-canary")[:2], "v2")
        share = {"p50": 3.4, "p99": 90.0, "errors": 0.004 if name == "payments" else 0.0}
        scene.flows.append(Flow(source=_who("frontend"), service=_host(name), to=tried, rate=6, **share))  # type: ignore[arg-type]
    return scene


def large(services: int = 300, edges: int = 2000, namespaces: int = 12) -> Scene:
    """Many services in namespaces, layers deep; always the same ones."""
    chance = random.Random(9)
    names = [(f"team-{number % namespaces:02}", f"svc-{number:03}") for number in range(services)]
    flows: dict[tuple[int, int], Flow] = {}
    while len(flows) < edges:
        one, two = sorted(chance.sample(range(services), 2))
        if two - one > services // 3 and chance.random() < 0.8:
            continue
        source, to = (*names[one], "v1"), (*names[two], "v1")
        bad = chance.random() < 0.03
        flows[one, two] = Flow(
            source=source,
            service=service_host(names[two][0], names[two][1]),
            to=to,
            rate=chance.lognormvariate(1.5, 1.2),
            errors=chance.uniform(0.02, 0.3) if bad else 0.0,
            p50=chance.uniform(1, 30),
            p99=chance.uniform(40, 400),
        )
    return Scene(
        flows=list(flows.values()),
        standing={(*name, "v1"): (service_host(*name),) for name in names},
        replicas=tuple(replace(workload(name), namespace=namespace) for namespace, name in names),
        proxied=(),
    )
