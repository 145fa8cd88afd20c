"""The way out of the mesh: open where the outbound traffic policy says so, and shut where it does not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from plait.agent.record import ReplicaFiles
from plait.local.network import egress, namespace, programs
from tests.e2e.mesh import PLAIT, Mesh, clean_environment, running, until
from tests.local.network.spaces import needs_root, shown
from tests.transparent.town import (
    IDLE,
    NAMESPACE,
    PROGRAMS,
    files,
    host,
    python,
    run,
    said,
    samples,
    workload,
)

pytestmark = [
    needs_root,
    pytest.mark.timeout(240),
    pytest.mark.skipif(programs.find(egress.PROGRAM) is None, reason="slirp4netns is not installed"),
]

HOST, WORLD = "10.99.0.1", "10.99.0.2"
HOST_6, WORLD_6 = "fd10::1", "fd10::2"


@contextmanager
def world(own: int) -> Iterator[None]:
    """Another namespace, joined to the host's, with servers in it."""
    with host() as outside, ExitStack() as stack:
        shown(own, f"ip link add out type veth peer name in netns /proc/{os.getpid()}/fd/{outside}")
        shown(
            own,
            f"ip address add {HOST}/30 dev out; ip address add {HOST_6}/64 dev out nodad; ip link set out up",
        )
        shown(
            outside,
            f"ip address add {WORLD}/30 dev in; ip address add {WORLD_6}/64 dev in nodad; ip link set in up",
        )
        shown(own, f"ip route add default via {WORLD_6} dev out")
        command = (sys.executable, str(PROGRAMS / "world.py"), WORLD, WORLD_6)
        servers = namespace.inside(outside, lambda: subprocess.Popen(command, stdout=subprocess.PIPE))
        stack.callback(servers.wait)
        stack.callback(servers.kill)
        assert servers.stdout
        stack.enter_context(servers.stdout)
        assert servers.stdout.readline() == b"open\n"
        yield


def on(own: int, tmp_path: Path) -> tuple[str, ...]:
    """What puts a program on a host whose resolver is the world's."""
    mount = f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec "$@"'
    return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{own}", "unshare", "--mount", "sh", "-c", mount, "sh")


@asynccontextmanager
async def mesh(tmp_path: Path, policy: str) -> AsyncIterator[tuple[Mesh, tuple[str, ...]]]:
    """A mesh on a host whose resolver is the world's, and what puts another program there."""
    folder = tmp_path / "town"
    folder.mkdir()
    web = workload("web", python("web.py"), ports={"http": 8080})
    (folder / "town.yaml").write_text(NAMESPACE + web + workload("client", IDLE))
    (tmp_path / "resolv.conf").write_text(f"nameserver {WORLD}\n")
    with host() as own, world(own):
        prefix = on(own, tmp_path)
        arguments = ("--outbound-traffic-policy", policy)
        async with running(folder, *arguments, mode="transparent", prefix=prefix) as made:
            yield made, prefix


_UDP = "import socket; s = socket.socket({}, 2); s.settimeout(3); s.connect(('{}', 7)); s.send(b'hi'); print(s.recv(9))"
UDP, UDP_6 = _UDP.format("socket.AF_INET", WORLD), _UDP.format("socket.AF_INET6", WORLD_6)


async def test_where_the_policy_allows_any_the_world_is_reached_through_envoy(tmp_path: Path) -> None:
    async with mesh(tmp_path, "ALLOW_ANY") as (open_mesh, _):
        for url in (f"http://{WORLD}:8000/", "http://any.example:8000/", f"http://[{WORLD_6}]:8000/"):
            assert await said(open_mesh, "client", "curl", "-s", "--max-time", "10", url) == "the world\n"
        assert '"path"' in await said(open_mesh, "client", "curl", "-s", "http://web:8080/"), (
            "names of the mesh too"
        )
        for program in (UDP, UDP_6):
            assert await said(open_mesh, "client", sys.executable, "-c", program) == "b'hi'\n"
        counted = [labels for labels, _ in await samples(open_mesh, "client", "istio_tcp_sent_bytes_total")]
        assert any(labels["destination_service_name"] == "PassthroughCluster" for labels in counted)
        await the_way_out_comes_back(open_mesh)


async def the_way_out_comes_back(open_mesh: Mesh) -> None:
    old = open_mesh.pid(egress.ROLE)
    os.kill(old, signal.SIGKILL)

    async def again() -> bool:
        _, out = await run(open_mesh, "client", "curl", "-s", "--max-time", "2", f"http://{WORLD}:8000/")
        return out == "the world\n"

    await until(again, "another way out")
    assert open_mesh.pid(egress.ROLE) != old


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("REGISTRY_ONLY", "ALLOW_ANY", marks=pytest.mark.prove),
        ("ALLOW_ANY", "REGISTRY_ONLY"),
    ],
)
async def test_a_second_up_with_another_policy_rolls_what_runs_over_to_it(
    tmp_path: Path, before: str, after: str
) -> None:
    async with mesh(tmp_path, before) as (made, prefix):
        old = {name: files(made, name).read() for name in ("web", "client")}
        made.process.kill()
        await made.process.wait()
        command = (*PLAIT, "up", str(made.folder), "--state-dir", str(made.state), "--mode", "transparent")
        with made.output.with_name("again").open("wb") as output:
            made.process = await asyncio.create_subprocess_exec(
                *(*prefix, *command, "--outbound-traffic-policy", after),
                env=clean_environment(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        made.output = made.output.with_name("again")

        async def as_it_says() -> bool:
            _, world = await run(made, "client", "curl", "-s", "--max-time", "3", "http://any.example:8000/")
            code, own = await run(made, "client", "curl", "-s", "--max-time", "3", "http://web:8080/")
            return (world == "the world\n") == (after == "ALLOW_ANY") and code == 0 and '"path"' in own

        def rolled_over() -> bool:
            found = {one.read() for one in ReplicaFiles.all(made.state)}
            return len(found) == 2 and not found & set(old.values())

        await until(rolled_over, "both to be made anew")
        await until(as_it_says, f"the client to be under {after}")


async def test_where_it_does_not_nothing_of_the_world_is_reached_or_asked(tmp_path: Path) -> None:
    async with mesh(tmp_path, "REGISTRY_ONLY") as (shut, _):
        assert '"path"' in await said(shut, "client", "curl", "-s", "http://web:8080/")
        assert (await run(shut, "client", "curl", "-s", "--max-time", "5", f"http://{WORLD}:8000/"))[0] in {
            52,
            56,
        }
        assert (await run(shut, "client", "curl", "-s", "--max-time", "5", "http://any.example:8000/"))[
            0
        ] == 6
        for program in (UDP, UDP_6):
            assert (await run(shut, "client", sys.executable, "-c", program))[0] == 1
        assert (await run(shut, "client", "curl", "-s", "--max-time", "5", f"http://[{WORLD_6}]:8000/"))[
            0
        ] == 7
