"""A town of small programs, in a mesh in transparent mode that runs in a network namespace of the test's own.

That namespace stands for the host: what the mesh would do to the host it would do to it, and nothing that a test
sends can leave it.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path

from plait.agent.record import ReplicaFiles
from plait.api.client import ApiError, NoMesh
from plait.cli.online import NO_MESH, UNWELL
from plait.local.network import namespace
from plait.model.names import ReplicaKey
from tests.e2e.mesh import Mesh, running
from tests.local.network.spaces import shown

PROGRAMS = Path(__file__).with_name("programs")
NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: town}
"""
_SHUT = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: allow-nothing, namespace: town}
spec: {}
"""


def workload(
    name: str,
    command: Sequence[str],
    *,
    ports: Mapping[str, int] | None = None,
    callers: Sequence[str] = (),
    **spec: object,
) -> str:
    """The YAML of a workload with an account of its own, a Service over its ports, and whom it lets in.

    It works in the folder of PROGRAMS, and so sees them wherever this checkout lies.
    """
    ports = ports or {}
    declared = [{"name": port, "port": number} for port, number in ports.items()]
    documents: list[object] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "town"}},
        {
            "apiVersion": "plait.dev/v1alpha1",
            "kind": "Workload",
            "metadata": {"name": name, "namespace": "town", "labels": {"app": name}},
            "spec": {
                "command": list(command),
                "workingDir": str(PROGRAMS),
                "serviceAccount": name,
                "ports": declared,
                **spec,
            },
        },
    ]
    if ports:
        documents.append(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": "town"},
                "spec": {"selector": {"app": name}, "ports": declared},
            }
        )
    if callers:
        principals = [f"cluster.local/ns/town/sa/{caller}" for caller in callers]
        documents.append(
            {
                "apiVersion": "security.istio.io/v1",
                "kind": "AuthorizationPolicy",
                "metadata": {"name": name, "namespace": "town"},
                "spec": {
                    "selector": {"matchLabels": {"app": name}},
                    "rules": [{"from": [{"source": {"principals": principals}}]}],
                },
            }
        )
    return "".join(f"---\n{json.dumps(document)}\n" for document in documents)


def python(program: str, *arguments: str) -> tuple[str, ...]:
    """A program of tests/transparent/programs, in the interpreter of the tests."""
    return (sys.executable, str(PROGRAMS / program), *arguments)


IDLE = ("tail", "-f", "/dev/null")


@contextmanager
def host() -> Iterator[int]:
    """A network namespace that stands for the host; nothing in it but a loopback."""
    made = namespace.make()
    try:
        shown(made, "ip link set lo up")
        yield made
    finally:
        os.close(made)


@asynccontextmanager
async def town(
    tmp_path: Path,
    *texts: str,
    host: int,
    arguments: Sequence[str] = (),
    shut: bool = True,
    ready: bool = True,
) -> AsyncIterator[Mesh]:
    """A mesh of these workloads, where policies allow nothing but what they say (`shut`), once it is ready."""
    folder = tmp_path / "town"
    folder.mkdir()
    (folder / "town.yaml").write_text(NAMESPACE + ("---" + _SHUT if shut else "") + "".join(texts))
    prefix = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{host}")
    async with running(folder, *arguments, mode="transparent", prefix=prefix, ready=ready) as mesh:
        yield mesh


def starting(tmp_path: Path, *texts: str, host: int) -> AbstractAsyncContextManager[Mesh]:
    """The same from its first moment on."""
    return town(tmp_path, *texts, host=host, ready=False)


async def run(mesh: Mesh, name: str, *command: str, seconds: float = 30.0) -> tuple[int, str]:
    """A command in a workload's place, as `plait exec` runs it: its exit code, and all that it printed."""
    out = b""
    try:
        async with (
            asyncio.timeout(seconds),
            mesh.client() as client,
            client.exec(f"town/{name}", command) as remote,
        ):
            await remote.write(b"")
            async for _, data in remote.output():
                out += data
    except NoMesh as error:
        return NO_MESH, str(error)
    except ApiError as error:
        return UNWELL, str(error)
    return remote.code, out.decode(errors="replace") + remote.error


async def said(mesh: Mesh, name: str, *command: str) -> str:
    """What a command in a workload's place prints; it has to succeed."""
    code, out = await run(mesh, name, *command)
    assert code == 0, (name, shlex.join(command), out)
    return out


async def samples(mesh: Mesh, name: str, metric: str) -> list[tuple[dict[str, str], float]]:
    """Labels and value of every sample of a metric, as a workload's own sidecar tells it."""
    page = await said(
        mesh, name, "sh", "-c", 'curl -s --noproxy "*" "http://$PLAIT_SIDECAR:15090/stats/prometheus"'
    )
    found = re.findall(rf"^{metric}\{{(.*)\}} (\S+)$", page, re.MULTILINE)
    return [(dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)) for labels, value in found]


def files(mesh: Mesh, name: str, number: int = 0) -> ReplicaFiles:
    key = ReplicaKey.parse(f"town/{name}/{number}")
    assert key is not None
    return ReplicaFiles.of(mesh.state, key)


def pids(mesh: Mesh, name: str) -> tuple[int, int, int]:
    """The processes of a replica as the host knows them: shim, Envoy, application."""
    status = files(mesh, name).last_status()
    assert status is not None
    assert status.shim_pid
    assert status.envoy_pid
    assert status.app_pid
    return status.shim_pid, status.envoy_pid, status.app_pid


def address(mesh: Mesh, name: str) -> str:
    record = files(mesh, name).read()
    assert record is not None
    return record.replica.sidecar.address


@contextmanager
def network_of(pid: int) -> Iterator[int]:
    """The network namespace that a process is in."""
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def fabric_of(mesh: Mesh, name: str) -> Iterator[int]:
    """The fabric's namespace, which the shim of a workload holds."""
    descriptor = namespace.held(pids(mesh, name)[0])
    assert descriptor is not None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def settings_of(host: int) -> dict[str, str]:
    """The network settings, links, routes and rules of a namespace."""
    script = "cd /proc/sys/net && grep -rs . ipv4 ipv6 core | grep -v stat_refresh | sort"
    commands = {
        "settings": script,
        "links": "ip -o link",
        "routes": "ip route show table all",
        "rules": "nft list ruleset",
    }
    return {name: shown(host, command) for name, command in commands.items()}


def listening_in(where: int) -> subprocess.CompletedProcess[str]:
    """What listens in a namespace."""
    return namespace.inside(
        where, lambda: subprocess.run(("ss", "-tulnH"), capture_output=True, text=True, check=True)
    )
