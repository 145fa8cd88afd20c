"""Real Envoys in network namespaces whose traffic the kernel brings to them: what is no HTTP, and what may not pass."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import NO_SHIFTS, merge
from plait.compiler.view import view
from plait.compiler.virtual_addresses import virtual_addresses
from plait.envoy.check import check
from plait.envoy.render import Renderer
from plait.model.catalog import Protocol, Replica
from plait.model.policy import Action, MtlsMode, Operation, Source
from plait.model.reading import Fact
from plait.model.rollout import TRIED, Analysis, Canary, Shift, Shifts, canary_key
from plait.model.routing import Changes, HeaderChanges
from plait.model.settings import OutboundTrafficPolicy
from plait.model.traffic import ConnectionPool, TrafficPolicy
from tests.compiler.facts import (
    SETTINGS,
    allows,
    destination,
    hidden,
    host,
    listens,
    origin,
    peers,
    policy,
    port,
    principal,
    routes,
    rule,
    service,
    to,
    workload,
)
from tests.envoy.namespaces import ENVOY_UID, OUTSIDE, Namespace, hub, needed, replica_namespace
from tests.envoy.support import (
    Authority,
    ControlPlane,
    Elsewhere,
    Proxy,
    control_plane,
    envoy,
    eventually,
    short_folder,
    workload_uri,
)
from tests.fields.mesh import facts
from tests.streams import speaking

needed()
pytestmark = pytest.mark.asyncio(loop_scope="module")

TCP, WEB, ODD = 5432, 8080, 9000
PORTS = (listens(TCP, Protocol.TCP), listens(WEB), listens(ODD, Protocol.UNDECLARED))
FRONTEND, OUTSIDER, DATABASE = (
    workload("frontend"),
    workload("outsider"),
    workload("database", *PORTS, version="v1"),
)
WORKLOADS = (FRONTEND, OUTSIDER, DATABASE)
SERVICE = service("database", port(TCP, Protocol.TCP), port(80, target=WEB), port(ODD, Protocol.UNDECLARED))
ADDRESSES = {"frontend": "198.18.0.1", "outsider": "198.18.0.2", "database": "198.18.0.3"}
STRANGER = "198.18.0.4"
ONLY_FRONTEND = policy("allow", Action.ALLOW, allows(principal("frontend")), app="database")

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Mesh:
    """Three workloads in namespaces of their own, a stranger without a sidecar, and the world outside."""

    authority: Authority
    plane: ControlPlane
    replicas: dict[str, Replica]
    places: dict[str, Namespace]
    proxies: dict[str, Proxy] = field(default_factory=dict)
    renderer: Renderer = field(default_factory=Renderer)
    addresses: dict[str, str] = field(default_factory=dict)
    _told: int = 0

    async def say(
        self,
        *facts: Fact,
        outbound: OutboundTrafficPolicy = OutboundTrafficPolicy.REGISTRY_ONLY,
        shifts: Shifts = NO_SHIFTS,
        beside: Iterable[Replica] = (),
    ) -> None:
        """Configure the mesh with these facts beside its own, and wait until every proxy has all of it.

        `beside`: replicas that are told of, and have no proxy.
        """
        self._told += 1
        marker = f"told-{self._told}.example"
        told = routes(marker, rules=[rule(to("database", port=80))], name="told")
        settings = replace(SETTINGS, outbound_traffic_policy=outbound)
        mesh, _ = merge((*WORKLOADS, SERVICE, *facts, told), settings, shifts=shifts)
        self.addresses = dict(virtual_addresses(mesh))
        found = endpoints(mesh, (*self.replicas.values(), *beside))
        snapshots = {}
        for one in self.replicas.values():
            seen = view(mesh, one)
            snapshots[str(seen.node)] = self.renderer.render(seen, found)
            assert check(snapshots[str(seen.node)], seen.outbound.missing) == ()
        self.renderer.sweep()
        await self.plane.publish(snapshots)
        for name in self.proxies:
            await eventually(lambda name=name: self._knows(name, marker))
        await eventually(self._acknowledged)
        assert self.plane.rejections == []

    async def _knows(self, name: str, marker: str) -> bool:
        reader, writer = await self.connect(name, marker, 80)
        writer.write(request(marker, "/"))
        return not (await heard(reader, writer)).startswith(b"HTTP/1.1 404")

    async def _acknowledged(self) -> bool:
        return self.plane.settled()

    async def connect(self, by: str, name: str, number: int, tls: ssl.SSLContext | None = None) -> Streams:
        """A connection that a workload opens to a name of the mesh, or to an address."""
        return await dial(self.places[by], self.addresses.get(host(name), name), number, tls)

    async def ask(self, by: str, url: str, *, to: str = "") -> bytes:
        """What comes back for a request that is written at once."""
        found = re.fullmatch(r"http://([^/:]+)(?::(\d+))?(/.*)", url)
        assert found is not None
        name, number, path = found.groups()
        place = to or self.addresses.get(host(name)) or self.addresses[name]
        reader, writer = await dial(self.places[by], place, int(number or 80))
        return await said(reader, writer, request(f"{name}:{number}" if number else name, path))

    async def hears(self, by: str, number: int) -> bytes:
        """What a workload hears that waits to be spoken to; nothing when the connection is closed."""
        reader, writer = await self.connect(by, "database", number)
        return await heard(reader, writer)

    async def metric(self, of: str, name: str, **labels: str) -> int:
        """The sum of the series that have these labels."""
        place = self.places[of]
        streams = await dial(place, "127.0.0.1", self.replicas[of].sidecar.metrics)
        page = (await said(*streams, request("metrics", "/stats/prometheus"))).decode()
        total = 0
        for inner, value in re.findall(rf"^istio_{name}{{(.*)}} (\d+)\r?$", page, re.MULTILINE):
            series = dict(re.findall(r'(\w+)="([^"]*)"', inner))
            total += int(value) if labels.items() <= series.items() else 0
        return total


def request(authority: str, path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n".encode()


async def dial(place: Namespace, address: str, number: int, tls: ssl.SSLContext | None = None) -> Streams:
    connection = place.open()
    try:
        await asyncio.get_running_loop().sock_connect(connection, (address, number))
        return await asyncio.open_connection(sock=connection, ssl=tls, server_hostname="x" if tls else None)
    except BaseException:
        connection.close()
        raise


async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: bytes) -> bytes:
    """What comes back for these bytes until the connection ends."""
    try:
        writer.write(what)
        return await asyncio.wait_for(reader.read(), 10)
    except (ConnectionError, ssl.SSLError):
        return b""
    finally:
        writer.close()


async def heard(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """The first that comes back by itself."""
    try:
        return await asyncio.wait_for(reader.read(100), 10)
    except (ConnectionError, ssl.SSLError):
        return b""
    finally:
        writer.close()


@asynccontextmanager
async def server(
    place: Namespace, number: int, serve: Serve, address: str = "127.0.0.1"
) -> AsyncIterator[list[bytes]]:
    """An application; yields what it is told, an entry for each connection that it sees."""
    seen: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(b"")
        await serve(reader, writer)

    async with speaking(take, sock=place.listen(number, address)):
        yield seen


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speaks first, then repeats what it hears, until the client has ended."""
    writer.write(b"hello")
    while word := await reader.read(65536):
        writer.write(word.upper())
    await writer.drain()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An application of HTTP/1.1 that says which path was asked for."""
    head = await reader.readuntil(b"\r\n\r\n")
    path = head.split(b" ")[1]
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(path), path))
    await writer.drain()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    authority = Authority()
    replicas = {of.name: hidden(of, ADDRESSES[of.name]) for of in WORKLOADS}
    async with AsyncExitStack() as stack:
        folder: Path = stack.enter_context(short_folder())
        plane = await stack.enter_async_context(control_plane(authority, folder))
        open_to_envoys(folder, plane)
        middle = stack.enter_context(hub())
        places = {
            name: stack.enter_context(replica_namespace(middle, address))
            for name, address in ADDRESSES.items()
        }
        places["stranger"] = stack.enter_context(replica_namespace(middle, STRANGER, redirected=False))
        made = Mesh(authority, plane, replicas, places | {"outside": middle})
        await made.say()
        for name, one in replicas.items():
            made.proxies[name] = await stack.enter_async_context(
                envoy(one, authority, plane, folder / name, Elsewhere(places[name].enter, ENVOY_UID))
            )
        await eventually(lambda: all_ready(made), 30)
        yield made
        for proxy in made.proxies.values():
            assert proxy.process.returncode is None, proxy.log
            assert not re.search(r"\[(warning|error|critical)\]", proxy.log), proxy.log


def open_to_envoys(folder: Path, plane: ControlPlane) -> None:
    folder.chmod(0o755)
    Path(plane.path).chmod(0o777)


async def all_ready(mesh: Mesh) -> bool:
    for name, proxy in mesh.proxies.items():
        assert proxy.process.returncode is None, proxy.log
        streams = await dial(mesh.places["stranger"], ADDRESSES[name], proxy.replica.sidecar.health)
        if b" 200 OK" not in await said(*streams, request("health", "/healthz/ready")):
            return False
    return True


def certificate(mesh: Mesh, tmp_path: Path, account: str, *alpn: str) -> ssl.SSLContext:
    """TLS as whoever holds the certificate of an account speaks it, without a sidecar."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.load_verify_locations(cadata=mesh.authority.root)
    chain, key = mesh.authority.issue(workload_uri("bistro", account))
    file = tmp_path / "client.pem"
    file.touch(mode=0o600)
    file.write_text(chain + key)
    made.load_cert_chain(file)
    if alpn:
        made.set_alpn_protocols(list(alpn))
    return made


# ---------------------------------------------------------------------------------------------------------


async def test_http_finds_its_service_by_the_address_that_is_called_whatever_host_it_names(
    mesh: Mesh,
) -> None:
    """The Gateway API's meaning of a parent: the Service's address and not a Host header (MeshFrontendHostname)."""
    marked = rule(to("database", port=80))
    marked = replace(marked, changes=Changes(response=HeaderChanges(set=(("x-route", "shop"),))))
    await mesh.say(routes("shop.example", rules=[marked], name="shop"))
    address, shop = mesh.addresses[host("database")], mesh.addresses["shop.example"]
    async with server(mesh.places["database"], WEB, answer):
        for name in ("database", "database:80", "database.bistro", address, "shop.example", "other"):
            got = await mesh.ask("frontend", f"http://{name}/x", to=address)
            assert got.endswith(b"/x"), got
            assert b"x-route" not in got
            assert b"x-route: shop" in await mesh.ask("frontend", f"http://{name}/x", to=shop)


async def test_a_new_version_is_tried_by_requests_and_by_no_connections(mesh: Mesh) -> None:
    """It stands where nobody answers, so that whatever is led there fails."""
    plan = Canary(
        namespace=DATABASE.namespace,
        name="database",
        target=DATABASE.key,
        service="database",
        port=80,
        analysis=Analysis(steps=(50,)),
        origin=origin("Canary", "database"),
    )
    tried = replace(DATABASE, name=canary_key(DATABASE.key).name, labels=(*DATABASE.labels, TRIED))
    shifts = {plan.key: Shift(primary=DATABASE, candidate=DATABASE, weight=100)}
    await mesh.say(plan, shifts=shifts, beside=[hidden(tried, STRANGER)])
    async with (
        server(mesh.places["database"], WEB, answer),
        server(mesh.places["database"], TCP, greet),
        server(mesh.places["database"], ODD, greet),
    ):
        assert (await mesh.ask("frontend", "http://database/x")).startswith(b"HTTP/1.1 503")
        for number in (TCP, ODD):
            assert [await mesh.hears("frontend", number) for _ in range(10)] == [b"hello"] * 10


async def test_a_replica_is_called_by_its_own_address_past_the_routes_and_under_the_policies(
    mesh: Mesh,
) -> None:
    """The Gateway API: what is sent to the address of a Pod is sent to no Service (MeshFrontend)."""
    gone = routes("database", rules=[rule(to("nobody"))], name="database")
    await mesh.say(gone, ONLY_FRONTEND)
    place = ADDRESSES["database"]
    async with server(mesh.places["database"], WEB, answer), server(mesh.places["database"], TCP, greet):
        got = await mesh.ask("frontend", f"http://database:{WEB}/x", to=place)
        assert got.endswith(b"/x"), got
        assert await heard(*await dial(mesh.places["frontend"], place, TCP)) == b"hello"
        assert (await mesh.ask("outsider", f"http://database:{WEB}/x", to=place)).startswith(b"HTTP/1.1 403")
        assert await heard(*await dial(mesh.places["outsider"], place, TCP)) == b""
        assert (await mesh.ask("frontend", "http://database/x")).startswith(b"HTTP/1.1 503")


async def test_which_address_was_called_is_neither_said_by_the_client_nor_seen_by_the_server(
    mesh: Mesh,
) -> None:
    heads = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()

    await mesh.say(routes("nowhere.example", rules=[rule(to("nobody"))], name="nowhere"))
    nowhere = f"{mesh.addresses['nowhere.example']}:80"
    forged = f"GET / HTTP/1.1\r\nhost: database\r\nx-plait-called: {nowhere}\r\nconnection: close\r\n\r\n"
    async with server(mesh.places["database"], WEB, keep):
        got = await said(*await mesh.connect("frontend", "database", 80), forged.encode())
        assert got.startswith(b"HTTP/1.1 200"), got
    (head,) = heads
    assert b"x-plait-called" not in head.lower()


async def test_a_server_that_speaks_first_is_heard_by_whom_a_policy_names_and_sees_nobody_else(
    mesh: Mesh,
) -> None:
    await mesh.say(ONLY_FRONTEND)
    async with server(mesh.places["database"], TCP, greet) as seen:
        assert await mesh.hears("frontend", TCP) == b"hello"
        assert len(seen) == 1
        for _ in range(3):
            assert await mesh.hears("outsider", TCP) == b""
        assert len(seen) == 1


@pytest.mark.parametrize(
    ("source", "admitted"),
    [
        (Source(principals=("*",)), (True, True)),
        (Source(principals=("cluster.local/ns/bistro/*",)), (True, True)),
        (Source(principals=("*/sa/frontend",)), (True, False)),
        (Source(principals=("x", "cluster.local/ns/bistro/sa/outsider")), (False, True)),
        (Source(not_principals=("*/sa/frontend",)), (False, True)),
        (Source(namespaces=("bistro",)), (True, True)),
        (Source(namespaces=("bis*",), not_principals=("*/sa/outsider",)), (True, False)),
        (Source(namespaces=("*tro",)), (True, True)),
        (Source(namespaces=("*trx", "bistr", "istro")), (False, False)),
        (Source(not_namespaces=("bistro",)), (False, False)),
        (Source(not_namespaces=("n" * 62 + "*", "*" + "n" * 62, "n" * 63)), (True, True)),
        (Source(principals=("it's \\ %) \u00e9", "*/sa/frontend")), (True, False)),
    ],
)
async def test_policies_over_connections_mean_what_they_say(
    mesh: Mesh, source: Source, admitted: tuple[bool, bool]
) -> None:
    async with server(mesh.places["database"], TCP, greet):
        for action, wanted in (
            (Action.ALLOW, admitted),
            (Action.DENY, tuple(not one for one in admitted)),
        ):
            await mesh.say(policy("policy", action, allows(source), app="database"))

            async def holds(wanted: tuple[bool, ...] = wanted) -> bool:
                found = [await mesh.hears(by, TCP) == b"hello" for by in ("frontend", "outsider")]
                return tuple(found) == wanted

            await eventually(holds)


async def test_either_side_may_end_first_and_the_other_goes_on(mesh: Mesh) -> None:
    await mesh.say()
    much = b"x" * 3_000_000
    told: asyncio.Queue[bytes] = asyncio.Queue()

    async def end_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(much)
        writer.write_eof()
        await told.put(await reader.read())

    async with server(mesh.places["database"], TCP, end_first):
        reader, writer = await mesh.connect("frontend", "database", TCP)
        await asyncio.sleep(0.3)  # a slow client loses nothing
        assert await reader.read() == much
        writer.write(b"first")
        await asyncio.sleep(0.1)
        writer.write(b" last")
        writer.write_eof()
        assert await asyncio.wait_for(told.get(), 10) == b"first last"
        writer.close()

    async def end_last(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"%d" % len(await reader.read()))
        await asyncio.sleep(0.1)
        writer.write(much)

    async with server(mesh.places["database"], TCP, end_last):
        reader, writer = await mesh.connect("frontend", "database", TCP)
        writer.write(much)
        writer.write_eof()
        assert await reader.read() == b"%d" % len(much) + much
        writer.close()


async def test_http_of_either_version_is_found_out_at_an_undeclared_port(mesh: Mesh) -> None:
    deny = policy("deny", Action.DENY, allows(operations=[Operation(paths=("/admin",))]), app="database")
    await mesh.say(deny)
    async with server(mesh.places["database"], ODD, answer) as seen:
        got = await mesh.ask("frontend", f"http://database:{ODD}/x")
        assert got.startswith(b"HTTP/1.1 200 OK"), got
        assert got.endswith(b"/x")
        assert b" 403 " in await mesh.ask("frontend", f"http://database:{ODD}/admin")
        assert len(seen) == 1
        streams = await mesh.connect("frontend", "database", ODD)
        old = f"GET /x HTTP/1.0\r\nhost: database:{ODD}\r\n\r\n".encode()
        assert (await said(*streams, old)).endswith(b"/x")

    async def echo(asked: bytes, _call: Any) -> bytes:
        return asked

    handler = grpc.method_handlers_generic_handler("T", {"Echo": grpc.unary_unary_rpc_method_handler(echo)})
    with mesh.places["database"].inside():
        application = grpc.aio.server()
        application.add_generic_rpc_handlers((handler,))
        application.add_insecure_port(f"127.0.0.1:{ODD}")
    await application.start()
    try:
        await eventually(lambda: grpc_echoes(mesh))
    finally:
        await application.stop(0)


async def grpc_echoes(mesh: Mesh) -> bool:
    """gRPC makes its sockets in threads of its own, so that bytes are carried to the namespace by hand."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await mesh.connect("frontend", "database", ODD)
        try:
            await asyncio.gather(pipe(reader, back), pipe(there, writer))
        finally:
            back.close()

    options = [("grpc.default_authority", f"database:{ODD}"), ("grpc.enable_http_proxy", 0)]
    async with speaking(carry, "127.0.0.1", 0) as made:
        port = made.sockets[0].getsockname()[1]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            found: bytes = await channel.unary_unary("/T/Echo")(b"hello", timeout=5)
    return found == b"hello"


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while word := await reader.read(65536):
            writer.write(word)
    except ConnectionError:
        pass
    finally:
        writer.close()


async def test_who_speaks_first_is_heard_at_an_undeclared_port_too_after_those_of_declared_ones(
    mesh: Mesh,
) -> None:
    await mesh.say()
    order: list[int] = []

    async def wait(number: int) -> None:
        assert await mesh.hears("frontend", number) == b"hello"
        order.append(number)

    async with server(mesh.places["database"], TCP, greet), server(mesh.places["database"], ODD, greet):
        await wait(TCP)  # the certificates of both are warm
        await wait(ODD)
        order.clear()
        await asyncio.gather(wait(ODD), wait(TCP))
    assert order == [TCP, ODD]


async def test_no_pause_and_no_silence_about_http_gets_round_a_policy(mesh: Mesh, tmp_path: Path) -> None:
    deny = policy("deny", Action.DENY, allows(operations=[Operation(paths=("/admin",))]), app="database")
    await mesh.say(deny)
    async with server(mesh.places["database"], ODD, answer) as seen:
        assert b" 200 OK" in await mesh.ask("frontend", f"http://database:{ODD}/x")
        assert len(seen) == 1
        for words in ((b"", b"GET /admin"), (b"GE", b"T /admin"), (b"", b"GET /x")):
            reader, writer = await mesh.connect("frontend", "database", ODD)
            writer.write(words[0])
            await asyncio.sleep(0.3)
            assert await said(reader, writer, words[1] + b" HTTP/1.1\r\nhost: database\r\n\r\n") == b""
        tls = certificate(mesh, tmp_path, "frontend")
        streams = await dial(mesh.places["stranger"], ADDRESSES["database"], ODD, tls)
        assert await said(*streams, request("database", "/admin")) == b""
        assert len(seen) == 1


@pytest.mark.parametrize("mode", [MtlsMode.PERMISSIVE, MtlsMode.DISABLE])
async def test_in_the_clear_the_same_policies_hold(mesh: Mesh, mode: MtlsMode) -> None:
    """A stranger has no identity, and a policy that asks for none lets it in, whoever of the two speaks first."""
    clear = peers("clear", mode, app="database")
    named = policy("allow", Action.ALLOW, allows(Source(principals=("*",))), app="database")
    paths = policy("deny", Action.DENY, allows(operations=[Operation(paths=("/admin",))]), app="database")

    async def hears(number: int) -> bytes:
        return await heard(*await dial(mesh.places["stranger"], ADDRESSES["database"], number))

    async def asks(path: str) -> bytes:
        streams = await dial(mesh.places["stranger"], ADDRESSES["database"], ODD)
        return await said(*streams, request("database", path))

    async with (
        server(mesh.places["database"], TCP, greet),
        server(mesh.places["database"], ODD, greet) as seen,
    ):
        await mesh.say(clear)

        async def open_to_all() -> bool:
            return [await hears(TCP), await hears(ODD)] == [b"hello"] * 2

        await eventually(open_to_all)
        assert await mesh.hears("outsider", TCP) == b"hello"  # by its sidecar, in whichever way there is
        assert await mesh.hears("outsider", ODD) == b"hello"
        await mesh.say(clear, named)

        async def shut() -> bool:
            return [await hears(TCP), await hears(ODD)] == [b"", b""]

        await eventually(shut)
        seen.clear()
        assert b" 403 " in await asks("/x")
        assert seen == []
    async with server(mesh.places["database"], ODD, answer) as seen:
        await mesh.say(clear, paths)
        await eventually(lambda: starts(asks("/x"), b"HTTP/1.1 200"))
        before = len(seen)
        assert b" 403 " in await asks("/admin")
        reader, writer = await dial(mesh.places["stranger"], ADDRESSES["database"], ODD)
        await asyncio.sleep(0.3)
        assert await said(reader, writer, request("database", "/admin")) == b""
        assert len(seen) == before


async def starts(found: Awaitable[bytes], wanted: bytes) -> bool:
    return (await found).startswith(wanted)


async def test_a_policy_that_changes_ends_the_connections_that_it_is_over_and_tells_of_those_it_refuses(
    mesh: Mesh,
) -> None:
    await mesh.say(ONLY_FRONTEND)
    async with server(mesh.places["database"], TCP, greet):
        reader, writer = await mesh.connect("frontend", "database", TCP)
        assert await reader.read(100) == b"hello"
        await mesh.say(policy("nobody", app="database"))

        async def refused() -> bool:
            return await mesh.hears("frontend", TCP) == b""

        await eventually(refused)
        assert await asyncio.wait_for(reader.read(100), 10) == b""
        writer.close()

        async def told() -> bool:
            return '"denied":"connection"' in mesh.proxies["database"].log

        await eventually(told)


async def test_a_new_service_changes_no_listener_and_cuts_no_stream(mesh: Mesh) -> None:
    await mesh.say()
    proxy = mesh.proxies["frontend"]
    async with server(mesh.places["database"], TCP, greet), server(mesh.places["database"], ODD, greet):
        reader, writer = await mesh.connect("frontend", "database", TCP)
        assert await reader.read(100) == b"hello"
        before = [await proxy.stat(f"listener_manager.listener_{what}") for what in ("modified", "added")]
        more = service(
            "more", port(6000, Protocol.TCP, TCP), port(6001, Protocol.UNDECLARED, ODD), app="database"
        )
        await mesh.say(more)

        async def heard_of() -> bool:
            return await heard(*await mesh.connect("frontend", "more", 6000)) == b"hello"

        await eventually(heard_of)
        assert await heard(*await mesh.connect("frontend", "more", 6001)) == b"hello"
        writer.write(b"still here")
        assert await reader.read(100) == b"STILL HERE"
        writer.close()
        after = [await proxy.stat(f"listener_manager.listener_{what}") for what in ("modified", "added")]
        assert (after[0], after[1]) == (before[0], before[1] + 2)
        await mesh.say()
        assert await mesh.hears("frontend", TCP) == b"hello"


async def test_a_connection_ends_when_a_rule_says_that_it_was_idle_or_open_for_too_long(mesh: Mesh) -> None:
    async def words(limits: ConnectionPool) -> int:
        """How many of four words are answered, of which the last one comes late."""
        await mesh.say(destination("database", policy=TrafficPolicy(connections=limits)))
        reader, writer = await mesh.connect("frontend", "database", TCP)
        assert await reader.readexactly(5) == b"hello"
        answered = 0
        for pause in (0.1, 0.1, 0.1, 1.0):
            await asyncio.sleep(pause)
            with suppress(ConnectionError):
                writer.write(b"a")
                answered += await reader.read(1) == b"A"
        writer.close()
        return answered

    async with server(mesh.places["database"], TCP, greet):
        assert await words(ConnectionPool()) == 4
        assert await words(ConnectionPool(tcp_idle_timeout=0.6)) == 3
        assert await words(ConnectionPool(max_connection_duration=0.2)) < 3


async def test_nobody_tunnels_through_a_port_of_http(mesh: Mesh, tmp_path: Path) -> None:
    await mesh.say()
    tls = certificate(mesh, tmp_path, "frontend", "http/1.1")
    async with server(mesh.places["database"], WEB, answer) as seen:
        streams = await dial(mesh.places["stranger"], ADDRESSES["database"], WEB, tls)
        assert (await said(*streams, request("database", "/x"))).startswith(b"HTTP/1.1 200")
        for number in (WEB, ODD):
            streams = await dial(mesh.places["stranger"], ADDRESSES["database"], number, tls)
            got = await said(*streams, request(f"database:{WEB}", f"database:{WEB}", "CONNECT"))
            assert got.startswith((b"HTTP/1.1 403", b"HTTP/1.1 404")), got
        assert len(seen) == 1


async def test_what_is_not_declared_is_closed(mesh: Mesh) -> None:
    await mesh.say()
    async with server(mesh.places["database"], 7000, greet) as seen:
        for number in (7000, 15006, 15001, TCP, WEB):
            try:
                streams = await dial(mesh.places["stranger"], ADDRESSES["database"], number)
            except ConnectionError:
                continue
            assert await said(*streams, request("database", "/x")) == b""
        assert seen == []


@pytest.mark.parametrize("outbound", list(OutboundTrafficPolicy))
async def test_what_is_outside_is_reached_where_that_is_allowed(
    mesh: Mesh, outbound: OutboundTrafficPolicy
) -> None:
    await mesh.say(outbound=outbound)
    allowed = outbound is OutboundTrafficPolicy.ALLOW_ANY
    async with server(mesh.places["outside"], 7000, greet, OUTSIDE) as seen:

        async def as_wanted() -> bool:
            got = await heard(*await dial(mesh.places["frontend"], OUTSIDE, 7000))
            return got == (b"hello" if allowed else b"")

        await eventually(as_wanted)
        assert bool(seen) is allowed
    for address in ("127.0.0.1", "0.0.0.0", ADDRESSES["frontend"]):
        opened = await mesh.proxies["frontend"].stat("listener.127.0.0.1_15001.downstream_cx_total")
        for number in (15001, 15006):
            try:
                streams = await dial(mesh.places["frontend"], address, number)
            except ConnectionError:
                continue
            assert await said(*streams, b"x" * 100) == b""
        now = await mesh.proxies["frontend"].stat("listener.127.0.0.1_15001.downstream_cx_total")
        assert now <= opened + 2


async def test_a_sidecar_shuts_the_way_out_for_those_whom_it_is_for(mesh: Mesh) -> None:
    async with server(mesh.places["outside"], 7000, greet, OUTSIDE):

        async def reached(by: str) -> bool:
            return await heard(*await dial(mesh.places[by], OUTSIDE, 7000)) == b"hello"

        async def only_by(*clients: str) -> bool:
            return {by for by in ("frontend", "outsider") if await reached(by)} == set(clients)

        for policy, clients in (
            ("outboundTrafficPolicy: {mode: REGISTRY_ONLY}", ("outsider",)),
            ("outboundTrafficPolicy: {}", ("frontend", "outsider")),
        ):
            sidecar = f"""
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: shut, namespace: bistro}}
spec:
  workloadSelector: {{labels: {{app: frontend}}}}
  {policy}
"""
            await mesh.say(*facts(sidecar), outbound=OutboundTrafficPolicy.ALLOW_ANY)
            await eventually(lambda clients=clients: only_by(*clients))


async def test_bytes_and_connections_are_counted_at_both_ends(mesh: Mesh) -> None:
    await mesh.say(ONLY_FRONTEND)
    labels = {
        "source_workload": "frontend",
        "source_principal": "spiffe://cluster.local/ns/bistro/sa/frontend",
        "destination_workload": "database",
        "destination_principal": "spiffe://cluster.local/ns/bistro/sa/database",
        "destination_version": "v1",
        "destination_service": host("database"),
        "destination_service_name": "database",
        "destination_service_namespace": "bistro",
        "request_protocol": "tcp",
        "response_flags": "-",
    }
    wanted = {
        "tcp_received_bytes_total": 1000,
        "tcp_sent_bytes_total": 1005,
        "tcp_connections_opened_total": 1,
        "tcp_connections_closed_total": 1,
    }
    ends = (
        ("frontend", {"reporter": "source", "connection_security_policy": "unknown"}),
        ("database", {"reporter": "destination", "connection_security_policy": "mutual_tls"}),
    )

    async def counts(of: str, more: dict[str, str]) -> dict[str, int]:
        return {name: await mesh.metric(of, name, **labels, **more) for name in wanted}

    async def balance(of: str) -> int:
        """How many connections are open, by the metrics."""
        opened = await mesh.metric(of, "tcp_connections_opened_total")
        return opened - await mesh.metric(of, "tcp_connections_closed_total")

    async def replaced() -> bool:
        return await mesh.proxies["database"].stat("listener_manager.total_filter_chains_draining") == 0

    await eventually(replaced)  # the counters of a filter chain that is gone begin anew
    before = {of: await counts(of, more) for of, more in ends}
    await mesh.proxies["database"].merged()
    requests = await mesh.metric("database", "requests_total", reporter="destination")
    async with server(mesh.places["database"], TCP, greet):
        reader, writer = await mesh.connect("frontend", "database", TCP)
        writer.write(b"x" * 1000)
        writer.write_eof()
        assert len(await reader.read()) == 1005
        writer.close()
    for of, more in ends:
        expected = {name: before[of][name] + count for name, count in wanted.items()}

        async def counted(
            of: str = of, more: dict[str, str] = more, expected: dict[str, int] = expected
        ) -> bool:
            return await counts(of, more) == expected

        await eventually(counted)
    streams = await dial(mesh.places["stranger"], ADDRESSES["database"], TCP)
    assert b"hello" not in await said(*streams, b"this is no TLS")
    assert await mesh.hears("outsider", TCP) == b""  # denied

    async def balanced() -> bool:
        return [await balance(of) for of in mesh.proxies] == [0, 0, 0]

    await eventually(balanced)
    assert await mesh.metric("database", "requests_total", reporter="destination") == requests


async def test_streams_of_tcp_hold_up_a_drain(mesh: Mesh) -> None:
    """The shim drains until these gauges are at nothing."""
    await mesh.say()
    async with server(mesh.places["database"], TCP, greet):
        reader, writer = await mesh.connect("frontend", "database", TCP)
        assert await reader.read(100) == b"hello"
        gauge = f"cluster.inbound|{TCP}||.upstream_rq_active"
        assert await mesh.proxies["database"].stat(gauge) == 1
        writer.close()

        async def idle() -> bool:
            return await mesh.proxies["database"].stat(gauge) == 0

        await eventually(idle)


LOGGED = facts("""
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: all, namespace: bistro}
spec: {accessLogging: [{providers: [{name: envoy}]}]}
""")


async def test_connections_stand_in_access_logs_of_both_ends_when_they_end(mesh: Mesh) -> None:
    await mesh.say(ONLY_FRONTEND, *LOGGED)

    def lines(of: str) -> list[dict[str, Any]]:
        found = [json.loads(one) for one in mesh.proxies[of].log.splitlines() if one.startswith('{"')]
        return [one for one in found if one.get("log") == "access" and one["protocol"] == "TCP"]

    async def told(of: str, by: str, **wanted: object) -> None:
        async def stands() -> bool:
            await mesh.hears(by, TCP)
            return any(wanted.items() <= one.items() for one in lines(of))

        await eventually(stands)

    caller = {one: f"spiffe://cluster.local/ns/bistro/sa/{one}" for one in ("frontend", "outsider")}
    callee = "spiffe://cluster.local/ns/bistro/sa/database"
    async with server(mesh.places["database"], TCP, greet):
        went = {"caller": caller["frontend"], "callee": callee, "bytes_sent": 5, "flags": "-"}
        await told(
            "frontend",
            "frontend",
            side="client",
            upstream_cluster=f"outbound|{TCP}||{host('database')}",
            **went,
        )
        await told("database", "frontend", side="server", upstream_cluster=f"inbound|{TCP}||", **went)
        shut = {"caller": caller["outsider"], "flags": "UH", "denied_by": "no ALLOW rule holds"}
        await told("database", "outsider", side="server", **shut)
    await mesh.say()
