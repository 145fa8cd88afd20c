"""Real Envoys tell of real requests while their runtime says so: what happened, and nothing that a caller keeps secret."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from plait.api.views import TappedRequest
from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy import names
from plait.envoy.render import Renderer
from plait.envoy.runtime import ALL, NOT_TAPPED, Tapped
from plait.identity.keys import Keypair
from plait.model.catalog import Protocol, Replica
from plait.run.tapped import request, told
from plait.xds.exports import Export, Exports
from plait.xds.server import Server
from plait.xds.transport.listener import Listener
from plait.xds.transport.tls import mutual
from tests.compiler.facts import SETTINGS, listens, port, replica, service, workload
from tests.envoy.support import (
    Authority,
    ControlPlane,
    Proxy,
    addresses,
    application,
    envoy,
    eventually,
    ready,
    short_folder,
    workload_uri,
)
from tests.streams import speaking

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRONTEND = workload("frontend")
CELLAR = workload("cellar", listens(8080), listens(9000, Protocol.TCP), app="cellar", version="v2")
FACTS = (FRONTEND, CELLAR, service("frontend"), service("cellar", port(8080), port(9000, Protocol.TCP)))
SECRETS = ("Bearer hidden-1", "session=hidden-2", "hidden-3", "hidden-4", "hidden-5")
EVERYTHING = {"frontend": Tapped(client=ALL), "cellar": Tapped(server=ALL)}


@dataclass(slots=True)
class Town:
    authority: Authority
    server: Server
    replicas: dict[str, Replica]
    proxies: dict[str, Proxy] = field(default_factory=dict)
    renderer: Renderer = field(default_factory=Renderer)
    exports: list[bytes] = field(default_factory=list)

    def take(self, export: Export) -> bytes:
        self.exports.append(export.body)
        return b""

    async def tap(self, tapped: Mapping[str, Tapped]) -> None:
        """Have proxies tell, and forget what they have told."""
        await self.say(tapped)
        self.exports.clear()

    async def say(self, tapped: Mapping[str, Tapped]) -> None:
        mesh, _ = merge(FACTS, SETTINGS)
        found = endpoints(mesh, self.replicas.values())
        for name, one in self.replicas.items():
            snapshot = self.renderer.render(view(mesh, one), found, tapped.get(name, NOT_TAPPED))
            self.server.publish(str(one.key), snapshot)
        assert await self.server.synced(10) == ()
        assert self.server.rejections() == ()

    async def get(self, path: str, **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"http://cellar:8080{path}", proxy=self.proxies["frontend"].url, headers=named
            ) as response,
        ):
            return response.status

    async def seen(self, number: int) -> list[TappedRequest]:
        """What was told, once it is so much."""

        async def there() -> bool:
            return len(self.requests()) >= number

        await eventually(there)
        return self.requests()

    def requests(self) -> list[TappedRequest]:
        return [
            request(record, end) for body in self.exports for end, records in told(body) for record in records
        ]

    async def until_last(self) -> list[str]:
        """The paths of all that the cellar has told since it was last asked to, and of a last request for which it is."""
        await self.say({"cellar": Tapped(server=ALL)})
        await self.get("/last")

        async def there() -> bool:
            return any(one.path == "/last" for one in self.requests())

        await eventually(there)
        return [one.path for one in self.requests()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town() -> AsyncIterator[Town]:
    authority = Authority()
    places = {of.name: addresses() for of in (FRONTEND, CELLAR)}
    replicas = {
        of.name: replica(of, address=places[of.name][0], app_address=places[of.name][1])
        for of in (FRONTEND, CELLAR)
    }
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(short_folder())
        chain, key = authority.issue(
            names.control_plane_uri("cluster.local"), dns=(names.CONTROL_PLANE_NAME,)
        )
        keypair = Keypair(key=key, chain=chain, roots=authority.root)
        made = Town(authority, Server(lambda _node, _peer: None), replicas)
        exports = Exports({names.LOGS_PATH: made.take}, lambda _peer: "bistro/anybody")
        listener = Listener(made.server, mutual(lambda: keypair), exports=exports)
        await listener.listen(folder / "xds.sock")
        stack.push_async_callback(listener.close)
        stack.callback(made.server.close)
        for name, one in replicas.items():
            plane = ControlPlane(path=str(folder / "xds.sock"))
            running = envoy(one, authority, plane, folder / name)
            made.proxies[name] = await stack.enter_async_context(running)
        await stack.enter_async_context(application(places["cellar"][1], 8080, "cellar"))
        await stack.enter_async_context(speaking(_echo, places["cellar"][1], 9000))
        await made.tap({})
        await ready(made.proxies.values())
        yield made
        for proxy in made.proxies.values():
            assert proxy.process.returncode is None, proxy.log
            assert not re.search(r"\[(warning|error|critical)\]", proxy.log), proxy.log


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read(100))


async def test_both_ends_tell_what_happened_and_no_secret(town: Town) -> None:
    await town.tap(EVERYTHING)
    status = await town.get(
        "/wines/7?token=hidden-3",
        authorization=SECRETS[0],
        cookie=SECRETS[1],
        x_api_key="hidden-4",
        x_envoy_original_path="/wines?token=hidden-5",
        x_request_id="mine",
    )
    assert status == 200
    client, server = sorted(await town.seen(2), key=lambda one: one.side)
    told = b"".join(town.exports)
    assert [secret for secret in SECRETS if secret.encode() in told] == []
    assert b"hidden" not in told
    for one in (client, server):
        assert (one.method, one.authority, one.path) == ("GET", "cellar:8080", "/wines/7")
        assert (one.status, one.details, one.flags) == (200, "via_upstream", "")
        assert (one.source, one.destination, one.destination_version) == (
            "bistro/frontend",
            "bistro/cellar",
            "v2",
        )
        assert (one.service, one.request_id) == ("cellar.bistro.svc.cluster.local", "mine")
        assert one.sent_bytes > 0
    assert (client.side, client.replica, client.protocol) == ("client", "bistro/frontend/0", "HTTP/1.1")
    assert client.cluster == "outbound|8080||cellar.bistro.svc.cluster.local"
    assert (server.side, server.replica, server.protocol) == ("server", "bistro/cellar/0", "HTTP/2")
    assert server.source_principal == workload_uri("bistro", "frontend")


async def test_one_end_may_tell_alone_and_in_the_order_of_what_happened(town: Town) -> None:
    await town.tap({"cellar": Tapped(client=ALL, server=ALL)})
    for number in range(20):
        await town.get(f"/{number}")
    seen = await town.seen(20)
    assert [(one.side, one.path) for one in seen] == [("server", f"/{number}") for number in range(20)]


async def test_bytes_that_are_no_text_hide_no_request(town: Town) -> None:
    await town.tap(EVERYTHING)
    address = town.replicas["frontend"].sidecar
    reader, writer = await asyncio.open_connection(address.address, address.outbound)
    writer.write(
        b"GET http://cellar:8080/seen HTTP/1.1\r\nhost: cellar:8080\r\nx-request-id: \xff\xfe\r\n"
        b"connection: close\r\n\r\n"
    )
    assert b"200 OK" in await reader.read()
    writer.close()
    assert {(one.path, one.request_id) for one in await town.seen(2)} == {("/seen", "\ufffd\ufffd")}


async def test_a_connection_is_told_when_it_ends(town: Town) -> None:
    await town.tap(EVERYTHING)
    reader, writer = await asyncio.open_connection(
        town.replicas["cellar"].sidecar.address, 9000, ssl=_tls(town, "frontend")
    )
    writer.write(b"12345")
    assert await reader.read() == b"12345"
    writer.close()
    (one,) = await town.seen(1)
    assert (one.protocol, one.method, one.destination) == ("TCP", "", "bistro/cellar")
    assert (one.received_bytes, one.sent_bytes, one.cluster) == (5, 5, "inbound|9000||")
    assert one.source_principal == workload_uri("bistro", "frontend")


async def test_while_nobody_looks_nothing_is_told(town: Town) -> None:
    await town.tap(EVERYTHING)
    await town.get("/")
    await town.seen(2)
    await town.tap({})
    assert await runtime(town.proxies["cellar"]) == {"plait.tap.client": "0", "plait.tap.server": "0"}
    for _ in range(20):
        await town.get("/")
    assert await town.until_last() == ["/last"]


async def test_by_its_share_a_proxy_leaves_out_as_many(town: Town) -> None:
    """Whatever an application says of its requests: the same id for all of them does not make it all or nothing."""
    await town.tap({"cellar": Tapped(server=ALL // 2)})
    for _ in range(100):
        await town.get("/", x_request_id="00000000-0000-4000-8000-000000000000")
    assert 10 < len(await town.until_last()) < 90  # of a hundred, by chance: else once in 10^17


async def runtime(proxy: Proxy) -> dict[str, str]:
    """What an Envoy's runtime says of taps."""
    async with proxy.admin() as session, session.get("/runtime") as response:
        entries: dict[str, Any] = (await response.json(content_type=None))["entries"]
    return {name: one["final_value"] for name, one in entries.items() if name.startswith("plait.tap")}


def _tls(town: Town, account: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.load_verify_locations(cadata=town.authority.root)
    with short_folder() as folder:
        chain, key = town.authority.issue(workload_uri("bistro", account))
        file = folder / "client.pem"
        file.touch(mode=0o600)
        file.write_text(chain + key)
        made.load_cert_chain(file)
    return made
