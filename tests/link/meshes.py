"""A control plane's end of the link on real sockets, with a Hub that writes down what it hears."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from plait.identity.authority import Authority, RequestRefused
from plait.identity.keys import Keypair, csr, key_pem, new_key
from plait.identity.names import agent_uri
from plait.identity.tokens import TokenRefused, Tokens
from plait.identity.trust import Held, Trust
from plait.link.client import Client, Deliver, Serve
from plait.link.credentials import join_server_credentials, mtls_server_credentials
from plait.link.messages import (
    Asked,
    Assignments,
    Exited,
    JoinRequest,
    ReplicaReport,
    Signed,
    SignRequest,
    State,
    Withdrawn,
)
from plait.link.server import Link
from plait.link.transport import SERVER_OPTIONS, listen, unix_target
from plait.model.catalog import Replica, SidecarAddresses
from plait.model.names import Identity, ReplicaKey, WorkloadKey
from plait.telemetry.reports import ProxyReport

TRUST_DOMAIN = "cluster.local"


def replica_key(number: int = 0) -> ReplicaKey:
    return ReplicaKey(WorkloadKey("bistro", "frontend"), number)


def report(number: int = 0, state: State = State.READY, restarts: int = 0) -> ReplicaReport:
    replica = Replica(
        key=replica_key(number),
        labels=(("app", "frontend"),),
        service_account="frontend",
        sidecar=SidecarAddresses(address="127.77.0.1"),
        serving=state is State.READY,
    )
    return ReplicaReport(replica=replica, revision="r", state=state, identity="spiffe://x", restarts=restarts)


@dataclass
class RecordingHub:
    authority: Authority
    tokens: Tokens
    heard: list[tuple[Any, ...]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def _note(self, *what: Any) -> None:
        self.heard.append(what)
        self.changed.set()

    def on_hello(self, agent: str, replicas: tuple[ReplicaReport, ...]) -> None:
        self._note("hello", agent, replicas)

    def on_report(self, agent: str, report: ReplicaReport) -> None:
        self._note("report", agent, report)

    def on_holds(self, agent: str, held: Held) -> None:
        self._note("holds", agent, held)

    def on_gone(self, agent: str, key: ReplicaKey) -> None:
        self._note("gone", agent, key)

    def on_observed(self, agent: str, report: ProxyReport) -> None:
        self._note("observed", agent, report)

    def on_lost(self, agent: str) -> None:
        self._note("lost", agent)

    async def sign(self, agent: str, request: SignRequest) -> Signed:
        uri = agent_uri(TRUST_DOMAIN, agent)
        if request.replica is not None:
            uri = Identity(TRUST_DOMAIN, request.replica.workload.namespace, "sa").uri
        return self._sign(request.csr, uri)

    async def join(self, request: JoinRequest) -> Signed:
        try:
            self.tokens.redeem(request.token, agent=request.agent, now=time.time())
        except TokenRefused as error:
            return Signed(error=str(error))
        return self._sign(request.csr, agent_uri(TRUST_DOMAIN, request.agent))

    def _sign(self, request: str, uri: str) -> Signed:
        try:
            signed = self.authority.sign(request, uri=uri, now=time.time())
        except RequestRefused as error:
            return Signed(error=str(error))
        return Signed(chain=signed.chain, trust=self.authority.trust, expires=signed.expires)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def count(self, what: str) -> int:
        return sum(1 for item in self.heard if item[0] == what)


@dataclass
class Plane:
    """Everything of a control plane that the link needs, and a way to stop and start its servers."""

    directory: Path
    authority: Authority
    hub: RecordingHub
    keypair: Keypair
    link: Link = field(init=False)
    _servers: list[Any] = field(default_factory=list)

    @property
    def target(self) -> str:
        return unix_target(self.directory / "link.sock")

    @property
    def join_target(self) -> str:
        return unix_target(self.directory / "join.sock")

    def keypair_for(self, uri: str, lifetime: float = 3600.0) -> Keypair:
        key = new_key()
        signed = self.authority.sign(csr(key), uri=uri, now=time.time(), lifetime=lifetime)
        return Keypair(key=key_pem(key), chain=signed.chain, roots=self.authority.roots)

    def agent_keypair(self, name: str = "local", lifetime: float = 3600.0) -> Keypair:
        return self.keypair_for(agent_uri(TRUST_DOMAIN, name), lifetime)

    async def start(self) -> None:
        self.link = Link(self.hub, trust_domain=TRUST_DOMAIN)
        for name, credentials, handlers in (
            ("link.sock", mtls_server_credentials(lambda: self.keypair), self.link.handlers()),
            ("join.sock", join_server_credentials(lambda: self.keypair), self.link.join_handlers()),
        ):
            server = grpc.aio.server(options=SERVER_OPTIONS)
            server.add_generic_rpc_handlers(handlers)
            listen(server, self.directory / name, credentials)
            await server.start()
            self._servers.append(server)

    async def stop(self) -> None:
        await self.link.close()
        for server in self._servers:
            await server.stop(0)
        self._servers.clear()

    def client(
        self,
        *,
        name: str = "local",
        keypair: Callable[[], Keypair] | None = None,
        hello: Callable[[], tuple[ReplicaReport, ...]] = tuple,
        deliver: Deliver | None = None,
        serve: Serve | None = None,
    ) -> Client:
        mine = self.agent_keypair(name)
        return Client(
            agent=name,
            target=self.target,
            keypair=keypair or (lambda: mine),
            hello=hello,
            deliver=deliver or _ignore,
            serve=serve or _nothing,
        )


@asynccontextmanager
async def plane() -> AsyncIterator[Plane]:
    with tempfile.TemporaryDirectory(prefix="plait-") as directory:
        root = Path(directory)
        now = time.time()
        authority = Authority.open(root / "ca", trust_domain=TRUST_DOMAIN, now=now)
        hub = RecordingHub(authority, Tokens(root / "tokens.json"))
        made = Plane(root, authority, hub, authority.control_plane(now=now))
        await made.start()
        try:
            yield made
        finally:
            await made.stop()


@asynccontextmanager
async def running(client: Client) -> AsyncIterator[Client]:
    task = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class Inbox:
    """What a client was told, to be awaited."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Assignments | Trust | Withdrawn] = asyncio.Queue()

    async def __call__(self, message: Assignments | Trust | Withdrawn) -> None:
        self.messages.put_nowait(message)

    async def next(self) -> Assignments | Trust | Withdrawn:
        async with asyncio.timeout(10):
            return await self.messages.get()


async def _ignore(_message: Assignments | Trust | Withdrawn) -> None:
    pass


async def _nothing(_request: Asked, _stdin: Any, _write: Any) -> Exited:
    return Exited(code=0)
