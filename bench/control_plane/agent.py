"""The agent of the machine, as far as the control plane can tell: it says that everything runs, and runs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

from plait.agent.enrolment import Enrolment
from plait.agent.secrets import signed
from plait.api.client import Client as Api
from plait.identity.files import write_private
from plait.identity.keys import csr, key_pem, new_key
from plait.identity.trust import Trust
from plait.link import client, transport
from plait.link.messages import Assignments, Exited, ReplicaReport, SignRequest, State, Withdrawn
from plait.model.catalog import Replica
from plait.model.names import Identity, ReplicaKey
from plait.run.assignments import AGENT
from plait.run.registry import Registry
from plait.run.state_directory import StateDirectory
from plait.telemetry.reports import ProxyReport

_AT_ONCE = 32
_CONNECTED = 60.0


@dataclass(frozen=True, slots=True)
class Identities:
    """What replicas prove themselves with: a certificate each, of one key for all, which saves time; PEM."""

    key: str
    roots: str
    chains: dict[ReplicaKey, str]


class Agent:
    """Holds the truth about every replica, and says it to the control plane over the real link."""

    def __init__(self, state: StateDirectory, replicas: Iterable[Replica]) -> None:
        self._state = state
        self._reports = {replica.key: _report(replica) for replica in replicas}
        self._enrolment = Enrolment(AGENT, state.agent)
        self._link: client.Client | None = None

    def is_remembered(self) -> None:
        """Have the control plane know every replica from before, those too that are where none would be placed."""
        self._state.create()
        Registry(self._state.control_plane / "registry.jsonl").hello(AGENT, self._reports.values())

    async def enrol(self) -> None:
        """Join with a token, as `plait up` has its agent do."""
        async with Api(self._state.api_socket) as api:
            created = await api.create_token(AGENT)
        write_private(self._state.agent / "token", created.token.encode())
        roots = self._state.authority / "root.pem"
        await self._enrolment.enrol(transport.unix_target(self._state.join_socket), roots)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """The link, kept up until the end."""
        link = self._link = client.Client(
            agent=AGENT,
            target=transport.unix_target(self._state.link_socket),
            keypair=self._enrolment.keypair,
            hello=lambda: tuple(self._reports.values()),
            deliver=_heard,
            serve=_refused,
        )
        task = asyncio.create_task(link.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def attached(self) -> None:
        """Wait until the control plane has heard the whole truth."""
        assert self._link is not None
        async with asyncio.timeout(_CONNECTED):
            while not self._link.connected:  # noqa: ASYNC110 - the link has no event for others
                await asyncio.sleep(0.01)

    def toggle(self, key: ReplicaKey) -> None:
        """Report that a replica serves no more, or again."""
        assert self._link is not None
        before = self._reports[key]
        serving = not before.replica.serving
        self._reports[key] = replace(
            before,
            replica=replace(before.replica, serving=serving),
            state=State.READY if serving else State.STARTING,
        )
        self._link.report(self._reports[key])

    def observed(self, report: ProxyReport) -> None:
        """Say what a proxy did."""
        assert self._link is not None
        self._link.observed(report)

    async def identities(self, keys: Collection[ReplicaKey]) -> Identities:
        """A certificate for each of these, signed by the control plane."""
        assert self._link is not None
        link, private = self._link, new_key()
        request, room = csr(private), asyncio.Semaphore(_AT_ONCE)

        async def chain(key: ReplicaKey) -> str:
            async with room:
                return (await signed(link, SignRequest(csr=request, replica=key), self._enrolment.trusted))[0]

        chains = await asyncio.gather(*map(chain, keys))
        roots = (self._state.authority / "root.pem").read_text()
        return Identities(key_pem(private), roots, dict(zip(keys, chains, strict=True)))


def _report(replica: Replica) -> ReplicaReport:
    identity = Identity("cluster.local", replica.key.workload.namespace, replica.service_account)
    return ReplicaReport(replica=replica, revision="bench", state=State.READY, identity=identity.uri)


async def _heard(_: Assignments | Trust | Withdrawn) -> None:
    """What is to run runs already."""


async def _refused(*_: object) -> Exited:
    raise NotImplementedError("nobody asks for logs here, or has a command run")
