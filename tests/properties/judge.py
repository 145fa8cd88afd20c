"""A real Envoy that is told one snapshot after the other by the real xDS server, and says what it refuses."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from plait.envoy import api, names
from plait.identity.keys import Keypair
from plait.model.catalog import Labels, Protocol, Replica
from plait.model.names import ReplicaKey, WorkloadKey
from plait.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, SCOPED_ROUTES, Snapshot
from plait.xds.server import Server
from plait.xds.transport.listener import Listener
from plait.xds.transport.tls import mutual
from tests.compiler.facts import listens, replica, workload
from tests.envoy.namespaces import Namespace
from tests.envoy.support import Authority, ControlPlane, Elsewhere, Proxy, envoy, short_folder

_OWN = workload(
    "judge",
    listens(1, Protocol.UNDECLARED, "odd"),
    listens(80, Protocol.HTTP, "http"),
    listens(443, Protocol.TCP, "https"),
    listens(8080, Protocol.GRPC, "grpc-a"),
    listens(9000, Protocol.UNDECLARED, "mongo"),
    listens(65535, Protocol.HTTP2, "tcp-b"),
)
"""What it stands beside: an Envoy keeps its ports as long as it lives, whoever its workload is."""
_SECONDS = 20.0


@dataclass(slots=True)
class Judge:
    """Used from outside of its event loop, which runs while it is asked alone."""

    replica: Replica
    server: Server
    proxy: Proxy
    runner: asyncio.Runner

    def as_if(self, namespace: str, labels: Labels, account: str) -> Replica:
        """Its replica, as that of some other workload."""
        key = ReplicaKey(WorkloadKey(namespace, self.replica.key.workload.name), 0)
        return replace(self.replica, key=key, labels=labels, service_account=account)

    def refusals(self, snapshot: Snapshot) -> tuple[str, ...]:
        """What it refuses of a snapshot, and why; none when it has acknowledged all of it."""
        return self.runner.run(self._refusals(snapshot))

    async def _refusals(self, snapshot: Snapshot) -> tuple[str, ...]:
        self.server.publish(str(self.replica.key), snapshot)
        wanted = _wanted(snapshot)
        async with asyncio.timeout(_SECONDS):
            while not (self.server.rejections() or self._has(wanted)):
                assert self.proxy.process.returncode is None, self.proxy.log
                await self.server.synced(_SECONDS)
                await asyncio.sleep(0.001)
        return tuple(
            f"{one.rejection.resource.name}: {one.rejection.reason}" for one in self.server.rejections()
        )

    def _has(self, wanted: dict[str, int]) -> bool:
        """Whether it has asked for so many resources of each type, and acknowledged them."""
        (status,) = self.server.proxies()
        had = {one.type_url: one.acknowledged for one in status.types if one.wanted == one.acknowledged}
        return status.synced and all(had.get(kind) == number for kind, number in wanted.items())


def _wanted(snapshot: Snapshot) -> dict[str, int]:
    """How many resources of each type an Envoy asks for that has a snapshot; none is asked for by name alone."""
    led = {
        api.parse(SCOPED_ROUTES, one.body).route_configuration_name
        for one in snapshot[SCOPED_ROUTES].values()
    }
    inbound = {name for name in snapshot[ROUTES] if name.startswith("inbound|")}
    whole = {kind: len(snapshot[kind]) for kind in (CLUSTER, ENDPOINTS, LISTENER, SCOPED_ROUTES)}
    return {kind: number for kind, number in (whole | {ROUTES: len(led | inbound)}).items() if number}


@contextmanager
def judge(place: Namespace, *, transparent: bool) -> Iterator[Judge]:
    """One in a mode, which has nothing to complain of; nobody of this machine sees where it listens."""
    authority = Authority()
    address, application = (place.address, "127.0.0.1") if transparent else ("127.77.0.1", "127.78.0.1")
    own = replica(_OWN, address=address, app_address=application, transparent=transparent)
    chain, key = authority.issue(names.control_plane_uri("cluster.local"), dns=(names.CONTROL_PLANE_NAME,))
    keypair = Keypair(key=key, chain=chain, roots=authority.root)
    server = Server(lambda _node, _peer: None)
    with short_folder() as folder, asyncio.Runner() as runner:
        stack = AsyncExitStack()
        listener = Listener(server, mutual(lambda: keypair))
        path = folder / "xds.sock"
        runner.run(listener.listen(path))
        try:
            proxy = runner.run(_started(stack, own, authority, path, place))
            yield Judge(own, server, proxy, runner)
            complaints = re.findall(r".*\]\[(?:warning|error|critical)\].*", proxy.log)
            assert [one for one in complaints if "/jwks_" not in one] == []  # nobody is there who has keys
        finally:
            runner.run(stack.aclose())
            server.close()
            runner.run(listener.close())


async def _started(
    stack: AsyncExitStack, own: Replica, authority: Authority, path: Path, place: Namespace
) -> Proxy:
    elsewhere = Elsewhere(place.enter, uid=0)
    plane = ControlPlane(path=str(path))
    return await stack.enter_async_context(envoy(own, authority, plane, path.parent / "envoy", elsewhere))
