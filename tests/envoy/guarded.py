"""One guarded workload and its real Envoy: who asks it directly shows a real certificate, and a token really signed."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.x509.oid import NameOID

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy import api, build, names
from plait.envoy.check import check
from plait.envoy.render import Renderer
from plait.model.catalog import Protocol, Replica
from plait.model.reading import Fact
from plait.resource import LISTENER, ROUTES, Resource, Snapshot
from tests.compiler.facts import SETTINGS, listens, port, replica, service, workload
from tests.envoy.support import (
    Authority,
    ControlPlane,
    Proxy,
    addresses,
    application,
    control_plane,
    envoy,
    ready,
    short_folder,
    workload_uri,
)
from tests.streams import speaking

WEB, OTHER, TCP = 8080, 8081, 5432
GUARDED = workload("guarded", listens(WEB), listens(OTHER), listens(TCP, Protocol.TCP), version="v1")
SERVICE = service("guarded", port(80, target=WEB), port(TCP, Protocol.TCP))
_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_JWT = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"


class Issuer:
    """Signs tokens, with one key for whatever issuer they say."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def keys(self) -> str:
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "EC", "crv": "P-256", "alg": "ES256", "x": _coded(numbers.x), "y": _coded(numbers.y)}
        return json.dumps({"keys": [key]})

    def token(self, claims: Mapping[str, Any]) -> str:
        head, body = (_base64(json.dumps(one).encode()) for one in ({"alg": "ES256"}, claims))
        signature = self._key.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
        r, s = utils.decode_dss_signature(signature)
        return f"{head}.{body}.{_base64(r.to_bytes(32) + s.to_bytes(32))}"


def _coded(number: int) -> str:
    return _base64(number.to_bytes(32))


def _base64(what: bytes) -> str:
    return urlsafe_b64encode(what).rstrip(b"=").decode()


@dataclass(slots=True)
class Guarded:
    """The workload, with all that it takes to ask it."""

    authority: Authority
    plane: ControlPlane
    one: Replica
    issuer: Issuer
    folder: Path
    proxy: Proxy | None = None
    seen: list[Any] = field(default_factory=list)
    _renderer: Renderer = field(default_factory=Renderer)
    _contexts: dict[str, ssl.SSLContext] = field(default_factory=dict)
    _told: int = 0

    async def say(self, *facts: Fact) -> None:
        """Guard it by these facts, and wait until its Envoy does."""
        self._told += 1
        marker = f"told-{self._told}.example"
        mesh, _ = merge((GUARDED, SERVICE, *facts), SETTINGS)
        seen = view(mesh, self.one)
        snapshot = self._renderer.render(seen, endpoints(mesh, [self.one]))
        assert check(snapshot, seen.outbound.missing) == ()
        await self.plane.publish({str(seen.node): self._changed(snapshot, marker)})
        if self.proxy is not None:
            async with asyncio.timeout(20):
                while not await self._heard(marker):  # noqa: ASYNC110  # Envoy tells of nothing
                    await asyncio.sleep(0.002)
            assert self.plane.rejections == [], self.plane.rejections
            assert self.proxy.process.returncode is None, self.proxy.log

    async def _heard(self, marker: str) -> bool:
        return self.plane.settled() and (await self.ask(host=marker)).startswith(b"HTTP/1.1 204")

    def _changed(self, snapshot: Snapshot, marker: str) -> Snapshot:
        """With a filter that verifies tokens, and a host that tells whether this is what Envoy goes by."""
        changed = {kind: dict(snapshot.get(kind, {})) for kind in snapshot}
        inbound = changed[LISTENER][names.INBOUND_LISTENER]
        changed[LISTENER][names.INBOUND_LISTENER] = _with_tokens(inbound, self.issuer)
        web = changed[ROUTES][names.inbound(WEB)]
        changed[ROUTES][names.inbound(WEB)] = _with_marker(web, marker)
        return changed

    async def ask(  # noqa: PLR0913  # what a request is made of
        self,
        path: str = "/",
        *,
        by: str | None = "bistro/frontend",
        method: str = "GET",
        host: str = "guarded",
        headers: tuple[str, ...] = (),
        number: int = WEB,
        sni: str = "sni.example",
        token: Mapping[str, Any] | None = None,
        subject: str = "",
    ) -> bytes:
        """What comes back for a request, by whoever has the certificate of an account; `subject`: and a name in it."""
        lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "connection: close", *headers]
        if token is not None:
            lines.append(f"authorization: Bearer {self.issuer.token(token)}")
        what = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return await self.send(what, by=by and f"{by}/{subject}", number=number, sni=sni)

    async def send(
        self, what: bytes, *, by: str | None = "bistro/frontend", number: int = WEB, sni: str = "sni.example"
    ) -> bytes:
        """What comes back for these bytes; nothing when the connection is closed."""
        tls = self._context(by) if by is not None else None
        try:
            reader, writer = await asyncio.open_connection(
                self.one.sidecar.address, number, ssl=tls, server_hostname=sni if tls else None
            )
        except (ssl.SSLError, ConnectionError):
            return b""
        try:
            writer.write(what)
            return await asyncio.wait_for(_answer(reader), 10)
        except (ssl.SSLError, ConnectionError):
            return b""
        finally:
            writer.close()

    async def ask_http2(self, *more: tuple[str, str], authority: str = "guarded", path: str = "/") -> bytes:
        """The status of a request in HTTP/2, as it is written; nothing when it is not answered."""
        # A context of its own, for what is agreed on stays with it.
        tls = self._context("bistro/frontend/http2")
        tls.set_alpn_protocols(["h2"])
        speaking = h2.connection.H2Connection(
            h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
        )
        speaking.initiate_connection()
        head = [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", authority)]
        speaking.send_headers(1, [*head, *more], end_stream=True)
        reader, writer = await asyncio.open_connection(
            self.one.sidecar.address, WEB, ssl=tls, server_hostname="sni.example"
        )
        try:
            writer.write(speaking.data_to_send())
            while found := await asyncio.wait_for(reader.read(65536), 10):
                for event in speaking.receive_data(found):
                    if isinstance(event, h2.events.ResponseReceived):
                        return bytes(dict(event.headers)[b":status"])
                    if isinstance(event, h2.events.StreamReset):
                        return b""
        except (ssl.SSLError, ConnectionError):
            pass
        finally:
            writer.close()
        return b""

    def _context(self, by: str) -> ssl.SSLContext:
        if by not in self._contexts:
            namespace, account, *subject = by.split("/")
            made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            made.check_hostname = False
            made.load_verify_locations(cadata=self.authority.root)
            parts = [x509.NameAttribute(NameOID.COMMON_NAME, one) for one in subject if one]
            chain, key = self.authority.issue(workload_uri(namespace, account), subject=x509.Name(parts))
            file = self.folder / f"{'-'.join([namespace, account, *subject])}.pem"
            file.touch(mode=0o600)
            file.write_text(chain + key)
            made.load_cert_chain(file)
            self._contexts[by] = made
        return self._contexts[by]


async def _answer(reader: asyncio.StreamReader) -> bytes:
    """One answer of HTTP, or what comes until the end: Envoy is slow to close."""
    found = await reader.read(65536)
    head, _, body = found.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: (\d+)", head)
    if length or head.startswith(b"HTTP/1.1 204"):
        return found + await reader.readexactly(int(length[1]) - len(body) if length else 0)
    return found + await reader.read()


def _with_tokens(resource: Resource, issuer: Issuer) -> Resource:
    provider = {
        "payload_in_metadata": names.TOKEN_PAYLOAD,
        "local_jwks": {"inline_string": issuer.keys},
        "forward": True,
    }
    rule = {"match": {"prefix": "/"}, "requires": {"requires_any": {"requirements": [
        {"provider_name": "any"}, {"allow_missing": {}},
    ]}}}  # fmt: skip
    verifies = build.extension(names.TOKEN_METADATA, _JWT, providers={"any": provider}, rules=[rule])
    listener = api.parse(LISTENER, resource.body)
    for chain in listener.filter_chains:
        for one in chain.filters:
            if one.typed_config.type_url.endswith(_HCM):
                manager = api.parse(one.typed_config.type_url, one.typed_config.value)
                installed = [type(manager.http_filters[0])(**verifies), *manager.http_filters]
                del manager.http_filters[:]
                manager.http_filters.extend(installed)
                one.typed_config.CopyFrom(api.pack(manager))
    return build.resource(LISTENER, resource.name, listener)


def _with_marker(resource: Resource, marker: str) -> Resource:
    routes = api.parse(ROUTES, resource.body)
    unguarded = api.pack(api.message("envoy.extensions.filters.http.rbac.v3.RBACPerRoute")())
    routes.virtual_hosts.add(
        name=marker,
        domains=[marker],
        routes=[{"match": {"prefix": "/"}, "direct_response": {"status": 204}}],
        typed_per_filter_config=dict.fromkeys(
            (names.RBAC_AUDIT, names.RBAC_DENY, names.RBAC_ALLOW), unguarded
        ),
    )
    return build.resource(ROUTES, resource.name, routes)


@asynccontextmanager
async def guarded(*, every_stat: bool = False) -> AsyncIterator[Guarded]:
    """The workload with its Envoy and its applications."""
    address, app_address = addresses()
    authority = Authority()
    async with AsyncExitStack() as stack:
        folder: Path = stack.enter_context(short_folder())
        plane = await stack.enter_async_context(control_plane(authority, folder))
        one = replica(GUARDED, address=address, app_address=app_address)
        made = Guarded(authority, plane, one, Issuer(), folder)
        await made.say()
        for number in (WEB, OTHER):
            await stack.enter_async_context(application(app_address, number, "guarded", seen=made.seen))
        await stack.enter_async_context(speaking(_greet, app_address, TCP))
        made.proxy = await stack.enter_async_context(
            envoy(one, authority, plane, folder / "envoy", every_stat=every_stat)
        )
        await ready([made.proxy])
        yield made


async def _greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speaks first, and that is all."""
    writer.write(b"hello")
