"""Programs that know nothing of a mesh: everything they say goes through two Envoys, encrypted and counted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from plait.local.network import namespace
from tests.e2e.mesh import Mesh
from tests.envoy.support import eventually
from tests.local.network.spaces import needs_root
from tests.transparent.town import (
    IDLE,
    PROGRAMS,
    fabric_of,
    files,
    host,
    python,
    run,
    said,
    samples,
    town,
    workload,
)

pytestmark = [needs_root, pytest.mark.timeout(240)]

POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
REDIS = shutil.which("redis-server")
MUSL = shutil.which("musl-gcc")
CLIENT = str(PROGRAMS / "client.py")
SECRET = "nobody-reads-this"


def everybody() -> list[str]:
    found = [
        workload("client", IDLE),
        workload("stranger", IDLE),
        workload("reader", IDLE, workingDir="."),
        workload("web", python("web.py"), ports={"http": 8080}, callers=["client"]),
        workload("site", python("web.py"), ports={"http": 80}, callers=["client"]),
        workload("echo", python("tcp.py", "echo"), ports={"tcp-echo": 9000}, callers=["client"]),
        workload("greeter", python("tcp.py", "greeter"), ports={"tcp-smtp": 2525}, callers=["client"]),
        workload("mystery", python("tcp.py", "greeter"), ports={"mystery": 7000}, callers=["client"]),
        workload("plain", python("web.py"), ports={"anything": 7001}, callers=["client"]),
        workload("calls", python("grpc_server.py"), ports={"grpc": 50051}, callers=["client"]),
    ]
    if POSTGRES is not None:
        serve = (
            f"{POSTGRES}/postgres -D /tmp/db -c listen_addresses=127.0.0.1 -c unix_socket_directories=/tmp"
        )
        script = f"{POSTGRES}/initdb -D /tmp/db -U town -A trust >/dev/null && exec {serve}"
        found.append(workload("db", ("sh", "-c", script), ports={"tcp-postgres": 5432}, callers=["client"]))
    if REDIS is not None:
        command = (REDIS, "--port", "6379", "--dir", "/tmp", "--save", "")
        found.append(workload("cache", command, ports={"redis": 6379}, callers=["client"]))
    return found


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    with host() as own:
        async with town(tmp_path, *everybody(), host=own) as running:
            yield running


async def test_programs_that_know_nothing_of_a_mesh_speak_through_it(mesh: Mesh) -> None:
    """One mesh for all, since starting it is the most of the time."""
    await no_proxy_setting_is_needed(mesh)
    await http_by_every_name(mesh)
    await names_are_found_by_musl_too(mesh)
    await a_raw_socket_with_half_close(mesh)
    await servers_that_speak_first(mesh)
    await what_is_undeclared_is_detected(mesh)
    await grpc_streams(mesh)
    await postgresql(mesh)
    await redis(mesh)
    await strangers_are_refused(mesh)
    await bytes_are_counted_at_both_ends(mesh)
    await what_is_counted_is_scraped_from_outside(mesh)
    await nothing_is_in_clear_between_them(mesh)
    await requests_are_logged_to_a_file_of_the_replica(mesh)
    wanted = {"postgresql": POSTGRES, "redis-server": REDIS, "musl-gcc": MUSL}
    if absent := [name for name, found in wanted.items() if not found]:
        pytest.skip(f"all of it holds, but for what is not installed here: {', '.join(absent)}")


TELEMETRY = """
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh, namespace: istio-system}
spec: {meshConfig: {accessLogFile: access.log}}
"""


async def requests_are_logged_to_a_file_of_the_replica(mesh: Mesh) -> None:
    (mesh.folder / "telemetry.yaml").write_text(TELEMETRY)
    log = files(mesh, "web").access_log

    async def told() -> bool:
        await said(mesh, "client", "curl", "-s", f"http://web:8080/logged?token={SECRET}")
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return any(one.get("path") == "/logged" and one["side"] == "server" for one in lines)

    await eventually(told)
    assert SECRET not in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


async def no_proxy_setting_is_needed(mesh: Mesh) -> None:
    assert "proxy" not in (await said(mesh, "client", "env")).lower()


async def http_by_every_name(mesh: Mesh) -> None:
    for name in ("web", "web.town", "web.town.svc", "web.town.svc.cluster.local"):
        assert '"path": "/x"' in await said(mesh, "client", "curl", "-s", f"http://{name}:8080/x")
    assert '"path": "/80"' in await said(mesh, "client", "curl", "-s", "http://site/80")
    answer = await said(mesh, "client", sys.executable, CLIENT, "httpx", "http://web:8080/httpx")
    assert answer.startswith("200 ")
    code, out = await run(mesh, "client", "curl", "-sS", "http://nowhere:8080/")
    assert code == 6, out


async def names_are_found_by_musl_too(mesh: Mesh) -> None:
    if MUSL is None:
        return
    program = mesh.folder / "lookup"
    source = (
        "#include <netdb.h>\n#include <stdio.h>\n#include <arpa/inet.h>\n"
        "int main(int n, char **a) { struct addrinfo *r; if (getaddrinfo(a[1], 0, 0, &r)) return 1;\n"
        "puts(inet_ntoa(((struct sockaddr_in *)r->ai_addr)->sin_addr)); return 0; }\n"
    )
    command = (MUSL, "-static", "-x", "c", "-", "-o", str(program))
    await asyncio.to_thread(subprocess.run, command, input=source.encode(), check=True)
    for name in ("web", "web.town.svc.cluster.local"):
        found = await said(mesh, "reader", str(program), name)
        assert found == (await said(mesh, "reader", "getent", "ahostsv4", name)).split()[0] + "\n"
    assert (await run(mesh, "reader", str(program), "nowhere"))[0] == 1


async def a_raw_socket_with_half_close(mesh: Mesh) -> None:
    text = SECRET * 1000
    assert await said(mesh, "client", sys.executable, CLIENT, "raw", "echo", "9000", text) == text


async def servers_that_speak_first(mesh: Mesh) -> None:
    assert await said(mesh, "client", sys.executable, CLIENT, "first", "greeter", "2525") == "220 welcome\n"


async def what_is_undeclared_is_detected(mesh: Mesh) -> None:
    assert await said(mesh, "client", sys.executable, CLIENT, "first", "mystery", "7000") == "220 welcome\n"
    assert '"path": "/y"' in await said(mesh, "client", "curl", "-s", "http://plain:7001/y")

    async def seen() -> bool:
        """It was seen to be HTTP."""
        requests = await samples(mesh, "plain", "istio_requests_total")
        return any(labels["response_code"] == "200" for labels, _ in requests)

    await eventually(seen)


async def grpc_streams(mesh: Mesh) -> None:
    answers = await said(mesh, "client", sys.executable, CLIENT, "grpc", "calls", "50051", "hello")
    assert answers == "hello\nhello\n"


async def postgresql(mesh: Mesh) -> None:
    if POSTGRES is None:
        return
    command = (f"{POSTGRES}/psql", "-h", "db", "-U", "town", "-d", "postgres", "-Atc")
    assert await said(mesh, "client", *command, f"select '{SECRET}' || 1") == f"{SECRET}1\n"


async def redis(mesh: Mesh) -> None:
    if REDIS is None:
        return
    assert await said(mesh, "client", "redis-cli", "-h", "cache", "set", "a", SECRET) == "OK\n"
    assert await said(mesh, "client", "redis-cli", "-h", "cache", "get", "a") == f"{SECRET}\n"


async def strangers_are_refused(mesh: Mesh) -> None:
    assert "403" in await said(mesh, "stranger", "curl", "-si", "http://web:8080/")
    for name, port in (("echo", "9000"), ("greeter", "2525"), ("mystery", "7000")):
        code, out = await run(mesh, "stranger", sys.executable, CLIENT, "first", name, port)
        assert "welcome" not in out, name
        assert code or not out, (name, out)
    for name, what in (("web", "request"), ("echo", "connection")):

        async def told(name: str = name, what: str = what) -> bool:
            lines = files(mesh, name).envoy_log.read_text().splitlines()
            denials = [json.loads(line) for line in lines if line.startswith("{")]
            return any(
                one["denied"] == what and one["caller"].endswith("/ns/town/sa/stranger") for one in denials
            )

        await eventually(told)


async def bytes_are_counted_at_both_ends(mesh: Mesh) -> None:
    for name in ("echo", *(["db"] if POSTGRES else []), *(["cache"] if REDIS else [])):
        for at, reporter in (("client", "source"), (name, "destination")):
            for metric in ("istio_tcp_sent_bytes_total", "istio_tcp_received_bytes_total"):
                counted = [
                    value
                    for labels, value in await samples(mesh, at, metric)
                    if labels["destination_service_name"] == name
                    and labels["reporter"] == reporter
                    and labels["source_workload"] == "client"
                ]
                assert sum(counted) > len(SECRET), (metric, at, name)
    for labels, _ in await samples(mesh, "echo", "istio_tcp_sent_bytes_total"):
        assert labels["connection_security_policy"] == "mutual_tls"
        assert labels["source_principal"].startswith("spiffe://cluster.local/ns/town/sa/")


async def what_is_counted_is_scraped_from_outside(mesh: Mesh) -> None:
    """Nobody outside reaches a sidecar's own port, but whoever may use the API is told the same."""
    connector = aiohttp.UnixConnector(str(mesh.state / "run" / "api.sock"))
    async with (
        aiohttp.ClientSession("http://plait", connector=connector) as http,
        http.get("/v1/proxies/town/echo/0/metrics") as response,
    ):
        assert response.status == 200, await response.text()
        page = (await response.text()).splitlines()
    name = "istio_tcp_sent_bytes_total"
    told = [line for line in page if line.startswith(f"{name}{{")]
    assert sorted(float(line.rpartition(" ")[2]) for line in told) == sorted(
        value for _, value in await samples(mesh, "echo", name)
    )
    assert told


async def nothing_is_in_clear_between_them(mesh: Mesh) -> None:
    """All packets of the fabric are looked at, while every kind of client says the same word."""
    with fabric_of(mesh, "client") as fabric:
        capture = namespace.inside(
            fabric, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        )
    with capture:
        capture.setblocking(False)
        packets: list[bytes] = []
        reading = asyncio.create_task(captured(capture, packets))
        await said(mesh, "client", "curl", "-s", f"http://web:8080/{SECRET}")
        await a_raw_socket_with_half_close(mesh)
        await postgresql(mesh)
        await redis(mesh)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
    assert len(packets) > 50
    assert not any(SECRET.encode() in packet for packet in packets)


async def captured(capture: socket.socket, packets: list[bytes]) -> None:
    loop = asyncio.get_running_loop()
    while len(packets) < 50_000:
        packets.append(await loop.sock_recv(capture, 65535))
