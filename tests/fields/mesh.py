"""A frontend that calls reservations in two versions, each behind a real Envoy; told by YAML, asked by requests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import aiohttp
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

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
from plait.model.mesh import Mesh as Model
from plait.model.reading import Fact
from plait.resource import EXTENSION
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
    application,
    control_plane,
    envoy,
    eventually,
    ready,
    short_folder,
)
from tests.fields.calls import Call, Reply, call, server
from tests.fields.keepalives import keepalives

PORT = web.RequestKey("port", int)
"""At which port of the application a request has come."""
FRONTEND = workload("frontend", locality="north.a")
PORTS = (listens(8080), listens(8081), listens(9090, Protocol.GRPC))
VERSIONS = tuple(
    workload(f"reservations-{one}", *PORTS, app="reservations", version=one, locality=place)
    for one, place in (("v1", "west.a"), ("v2", "east.b"))
)
"""Both in other regions than the frontend, so that neither is nearer, unless somebody says so."""
SERVICE_PORTS = (port(8080), port(8081), port(9090, Protocol.GRPC))
SERVICES: tuple[Fact, ...] = (
    service("frontend"),
    service("reservations", *SERVICE_PORTS),
    *(service(one.name, *SERVICE_PORTS, selector=one.labels) for one in VERSIONS),
    destination("reservations", "v1", "v2"),
)


def facts(text: str) -> tuple[Fact, ...]:
    """What some documents say."""
    change = parse("in.yaml", text.encode())
    assert isinstance(change, Stated), change
    return tuple(fact for one in change.documents for fact in dialects.read(one.document).facts)


def merged(more: Iterable[Fact]) -> Model:
    """The mesh of these workloads and services, and of what else is said."""
    found, _ = merge((FRONTEND, *VERSIONS, *SERVICES, *more), SETTINGS)
    return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client gets, and what of its request the application saw: None when no application answered."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    by: str = ""
    seen: web.Request | None = None

    @property
    def path(self) -> str:
        """The path and query that the application was asked for."""
        assert self.seen is not None, f"{self.status}, and no application was asked"
        return self.seen.raw_path

    @property
    def asked(self) -> Mapping[str, str]:
        """The headers that the application got."""
        assert self.seen is not None, f"{self.status}, and no application was asked"
        return self.seen.headers


@dataclass(slots=True)
class Mesh:
    """Three workloads, their Envoys, and every request that their applications saw."""

    plane: ControlPlane
    replicas: dict[str, Replica]
    proxies: dict[str, Proxy] = field(default_factory=dict)
    seen: dict[str, list[web.Request]] = field(default_factory=dict)
    called: list[Call] = field(default_factory=list)
    """Every call of gRPC that they saw."""
    order: list[str] = field(default_factory=list)
    """Which application was asked, one after the other."""
    failing: dict[str, int] = field(default_factory=dict)
    """Applications that fail, and with which status."""
    answers: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse | None]]] = field(
        default_factory=dict
    )
    """What applications say by themselves; None: as the others."""
    checks: Callable[[bytes], Awaitable[bytes]] | None = None
    """What those that speak gRPC answer, if not their name."""
    subset: str = ""
    """Of reservations, to which all requests go."""
    _renderer: Renderer = field(default_factory=Renderer)
    _said: tuple[Fact, ...] = ()
    _told: int = 0
    _moved: dict[str, Replica] = field(default_factory=dict)
    """Replicas that are not where clients are told that they are, or not told of at all."""

    async def say(self, text: str, *more: Fact) -> None:
        """Configure the mesh with some documents and facts, and wait until every proxy has all of it."""
        self._said = (*facts(text), *more)
        await self._tell()

    async def _tell(self) -> None:
        self._told += 1
        marker = f"told-{self._told}.example"
        told = routes(marker, rules=[rule(to("frontend"))], name="told")
        mesh = merged((*self._said, told))
        found = endpoints(mesh, (self.replicas | self._moved).values())
        views = [view(mesh, one) for one in self.replicas.values()]
        snapshots = {str(one.node): self._renderer.render(one, found) for one in views}
        self._renderer.sweep()
        for one, snapshot in zip(views, snapshots.values(), strict=True):
            assert check(snapshot, one.outbound.missing) == ()
        await self.plane.publish(snapshots)
        if self.proxies:
            await eventually(lambda: self._answers(marker))
        await eventually(self._acknowledged)
        assert self.plane.rejections == []

    async def ask(  # noqa: PLR0913  # a part of a request each
        self,
        path: str = "/",
        *,
        method: str = "GET",
        host: str = "reservations:8080",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        client: str = "frontend",
    ) -> Answer:
        """Send a request through the proxy of a client, and see what comes of it; no redirect is followed."""
        before = {name: len(requests) for name, requests in self.seen.items()}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method,
                f"http://{host}{path}",
                proxy=self.proxies[client].url,
                headers=CIMultiDict(headers or {}),
                data=body or None,
                allow_redirects=False,
            ) as response,
        ):
            content = await response.read()
        by = response.headers.get("answered-by", "")
        seen = self.seen[by][before[by]] if by else None
        return Answer(response.status, response.headers, content, by, seen)

    async def call(
        self, method: str, metadata: Mapping[str, str] | None = None, host: str = "reservations:9090"
    ) -> Reply:
        """Call a method of gRPC (/SERVICE/METHOD) through the frontend's proxy."""
        at = self.proxies["frontend"].replica.sidecar
        return await call(f"{at.address}:{at.outbound}", host, method, metadata or {})

    async def connections(self) -> int:
        """How many connections the frontend's proxy has opened to reservations so far."""
        clusters = rf"cluster\.outbound\|8080\|[^|]*\|{re.escape(host('reservations'))}"
        return await self.proxies["frontend"].total(rf"{clusters}\.upstream_cx_total")

    async def stat(self, name: str) -> int:
        """A number that the frontend's proxy keeps of those of reservations whom it calls."""
        cluster = names.cluster(ClusterKey(host("reservations"), 8080, self.subset))
        return await self.proxies["frontend"].stat(f"cluster.{cluster}.{name}")

    def keepalives(self) -> list[tuple[int, ...]]:
        """How TCP asks after each connection of the frontend's proxy to reservations."""
        to = {self.replicas[one.name].sidecar.address for one in VERSIONS}
        return keepalives(self.proxies["frontend"].process.pid, to)

    @staticmethod
    async def quiet() -> None:
        """Wait until Envoy heeds at once whom it leaves alone: it takes a second where something has just changed."""
        await asyncio.sleep(1.2)

    @asynccontextmanager
    async def at(self, name: str, address: str) -> AsyncIterator[None]:
        """A replica that clients look for at another address for a while."""
        one = self.replicas[name]
        bindings = tuple(replace(binding, address=address) for binding in one.bindings)
        async with self._as(name, replace(one, bindings=bindings)):
            yield

    @asynccontextmanager
    async def without(self, name: str) -> AsyncIterator[None]:
        """A replica that nobody is told of for a while."""
        async with self._as(name, replace(self.replicas[name], serving=False)):
            yield

    @asynccontextmanager
    async def _as(self, name: str, moved: Replica) -> AsyncIterator[None]:
        self._moved[name] = moved
        await self._tell()
        try:
            yield
        finally:
            del self._moved[name]
            await self._tell()

    @asynccontextmanager
    async def fails(self, name: str, status: int) -> AsyncIterator[None]:
        """An application that fails for a while."""
        self.failing[name] = status
        try:
            yield
        finally:
            del self.failing[name]

    async def until(self, holds: Callable[[str], bool], seconds: float) -> None:
        """Ask again and again until the one who answers is right."""

        async def asked() -> bool:
            return holds((await self.ask()).by)

        await eventually(asked, seconds)

    async def until_called(self, name: str) -> None:
        """Wait until an application has seen a call of gRPC."""

        async def seen() -> bool:
            return any(one.by == name for one in self.called)

        await eventually(seen, 2)

    async def failures(self, status: int) -> int:
        """Ask until a request does not fail with a status, and how many do before.

        Envoy takes up to a second to heed whom it leaves alone, where something else has just changed.
        """
        asked = 0

        async def other() -> bool:
            nonlocal asked
            asked += 1
            return (await self.ask(method="POST")).status != status

        await eventually(other, 8)
        return asked - 1

    async def tried(self, path: str, headers: Mapping[str, str]) -> list[str]:
        """Who was asked for one request, one after the other."""
        self.order.clear()
        await self.ask(path, headers=headers)
        return list(self.order)

    async def copies(self, path: str, number: int, body: bytes = b"") -> list[web.Request]:
        """The copies of so many requests that version 2 has seen, all of which version 1 answers.

        Ends as soon as there is one for each, or none has come for a while.
        """
        self.seen["reservations-v2"].clear()
        for _ in range(number):
            answer = await self.ask(path, body=body, method="POST" if body else "GET")
            assert (answer.status, answer.by) == (200, "reservations-v1")
        found = -1
        while found < len(self.seen["reservations-v2"]) < number:
            found = len(self.seen["reservations-v2"])
            await asyncio.sleep(0.5)
        return list(self.seen["reservations-v2"])

    async def checked(self, request: bytes) -> bytes | None:
        """What an application that speaks gRPC says by itself."""
        return await self.checks(request) if self.checks is not None else None

    @asynccontextmanager
    async def lacking(self, name: str, extension: str) -> AsyncIterator[None]:
        """A proxy that is not told of an extension for a while."""
        node = str(self.replicas[name].key)
        whole = self.plane.snapshots[node]
        left = {one: kept for one, kept in whole[EXTENSION].items() if one != extension}
        await self.plane.publish({node: {**whole, EXTENSION: left}})
        await eventually(self._acknowledged)
        try:
            yield
        finally:
            await self.plane.publish({node: whole})
            await eventually(self._acknowledged)

    async def _answers(self, host: str) -> bool:
        return (await self.ask(host=f"{host}:80")).status != 404

    async def _acknowledged(self) -> bool:
        return self.plane.settled()


async def _reply(mesh: Mesh, name: str, port: int, request: web.Request) -> web.StreamResponse:
    """As the request asks it to: `x-seconds` late, with the status `x-status`."""
    mesh.order.append(name)
    await request.read()
    request[PORT] = port
    await asyncio.sleep(float(request.headers.get("x-seconds", "0")))
    own = await mesh.answers[name](request) if name in mesh.answers else None
    if own is not None:
        return own
    status = mesh.failing.get(name) or int(request.headers.get("x-status", "200"))
    headers = {"answered-by": name, "x-old": "old", "x-even-older": "older"}
    return web.Response(status=status, text=name, headers=headers)


@asynccontextmanager
async def running(but: str = r"\Z.") -> AsyncIterator[Mesh]:
    """The mesh, from its start to its end; its Envoys have nothing to complain of, `but` what this matches."""
    replicas = {}
    for of in (FRONTEND, *VERSIONS):
        address, app_address = addresses()
        replicas[of.name] = replica(of, address=address, app_address=app_address)
    authority = Authority()
    async with AsyncExitStack() as stack:
        folder: Path = stack.enter_context(short_folder())
        plane = await stack.enter_async_context(control_plane(authority, folder))
        mesh = Mesh(plane, replicas)
        await mesh.say("")
        for name, one in replicas.items():
            mesh.proxies[name] = await stack.enter_async_context(
                envoy(one, authority, plane, folder / name, every_stat=True)
            )
            mesh.seen[name] = []
            for binding in one.bindings:
                at = (binding.app_address, binding.number, name)
                if binding.protocol is Protocol.GRPC:
                    await stack.enter_async_context(server(*at, mesh.called, mesh.checked))
                else:
                    reply = partial(_reply, mesh, name, binding.number)
                    await stack.enter_async_context(application(*at, reply, mesh.seen[name]))
        await ready(mesh.proxies.values())
        yield mesh
        for proxy in mesh.proxies.values():
            assert proxy.process.returncode is None, proxy.log
            complaints = re.findall(r".*\[(?:warning|error|critical)\].*", proxy.log)
            complaints = [one for one in complaints if not re.search(but, one)]
            assert not complaints, complaints
