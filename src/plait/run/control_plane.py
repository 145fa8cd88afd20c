"""The control plane as a process: `python -m plait.run.control_plane`, started by `plait up`.

It serves xDS with mutual TLS on a Unix socket (and on TCP when told to), the link and joins on two more, and its
HTTP API on a fourth (and on TCP when told to); all in the state directory, for the user who runs the mesh alone.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import logging
import signal
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path

import grpc.aio

from plait.api.events import Events, Subscription
from plait.api.listening import serving, serving_tcp
from plait.api.plane import Looking, Session, Unavailable
from plait.api.rollouts import CanaryEvent, CanaryView
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
from plait.codec import CodecError
from plait.envoy import names
from plait.identity.authority import Authority, AuthorityError
from plait.identity.files import Insecure
from plait.identity.keys import validity
from plait.identity.tokens import Tokens
from plait.identity.trust import Held
from plait.link.credentials import join_server_credentials, mtls_server_credentials
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
from plait.link.server import AgentAway, Link
from plait.link.transport import SERVER_OPTIONS, listen
from plait.model.finding import Severity
from plait.model.names import Identity, ReplicaKey, WorkloadKey
from plait.model.settings import (
    CERTIFICATE_LIFETIME,
    LONGEST_CONNECTION,
    MeshSettings,
    OutboundTrafficPolicy,
)
from plait.rollout.status import Command
from plait.run import views
from plait.run.custody import Custody
from plait.run.intake import Intake
from plait.run.loop import Loop
from plait.run.registry import Registry, common_name_of
from plait.run.rollouts.alerts import Alerts
from plait.run.rollouts.asking import Asking
from plait.run.rollouts.evidence import Evidence
from plait.run.rollouts.loop import Rollouts
from plait.run.rollouts.webhooks import Webhooks
from plait.run.signing import Signing
from plait.run.state_directory import StateDirectory
from plait.run.tapped import workload_key
from plait.run.tracing import Tracing
from plait.sources.files.folder import Folder
from plait.telemetry import graph
from plait.telemetry.graph import Graph
from plait.telemetry.kept import StoreQueries, seen
from plait.telemetry.prometheus import PrometheusQueries
from plait.telemetry.queries import Queries
from plait.telemetry.reports import ProxyReport
from plait.telemetry.spans import Search
from plait.telemetry.store import Store
from plait.xds.conversation import Peer
from plait.xds.exports import Exports
from plait.xds.server import Server
from plait.xds.status import Code, End
from plait.xds.transport.listener import Listener
from plait.xds.transport.tls import mutual

log = logging.getLogger(__name__)

_LOOK = 1.0
"""Seconds between two looks at how busy the process is."""
_CALM, _BURST = 0.05, 1.0
"""Less than this part of a core is calm; so many seconds of CPU since the last time are a burst."""


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

    async def graph(self, window: float, namespace: str) -> Graph:
        """Who calls whom."""
        found = await seen(self.telemetry, window)
        mesh, reports = self.loop.mesh, self.loop.registry.reports()

        def drawn() -> Graph:
            services, workloads = views.standing(mesh, reports)
            return graph.graph(found, services, workloads, namespace=namespace)

        return await asyncio.to_thread(drawn)  # of a large mesh it takes a tenth of a second

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


def authorize(registry: Registry, trust_domain: str, node: str, peer: Peer) -> str | None:
    """Why a peer may not have the configuration of a node; None when it is that node.

    The certificate has to be for the account of the very replica, and for its workload: two workloads of one
    account do not see each other's.
    """
    key = ReplicaKey.parse(node)
    if key is None:
        return f"{node!r} is not the name of a replica"
    found = registry.find(key)
    if found is None:
        return f"{node} is not known"
    replica = found[1].replica
    expected = Identity(trust_domain, key.workload.namespace, replica.service_account).uri
    if peer.uris != (expected,) or peer.common_name != common_name_of(key.workload):
        return f"the certificate is not that of {node}"
    return f"the certificate of {node} has expired" if _expired(peer) else None


def sender(registry: Registry, trust_domain: str, peer: Peer) -> str | End:
    """The workload that a peer's certificate is for, NAMESPACE/NAME, as long as it runs; or why it may not tell anything.

    Which of its replicas it is no certificate says: what is told of that is believed within the workload.
    """
    identity = Identity.parse(peer.uris[0]) if len(peer.uris) == 1 else None
    if identity is None or identity.trust_domain != trust_domain:
        return End(Code.UNAUTHENTICATED, "the certificate is not that of a workload")
    found = registry.holder(identity.namespace, identity.service_account, peer.common_name)
    if found is None:
        return End(Code.PERMISSION_DENIED, "the certificate is not that of a workload which runs")
    if _expired(peer):
        return End(Code.UNAUTHENTICATED, f"the certificate of {found} has expired")
    return str(found)


def _expired(peer: Peer) -> bool:
    """A handshake refuses this; but a connection may outlive its certificate, and open another stream."""
    return validity(peer.certificate.decode())[1] <= time.time()


def join_tokens(path: Path) -> Tokens:
    """The join tokens kept in a file; none when it is damaged: they can be made anew, a mesh can't wait for that."""
    try:
        return Tokens(path)
    except (Insecure, CodecError) as error:
        log.warning("every join token is forgotten: %s: %s", path, error)
        path.unlink()
        return Tokens(path)


async def serve(  # noqa: PLR0913 - what `plait up` may say
    state: StateDirectory,
    paths: Sequence[Path],
    settings: MeshSettings,
    *,
    address: str = "",
    api: str = "",
    own_authority: Path | None = None,
    prometheus: str = "",
) -> None:
    """Run until SIGTERM or SIGINT; `address` is HOST:PORT for xDS over TCP, `api` for the API, "" for none.

    `own_authority`: the folder of a user's own authority; `prometheus`: the URL of what is asked of traffic in place
    of the store.  AuthorityError.
    """
    trust_domain = settings.trust_domain
    state.create()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    authority = Authority.open(
        state.authority,
        trust_domain=trust_domain,
        now=time.time(),
        lifetime=settings.certificate_lifetime,
        folder=own_authority,
    )
    registry = Registry.load(state.control_plane / "registry.jsonl")
    custody = Custody(
        authority,
        registry,
        state.control_plane / "identity.json",
        tell=lambda trust: loop.link.trust(trust),  # noqa: PLW0108 - there is no loop yet
        present=lambda: loop.link.connected(),  # noqa: PLW0108
    )
    server = Server(
        lambda node, peer: authorize(registry, trust_domain, node, peer),
        expires=lambda peer: validity(peer.certificate.decode())[1],
        notify=lambda _, answer: loop.answered(answer),
    )
    loop = Loop(
        settings=settings,
        registry=registry,
        server=server,
        events=Events(),
        held_path=state.control_plane / "held.json",
    )
    tokens = join_tokens(state.control_plane / "tokens.json")
    tracing = Tracing(state.control_plane / "traces.db", lambda found: loop.notice("tracing", found))
    telemetry = Store(state.control_plane / "telemetry.db", partial(views.own_labels, registry))
    intake = Intake(registry, telemetry)
    signing = Signing(authority, tokens, registry, loop.doubts)
    plane = ControlPlane(loop, signing, custody, tracing, intake, telemetry, prometheus)
    loop.link = Link(plane, trust_domain=trust_domain)
    asking = Asking(evidence=Evidence(plane.queries()), webhooks=Webhooks(), alerts=Alerts())
    loop.rollouts = Rollouts(state.control_plane / "rollouts.json", asking, loop)
    loop.metrics.watch(server, loop.link, intake, loop.severities)
    folder = Folder(paths)
    loop.start(await asyncio.to_thread(folder.load))
    _keep_out_of_garbage_collection()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(tracing.close)
        exports = Exports(
            {**tracing.handlers, names.LOGS_PATH: loop.taps.take},
            lambda peer: sender(registry, trust_domain, peer),
        )
        proxies = Listener(server, mutual(custody.keypair), exports=exports)
        stack.push_async_callback(telemetry.close)
        stack.push_async_callback(proxies.close)
        # Open to every user, since each Envoy may have its own; the directories above it let nobody but ours through.
        await proxies.listen(state.xds_socket, mode=0o666)
        if address:
            await proxies.listen_tcp(address)
        for path, handlers, credentials in (
            (state.link_socket, loop.link.handlers(), mtls_server_credentials(custody.keypair)),
            (state.join_socket, loop.link.join_handlers(), join_server_credentials(custody.keypair)),
        ):
            one = grpc.aio.server(options=SERVER_OPTIONS)
            one.add_generic_rpc_handlers(handlers)
            listen(one, path, credentials)
            await one.start()
            stack.push_async_callback(one.stop, None)
        stack.push_async_callback(loop.link.close)
        stack.callback(server.close)
        if api:
            served = serving_tcp(plane, api, token=state.api_token, place=state.api_address)
            await stack.enter_async_context(served)
        await stack.enter_async_context(serving(plane, state.api_socket))
        log.info("serving %d documents from %s", len(loop.store.documents()), ", ".join(map(str, paths)))
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(loop.run()),
                tasks.create_task(loop.time_pushes()),
                tasks.create_task(loop.rollouts.run()),
                tasks.create_task(_watch(folder, loop)),
                tasks.create_task(custody.run()),
                tasks.create_task(tracing.run()),
                tasks.create_task(telemetry.run()),
                tasks.create_task(_give_back()),
            ]
            await stop.wait()
            for task in running:
                task.cancel()
        loop.events.close()
        loop.taps.close_all()


def _keep_out_of_garbage_collection() -> None:
    """What is known by now mostly stays, and what comes with each proxy stays for long: both are rarely looked through.

    A look at everything takes a third of a second with a thousand proxies, and would come in the midst of a change.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


async def _give_back() -> None:
    """After each burst of work, give what it has freed back to the system.

    The C library keeps it, between what is still used: 40 MB after a thousand proxies have connected at once.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    given, before = 0.0, time.process_time()
    while trim is not None:
        await asyncio.sleep(_LOOK)
        now = time.process_time()
        if now - before < _CALM * _LOOK and now - given > _BURST:
            trim(0)
            given = now = time.process_time()
        before = now


async def _watch(folder: Folder, loop: Loop) -> None:
    async for change in folder.watch():
        loop.changed(change)


def main() -> None:
    """Run as `plait up` calls it."""
    parser = argparse.ArgumentParser(prog="plait.run.control_plane")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--trust-domain", required=True)
    parser.add_argument("--listen", default="", metavar="HOST:PORT")
    parser.add_argument("--trust-domain-alias", action="append", default=[])
    parser.add_argument("--certificate-lifetime", type=float, default=CERTIFICATE_LIFETIME)
    parser.add_argument("--longest-connection", type=float, default=LONGEST_CONNECTION)
    parser.add_argument("--ca", type=Path)
    parser.add_argument("--api", default="", metavar="HOST:PORT")
    parser.add_argument("--prometheus", default="", metavar="URL")
    parser.add_argument(
        "--outbound-traffic-policy",
        type=OutboundTrafficPolicy,
        choices=list(OutboundTrafficPolicy),
        default=OutboundTrafficPolicy.REGISTRY_ONLY,
    )
    parser.add_argument("paths", type=Path, nargs="+")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    settings = MeshSettings(
        trust_domain=arguments.trust_domain,
        trust_domain_aliases=tuple(arguments.trust_domain_alias),
        outbound_traffic_policy=arguments.outbound_traffic_policy,
        certificate_lifetime=arguments.certificate_lifetime,
        longest_connection=arguments.longest_connection,
    )
    state = StateDirectory(arguments.state_dir)
    try:
        asyncio.run(
            serve(
                state,
                arguments.paths,
                settings,
                address=arguments.listen,
                api=arguments.api,
                own_authority=arguments.ca,
                prometheus=arguments.prometheus,
            )
        )
    except AuthorityError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
