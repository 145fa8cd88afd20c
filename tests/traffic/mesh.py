"""A guest that calls several kitchens, each behind a real Envoy; told by YAML, and by which of them serve."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from plait import dialects
from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy import names
from plait.envoy.check import check
from plait.envoy.render import Renderer
from plait.model.catalog import Protocol, Replica
from plait.model.change import Stated
from plait.model.mesh import ClusterKey
from plait.model.reading import Fact
from plait.sources.files.parse import parse
from tests.compiler.facts import (
    SETTINGS,
    destination,
    host,
    listens,
    port,
    replica,
    routes,
    rule,
    service,
    to,
    workload,
)
from tests.envoy.support import (
    Authority,
    ControlPlane,
    Proxy,
    addresses,
    control_plane,
    envoy,
    eventually,
    ready,
    short_folder,
)

GUEST = workload("guest")
HTTP, GRPC = 8080, 9100
HOST = f"kitchen:{HTTP}"


@dataclass(slots=True)
class Mesh:
    """Kitchens `kitchen-0`, `kitchen-1` and so on, of the versions `v0`, `v1` and so on, and their guest."""

    authority: Authority
    plane: ControlPlane
    replicas: Mapping[str, Replica]
    facts: tuple[Fact, ...]
    proxies: dict[str, Proxy] = field(default_factory=dict)
    _renderer: Renderer = field(default_factory=Renderer)
    _told: int = 0

    @property
    def kitchens(self) -> tuple[str, ...]:
        return tuple(name for name in self.replicas if name != GUEST.name)

    async def say(self, text: str = "", *, absent: Collection[str] = ()) -> None:
        """Configure the mesh with some documents, and wait until every proxy has all of it.

        Kitchens of `absent` are no endpoints.
        """
        change = parse("in.yaml", text.encode())
        assert isinstance(change, Stated), change
        facts = [fact for one in change.documents for fact in dialects.read(one.document).facts]
        self._told += 1
        marker = f"told-{self._told}.example"
        told = routes(marker, rules=[rule(to("guest"))], name="told")
        mesh, _ = merge((*self.facts, *facts, told), SETTINGS)
        serving = [replace(one, serving=name not in absent) for name, one in self.replicas.items()]
        found = endpoints(mesh, serving)
        views = [view(mesh, one) for one in serving]
        snapshots = {str(one.node): self._renderer.render(one, found) for one in views}
        self._renderer.sweep()
        for one, snapshot in zip(views, snapshots.values(), strict=True):
            assert check(snapshot, one.outbound.missing) == ()
        await self.plane.publish(snapshots)
        await eventually(self._acknowledged)
        assert self.plane.rejections == []

    async def upstream(self, stat: str) -> int:
        """A statistic of the guest's proxy about its calls to the kitchens."""
        cluster = names.cluster(ClusterKey(host("kitchen"), HTTP))
        return await self.proxies["guest"].stat(f"cluster.{cluster}.{stat}")

    async def _acknowledged(self) -> bool:
        return self.plane.settled()


@asynccontextmanager
async def running(kitchens: int, *, bare: Collection[str] = ()) -> AsyncIterator[Mesh]:
    """The mesh, from its start to its end; its Envoys have nothing to complain of.

    Kitchens of `bare` have none: whoever plays their sidecar has their address.
    """
    ports = (listens(HTTP), listens(GRPC, Protocol.GRPC))
    cooks = [workload(f"kitchen-{n}", *ports, app="kitchen", version=f"v{n}") for n in range(kitchens)]
    facts: tuple[Fact, ...] = (
        GUEST,
        *cooks,
        service("guest"),
        service("kitchen", port(HTTP), port(GRPC, Protocol.GRPC)),
        destination("kitchen", *(f"v{n}" for n in range(kitchens))),
    )
    replicas = {}
    for of in (GUEST, *cooks):
        address, app_address = addresses()
        replicas[of.name] = replica(of, address=address, app_address=app_address)
    authority = Authority()
    async with AsyncExitStack() as stack:
        folder: Path = stack.enter_context(short_folder())
        plane = await stack.enter_async_context(control_plane(authority, folder))
        mesh = Mesh(authority, plane, replicas, facts)
        await mesh.say()
        for name, one in replicas.items():
            if name in bare:
                continue
            mesh.proxies[name] = await stack.enter_async_context(envoy(one, authority, plane, folder / name))
        await ready(mesh.proxies.values())
        yield mesh
        for proxy in mesh.proxies.values():
            assert proxy.process.returncode is None, proxy.log
            assert not re.search(r"\[(warning|error|critical)\]", proxy.log), proxy.log
