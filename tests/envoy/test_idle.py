"""No request is lost to a connection that the other side closes because it was idle."""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import aiohttp
import pytest
import pytest_asyncio

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy import api
from plait.envoy.render import Renderer
from plait.model.catalog import Protocol
from plait.model.traffic import ConnectionPool, TrafficPolicy
from plait.resource import CLUSTER, LISTENER, Snapshot
from tests.compiler.facts import (
    SETTINGS,
    destination,
    listens,
    port,
    replica,
    service,
    workload,
)
from tests.envoy.support import (
    Authority,
    Proxy,
    addresses,
    control_plane,
    envoy,
    ready,
    short_folder,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

PORTS = (8080, 8081)
"""Between the sidecars connections to the second carry one request at a time, and are closed after a moment."""
HURRY = 0.2
CLIENT = workload("client")
SERVER = workload("server", *(listens(one) for one in PORTS))
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(slots=True)
class Application:
    """Answers every request, and closes connections that have been idle for so many seconds."""

    patience: float
    closed: int = 0
    opened: int = 0
    _open: list[asyncio.Transport] = field(default_factory=list)

    @asynccontextmanager
    async def listening(self, address: str, number: int) -> AsyncIterator[None]:
        server = await asyncio.get_running_loop().create_server(partial(_Connection, self), address, number)
        try:
            yield
        finally:
            server.close()
            for transport in self._open:
                transport.abort()

    def take(self, transport: asyncio.Transport) -> None:
        self.opened += 1
        self._open.append(transport)


class _Connection(asyncio.Protocol):
    def __init__(self, application: Application) -> None:
        self._application = application
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._application.take(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        self._timer.cancel()
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if end and len(body) == (int(length[1]) if length else 0):
            self._received = b""
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            self._wait()

    def connection_lost(self, _: Exception | None) -> None:
        self._timer.cancel()

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._application.patience, self._close)

    def _close(self) -> None:
        if not self._transport.is_closing():
            self._application.closed += 1
        self._transport.close()


@dataclass(slots=True)
class Pair:
    """A client and a server, each behind its Envoy."""

    address: str
    """Of the server's application."""
    proxy: Proxy
    """The client's."""

    async def asks(self, method: str, number: int, pause: float, rounds: int, clients: int) -> Counter[int]:
        """What comes of requests of many clients, each over one connection, with pauses of about so long."""
        statuses: Counter[int] = Counter()

        async def client() -> None:
            async with aiohttp.ClientSession() as session:
                for _ in range(rounds):
                    url, body = f"http://server:{number}/", b"x" if method == "POST" else None
                    async with session.request(method, url, proxy=self.proxy.url, data=body) as response:
                        statuses[response.status] += 1
                    await asyncio.sleep(pause + random.uniform(-0.005, 0.005))

        await asyncio.gather(*(client() for _ in range(clients)))
        return statuses


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair() -> AsyncIterator[Pair]:
    authority = Authority()
    replicas = []
    for of in (CLIENT, SERVER):
        address, app_address = addresses()
        replicas.append(replica(of, address=address, app_address=app_address))
    hurried = TrafficPolicy(connections=ConnectionPool(idle_timeout=HURRY, max_concurrent_streams=1))
    settings = destination("server", ports={PORTS[1]: hurried})
    mesh, _ = merge((CLIENT, SERVER, service("server", *map(port, PORTS)), settings), SETTINGS)
    found = endpoints(mesh, replicas)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(short_folder())
        plane = await stack.enter_async_context(control_plane(authority, folder))
        renderer = Renderer()
        await plane.publish({str(one.key): renderer.render(view(mesh, one), found) for one in replicas})
        client, server = [
            await stack.enter_async_context(envoy(one, authority, plane, folder / one.key.workload.name))
            for one in replicas
        ]
        await ready((client, server))
        yield Pair(replicas[1].bindings[0].app_address, client)
        for proxy in (client, server):
            assert not re.search(r"\[(warning|error|critical)\]", proxy.log), proxy.log


async def test_an_application_that_waits_a_second_never_closes_a_connection_itself(pair: Pair) -> None:
    application = Application(patience=1.0)
    async with application.listening(pair.address, PORTS[0]):
        assert await pair.asks("POST", PORTS[0], 1.0, rounds=2, clients=40) == {200: 80}
    assert application.closed == 0
    assert application.opened >= 2


async def test_between_sidecars_no_request_meets_the_end_of_a_connection(pair: Pair) -> None:
    application = Application(patience=60)
    name = f"cluster.outbound|{PORTS[1]}||server.bistro.svc.cluster.local.upstream_cx_total"
    async with application.listening(pair.address, PORTS[1]):
        assert await pair.asks("POST", PORTS[1], HURRY, rounds=5, clients=40) == {200: 200}
    assert await pair.proxy.stat(name) > 40  # some were closed, and others opened for them


async def test_on_each_hop_whoever_asks_waits_less_than_whoever_answers() -> None:
    speaks = (listens(8080), listens(8081, Protocol.UNDECLARED), listens(8082, Protocol.GRPC))
    both = workload("both", *speaks)
    mesh, _ = merge((both, service("both", *(port(one.number, one.protocol) for one in speaks))), SETTINGS)
    place = replica(both, transparent=True)
    snapshot = Renderer().render(view(mesh, place), endpoints(mesh, [place]))
    asking = {name: seconds(one) for name, one in options(snapshot, "outbound")}
    answering = [seconds(one["common_http_protocol_options"]) for one in managers(snapshot, "inbound")]
    to_application = {name: seconds(one) for name, one in options(snapshot, "inbound")}
    assert asking == {
        "outbound|8080||both.bistro.svc.cluster.local": (300, None),
        "outbound|8081||both.bistro.svc.cluster.local": (300, 3000),
        "outbound|8082||both.bistro.svc.cluster.local": (300, None),
    }
    assert set(answering) == {(600, 3600)}
    assert set(to_application.values()) == {(0.5, None)}


def seconds(common: dict[str, str]) -> tuple[float | None, float | None]:
    """How long a connection may be idle, and be at all."""
    idle, longest = (common.get(name) for name in ("idle_timeout", "max_connection_duration"))
    return float(idle.rstrip("s")) if idle else None, float(longest.rstrip("s")) if longest else None


def options(snapshot: Snapshot, side: str) -> list[tuple[str, dict[str, str]]]:
    """The common options of HTTP of each cluster that has some."""
    found = []
    for name, one in snapshot[CLUSTER].items():
        cluster = api.to_dict(api.parse(CLUSTER, one.body))
        said = cluster.get("typed_extension_protocol_options", {}).get(_HTTP)
        if said and name.startswith(side):
            found.append((name, said["common_http_protocol_options"]))
    return found


def managers(snapshot: Snapshot, name: str) -> list[dict[str, dict[str, str]]]:
    """The managers of HTTP of a listener."""
    listener = api.to_dict(api.parse(LISTENER, snapshot[LISTENER][name].body))
    filters = [one.get("typed_config", {}) for chain in listener["filter_chains"] for one in chain["filters"]]
    return [one for one in filters if "common_http_protocol_options" in one]
