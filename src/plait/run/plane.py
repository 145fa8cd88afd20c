"""What the control plane answers: to agents (`link.server.Hub`), and to the API (`api.plane.Plane`)."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from importlib.metadata import version

from plait.api.events import Subscription
from plait.api.plane import Looking, Session, Unavailable
from plait.api.proxies import ProxyView
from plait.api.rollouts import CanaryEvent, CanaryView
from plait.api.services import ObjectView, RefusalView, ServiceView
from plait.api.targets import NotFound
from plait.api.views import (
    AuthorityStatus,
    FindingView,
    MeshStatus,
    ProxyStatus,
    RouteStatus,
    TapFilter,
    TokenStatus,
    TokenView,
    TraceSummary,
    TraceView,
    WorkloadStatus,
)
from plait.identity.trust import Held
from plait.link.messages import (
    Asked,
    ExecRequest,
    JoinRequest,
    LogsRequest,
    MetricsRequest,
    ReplicaReport,
    Signed,
    SignRequest,
    State,
)
from plait.link.server import AgentAway
from plait.model.finding import Severity
from plait.model.names import ReplicaKey, WorkloadKey
from plait.rollout.status import Command
from plait.run import objects, proxies, services, views
from plait.run.custody import Custody
from plait.run.intake import Intake
from plait.run.loop import Loop
from plait.run.refusals import refusals
from plait.run.signing import Signing
from plait.run.tapped import workload_key
from plait.run.tracing import Tracing
from plait.telemetry import graph
from plait.telemetry.graph import Graph
from plait.telemetry.kept import StoreQueries, seen
from plait.telemetry.prometheus import PrometheusQueries
from plait.telemetry.queries import By, Queries, Where
from plait.telemetry.reports import ProxyReport
from plait.telemetry.spans import Search
from plait.telemetry.store import Store


@dataclass(slots=True)
class ControlPlane:
    """The control plane's parts, and what it answers to agents (`link.server.Hub`) and to the API (`api.Plane`)."""

    loop: Loop
    signing: Signing
    custody: Custody
    tracing: Tracing
    intake: Intake
    telemetry: Store
    prometheus: str = ""
    """The URL of what is asked in place of the store; "" for nothing."""
    started: float = field(default_factory=time.time)

    def on_hello(self, agent: str, replicas: tuple[ReplicaReport, ...]) -> None:
        """Everything that runs under an agent."""
        self.loop.on_hello(agent, replicas)

    def on_report(self, agent: str, report: ReplicaReport) -> None:
        """One replica has changed."""
        self.loop.on_report(agent, report)

    def on_gone(self, agent: str, key: ReplicaKey) -> None:
        """One replica is no more."""
        self.loop.on_gone(agent, key)

    def on_holds(self, agent: str, held: Held) -> None:
        """An agent has another certificate of its own, or other roots."""
        self.loop.registry.holds(agent, held)

    def on_observed(self, agent: str, report: ProxyReport) -> None:
        """What one proxy did."""
        self.intake.take(agent, report, time.time())

    def on_lost(self, agent: str) -> None:
        """An agent is away; its replicas run on."""
        self.loop.on_lost(agent)

    async def sign(self, agent: str, request: SignRequest) -> Signed:
        """A certificate for a replica of an agent, or for itself."""
        answer = await self.signing.sign(agent, request)
        self.loop.metrics.signed(request, answer)
        return answer

    async def join(self, request: JoinRequest) -> Signed:
        """A certificate for an agent that has a token."""
        answer = await self.signing.join(request)
        self.loop.metrics.joined(answer)
        return answer

    def mesh(self) -> MeshStatus:
        """The mesh as a whole."""
        wanted = self.loop.wanted
        reports = self.loop.registry.reports()
        findings = self.loop.all_findings()
        return MeshStatus(
            version=version("plait"),
            trust_domain=self.loop.settings.trust_domain,
            started=views.iso(self.started),
            agents=self.loop.link.connected(),
            wanted=wanted,
            ready=sum(report.state in (State.READY, State.ENDED) for report in reports),
            generation=self.loop.generation,
            errors=sum(found.severity is Severity.ERROR for found in findings),
            warnings=sum(found.severity is Severity.WARNING for found in findings),
        )

    def workloads(self) -> tuple[WorkloadStatus, ...]:
        """Every replica."""
        return tuple(views.workload(report) for report in self.loop.registry.reports())

    def proxies(self) -> tuple[ProxyStatus, ...]:
        """Every proxy."""
        return tuple(views.proxy(status) for status in self.loop.server.proxies())

    def routes(self) -> tuple[RouteStatus, ...]:
        """Every route that is attached to a service, and its conditions at each of its parents."""
        return views.routes(self.loop.route_statuses())

    def findings(self) -> tuple[FindingView, ...]:
        """Everything wrong with what was written, with the lines as they are now."""
        return tuple(views.finding(found) for found in self.loop.all_findings())

    async def graph(self, window: float, namespace: str, until: float | None) -> Graph:
        """Who calls whom."""
        found = await seen(self.telemetry, window, until)
        mesh, reports = self.loop.mesh, self.loop.registry.reports()

        def drawn() -> Graph:
            services, workloads = views.standing(mesh, reports)
            return graph.graph(found, services, workloads, namespace=namespace)

        return await asyncio.to_thread(drawn)  # of a large mesh it takes a tenth of a second

    def service(self, namespace: str, name: str) -> ServiceView:
        """A service as it is routed and guarded now."""
        mesh = self.loop.mesh
        if mesh is None:
            raise NotFound(f"there is no service {namespace}/{name}: nothing was read yet")
        reports, ejections = self.loop.registry.reports(), self.intake.ejections(time.time())
        return services.service(mesh, reports, ejections, self.loop.store, namespace, name)

    async def refusals(self, window: float, service: str, until: float | None) -> tuple[RefusalView, ...]:
        """Who was kept out."""
        found = await self.queries().measure(By.REFUSAL, Where(service=service), window=window, end=until)
        return refusals(found, self.loop.mesh, self.loop.registry.replicas().values(), self.loop.store)

    def object(self, kind: str, namespace: str, name: str) -> ObjectView:
        """An object as it stands in its file."""
        return objects.shown(self.loop.store, kind, namespace, name)

    def proxy(self, replica: ReplicaKey) -> ProxyView:
        """One proxy, and what it was sent last."""
        found, server, node = self.loop.registry.find(replica), self.loop.server, str(replica)
        if found is None:
            raise NotFound(f"there is no proxy {replica}")
        return proxies.proxy(found[1], server.proxy(node), server.pushes(node), self.loop.store)

    def queries(self) -> Queries:
        """What the store knows, or the Prometheus that is asked in its place."""
        return PrometheusQueries(self.prometheus) if self.prometheus else StoreQueries(self.telemetry)

    def events(self) -> Subscription:
        """What happens from now on."""
        return self.loop.events.subscribe()

    def create_token(self, agent: str, lifetime: float) -> TokenView:
        """A join token for an agent."""
        created = self.signing.tokens.create(agent, now=time.time(), lifetime=lifetime)
        return TokenView(
            token=created.token, id=created.id, agent=created.agent, expires=views.iso(created.expires)
        )

    def authority(self) -> AuthorityStatus:
        """How the certificate authority stands."""
        return self.custody.status()

    def rotate(self, what: str) -> None:
        """Have root, intermediate or leaves made anew; ValueError."""
        self.custody.rotate(what)

    def tokens(self) -> tuple[TokenStatus, ...]:
        """Every join token that may still be used."""
        return tuple(
            TokenStatus(id=one.id, agent=one.agent, expires=views.iso(one.expires))
            for one in self.signing.tokens.live(time.time())
        )

    def revoke_token(self, token_id: str) -> bool:
        """Make a join token worthless."""
        return self.signing.tokens.revoke(token_id)

    def exec(self, replica: ReplicaKey, command: tuple[str, ...]) -> Session:
        """Run a command in the place of a replica."""
        return self._open(replica, ExecRequest(replica=replica, command=command))

    def logs(self, replica: ReplicaKey, *, envoy: bool, tail: int, follow: bool) -> Session:
        """Read a replica's log."""
        return self._open(replica, LogsRequest(replica=replica, envoy=envoy, tail=tail, follow=follow))

    async def traces(self, search: Search) -> tuple[TraceSummary, ...]:
        """The traces that fit, the newest first."""
        return tuple(views.trace_summary(one) for one in await self.tracing.search(search))

    async def trace(self, prefix: str) -> TraceView | None:
        """One trace, whole."""
        spans = await self.tracing.trace(prefix)
        return views.trace(spans) if spans else None

    def tap(self, wanted: TapFilter, *, rate: int) -> Looking:
        """Look at requests as they happen."""
        for text in (wanted.source, wanted.destination):
            named = workload_key(text) if text else None
            if named is not None and not self.loop.knows(named):
                raise NotFound(f"there is no workload {named}")
        return self.loop.taps.open(wanted, rate)

    def canaries(self) -> tuple[CanaryView, ...]:
        """Every Canary, and where its rollout stands."""
        return self.loop.rollouts.views()

    def canary_history(self, key: WorkloadKey) -> tuple[CanaryEvent, ...]:
        """What happened to the rollouts of a Canary, the oldest first."""
        return self.loop.rollouts.history(key)

    async def canary_command(self, key: WorkloadKey, command: Command) -> None:
        """Say something to a rollout."""
        await self.loop.rollouts.command(key, command)

    def proxy_metrics(self, replica: ReplicaKey) -> Session:
        """What a replica's Envoy tells Prometheus."""
        return self._open(replica, MetricsRequest(replica=replica))

    def metrics(self) -> bytes:
        """The control plane's own metrics."""
        return self.loop.metrics.text()

    def shutdown(self) -> None:
        """Have every workload drained and stopped."""
        self.loop.stop_workloads()

    def _open(self, replica: ReplicaKey, request: Asked) -> Session:
        found = self.loop.registry.find(replica)
        if found is None:
            raise Unavailable(f"there is no replica {replica}")
        try:
            return self.loop.link.open_session(found[0], request)
        except AgentAway as away:
            raise Unavailable(str(away)) from away
