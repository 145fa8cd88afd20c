"""Real Envoys, told what we render, over delta ADS: real requests through a sidecar at each end."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
import pytest_asyncio
from aiohttp import web

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy.check import check
from plait.envoy.render import Renderer
from plait.model.catalog import Protocol, Replica
from plait.model.policy import Action, MtlsMode, Operation, Source
from plait.model.reading import Fact
from plait.model.routing import Retries
from tests.compiler.facts import (
    PRESENT,
    SETTINGS,
    allows,
    destination,
    exact,
    listens,
    match,
    peers,
    policy,
    port,
    prefix,
    principal,
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
    workload_uri,
    write_secrets,
)
from tests.streams import speaking

pytestmark = pytest.mark.asyncio(loop_scope="module")

FRONTEND = workload("frontend")
OUTSIDER = workload("outsider")
PORTS = (listens(8080), listens(8081), listens(9000, Protocol.TCP), listens(9100, Protocol.GRPC))
V1 = workload("reservations-v1", *PORTS, app="reservations", version="v1")
V2 = workload("reservations-v2", *PORTS, app="reservations", version="v2")
WORKLOADS = (FRONTEND, OUTSIDER, V1, V2)
SERVICES = (
    service("frontend"),
    service("outsider"),
    service("reservations", port(8080), port(8081), port(9000, Protocol.TCP), port(9100, Protocol.GRPC)),
    destination("reservations", "v1", "v2"),
)
URL = "http://reservations:8080"


@dataclass(slots=True)
class Mesh:
    """Four workloads and their Envoys."""

    authority: Authority
    plane: ControlPlane
    replicas: dict[str, Replica]
    proxies: dict[str, Proxy] = field(default_factory=dict)
    renderer: Renderer = field(default_factory=Renderer)
    _told: int = 0

    async def say(self, *facts: Fact) -> None:
        """Configure the mesh with these facts beside its workloads, and wait until every proxy has all of it."""
        self._told += 1
        # A route that only this configuration has tells when a proxy has taken it.
        marker = f"told-{self._told}.example"
        told = routes(marker, rules=[rule(to("frontend"))], name="told")
        mesh, _ = merge((*WORKLOADS, *SERVICES, *facts, told), SETTINGS)
        found = endpoints(mesh, self.replicas.values())
        views = [view(mesh, one) for one in self.replicas.values()]
        snapshots = {str(one.node): self.renderer.render(one, found) for one in views}
        self.renderer.sweep()
        for one, snapshot in zip(views, snapshots.values(), strict=True):
            assert check(snapshot, one.outbound.missing) == ()
        await self.plane.publish(snapshots)
        for name, proxy in self.proxies.items():
            await eventually(lambda name=name: self._answers(name, marker))
            assert proxy.process.returncode is None
        await eventually(self._acknowledged)
        assert self.plane.rejections == []

    async def _answers(self, by: str, host: str) -> bool:
        return (await self.get(f"http://{host}/", by=by))[0] != 404

    async def _acknowledged(self) -> bool:
        return self.plane.settled()

    async def get(
        self, url: str, *, by: str = "frontend", method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, Any]]:
        """Status and answer of a request that a workload sends through its proxy."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, proxy=self.proxies[by].url, headers=named) as response,
        ):
            if response.content_type == "application/json":
                return response.status, await response.json()
            return response.status, {"text": await response.text(), "headers": dict(response.headers)}


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
        made = Mesh(authority, plane, replicas)
        await made.say()
        for name, one in replicas.items():
            made.proxies[name] = await stack.enter_async_context(envoy(one, authority, plane, folder / name))
            await stack.enter_async_context(application(one.bindings[0].app_address, 8080, name))
        await ready(made.proxies.values())
        yield made
        for proxy in made.proxies.values():
            assert proxy.process.returncode is None, proxy.log
            assert not re.search(r"\[(warning|error|critical)\]", proxy.log), proxy.log


def context(mesh: Mesh, tmp_path: Path, uri: str | None, *, expired: bool = False) -> ssl.SSLContext:
    """TLS as a client outside of any sidecar speaks it, with a certificate of an identity or with none."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.load_verify_locations(cadata=mesh.authority.root)
    if uri is not None:
        chain, key = mesh.authority.issue(uri, expired=expired)
        file = tmp_path / "client.pem"
        file.touch(mode=0o600)
        file.write_text(chain + key)
        made.load_cert_chain(file)
    return made


async def ask(
    mesh: Mesh, tls: ssl.SSLContext | None, *, port: int = 8080, of: str = "reservations-v1"
) -> bytes:
    """What comes back from the front of a workload; nothing when the connection is refused."""
    try:
        reader, writer = await asyncio.open_connection(mesh.replicas[of].sidecar.address, port, ssl=tls)
        writer.write(b"GET / HTTP/1.1\r\nhost: reservations\r\nconnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 10)
        writer.close()
    except (ssl.SSLError, ConnectionError):
        return b""
    return answer


def metrics(page: str, name: str) -> list[dict[str, str]]:
    """The labels of every series that has counted something."""
    lines = re.findall(rf"^{name}{{(.*)}} [1-9]\d*$", page, re.MULTILINE)
    return [dict(re.findall(r'(\w+)="([^"]*)"', line)) for line in lines]


# ---------------------------------------------------------------------------------------------------------


async def test_every_alias_reaches_the_service_and_the_application_learns_who_calls(mesh: Mesh) -> None:
    await mesh.say()
    for name in ("reservations", "reservations.bistro", "reservations.bistro.svc.cluster.local"):
        status, answer = await mesh.get(f"http://{name}:8080/x", x_request_id="mine", x_envoy_max_retries="7")
        assert status == 200
        headers = {key.lower(): value for key, value in answer["headers"].items()}
        assert "URI=spiffe://cluster.local/ns/bistro/sa/frontend" in headers["x-forwarded-client-cert"]
        assert headers["x-request-id"] == "mine"
        assert headers["host"] == f"{name}:8080"
        assert not [key for key in headers if key.startswith("x-envoy-")]


async def test_a_name_may_end_in_a_dot(mesh: Mesh) -> None:
    await mesh.say()
    assert (await mesh.get("http://reservations.bistro.svc.cluster.local.:8080/"))[0] == 200


async def test_a_callers_word_on_who_it_is_does_not_count(mesh: Mesh) -> None:
    await mesh.say()
    forged = "By=x;URI=spiffe://cluster.local/ns/bistro/sa/admin"
    _, answer = await mesh.get(URL, x_forwarded_client_cert=forged)
    assert "admin" not in str(answer["headers"])


async def test_an_allow_policy_lets_in_whom_it_names_and_nobody_else(mesh: Mesh) -> None:
    await mesh.say(policy("allow", Action.ALLOW, allows(principal("frontend")), app="reservations"))
    assert (await mesh.get(URL))[0] == 200
    status, answer = await mesh.get(URL, by="outsider")
    assert (status, answer["text"]) == (403, "RBAC: access denied")
    await mesh.say(policy("nobody"))
    assert (await mesh.get(URL))[0] == 403
    await mesh.say()
    assert (await mesh.get(URL, by="outsider"))[0] == 200


@pytest.mark.parametrize(
    ("source", "operation", "statuses"),
    [
        (Source(principals=("*",)), Operation(), (200, 200)),
        (Source(principals=("cluster.local/ns/bistro/*",)), Operation(), (200, 200)),
        (Source(principals=("*/sa/frontend",)), Operation(), (200, 403)),
        (Source(not_principals=("*/sa/frontend",)), Operation(), (403, 200)),
        (Source(namespaces=("bistro",)), Operation(), (200, 200)),
        (Source(namespaces=("bis*",), not_principals=("*/sa/outsider",)), Operation(), (200, 403)),
        (Source(namespaces=("market",)), Operation(), (403, 403)),
        (Source(not_namespaces=("bistro",)), Operation(), (403, 403)),
        (Source(), Operation(methods=("GET",)), (200, 200)),
        (Source(), Operation(methods=("POST", "PUT")), (403, 403)),
        (Source(), Operation(not_methods=("GET",)), (403, 403)),
        (Source(), Operation(paths=("/a/b",)), (200, 200)),
        (Source(), Operation(paths=("/a/*",), methods=("GET",)), (200, 200)),
        (Source(), Operation(paths=("*/b",)), (200, 200)),
        (Source(), Operation(not_paths=("/a/*",)), (403, 403)),
        (Source(), Operation(ports=(8080,)), (200, 200)),
        (Source(), Operation(ports=(9000,)), (403, 403)),
        (Source(), Operation(not_ports=(8080,)), (403, 403)),
    ],
)
async def test_policies_mean_what_they_say(
    mesh: Mesh, source: Source, operation: Operation, statuses: tuple[int, int]
) -> None:
    await mesh.say(policy("allow", Action.ALLOW, allows(source, operations=[operation]), app="reservations"))
    got = [(await mesh.get(f"{URL}/a/b?c=/x", by=by))[0] for by in ("frontend", "outsider")]
    assert tuple(got) == statuses


@pytest.mark.parametrize(
    "path", ["/admin/x", "/a/../admin/x", "//admin//x", "/%61dmin/x", "/admin%2fx", "/a/%2e%2e/admin/x"]
)
async def test_a_denied_path_is_denied_however_it_is_written(mesh: Mesh, path: str) -> None:
    deny = policy(
        "deny", Action.DENY, allows(operations=[Operation(paths=("/admin/*",))]), app="reservations"
    )
    await mesh.say(deny)
    reader, writer = await asyncio.open_connection(mesh.replicas["frontend"].sidecar.address, 15001)
    writer.write(f"GET {URL}{path} HTTP/1.1\r\nhost: reservations:8080\r\nconnection: close\r\n\r\n".encode())
    assert (await reader.read()).startswith(b"HTTP/1.1 403")
    writer.close()
    assert (await mesh.get(f"{URL}/administrator"))[0] == 200


async def test_headers_queries_and_weights_choose_the_version(mesh: Mesh) -> None:
    to_v2 = [
        rule(to("reservations", "v2"), match=one)
        for one in (match(headers={"x-user": exact("tester")}), match(query={"beta": exact("1")}))
    ]
    split = rule(to("reservations", "v1", weight=90), to("reservations", "v2", weight=10))
    await mesh.say(routes("reservations", rules=[*to_v2, split]))
    for url, headers in ((URL, {"x_user": "tester"}), (f"{URL}/?beta=1", {}), (f"{URL}/?a=2&beta=1", {})):
        for _ in range(5):
            assert (await mesh.get(url, **headers))[1]["name"] == "reservations-v2"
    names = Counter([(await mesh.get(URL))[1]["name"] for _ in range(300)])
    assert 6 <= names["reservations-v2"] <= 60  # 30 expected; outside once in a million
    assert names.total() == 300


async def test_no_rule_is_404_and_a_missing_backend_is_503_for_its_share(mesh: Mesh) -> None:
    gone = rule(to("reservations", "v9"), match=match(prefix("/gone")))
    half = rule(to("reservations", weight=1), to("nobody", weight=1), match=match(prefix("/half")))
    await mesh.say(routes("reservations", rules=[gone, half]))
    assert (await mesh.get(f"{URL}/"))[0] == 404
    assert (await mesh.get("http://nobody-knows:8080/"))[0] == 404
    assert (await mesh.get(f"{URL}/gone"))[0] == 503
    statuses = Counter([(await mesh.get(f"{URL}/half"))[0] for _ in range(100)])
    assert set(statuses) == {200, 503}
    assert 20 <= statuses[503] <= 80


async def test_a_header_that_must_be_absent_may_be_absent(mesh: Mesh) -> None:
    await mesh.say(
        routes(
            "reservations",
            rules=[
                rule(
                    to("reservations"),
                    match=match(without={"x-a": exact("1"), "x-b": PRESENT}, method=exact("GET")),
                )
            ],
        )
    )
    assert (await mesh.get(URL))[0] == 200
    assert (await mesh.get(URL, x_a="2"))[0] == 200
    assert (await mesh.get(URL, x_a="1"))[0] == 404
    assert (await mesh.get(URL, x_b="2"))[0] == 404
    assert (await mesh.get(URL, method="POST"))[0] == 404


async def test_a_server_with_another_identity_is_refused_and_a_renamed_secret_is_picked_up(
    mesh: Mesh,
) -> None:
    """Secrets are found by a path relative to the folder that Envoy was started in."""
    only_v2 = routes("reservations", rules=[rule(to("reservations", "v2"))])
    await mesh.say(only_v2)
    assert (await mesh.get(URL))[0] == 200
    proxy = mesh.proxies["reservations-v2"]
    name = "cluster.outbound|8080|v2|reservations.bistro.svc.cluster.local.ssl.fail_verify_san"
    before = await mesh.proxies["frontend"].stat(name)
    chain, key = mesh.authority.issue(workload_uri("bistro", "impostor"))
    write_secrets(proxy.folder / "secrets", chain, key, mesh.authority.root)
    more = 0

    async def answers(status: int) -> bool:
        """Asked over a new connection: with one more account behind the service its cluster is made anew."""
        nonlocal more
        more += 1
        another = workload("another", *PORTS, app="reservations", version="v2", account=f"another-{more}")
        await mesh.say(only_v2, another)
        return (await mesh.get(URL))[0] == status

    await eventually(lambda: answers(503))
    assert await mesh.proxies["frontend"].stat(name) > before
    write_secrets(proxy.folder / "secrets", *mesh.authority.issue_to(proxy.replica), mesh.authority.root)
    await eventually(lambda: answers(200))


@pytest.mark.parametrize(
    ("uri", "expired"),
    [
        (None, False),
        ("spiffe://cluster.local/plait/agent/local", False),
        ("spiffe://elsewhere/ns/bistro/sa/frontend", False),
        (workload_uri("bistro", "frontend"), True),
    ],
)
async def test_only_a_workload_with_a_valid_certificate_comes_in(
    mesh: Mesh,
    tmp_path: Path,
    uri: str | None,
    expired: bool,  # noqa: FBT001
) -> None:
    await mesh.say()
    assert await ask(mesh, context(mesh, tmp_path, uri, expired=expired)) == b""
    assert b"200 OK" in await ask(mesh, context(mesh, tmp_path, workload_uri("bistro", "frontend")))


async def test_plain_text_comes_in_only_where_it_is_allowed(mesh: Mesh, tmp_path: Path) -> None:
    certificate = context(mesh, tmp_path, workload_uri("bistro", "frontend"))

    async def takes(*, plain: bytes, secret: bytes) -> bool:
        answers = (await ask(mesh, None), await ask(mesh, certificate))
        return all(
            wanted in answer and bool(wanted) is bool(answer)
            for wanted, answer in zip((plain, secret), answers, strict=True)
        )

    for mode, plain, secret in (
        (MtlsMode.STRICT, b"", b"200 OK"),
        (MtlsMode.PERMISSIVE, b"200 OK", b"200 OK"),
        (MtlsMode.DISABLE, b"200 OK", b""),
        (MtlsMode.STRICT, b"", b"200 OK"),
    ):
        await mesh.say(peers("peers", mode, app="reservations"))
        await eventually(lambda plain=plain, secret=secret: takes(plain=plain, secret=secret))
        assert (await mesh.get(URL))[0] == 200
    allowed = policy("allow", Action.ALLOW, allows(Source(principals=("*",))), app="reservations")
    await mesh.say(peers("peers", MtlsMode.PERMISSIVE, app="reservations"), allowed)
    await eventually(lambda: takes(plain=b"403 Forbidden", secret=b"200 OK"))


async def test_where_mutual_tls_is_disabled_sidecars_call_in_the_clear(mesh: Mesh) -> None:
    """Over connections made since: those from before may end in their own time."""
    both = (
        peers("peers", MtlsMode.DISABLE, app="reservations"),
        routes("reservations", rules=[rule(to("reservations"))]),
    )
    await mesh.say(*both, workload("another", *PORTS, app="reservations", version="v2", account="another"))
    failures = "cluster.outbound|8080||reservations.bistro.svc.cluster.local.ssl.connection_error"

    async def called_in_the_clear() -> bool:
        status, answer = await mesh.get(URL)
        return status == 200 and "x-forwarded-client-cert" not in {name.lower() for name in answer["headers"]}

    await eventually(called_in_the_clear)
    before = await mesh.proxies["frontend"].stat(failures)
    assert [await called_in_the_clear() for _ in range(5)] == [True] * 5
    assert await mesh.proxies["frontend"].stat(failures) == before


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_no_session_is_resumed(mesh: Mesh, tmp_path: Path, version: ssl.TLSVersion) -> None:
    await mesh.say()
    tls = context(mesh, tmp_path, workload_uri("bistro", "frontend"))
    tls.maximum_version = version
    address = (mesh.replicas["reservations-v1"].sidecar.address, 8080)

    def handshake(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        with socket.create_connection(address) as raw, tls.wrap_socket(raw, session=session) as secure:
            secure.sendall(b"GET / HTTP/1.1\r\nhost: reservations\r\nconnection: close\r\n\r\n")
            assert b"200 OK" in secure.recv(65536)
            return secure.session, secure.session_reused

    session, _ = await asyncio.to_thread(handshake, None)
    assert (await asyncio.to_thread(handshake, session))[1] is False


async def test_a_tcp_port_is_guarded_by_the_same_policies(mesh: Mesh, tmp_path: Path) -> None:
    """Even when its server speaks first, nobody hears it whom a policy shuts out."""
    http_only = allows(principal("outsider"), operations=[Operation(methods=("GET",))], index=1)
    await mesh.say(
        policy("allow", Action.ALLOW, allows(principal("frontend")), http_only, app="reservations")
    )

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        await reader.read(65536)

    async def heard() -> bool:
        """Of a listener that has just changed: once everybody hears what it should."""
        accounts = (workload_uri("bistro", account) for account in ("frontend", "outsider", "nobody"))
        answers = [await ask(mesh, context(mesh, tmp_path, uri), port=9000) for uri in accounts]
        return answers == [b"hello", b"", b""]

    async with speaking(greet, mesh.replicas["reservations-v1"].bindings[0].app_address, 9000):
        await eventually(heard)


async def test_a_post_that_never_reached_its_application_goes_to_another_replica(mesh: Mesh) -> None:
    """Version 2 has no application at this port; what reaches version 1 reaches it once."""
    await mesh.say()
    address = mesh.replicas["reservations-v1"].bindings[0].app_address
    async with application(address, 8081, "v1") as seen:
        for _ in range(20):
            assert (await mesh.get("http://reservations:8081/", method="POST"))[0] == 200
        assert len(seen) == 20
    status, answer = await mesh.get("http://reservations:8081/", method="POST")
    assert status == 503
    assert not [name for name in answer["headers"] if name.lower().startswith("x-")]


async def test_a_post_that_fails_is_not_sent_again_and_a_get_is(mesh: Mesh) -> None:
    async def fail(_: web.Request) -> web.Response:
        return web.Response(status=503)

    await mesh.say(routes("reservations", rules=[rule(to("reservations", "v1", port=8081))]))
    address = mesh.replicas["reservations-v1"].bindings[0].app_address
    async with application(address, 8081, "v1", fail) as seen:
        assert (await mesh.get(URL, method="POST"))[0] == 503
        assert len(seen) == 1
        assert (await mesh.get(URL))[0] == 503
        assert len(seen) == 1 + 3


async def test_retries_that_a_user_asks_for_hold_for_every_method(mesh: Mesh) -> None:
    async def fail(_: web.Request) -> web.Response:
        return web.Response(status=500)

    asked = Retries(attempts=4, on=("500",))
    await mesh.say(routes("reservations", rules=[rule(to("reservations", "v1", port=8081), retries=asked)]))
    address = mesh.replicas["reservations-v1"].bindings[0].app_address
    async with application(address, 8081, "v1", fail) as seen:
        assert (await mesh.get(URL, method="POST"))[0] == 500
        assert len(seen) == 5
    none = Retries(attempts=0)
    await mesh.say(routes("reservations", rules=[rule(to("reservations", "v1", port=8081), retries=none)]))
    async with application(address, 8081, "v1", fail) as seen:
        assert (await mesh.get(URL))[0] == 500
        assert len(seen) == 1


async def test_a_timeout_ends_a_request(mesh: Mesh) -> None:
    async def wait(_: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    late = rule(to("reservations", "v1", port=8081), timeout=0.2)
    await mesh.say(routes("reservations", rules=[late]))
    address = mesh.replicas["reservations-v1"].bindings[0].app_address
    async with application(address, 8081, "v1", wait):
        assert (await mesh.get(URL, method="POST"))[0] == 504


async def test_a_grpc_call_is_counted_as_one(mesh: Mesh) -> None:
    await mesh.say()
    server = grpc.aio.server()

    async def fail(_request: bytes, call: Any) -> bytes:
        await call.abort(grpc.StatusCode.NOT_FOUND, "no table")
        return b""

    handler = grpc.method_handlers_generic_handler("T", {"Book": grpc.unary_unary_rpc_method_handler(fail)})
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"{mesh.replicas['reservations-v1'].bindings[0].app_address}:9100")
    await mesh.say(routes("reservations", rules=[rule(to("reservations", "v1", port=9100))]))
    await server.start()
    try:
        address = mesh.replicas["frontend"].sidecar.address
        options = [("grpc.default_authority", "reservations:9100"), ("grpc.enable_http_proxy", 0)]
        async with grpc.aio.insecure_channel(f"{address}:15001", options=options) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await channel.unary_unary("/T/Book")(b"")
        assert failure.value.code() is grpc.StatusCode.NOT_FOUND
    finally:
        await server.stop(0)
    for at in ("frontend", "reservations-v1"):
        await eventually(
            lambda at=at: counted(mesh.proxies[at], "requests_total", "grpc_response_status", "5")
        )


async def counted(proxy: Proxy, metric: str, label: str, value: str) -> bool:
    series = metrics(await proxy.metrics(), f"istio_{metric}")
    return any(one[label] == value and one["request_protocol"] == "grpc" for one in series)


async def test_both_ends_count_with_the_names_and_labels_of_istio(mesh: Mesh) -> None:
    await mesh.say(routes("reservations", rules=[rule(to("reservations", "v1"))]))
    assert (await mesh.get(f"{URL}/counted"))[0] == 200
    of_request = {
        "source_workload": "frontend",
        "source_workload_namespace": "bistro",
        "source_principal": "spiffe://cluster.local/ns/bistro/sa/frontend",
        "source_app": "frontend",
        "source_version": "unknown",
        "source_cluster": "unknown",
        "source_canonical_service": "frontend",
        "source_canonical_revision": "latest",
        "destination_workload": "reservations-v1",
        "destination_workload_namespace": "bistro",
        "destination_principal": "spiffe://cluster.local/ns/bistro/sa/reservations",
        "destination_app": "reservations",
        "destination_version": "v1",
        "destination_service": "reservations.bistro.svc.cluster.local",
        "destination_service_name": "reservations",
        "destination_service_namespace": "bistro",
        "destination_cluster": "unknown",
        "destination_canonical_service": "reservations",
        "destination_canonical_revision": "v1",
        "request_protocol": "http",
        "response_code": "200",
        "response_flags": "-",
        "grpc_response_status": "",
    }
    at_source = of_request | {"reporter": "source", "connection_security_policy": "unknown"}
    at_destination = of_request | {"reporter": "destination", "connection_security_policy": "mutual_tls"}
    for proxy, series in (
        (mesh.proxies["frontend"], at_source),
        (mesh.proxies["reservations-v1"], at_destination),
    ):
        for name in ("requests_total", *(f"{one}_count" for one in HISTOGRAMS)):
            await eventually(
                lambda proxy=proxy, series=series, name=name: has(proxy, f"istio_{name}", series)
            )
        assert "envoy_istio" not in await proxy.metrics()


HISTOGRAMS = ("request_duration_milliseconds", "request_bytes", "response_bytes")


async def has(proxy: Proxy, name: str, series: dict[str, str]) -> bool:
    return series in metrics(await proxy.metrics(), name)


async def test_what_leads_nowhere_is_counted_as_unknown(mesh: Mesh) -> None:
    await mesh.say()
    await mesh.get("http://nobody-knows:8080/")
    await mesh.proxies["frontend"].merged()
    page = await mesh.proxies["frontend"].metrics()
    (found,) = [one for one in metrics(page, "istio_requests_total") if one["response_flags"] == "NR"]
    assert {value for name, value in found.items() if name.startswith("destination")} == {"unknown"}
    assert (found["response_code"], found["request_protocol"]) == ("404", "http")


async def test_a_web_socket_passes_through_both_sidecars(mesh: Mesh) -> None:
    async def shout(request: web.Request) -> web.WebSocketResponse:
        channel = web.WebSocketResponse()
        await channel.prepare(request)
        async for message in channel:
            await channel.send_str(str(message.data).upper())
        return channel

    await mesh.say(routes("reservations", rules=[rule(to("reservations", "v1", port=8081))]))
    address = mesh.replicas["reservations-v1"].bindings[0].app_address
    async with (
        application(address, 8081, "v1", shout),
        aiohttp.ClientSession() as session,
        session.ws_connect(URL, proxy=mesh.proxies["frontend"].url) as channel,
    ):
        await channel.send_str("hello")
        assert (await channel.receive_str(timeout=10)) == "HELLO"
