"""What the attacks are tried on: real Envoys before an application that notes all that reaches it.

`payments` is attacked.  `frontend` may call it, but not below /admin; `outsider` may not, and nobody else.  At the
port ONLY_OPEN an ALLOW rule names what may be asked for.  `lobby` takes clear text too.  What stands behind `vault`
is made by the tests: a server that is not what it should be.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy.check import check
from plait.envoy.render import Renderer
from plait.model.catalog import Protocol, Replica
from plait.model.policy import Action, MtlsMode, Operation
from tests.compiler.facts import (
    SETTINGS,
    allows,
    listens,
    peers,
    policy,
    port,
    principal,
    replica,
    service,
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
    workload_uri,
)
from tests.streams import speaking

HTTP, ONLY_OPEN, BYTES, ODD = 8080, 8081, 9000, 9001
FRONTEND = workload_uri("bistro", "frontend")
OUTSIDER = workload_uri("bistro", "outsider")

_PORTS = (
    listens(HTTP),
    listens(ONLY_OPEN),
    listens(BYTES, Protocol.TCP),
    listens(ODD, Protocol.UNDECLARED),
)
_PAYMENTS, _LOBBY = workload("payments", *_PORTS), workload("lobby", listens(HTTP))
_CALLER, _VAULT = workload("frontend"), workload("vault", listens(HTTP))
_WORKLOADS = (_PAYMENTS, _LOBBY, _CALLER, _VAULT)
_HAS_ENVOY = ("payments", "lobby", "frontend")
_OPEN = allows(principal("frontend"), operations=[Operation(paths=("/open", "/open/*"), methods=("GET",))])
_POLICIES = (
    policy(
        "callers",
        Action.ALLOW,
        allows(principal("frontend"), operations=[Operation(not_ports=(ONLY_OPEN,))]),
        app="payments",
    ),
    policy(
        "only-open",
        Action.ALLOW,
        allows(
            *_OPEN.sources,
            operations=[Operation(paths=("/open", "/open/*"), methods=("GET",), ports=(ONLY_OPEN,))],
        ),
        app="payments",
    ),
    policy(
        "no-admin",
        Action.DENY,
        allows(operations=[Operation(paths=("/admin", "/admin/*"), ports=(HTTP,))]),
        app="payments",
    ),
    policy(
        "known",
        Action.ALLOW,
        allows(principal("frontend")),
        allows(operations=[Operation(paths=("/open",))], index=1),
        app="lobby",
    ),
    peers("lobby", MtlsMode.PERMISSIVE, app="lobby"),
)
_FACTS = (
    *_WORKLOADS,
    service("frontend"),
    service(
        "payments", port(HTTP), port(ONLY_OPEN), port(BYTES, Protocol.TCP), port(ODD, Protocol.UNDECLARED)
    ),
    service("lobby"),
    service("vault"),
    *_POLICIES,
)

_PATIENCE = 10.0
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/1\.1")


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the application got it."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known.lower() == name]


class AmbiguousError(Exception):
    """Two programs could read these bytes differently."""


@dataclass(slots=True)
class Application:
    """HTTP/1.1 at its strictest: whatever could be read in two ways is an error of whoever sent it."""

    requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    ambiguous: list[str] = field(default_factory=list)
    status: int = 200
    delay: float = 0.0

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (seen := await _request(reader)) is not None:
                self.requests.append(seen)
                await asyncio.sleep(self.delay)
                writer.write(b"HTTP/1.1 %d x\r\ncontent-length: 2\r\n\r\nok" % self.status)
                if "close" in seen.header("connection"):
                    break
        except AmbiguousError as error:
            self.ambiguous.append(str(error))

    async def bytes(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speaks first, to whoever is let through."""
        self.connections += 1
        writer.write(b"hello")


async def _request(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as rest:
        if rest.partial:
            raise AmbiguousError(f"no head: {rest.partial!r}") from rest
        return None
    first, *lines = head[:-4].split(b"\r\n")
    if not _REQUEST_LINE.fullmatch(first) or re.search(rb"[\0\r\n]", head[:-4].replace(b"\r\n", b"")):
        raise AmbiguousError(f"no head: {head!r}")
    pairs = [line.partition(b":") for line in lines]
    if not all(colon and _TOKEN.fullmatch(name) for name, colon, _ in pairs):
        raise AmbiguousError(f"no header: {head!r}")
    headers = tuple((name.decode(), value.strip().decode("latin-1")) for name, _, value in pairs)
    method, path, _ = first.decode("latin-1").split(" ")
    seen = Seen(method, path, headers, b"")
    lengths, codings = seen.header("content-length"), seen.header("transfer-encoding")
    if len(lengths) + len(codings) > 1 or codings not in ([], ["chunked"]) or len(seen.header("host")) != 1:
        raise AmbiguousError(f"no one length or host: {head!r}")
    if lengths and not re.fullmatch(r"[0-9]{1,9}", lengths[0]):
        raise AmbiguousError(f"no length: {head!r}")
    if re.search("content-length|transfer-encoding", " ".join(seen.header("connection")).lower()):
        raise AmbiguousError(f"a length that the next one is not to be told: {head!r}")
    body = await _chunks(reader) if codings else await reader.readexactly(int((lengths or ["0"])[0]))
    return Seen(method, path, headers, body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        if not re.fullmatch(rb"[0-9a-f]{1,8}\r\n", line):
            raise AmbiguousError(f"no chunk: {line!r}")
        if not (size := int(line, 16)):
            if (trailer := await reader.readuntil(b"\r\n")) != b"\r\n":
                raise AmbiguousError(f"a trailer: {trailer!r}")
            return body
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise AmbiguousError("a chunk that does not end")


@dataclass(slots=True)
class Fortress:
    """The mesh that is attacked."""

    authority: Authority
    plane: ControlPlane
    folder: Path
    replicas: dict[str, Replica]
    proxies: dict[str, Proxy]
    application: Application
    _clients: int = 0

    def place(self, of: str = "payments") -> str:
        return self.replicas[of].sidecar.address

    def client(  # noqa: PLR0913  # what a client may be
        self,
        chain: str,
        key: str,
        *,
        alpn: tuple[str, ...] = (),
        oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
        newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        ciphers: str = "",
    ) -> ssl.SSLContext:
        """TLS as somebody with this certificate speaks it, who does not care whom he speaks to."""
        made = bare(alpn)
        if ciphers:
            made.set_ciphers(ciphers)
        made.minimum_version, made.maximum_version = oldest, newest
        self._clients += 1
        file = self.folder / f"client-{self._clients}.pem"
        file.touch(mode=0o600)
        file.write_text(chain + key)
        made.load_cert_chain(file)
        return made

    def holder(self, uri: str = FRONTEND, *alpn: str) -> ssl.SSLContext:
        """TLS as the holder of the true certificate of an identity speaks it."""
        return self.client(*self.authority.issue(uri), alpn=alpn)

    async def stat(self, name: str, of: str = "payments") -> int:
        """The sum of the numbers of an Envoy whose names end so."""
        return await self.proxies[of].total(rf".*[.|]{re.escape(name)}")


def bare(alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    """TLS as somebody without any certificate speaks it, who does not care whom he speaks to."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if alpn:
        made.set_alpn_protocols(list(alpn))
    return made


async def tell(address: str, port: int, words: bytes, tls: ssl.SSLContext | None = None) -> bytes:
    """What comes back for some bytes: one answer of HTTP, or all until the connection ends, which may be nothing."""
    heard = b""
    try:
        reader, writer = await asyncio.open_connection(address, port, ssl=tls)
        try:
            writer.write(words)
            async with asyncio.timeout(_PATIENCE):
                while not _is_whole(heard) and (part := await reader.read(65536)):
                    heard += part
        finally:
            writer.close()
    except (ssl.SSLError, ConnectionError):
        pass
    return heard


def _is_whole(answer: bytes) -> bool:
    """Whether this is an answer of HTTP/1 to its end: Envoy waits a while for the client to close first."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\ncontent-length: (\d+)", head)
    return bool(end) and length is not None and len(body) >= int(length[1])


def get(path: str = "/open", *headers: str, host: str = "payments:8080", method: str = "GET") -> bytes:
    """A request after which the connection is closed."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "connection: close", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def status(answer: bytes) -> int:
    """The status of an answer of HTTP/1; 0 when there was none."""
    found = re.match(rb"HTTP/1\.\d (\d{3})", answer)
    return int(found[1]) if found else 0


@contextmanager
def untouched(application: Application) -> Iterator[None]:
    """Nothing reaches the application meanwhile."""
    before = (len(application.requests), application.connections)
    yield
    reached = application.requests[before[0] :]
    assert (len(application.requests), application.connections) == before, reached
    assert not application.ambiguous


@asynccontextmanager
async def fortress() -> AsyncIterator[Fortress]:
    """The mesh, with every stat that Envoy knows of."""
    replicas = {}
    for one in _WORKLOADS:
        address, app_address = addresses()
        replicas[one.name] = replica(one, address=address, app_address=app_address)
    authority, application = Authority(), Application()
    async with AsyncExitStack() as stack:
        folder: Path = stack.enter_context(short_folder())
        plane = await stack.enter_async_context(control_plane(authority, folder))
        mesh, _ = merge(_FACTS, SETTINGS)
        found, renderer = endpoints(mesh, replicas.values()), Renderer()
        for known in replicas.values():
            seen = view(mesh, known)
            plane.snapshots[str(known.key)] = snapshot = renderer.render(seen, found)
            assert check(snapshot, seen.outbound.missing) == ()
        proxies = {
            name: await stack.enter_async_context(
                envoy(replicas[name], authority, plane, folder / name, every_stat=True)
            )
            for name in _HAS_ENVOY
        }
        for of, serve, ports in (
            ("payments", application.http, (HTTP, ONLY_OPEN, ODD)),
            ("payments", application.bytes, (BYTES,)),
            ("lobby", application.http, (HTTP,)),
        ):
            for number in ports:
                where = replicas[of].bindings[0].app_address
                await stack.enter_async_context(speaking(serve, where, number))
        await ready(proxies.values())
        made = Fortress(authority, plane, folder, replicas, proxies, application)
        await eventually(lambda: _is_told(made))
        assert plane.rejections == []
        yield made
        for proxy in proxies.values():
            assert proxy.process.returncode is None, proxy.log


async def _is_told(mesh: Fortress) -> bool:
    answers = [await tell(mesh.place(of), HTTP, get(), mesh.holder()) for of in ("payments", "lobby")]
    return all(status(answer) == 200 for answer in answers) and mesh.plane.settled()


Validity = tuple[float, float]
"""From when to when, in seconds from now."""
NOW: Validity = (-60.0, 3600.0)


def certificate(  # noqa: PLR0913  # what may be wrong with one
    authority: Authority,
    *uris: str,
    dns: tuple[str, ...] = (),
    validity: Validity = NOW,
    key: ec.EllipticCurvePrivateKey | None = None,
    signer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None = None,
    subject: str = "",
) -> tuple[str, str]:
    """A certificate and its key (PEM) such as no authority of ours makes; `signer`: who signs it in its place."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    issuer, by = signer or (authority._name, authority._key)
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(seconds=validity[0]))
        .not_valid_after(now + timedelta(seconds=validity[1]))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    names = [*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, dns)]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not subject)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    made = builder.sign(by, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()
