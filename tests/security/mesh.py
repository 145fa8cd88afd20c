"""The workload that the cases ask: a real Envoy, fed over xDS, and clients with real certificates and tokens."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy import api, build, names
from plait.envoy.check import check
from plait.envoy.render import Renderer
from plait.model.mesh import View
from plait.model.reading import Fact
from plait.resource import LISTENER, ROUTES, Resource, Snapshot
from tests.compiler.facts import SETTINGS, replica
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
from tests.security.cases import CALLERS, CLEAR_PORT, HTTP_PORTS, PAYMENTS, TCP_PORTS, Case
from tests.security.issuer import ISSUER, STRANGER
from tests.streams import speaking

_AUTHORIZER, _TOKENS = "test-authorizer", "test-tokens"
_EXT_AUTHZ = "envoy.extensions.filters.http.ext_authz.v3"
_JWT = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
_MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_RBAC = "rbac_access_denied_matched_policy["
_WITHIN = 20.0
ASKED = "asked.test"
"""A host of which an authorizer is asked."""
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Target:
    """The workload and its Envoy, and the clients that have connected to it."""

    authority: Authority
    plane: ControlPlane
    folder: Path
    proxy: Proxy | None = None
    _renderer: Renderer = field(default_factory=Renderer)
    _replica: Any = None
    _told: int = 0
    _read: int = 0
    """Of the log: how much of it was read."""
    _contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)
    _connections: dict[tuple[str, str, int, str], Streams] = field(default_factory=dict)

    def compiled(self, facts: tuple[Fact, ...]) -> tuple[View, Snapshot]:
        """What the proxy is to be told under some policies."""
        mesh, _ = merge(facts, SETTINGS)
        seen = view(mesh, self._replica)
        snapshot = self._renderer.render(seen, endpoints(mesh, (self._replica,)))
        assert check(snapshot, seen.outbound.missing) == ()
        return seen, snapshot

    async def say(self, snapshot: Snapshot, *, verifies: bool = True) -> None:
        """Tell the proxy, and wait until it does as told; `verifies`: whatever token there is, by a filter of ours."""
        self._told += 1
        marker = f"told-{self._told}.test"
        told = {kind: dict(snapshot.get(kind, {})) for kind in snapshot}
        told[LISTENER] = {name: self._with_tokens(one) for name, one in told[LISTENER].items()}
        told[ROUTES] = {name: _marked(one, marker, verifies=verifies) for name, one in told[ROUTES].items()}
        await self.plane.publish({str(self._replica.key): told})
        if self.proxy is not None:
            for port in HTTP_PORTS:
                await eventually(lambda port=port: self._follows(port, marker))
        assert self.plane.rejections == []

    async def _follows(self, port: int, marker: str) -> bool:
        return (
            await self.http("web", "127.0.0.1", port, "", f"GET / HTTP/1.1\r\nhost: {marker}\r\n\r\n") == 204
        )

    async def ask(self, case: Case) -> str:
        """What comes of a request: allowed, denied, or closed before it is judged."""
        if case.tcp:
            return await self._tcp(case)
        headers = dict(case.headers)
        if case.claims is not None:
            headers["authorization"] = f"Bearer {(STRANGER if case.forged else ISSUER).token(case.claims)}"
        lines = [f"{case.method} {case.path} HTTP/1.1", f"host: {case.host}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        try:
            status = await self.http(
                case.who, case.address, case.port, case.sni, "\r\n".join([*lines, "", ""]), method=case.method
            )
        except (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
            return "closed"
        return {200: "allowed", 401: "denied", 403: "denied"}.get(status, str(status))

    async def why(self) -> str:
        """The reason of the next denial in the log; of one by RBAC the name of the rule."""
        why: str = (await self.line())["why"]
        return why[len(_RBAC) : -1] if why.startswith(_RBAC) else why

    async def line(self) -> dict[str, Any]:
        """The next denial in the log."""
        assert self.proxy is not None
        for _ in range(5000):
            with (self.proxy.folder / "envoy.log").open("rb") as log:
                log.seek(self._read)
                for line in log:
                    if not line.endswith(b"\n"):
                        break
                    self._read += len(line)
                    if line.startswith(b"{") and b'"host":"told-' not in line:
                        said: dict[str, Any] = json.loads(line)
                        return said
            await asyncio.sleep(0.002)
        raise AssertionError("this denial is not in the log")

    def bound(self, bucket: Mapping[str, Any]) -> None:
        """So many denials are logged from now on: Envoy looks at the file when it is replaced."""
        assert self.proxy is not None
        bucket = {"@type": "type.googleapis.com/envoy.type.v3.TokenBucket", **bucket}
        resource = {
            "@type": "type.googleapis.com/envoy.service.discovery.v3.Resource",
            "name": names.LOG_BOUND,
        }
        aside = self.proxy.folder / "aside.json"
        aside.write_text(json.dumps({"resources": [resource | {"resource": bucket}]}))
        aside.rename(self.proxy.folder / names.LOG_BOUND_FILE)

    async def http(  # noqa: PLR0913  # who asks from where for what
        self, who: str, address: str, port: int, sni: str, request: str, *, method: str = "GET"
    ) -> int:
        """The status of an answer, on a connection that is kept."""
        key = (who, address, port, sni)
        if key not in self._connections:
            self._connections[key] = await self.connect(*key)
        reader, writer = self._connections[key]
        try:
            async with asyncio.timeout(_WITHIN):
                writer.write(request.encode("latin-1"))
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                if method != "HEAD":
                    await reader.readexactly(length)
        except BaseException:
            self._connections.pop(key)[1].close()
            raise
        if b"connection: close" in head:
            self._connections.pop(key)[1].close()
        return int(head.split()[1])

    async def _tcp(self, case: Case) -> str:
        try:
            reader, writer = await self.connect(case.who, case.address, case.port, case.sni)
        except (ssl.SSLError, ConnectionError):
            return "closed"
        try:
            async with asyncio.timeout(_WITHIN):
                writer.write(b"x")
                return "allowed" if await reader.read(1) == b"x" else "denied"
        except (ssl.SSLError, ConnectionError):
            return "closed"
        finally:
            writer.close()

    async def connect(self, who: str, address: str = "127.0.0.1", port: int = 8080, sni: str = "") -> Streams:
        """A connection to a port of the workload, in TLS but for nobody at the port that takes plain text as well."""
        assert self.proxy is not None
        tls = None if who == "nobody" and port == CLEAR_PORT else self._context(who)
        return await asyncio.open_connection(
            self.proxy.replica.sidecar.address,
            port,
            ssl=tls,
            server_hostname=(sni or "") if tls else None,
            local_addr=(address, 0),
        )

    def _context(self, who: str) -> ssl.SSLContext:
        if who not in self._contexts:
            made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            made.check_hostname = False
            made.load_verify_locations(cadata=self.authority.root)
            if CALLERS[who]:
                chain, key = self.authority.issue(f"spiffe://{CALLERS[who]}")
                file = self.folder / f"{who}.pem"
                file.touch(mode=0o600)
                file.write_text(chain + key)
                made.load_cert_chain(file)
            self._contexts[who] = made
        return self._contexts[who]

    def _with_tokens(self, listener: Resource) -> Resource:
        """With filters before all others: one verifies tokens by the key of the issuer, whoever is named as such; one
        asks the application at its second port of each request to ASKED.
        """
        if listener.name != names.INBOUND_LISTENER:
            return listener
        message = api.parse(LISTENER, listener.body)
        provider = {"local_jwks": {"inline_string": ISSUER.jwks()}, "payload_in_metadata": "payload"}
        needs = {"requires_any": {"requirements": [{"provider_name": "test"}, {"allow_missing": {}}]}}
        verifies = build.extension(
            _TOKENS,
            _JWT,
            providers={"test": provider},
            rules=[{"match": {"prefix": "/"}, "requires": needs}],
        )
        for chain in message.filter_chains:
            for one in chain.filters:
                if one.typed_config.type_url.endswith(_MANAGER):
                    manager = api.message(_MANAGER).FromString(one.typed_config.value)
                    first = api.message(_MANAGER)(http_filters=[verifies, _authorizer()])
                    first.http_filters.extend(manager.http_filters)
                    del manager.http_filters[:]
                    manager.http_filters.extend(first.http_filters)
                    one.typed_config.CopyFrom(api.pack(manager))
        return build.resource(LISTENER, listener.name, message)

    def connections(self) -> frozenset[int]:
        """Which connections of HTTP are kept."""
        return frozenset(id(writer) for _, writer in self._connections.values())

    async def close(self) -> None:
        for _, writer in self._connections.values():
            writer.close()


def _marked(routes: Resource, marker: str, *, verifies: bool) -> Resource:
    """With a host that answers by itself, so that it is known when these routes are followed."""
    if not routes.name.startswith("inbound|"):
        return routes
    message = api.parse(ROUTES, routes.body)
    off = api.pack(api.message("envoy.config.route.v3.FilterConfig")(disabled=True))
    message.virtual_hosts.add().CopyFrom(
        api.message("envoy.config.route.v3.VirtualHost")(
            name=marker,
            domains=[marker],
            routes=[{"match": {"prefix": "/"}, "direct_response": {"status": 204}}],
            typed_per_filter_config=dict.fromkeys((names.RBAC_DENY, names.RBAC_ALLOW), off),
        )
    )
    if not verifies:
        message.typed_per_filter_config[_TOKENS].CopyFrom(off)
    asks = api.pack(api.message(f"{_EXT_AUTHZ}.ExtAuthzPerRoute")(check_settings={}))
    message.virtual_hosts.add().CopyFrom(
        api.message("envoy.config.route.v3.VirtualHost")(
            name=ASKED,
            domains=[ASKED],
            routes=[{"match": {"prefix": "/"}, "route": {"cluster": routes.name}}],
            typed_per_filter_config={_AUTHORIZER: asks},
        )
    )
    return build.resource(ROUTES, routes.name, message)


def _authorizer() -> dict[str, Any]:
    uri = {"uri": "http://authorizer", "cluster": names.inbound(HTTP_PORTS[1]), "timeout": build.seconds(1)}
    asks = build.extension(_AUTHORIZER, f"{_EXT_AUTHZ}.ExtAuthz", http_service={"server_uri": uri})
    return asks | {"disabled": True}


async def _answer(request: web.Request) -> web.Response:
    """With the status that the request asks for; as an authorizer it sends elsewhere who is refused."""
    if request.path == "/refused":
        return web.Response(status=302, headers={"location": "/login"})
    return web.Response(status=int(request.headers.get("x-status", "200")))


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(4096):
        writer.write(data)


@asynccontextmanager
async def running(base: tuple[Fact, ...], *, bounded: bool = True) -> AsyncIterator[Target]:
    """The workload, told what `base` says, until the end; `bounded`: its log of denials is."""
    authority = Authority()
    async with AsyncExitStack() as stack:
        folder: Path = stack.enter_context(short_folder())
        plane = await stack.enter_async_context(control_plane(authority, folder))
        target = Target(authority, plane, folder)
        address, app_address = addresses()
        target._replica = replica(PAYMENTS, address=address, app_address=app_address)
        await target.say(target.compiled(base)[1])
        for port in HTTP_PORTS:
            await stack.enter_async_context(application(app_address, port, "payments", _answer))
        for port in TCP_PORTS:
            await stack.enter_async_context(speaking(_echo, app_address, port))
        target.proxy = await stack.enter_async_context(
            envoy(target._replica, authority, plane, folder / "payments")
        )
        await ready([target.proxy])
        if not bounded:
            target.bound({"max_tokens": 1_000_000, "fill_interval": "1s"})
        try:
            yield target
        finally:
            await target.close()
        assert target.proxy.process.returncode is None, target.proxy.log
