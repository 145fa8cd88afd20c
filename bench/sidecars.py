"""What an Envoy costs for what it is told: its memory in a mesh of so many services, in both modes.

Its snapshot is made offline, and served by the control plane's own server over mutual TLS; no traffic flows.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.control_plane.agent import Identities
from bench.control_plane.plane import BenchError
from bench.control_plane.proxies import real, running_envoy
from bench.rebuild import Bench
from bench.records import Record
from plait.compiler.endpoints import endpoints
from plait.compiler.view import view
from plait.identity.authority import Authority
from plait.identity.keys import Keypair, csr, key_pem, new_key
from plait.model.catalog import Replica
from plait.model.names import Identity
from plait.model.settings import MeshSettings, Mode
from plait.resource import Snapshot
from plait.run import offline
from plait.xds.server import Server
from plait.xds.transport.listener import Listener
from plait.xds.transport.tls import mutual

CASE = "Envoy told of the whole mesh"
SIZES = (1, 100, 1000)
SIZES_IN_FULL = (*SIZES, 5000)
"""Services."""

_RUNS, _RUNS_WHEN_QUICK = 3, 1
_CALM = 0.5
"""Seconds from the last acknowledgement until we look at the memory."""
_WITHIN = 120.0
_TRUST_DOMAIN = MeshSettings().trust_domain


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one Envoy took (MB), after how long it had everything (s), and what that was (KB)."""

    memory: float
    ready: float
    resources: int
    sent: float


@dataclass(frozen=True, slots=True)
class _Plane:
    """The server of one snapshot, at a socket."""

    server: Server
    snapshot: Snapshot
    socket: Path
    authority: Authority

    def identity(self, replica: Replica) -> Identities:
        """What the Envoy of a replica proves itself with."""
        private = new_key()
        name = Identity(_TRUST_DOMAIN, replica.key.workload.namespace, replica.service_account)
        signed = self.authority.sign(csr(private), uri=name.uri, now=time.time())
        return Identities(key_pem(private), self.authority.roots, {replica.key: signed.chain})

    async def synced(self) -> None:
        """Wait until the Envoy has taken everything; BenchError."""
        deadline = time.monotonic() + _WITHIN
        while not self._has_all():
            if refused := self.server.rejections():
                raise BenchError(f"refused: {refused[0]}")
            if time.monotonic() > deadline:
                raise BenchError(f"the Envoy has not taken everything in {_WITHIN:g} s")
            await asyncio.sleep(0.01)

    def _has_all(self) -> bool:
        """In sync, and past the moments at which it has not asked yet for what comes next."""
        (proxy,) = self.server.proxies()
        asked = {one.type_url for one in proxy.types}
        return proxy.synced and all(kind in asked for kind, resources in self.snapshot.items() if resources)


def measure(quick: bool, say: Callable[[str], None]) -> Iterator[Record]:  # noqa: FBT001 - one form for all parts
    """Both modes at every size; one run and no large mesh when it has to be quick."""
    for services in SIZES if quick else SIZES_IN_FULL:
        for mode in (Mode.TRANSPARENT, Mode.EXPLICIT):
            say(f"{services} services, {mode} mode")
            costs = asyncio.run(of(services, mode, runs=_RUNS_WHEN_QUICK if quick else _RUNS))
            yield from records(f"{services} services, {mode} mode", costs)


async def of(services: int, mode: Mode, runs: int) -> list[Cost]:
    """The costs of one Envoy after another, each told the same."""
    replica, snapshot = _made(services, mode)
    return [await _cost(replica, snapshot) for _ in range(runs)]


def records(setting: str, costs: list[Cost]) -> Iterator[Record]:
    for metric, unit, values in (
        ("memory", "MB", [cost.memory for cost in costs]),
        ("ready after", "s", [cost.ready for cost in costs]),
        ("resources", "", [cost.resources for cost in costs]),
        ("bytes sent", "KB", [cost.sent for cost in costs]),
    ):
        yield Record(
            part="sidecars", case=CASE, setting=setting, metric=metric, unit=unit, values=tuple(values)
        )


def _made(services: int, mode: Mode) -> tuple[Replica, Snapshot]:
    """One replica of a mesh, and all that its Envoy is told."""
    bench = Bench(services)
    bench.read()
    mesh = bench.compile()
    first, *others = offline.replicas(mesh, mode)
    replica = real(first, 0, transparent=mode is Mode.TRANSPARENT)
    snapshot = bench.renderer.render(view(mesh, replica), endpoints(mesh, (replica, *others)))
    return replica, snapshot


async def _cost(replica: Replica, snapshot: Snapshot) -> Cost:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plait-bench-")))
        plane = await stack.enter_async_context(_serving(folder, str(replica.key), snapshot))
        began = time.monotonic()
        process = await stack.enter_async_context(
            running_envoy(folder / "envoy", plane.socket, replica, plane.identity(replica))
        )
        await plane.synced()
        ready = time.monotonic() - began
        await asyncio.sleep(_CALM)
        await plane.synced()
        return Cost(
            memory=_resident(process.pid),
            ready=ready,
            resources=sum(sent.resources for sent in plane.server.sent.values()),
            sent=sum(sent.bytes for sent in plane.server.sent.values()) / 1e3,
        )


@asynccontextmanager
async def _serving(folder: Path, node: str, snapshot: Snapshot) -> AsyncIterator[_Plane]:
    authority = Authority.open(folder / "ca", trust_domain=_TRUST_DOMAIN, now=time.time())
    own: Keypair = authority.control_plane(now=time.time())
    made = _Plane(Server(lambda _node, _peer: None), snapshot, folder / "xds", authority)
    made.server.publish(node, snapshot)
    listener = Listener(made.server, mutual(lambda: own))
    await listener.listen(made.socket)
    try:
        yield made
    finally:
        made.server.close()
        await listener.close()


def _resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
