"""A town with two versions of an echo, and a village with a guest, each behind a real Envoy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

from plait import dialects
from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy.check import check
from plait.envoy.render import Renderer
from plait.model.catalog import Protocol, Replica
from plait.model.change import Stated
from plait.model.finding import Severity
from plait.model.reading import Fact
from plait.sources.files.parse import parse
from tests.compiler.facts import (
    SETTINGS,
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
    application,
    control_plane,
    envoy,
    eventually,
    ready,
    short_folder,
)
from tests.fields.calls import Call, Reply, call, server

TOWN, VILLAGE = "town", "village"
_LISTENS = (listens(8080), listens(7070, Protocol.GRPC))
_PORTS = (port(80, target=8080), port(8080), port(7070, Protocol.GRPC))
WORKLOADS = (
    *(
        workload(f"echo-{version}", *_LISTENS, app="echo", version=version, namespace=TOWN)
        for version in ("v1", "v2")
    ),
    workload("guest", *_LISTENS, namespace=VILLAGE),
)
FACTS: tuple[Fact, ...] = (
    *WORKLOADS,
    service("echo", *_PORTS, namespace=TOWN),
    *(service(one.name, *_PORTS, namespace=TOWN, selector=one.labels) for one in WORKLOADS[:2]),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client gets, and what of its request the application saw: None when no application answered."""

    status: int
    headers: CIMultiDictProxy[str]
    by: str
    seen: web.Request | None

    @property
    def asked(self) -> dict[str, str]:
        """The headers that the application got, those of one name joined."""
        assert self.seen is not None, f"{self.status}, and no application was asked"
        found: dict[str, str] = {}
        for key, value in self.seen.headers.items():
            name = key.lower()
            found[name] = f"{found[name]},{value}" if name in found else value
        return found


@dataclass(slots=True)
class Town:
    """The workloads, their Envoys, and every request that the applications saw."""

    plane: ControlPlane
    replicas: Mapping[str, Replica]
    proxies: dict[str, Proxy] = field(default_factory=dict)
    seen: list[web.Request] = field(default_factory=list)
    called: list[Call] = field(default_factory=list)
    _renderer: Renderer = field(default_factory=Renderer)
    _told: int = 0

    async def apply(self, text: str) -> None:
        """Configure the mesh with some documents, in which nothing is wrong, and wait until every proxy has them."""
        change = parse("in.yaml", text.encode())
        assert isinstance(change, Stated), change
        facts: list[Fact] = []
        for one in change.documents:
            reading = dialects.read(one.document)
            assert reading.findings == ()
            facts += reading.facts
        self._told += 1
        marker = f"told-{self._told}.example"
        told = routes(marker, rules=[rule(to(f"echo.{TOWN}.svc.cluster.local"))], name="told", namespace=TOWN)
        mesh, findings = merge((*FACTS, *facts, told), SETTINGS)
        assert not [one for one in findings if one.severity is Severity.ERROR]
        found = endpoints(mesh, self.replicas.values())
        views = [view(mesh, one) for one in self.replicas.values()]
        snapshots = {str(one.node): self._renderer.render(one, found) for one in views}
        for seen, snapshot in zip(views, snapshots.values(), strict=True):
            assert check(snapshot, seen.outbound.missing) == ()
        await self.plane.publish(snapshots)
        for client in self.proxies:
            await eventually(lambda client=client: self._knows(client, marker))
        await eventually(self._acknowledged)
        assert self.plane.rejections == []

    async def ask(
        self,
        path: str = "/",
        *,
        host: str = "echo",
        client: str = "echo-v1",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request through a client's proxy, and see what comes of it; no redirect is followed."""
        return await self._ask(
            f"http://{host}{path}", CIMultiDict(headers or {}), proxy=self.proxies[client].url
        )

    async def ask_replica(self, name: str) -> Answer:
        """Send a request to an application itself, past every service."""
        return await self._ask(f"http://{self.replicas[name].bindings[0].app_address}:8080/", CIMultiDict())

    async def call(
        self, headers: Mapping[str, str] | None = None, host: str = "echo:7070"
    ) -> tuple[Reply, Call]:
        """Call a method of gRPC through the proxy of version 1; what the client and the application saw of it."""
        at = self.proxies["echo-v1"].replica.sidecar
        reply = await call(f"{at.address}:{at.outbound}", host, "/town.Echo/Echo", headers or {})
        return reply, self.called[-1]

    async def _ask(self, url: str, headers: CIMultiDict[str], proxy: str | None = None) -> Answer:
        before = len(self.seen)
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, proxy=proxy, headers=headers, allow_redirects=False) as response,
        ):
            await response.read()
        by = response.headers.get("answered-by", "")
        return Answer(response.status, response.headers, by, self.seen[before] if by else None)

    async def _knows(self, client: str, host: str) -> bool:
        return (await self.ask(host=f"{host}:80", client=client)).status != 404

    async def _acknowledged(self) -> bool:
        return self.plane.settled()


@asynccontextmanager
async def running() -> AsyncIterator[Town]:
    """The town, from its start to its end."""
    replicas = {}
    for of in WORKLOADS:
        address, app_address = addresses()
        replicas[of.name] = replica(of, address=address, app_address=app_address)
    authority = Authority()
    async with AsyncExitStack() as stack:
        folder: Path = stack.enter_context(short_folder())
        plane = await stack.enter_async_context(control_plane(authority, folder))
        town = Town(plane, replicas)
        await town.apply("")
        for name, one in replicas.items():
            proxy = await stack.enter_async_context(envoy(one, authority, plane, folder / name))
            at = one.bindings[0].app_address

            async def answer(_: web.Request, name: str = name) -> web.Response:
                return web.Response(text=name, headers={"answered-by": name})

            await stack.enter_async_context(application(at, 8080, name, answer, town.seen))
            await stack.enter_async_context(server(at, 7070, name, town.called))
            town.proxies[name] = proxy
        await ready(town.proxies.values())
        yield town
        for proxy in town.proxies.values():
            assert proxy.process.returncode is None, proxy.log
