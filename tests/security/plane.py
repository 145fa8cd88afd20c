"""A real control plane, as a process of its own, and agents that are the test itself and say what it likes."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from plait.api.client import Client as Api
from plait.api.client import NoMesh
from plait.identity.keys import Keypair, csr, key_pem, new_key
from plait.link import client
from plait.link.codec import JOIN_REQUEST, SIGNED
from plait.link.messages import Exited, JoinRequest, ReplicaReport, Signed, SignRequest, State
from plait.link.transport import CHANNEL_OPTIONS, JOIN, unix_target
from plait.model.catalog import Binding, Labels, Protocol, Replica, SidecarAddresses
from plait.model.names import Identity, ReplicaKey, WorkloadKey
from plait.run.state_directory import StateDirectory
from tests.e2e.mesh import clean_environment, until

DOCUMENTS = """
apiVersion: v1
kind: Namespace
metadata: {name: bistro}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reservations, namespace: bistro}
---
apiVersion: v1
kind: Service
metadata: {name: payments, namespace: bistro}
spec: {selector: {app: payments}, ports: [{name: http, port: 8080}]}
---
apiVersion: plait.dev/v1alpha1
kind: Workload
metadata: {name: payments, namespace: bistro, labels: {app: payments}}
spec: {command: ["true"], replicas: 2, ports: [{name: http, port: 8080}]}
---
apiVersion: plait.dev/v1alpha1
kind: Workload
metadata: {name: reservations-v1, namespace: bistro, labels: {app: reservations}}
spec: {command: ["true"], serviceAccount: reservations, ports: [{name: http, port: 8080}]}
---
apiVersion: plait.dev/v1alpha1
kind: Workload
metadata: {name: reservations-v2, namespace: bistro, labels: {app: reservations}}
spec: {command: ["true"], serviceAccount: reservations, ports: [{name: http, port: 8080}]}
"""
ADDRESSES = {"payments": "198.18.1.1", "reservations-v1": "198.18.1.2", "reservations-v2": "198.18.1.3"}
LABELS: dict[str, Labels] = {
    "payments": (("app", "payments"),),
    "reservations-v1": (("app", "reservations"),),
    "reservations-v2": (("app", "reservations"),),
}
ACCOUNTS = {"payments": "default", "reservations-v1": "reservations", "reservations-v2": "reservations"}
PAIR = tuple[str, str]


def key(name: str, number: int = 0, namespace: str = "bistro") -> ReplicaKey:
    return ReplicaKey(WorkloadKey(namespace, name), number)


def report(  # noqa: PLR0913  # what an agent may say of a replica
    name: str = "payments",
    number: int = 0,
    *,
    namespace: str = "bistro",
    state: State = State.READY,
    labels: Labels | None = None,
    account: str | None = None,
    address: str | None = None,
    binding: str | None = None,
    port: int = 8080,
    transparent: bool = True,
    identity: str | None = None,
    serving: bool | None = None,
) -> ReplicaReport:
    """What an honest agent says of a replica, but for what is given."""
    account = ACCOUNTS.get(name, "default") if account is None else account
    address = ADDRESSES.get(name, "198.18.9.9") if address is None else address
    own = Binding(
        name="http",
        number=port,
        protocol=Protocol.HTTP,
        address=address if binding is None else binding,
        port=port,
        app_address="127.0.0.1",
        app_port=port,
    )
    return ReplicaReport(
        replica=Replica(
            key=key(name, number, namespace),
            labels=LABELS.get(name, ()) if labels is None else labels,
            service_account=account,
            sidecar=SidecarAddresses(address=address, transparent=transparent),
            bindings=(own,),
            serving=state is State.READY if serving is None else serving,
        ),
        revision="r",
        state=state,
        identity=Identity("cluster.local", namespace, account).uri if identity is None else identity,
    )


@dataclass(slots=True)
class Agent:
    """An agent that says what a test has it say."""

    link: client.Client
    keypair: Keypair
    says: list[ReplicaReport]
    sessions: list[ReplicaKey] = field(default_factory=list)

    async def certificate(self, of: ReplicaKey) -> tuple[Signed, str]:
        """What comes of a request for a certificate, and the key that it is for."""
        private = new_key()
        return await self.link.sign(SignRequest(csr=csr(private), replica=of)), key_pem(private)


@dataclass(slots=True)
class Plane:
    """A running control plane."""

    state: StateDirectory
    process: asyncio.subprocess.Process
    xds: str

    @property
    def roots(self) -> str:
        return (self.state.authority / "root.pem").read_text()

    def api(self) -> Api:
        return Api(self.state.api_socket)

    @property
    def log(self) -> str:
        return (self.state.root.parent / "log").read_text()

    def channel(self, target: str, pair: PAIR | None) -> Any:
        """A connection as the holder of a certificate and its key, or of none."""
        chain, private = (part.encode() for part in pair) if pair else (None, None)
        credentials = grpc.ssl_channel_credentials(self.roots.encode(), private, chain)
        return grpc.aio.secure_channel(target, credentials, CHANNEL_OPTIONS)

    async def join(self, agent: str, token: str, request: str | None = None) -> Signed:
        """What comes of an attempt to join."""
        asked = JoinRequest(agent=agent, token=token, csr=csr(new_key()) if request is None else request)
        async with self.channel(unix_target(self.state.join_socket), None) as over:
            return SIGNED.decode(await over.unary_unary(f"/{JOIN}/Join")(JOIN_REQUEST.encode(asked)))

    async def enrolled(self, agent: str) -> Keypair:
        """The identity of an agent that has joined by a token of its own."""
        async with self.api() as api:
            token = (await api.create_token(agent)).token
        private = new_key()
        answer = await self.join(agent, token, csr(private))
        assert not answer.error, answer.error
        return Keypair(key=key_pem(private), chain=answer.chain, roots=answer.roots)

    @asynccontextmanager
    async def agent(self, name: str, *says: ReplicaReport) -> AsyncIterator[Agent]:
        """An agent that is connected, and has said this."""
        keypair = await self.enrolled(name)
        said = list(says)
        sessions: list[ReplicaKey] = []

        async def deliver(_: object) -> None:
            """It runs what it likes."""

        async def serve(request: Any, *_: object) -> Exited:
            sessions.append(request.replica)
            return Exited(code=0)

        link = client.Client(
            agent=name,
            target=unix_target(self.state.link_socket),
            keypair=lambda: keypair,
            hello=lambda: tuple(said),
            deliver=deliver,
            serve=serve,
        )
        task = asyncio.create_task(link.run())
        try:
            await until(lambda: link.connected, "the agent to be connected")
            yield Agent(link, keypair, said, sessions)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def replicas(self) -> dict[str, str]:
        """The replicas that are believed to be there, and their states."""
        async with self.api() as api:
            return {one.node: str(one.state) for one in (await api.status()).workloads}


@asynccontextmanager
async def plane(*arguments: str) -> AsyncIterator[Plane]:
    """A control plane over DOCUMENTS."""
    with tempfile.TemporaryDirectory(prefix="plait-") as name:
        folder = Path(name)
        (folder / "mesh").mkdir()
        (folder / "mesh" / "mesh.yaml").write_text(DOCUMENTS)
        state = StateDirectory(folder / "s")
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "plait.run.control_plane", "--state-dir", str(state.root)),
                *("--trust-domain", "cluster.local", *arguments, str(folder / "mesh")),
                env=clean_environment() | {"GRPC_VERBOSITY": "ERROR"},
                stdout=log,
                stderr=log,
            )
        made = Plane(state, process, unix_target(state.xds_socket))
        try:
            await until(lambda: _answers(made), "the control plane to answer")
            yield made
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


async def _answers(made: Plane) -> bool:
    assert made.process.returncode is None, made.log
    try:
        async with made.api() as api:
            await api.status()
    except NoMesh:
        return False
    return True
