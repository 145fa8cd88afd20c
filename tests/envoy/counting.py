"""A frontend and an outsider that call reservations, each behind a real Envoy, and what their metrics ports say."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from unittest.mock import patch

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy import bootstrap
from plait.envoy.check import check
from plait.envoy.render import Renderer
from plait.model.catalog import Protocol, Replica
from plait.model.reading import Fact
from plait.model.telemetry import Observed
from tests.compiler.facts import SETTINGS, listens, port, replica, routes, rule, service, to, workload
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
from tests.streams import speaking

WEB, GRPC, TCP = 8080, 9090, 9000
FRONTEND, OUTSIDER = workload("frontend"), workload("outsider", version="v3")
SERVER = workload(
    "reservations-v1",
    *(listens(WEB), listens(GRPC, Protocol.GRPC), listens(TCP, Protocol.TCP)),
    app="reservations",
    version="v1",
)
GONE = workload("gone")
"""Whose replica is told of, and is not there."""
WORKLOADS = (FRONTEND, OUTSIDER, SERVER)
PORTS = (port(WEB), port(GRPC, Protocol.GRPC), port(TCP, Protocol.TCP))
SERVICES = (
    GONE,
    service("gone"),
    service("frontend"),
    service("reservations", *PORTS),
    service("bookings", *PORTS, app="reservations"),
)

FLUSH = "0.1s"
"""So often the Envoys of these tests merge their histograms."""

Labels = Mapping[str, str]
Sample = tuple[str, frozenset[tuple[str, str]], float]


def samples(page: str) -> list[Sample]:
    """Every sample of a page of Prometheus: its name, its labels, its value."""
    return [
        (one.name, frozenset(one.labels.items()), one.value)
        for family in text_string_to_metric_families(page)
        for one in family.samples
    ]


def counted(found: Iterable[Sample], name: str, by: str, **labels: str) -> Counter[str]:
    """How much of a metric there is by one of its labels, of what has these others."""
    total: Counter[str] = Counter()
    for one, those, value in found:
        said = dict(those)
        if one == name and labels.items() <= said.items() and value:
            total[said[by]] += int(value)
    return total


@dataclass(slots=True)
class Town:
    """Three workloads and their Envoys."""

    authority: Authority
    plane: ControlPlane
    replicas: dict[str, Replica]
    proxies: dict[str, Proxy] = field(default_factory=dict)
    nowhere: str = field(default_factory=lambda: addresses()[0])
    failed: set[str] = field(default_factory=set)
    """Which requests have failed once, as they asked to (`x-fail-once`)."""
    _renderer: Renderer = field(default_factory=Renderer)
    _told: int = 0

    async def say(
        self, *facts: Fact, client: Observed | None = None, at_server: Observed | None = None
    ) -> None:
        """Configure the mesh with these facts beside its own, and wait until every proxy has all of it."""
        self._told += 1
        marker = f"told-{self._told}.example"
        told = routes(marker, rules=[rule(to("frontend"))], name="told")
        mesh, _ = merge((*WORKLOADS, *SERVICES, *facts, told), SETTINGS)
        found = endpoints(mesh, (*self.replicas.values(), replica(GONE, address=self.nowhere)))
        snapshots = {}
        for one in self.replicas.values():
            seen = view(mesh, one)
            seen = replace(seen, client=client or seen.client, server=at_server or seen.server)
            snapshots[str(seen.node)] = snapshot = self._renderer.render(seen, found)
            assert check(snapshot, seen.outbound.missing) == ()
        await self.plane.publish(snapshots)
        for name in self.proxies:
            await eventually(lambda name=name: self._answers(name, marker))
        await eventually(self._acknowledged)
        assert self.plane.rejections == []
        for proxy in self.proxies.values():
            await eventually(lambda proxy=proxy: self._alone(proxy))

    @staticmethod
    async def _alone(proxy: Proxy) -> bool:
        """Whether no listener that was there before still counts."""
        return not await proxy.total(r"listener_manager\.total_(listeners|filter_chains)_draining")

    async def _answers(self, by: str, host: str) -> bool:
        return await self.ask(by=by, host=f"{host}:80") != 404

    async def _acknowledged(self) -> bool:
        return self.plane.settled()

    async def ask(self, *, by: str = "frontend", method: str = "GET", host: str = "", **headers: str) -> int:
        """The status of a request that a workload sends through its proxy."""
        async with aiohttp.ClientSession() as session:
            return await self._ask(session, by, method, host or f"reservations:{WEB}", headers)

    async def ask_all(self, statuses: Iterable[int], host: str = "", **headers: str) -> None:
        """A POST of the frontend's for each status, some at once, each of which has to be answered with just that."""
        free = asyncio.Semaphore(16)

        async def one(session: aiohttp.ClientSession, status: int) -> None:
            async with free:
                wanted = {"x_status": str(status), **headers}
                got = await self._ask(session, "frontend", "POST", host or f"reservations:{WEB}", wanted)
            assert got == status

        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(one(session, status) for status in statuses))

    async def _ask(
        self, session: aiohttp.ClientSession, by: str, method: str, host: str, headers: Labels
    ) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with session.request(
            method, f"http://{host}/x", proxy=self.proxies[by].url, headers=named
        ) as response:
            await response.read()
            return response.status

    async def call(self, method: str, by: str = "frontend") -> Reply:
        """A call of gRPC through the proxy of a workload."""
        at = self.proxies[by].replica.sidecar
        return await call(f"{at.address}:{at.outbound}", f"reservations:{GRPC}", method, {})

    async def connect(self, by: str, sent: bytes = b"", *, tls: bool = True, to: int = TCP) -> bytes:
        """What comes back from the front of reservations, until the end, for what a workload says there by itself."""
        context = self._context(by) if tls else None
        at = self.replicas[SERVER.name].sidecar.address
        reader, writer = await asyncio.open_connection(at, to, ssl=context)
        try:
            writer.write(sent)
            return await asyncio.wait_for(reader.read(), 10)
        except (ssl.SSLError, ConnectionError):
            return b""
        finally:
            writer.close()

    def _context(self, by: str) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.load_verify_locations(cadata=self.authority.root)
        file = self.proxies[by].folder / "client.pem"
        file.touch(mode=0o600)
        file.write_text("".join(self.authority.issue_to(self.replicas[by])))
        made.load_cert_chain(file)
        return made

    async def page(self, name: str) -> list[Sample]:
        """What the metrics port of a workload says."""
        return samples(await self.proxies[name].metrics())

    async def until(self, name: str, holds: Callable[[list[Sample]], bool]) -> list[Sample]:
        """What the metrics port of a workload says once that holds: histograms are merged now and then."""
        found: list[Sample] = []

        async def held() -> bool:
            found[:] = await self.page(name)
            return holds(found)

        try:
            await eventually(held, 5)
        except AssertionError:
            counts = [one for one in found if one[0].startswith(("istio_requests_", "plait_"))]
            raise AssertionError("\n".join(map(str, counts))) from None
        return found

    async def raw(self, name: str) -> list[Sample]:
        """What Envoy itself says, by its admin interface."""
        async with self.proxies[name].admin() as session, session.get("/stats/prometheus") as response:
            return samples(await response.text())


async def _reply(town: Town, request: web.Request) -> web.Response:
    """As the request asks it to: with the status `x-status`, and 503 the first time if `x-fail-once` names it.

    `x-grpc`: to a call of gRPC, with this status of it.
    """
    await request.read()
    once = request.headers.get("x-fail-once", "")
    if once and once not in town.failed:
        town.failed.add(once)
        return web.Response(status=503)
    status = int(request.headers.get("x-status", "200"))
    grpc = {"grpc-status": request.headers["x-grpc"]} if "x-grpc" in request.headers else {}
    return web.Response(status=status, text="x" * 100, headers=grpc)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello" + await reader.read(5))


@asynccontextmanager
async def town() -> AsyncIterator[Town]:
    """The mesh, from its start to its end; its Envoys have nothing to complain of."""
    replicas = {}
    for of in WORKLOADS:
        address, app_address = addresses()
        replicas[of.name] = replica(of, address=address, app_address=app_address)
    authority = Authority()
    async with AsyncExitStack() as stack:
        folder: Path = stack.enter_context(short_folder())
        plane = await stack.enter_async_context(control_plane(authority, folder))
        made = Town(authority, plane, replicas)
        await made.say()
        stack.enter_context(patch.object(bootstrap, "_FLUSH", FLUSH))
        for name, one in replicas.items():
            made.proxies[name] = await stack.enter_async_context(envoy(one, authority, plane, folder / name))
        at = replicas[SERVER.name].bindings[0].app_address

        async def reply(request: web.Request) -> web.StreamResponse:
            return await _reply(made, request)

        calls: list[Call] = []
        await stack.enter_async_context(application(at, WEB, SERVER.name, reply))
        await stack.enter_async_context(server(at, GRPC, SERVER.name, calls))
        await stack.enter_async_context(speaking(_echo, at, TCP))
        await ready(made.proxies.values())
        yield made
        for proxy in made.proxies.values():
            assert proxy.process.returncode is None, proxy.log
            complaints = re.findall(r".*\[(?:warning|error|critical)\].*", proxy.log)
            assert not complaints, complaints
