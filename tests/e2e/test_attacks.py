"""What somebody with a workload's real key can't do: read another's configuration, speak for an agent, get by a policy."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from plait.link.codec import JOIN_REQUEST, SIGN_REQUEST, SIGNED
from plait.link.messages import JoinRequest, SignRequest
from plait.link.transport import CHANNEL_OPTIONS, JOIN, LINK
from plait.resource import CLUSTER
from tests.e2e.mesh import Mesh, bistro, until
from tests.stream.proxy import Proxy

pytestmark = pytest.mark.timeout(240)

DENY_ADMIN = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody-administers, namespace: bistro}
spec:
  selector: {matchLabels: {app: restaurants}}
  action: DENY
  rules: [{to: [{operation: {paths: [/admin, /admin/*]}}]}]
"""

Pair = tuple[str, str]
"""A key and a certificate, as PEM."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def mesh(tmp_path: Path, port: int) -> AsyncIterator[Mesh]:
    async with bistro(tmp_path, "--listen", f"127.0.0.1:{port}") as running:
        yield running


async def test_a_workloads_key_opens_its_own_doors_and_no_other(
    mesh: Mesh, port: int, tmp_path: Path
) -> None:
    """One mesh for all, since starting it is the most of the time."""
    for target in (f"unix:{mesh.state / 'run' / 'xds' / 'sock'}", f"127.0.0.1:{port}"):
        await a_proxy_gets_its_own_configuration_alone(mesh, target)
    await a_workload_is_no_agent(mesh, port)
    await a_join_token_has_to_be_one(mesh)
    await a_denied_path_is_denied_at_once_on_an_open_connection(mesh, tmp_path)


def workloads_own(mesh: Mesh, node: str) -> Pair:
    """The key and certificate of a replica, as the mesh's own user can read them."""
    for folder in (mesh.state / "replicas").iterdir():
        if json.loads((folder / "bootstrap.json").read_text())["node"]["id"] == node:
            (secret,) = json.loads((folder / "secrets" / "identity.json").read_text())["resources"]
            pair = secret["tls_certificate"]
            return pair["private_key"]["inline_string"], pair["certificate_chain"]["inline_string"]
    raise AssertionError(node)


def agents_own(mesh: Mesh) -> Pair:
    kept = json.loads((mesh.state / "agent" / "identity.json").read_text())
    return kept["key"], kept["chain"]


def channel(mesh: Mesh, target: str, pair: Pair | None) -> Any:
    root = (mesh.state / "ca" / "root.pem").read_bytes()
    key, chain = (part.encode() for part in pair) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(root, key, chain)
    return grpc.aio.secure_channel(target, credentials, CHANNEL_OPTIONS)


async def a_proxy_gets_its_own_configuration_alone(mesh: Mesh, target: str) -> None:
    frontend = workloads_own(mesh, "bistro/frontend/0")
    async with channel(mesh, target, frontend) as over, Proxy("bistro/frontend/0", over, (CLUSTER,)) as own:
        await until(lambda: own.has[CLUSTER], "the configuration of its own")
    for node, pair, code in (
        ("bistro/payments/0", frontend, grpc.StatusCode.PERMISSION_DENIED),
        # The two run under one account.
        (
            "bistro/reservations-v2/0",
            workloads_own(mesh, "bistro/reservations-v1/0"),
            grpc.StatusCode.PERMISSION_DENIED,
        ),
        ("bistro/frontend/0", agents_own(mesh), grpc.StatusCode.PERMISSION_DENIED),
        ("bistro/frontend/0", None, grpc.StatusCode.UNAVAILABLE),
    ):
        async with channel(mesh, target, pair) as over, Proxy(node, over, (CLUSTER,)) as thief:
            assert (await thief.end())[0] is code, (node, target)
        assert not thief.received


async def a_workload_is_no_agent(mesh: Mesh, port: int) -> None:
    pair = workloads_own(mesh, "bistro/frontend/0")
    async with channel(mesh, f"unix:{mesh.state / 'run' / 'link.sock'}", pair) as over:
        with pytest.raises(grpc.aio.AioRpcError, match="PERMISSION_DENIED"):
            await over.unary_unary(f"/{LINK}/Sign")(SIGN_REQUEST.encode(SignRequest(csr="")))
        attached = over.stream_stream(f"/{LINK}/Attach")()  # refused before it has said a word
        async with asyncio.timeout(30):
            assert await attached.code() is grpc.StatusCode.PERMISSION_DENIED
    for target in (f"unix:{mesh.state / 'run' / 'xds' / 'sock'}", f"127.0.0.1:{port}"):
        async with channel(mesh, target, agents_own(mesh)) as over:
            with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
                await over.unary_unary(f"/{LINK}/Sign")(SIGN_REQUEST.encode(SignRequest(csr="")))
    assert all(one["state"] == "ready" for one in await mesh.workloads())


async def a_join_token_has_to_be_one(mesh: Mesh) -> None:
    used = (mesh.state / "agent" / "token").read_text() if (mesh.state / "agent" / "token").exists() else ""
    async with channel(mesh, f"unix:{mesh.state / 'run' / 'join.sock'}", None) as over:
        for token in ("wrong", used.strip()):
            request = JoinRequest(agent="local", token=token, csr="")
            answer = SIGNED.decode(await over.unary_unary(f"/{JOIN}/Join")(JOIN_REQUEST.encode(request)))
            assert "this join token is not known" in answer.error
            assert not answer.chain


async def a_denied_path_is_denied_at_once_on_an_open_connection(mesh: Mesh, tmp_path: Path) -> None:
    """However the path is written, and without ending the connection that a policy changes under."""
    restaurants = await mesh.sidecar("restaurants")
    pair = tmp_path / "pair.pem"
    pair.touch(0o600)
    pair.write_text("".join(workloads_own(mesh, "bistro/frontend/0")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(pair)
    reader, writer = await asyncio.open_connection(restaurants, 8080, ssl=context)

    async def status(path: str) -> int:
        writer.write(f"GET {path} HTTP/1.1\r\nhost: payments:8080\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        (length,) = (line.split(":")[1] for line in head.splitlines() if line.startswith("content-length:"))
        await reader.readexactly(int(length))
        return int(head.split()[1])

    async def denied() -> bool:
        return await status("/admin") == 403

    assert not await denied()
    (mesh.folder / "deny-admin.yaml").write_text(DENY_ADMIN)
    await until(denied, "the policy to hold")
    for path in (
        "//admin",
        "/x/../admin/",
        "/x/%2e%2e/admin",
        "/x%2f..%2fadmin",
        "/%61dmin",
        "/admin?x",
        "/\\admin",
    ):
        assert await status(path) == 403, path
    assert await status("/administration") != 403
    (mesh.folder / "deny-admin.yaml").unlink()

    async def open_again() -> bool:
        return not await denied()

    await until(open_again, "the policy to be gone")
    writer.close()
