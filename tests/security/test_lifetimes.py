"""How long connections last, which ciphers they use, and whose trust domain is taken, at real Envoys."""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy.render import Renderer
from plait.model.catalog import Protocol, Replica
from plait.model.policy import Action
from tests.compiler.facts import (
    SETTINGS,
    allows,
    listens,
    policy,
    port,
    principal,
    replica,
    service,
    workload,
)
from tests.envoy.support import (
    Authority,
    Proxy,
    addresses,
    application,
    control_plane,
    envoy,
    eventually,
    ready,
    short_folder,
    write_secrets,
)
from tests.streams import speaking

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIFETIME, LONGEST = 8.0, 4.0
OLD = "old.example"
MORTAL = replace(
    SETTINGS, certificate_lifetime=LIFETIME, longest_connection=LONGEST, trust_domain_aliases=(OLD,)
)
CLIENT = workload("client")
SERVER = workload("server", listens(8080), listens(9000, Protocol.TCP))
MOVED = workload("moved", listens(8080))
WORKLOADS = (CLIENT, SERVER, MOVED)
FACTS = (
    *WORKLOADS,
    service("client"),
    service("server", port(8080), port(9000, Protocol.TCP)),
    service("moved"),
    policy("guests", Action.ALLOW, allows(principal("client")), app="server"),
)


@dataclass(slots=True)
class Mesh:
    """A client, and two servers of which one has moved here from the old trust domain."""

    authority: Authority
    replicas: dict[str, Replica]
    proxies: dict[str, Proxy]
    folder: Path

    def tls(self, uri: str, *alpn: str) -> ssl.SSLContext:
        """TLS as a client with an identity speaks it."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.load_verify_locations(cadata=self.authority.root)
        if alpn:
            made.set_alpn_protocols(list(alpn))
        chain, key = self.authority.issue(uri)
        file = self.folder / "client.pem"
        file.touch(mode=0o600)
        file.write_text(chain + key)
        made.load_cert_chain(file)
        return made

    async def asked(self, tls: ssl.SSLContext, number: int = 8080) -> bytes:
        """What the server answers to a request in this TLS; nothing when the connection is refused."""
        address = self.replicas["server"].sidecar.address
        try:
            reader, writer = await asyncio.open_connection(address, number, ssl=tls)
            writer.write(b"GET / HTTP/1.1\r\nhost: server\r\nconnection: close\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), 15)
            writer.close()
        except (ssl.SSLError, ConnectionError):
            return b""
        return answer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    replicas = {}
    for of in WORKLOADS:
        address, app_address = addresses()
        replicas[of.name] = replica(of, address=address, app_address=app_address)
    authority = Authority()
    async with AsyncExitStack() as stack:
        folder: Path = stack.enter_context(short_folder())
        plane = await stack.enter_async_context(control_plane(authority, folder))
        merged, _ = merge(FACTS, MORTAL)
        found, renderer = endpoints(merged, replicas.values()), Renderer()
        await plane.publish(
            {str(one.key): renderer.render(view(merged, one), found) for one in replicas.values()}
        )
        proxies = {}
        for name, one in replicas.items():
            proxies[name] = await stack.enter_async_context(envoy(one, authority, plane, folder / name))
        moved = authority.issue(f"spiffe://{OLD}/ns/bistro/sa/moved")
        write_secrets(folder / "moved" / "secrets", *moved, authority.root)
        for name in ("server", "moved"):
            place = replicas[name].bindings[0].app_address
            await stack.enter_async_context(application(place, 8080, name, answer=_slow))
        place = replicas["server"].bindings[0].app_address
        await stack.enter_async_context(speaking(_silent, place, 9000))
        await ready(proxies.values())
        yield Mesh(authority, replicas, proxies, folder)
        assert plane.rejections == []


async def _slow(request: web.Request) -> web.StreamResponse:
    if request.path == "/long":
        await asyncio.sleep(3 * LONGEST)
    return web.Response(text="ok")


async def _silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_connections_are_drained_while_certificates_hold_and_no_request_fails(mesh: Mesh) -> None:
    client = mesh.proxies["client"]
    counter = r"cluster\.outbound\|8080\|\|server\.bistro\.svc\.cluster\.local\.upstream_cx_total"
    before = await client.total(counter)
    statuses = set()
    async with aiohttp.ClientSession() as session:
        end = time.monotonic() + 1.5 * LIFETIME / 4 + 0.5
        while time.monotonic() < end:
            async with session.get("http://server:8080/", proxy=client.url) as response:
                statuses.add(response.status)
            await asyncio.sleep(0.02)
    assert statuses == {200}
    assert await client.total(counter) - before >= 2


async def test_what_lasts_is_ended_at_the_bound_and_counted(mesh: Mesh) -> None:
    """A stream of HTTP, and a connection of TCP; one that is short is not counted."""
    tls = mesh.tls("spiffe://cluster.local/ns/bistro/sa/client")
    address = mesh.replicas["server"].sidecar.address

    async def counted() -> dict[str, int]:
        page = await mesh.proxies["server"].metrics()
        found = re.findall(r'^plait_may_outlive_certificate_total\{kind="(\w+)"\} (\d+)$', page, re.MULTILINE)
        return {kind: int(number) for kind, number in found}

    async def tcp(stays: float) -> float:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection(address, 9000, ssl=tls)
        with suppress(TimeoutError):
            await asyncio.wait_for(reader.read(), stays)
        writer.close()
        return time.monotonic() - began

    async def stream() -> tuple[float, int]:
        began = time.monotonic()
        async with (
            aiohttp.ClientSession() as session,
            session.get("http://server:8080/long", proxy=mesh.proxies["client"].url) as response,
        ):
            return time.monotonic() - began, response.status

    before = await counted()
    (took, status), long, _ = await asyncio.gather(stream(), tcp(3 * LONGEST), tcp(0.5))
    assert LONGEST - 0.1 < took < 2 * LONGEST
    assert status == 504
    assert LONGEST - 0.1 < long < 2 * LONGEST

    async def both() -> bool:
        after = await counted()
        return after.get("http", 0) > before.get("http", 0) and after.get("tcp") == 1

    await eventually(both)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("spiffe://cluster.local/ns/bistro/sa/client", b"200"),
        (f"spiffe://{OLD}/ns/bistro/sa/client", b"200"),  # whom the policy names by the mesh's own domain
        (f"spiffe://{OLD}/ns/bistro/sa/other", b"403"),
        ("spiffe://other.example/ns/bistro/sa/client", b""),
        (f"spiffe://{OLD}.evil/ns/bistro/sa/client", b""),
    ],
)
async def test_callers_of_an_alias_are_who_they_are_in_the_mesh(
    mesh: Mesh, uri: str, expected: bytes
) -> None:
    assert (await mesh.asked(mesh.tls(uri)))[9:12] == expected


async def test_a_server_of_an_alias_is_the_server_that_was_meant(mesh: Mesh) -> None:
    async with aiohttp.ClientSession() as session:
        proxy = mesh.proxies["client"].url
        async with session.get("http://moved:8080/", proxy=proxy) as response:
            assert response.status == 200
        chain, key = mesh.authority.issue("spiffe://other.example/ns/bistro/sa/moved")
        write_secrets(mesh.folder / "moved" / "secrets", chain, key, mesh.authority.root)

        async def refused() -> bool:
            async with session.get("http://moved:8080/", proxy=proxy) as response:
                return response.status == 503

        await eventually(refused)  # once the connection that exists is drained


MODERN = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305")


async def test_only_modern_tls_is_spoken(mesh: Mesh) -> None:
    uri = "spiffe://cluster.local/ns/bistro/sa/client"
    assert await mesh.asked(mesh.tls(uri))  # 1.3, as both like best
    for cipher in (*MODERN, "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "ECDHE-ECDSA-AES128-CCM"):
        tls = mesh.tls(uri)
        tls.maximum_version = ssl.TLSVersion.TLSv1_2
        tls.set_ciphers(f"{cipher}:@SECLEVEL=0")
        assert bool(await mesh.asked(tls)) is (cipher in MODERN), cipher
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        tls = mesh.tls(uri)
        tls.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            tls.minimum_version = tls.maximum_version = version
        assert not await mesh.asked(tls)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_only_modern_curves_are_agreed_on(mesh: Mesh) -> None:
    mesh.tls("spiffe://cluster.local/ns/bistro/sa/client")
    address = mesh.replicas["server"].sidecar.address
    shaken = {}
    for group in ("X25519", "P-256", "P-521", "ffdhe2048"):
        process = await asyncio.create_subprocess_exec(
            *("openssl", "s_client", "-connect", f"{address}:8080", "-groups", group),
            *("-cert", str(mesh.folder / "client.pem"), "-key", str(mesh.folder / "client.pem")),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 20)
        shaken[group] = b"Cipher is TLS_" in out
    assert shaken == {"X25519": True, "P-256": True, "P-521": False, "ffdhe2048": False}
