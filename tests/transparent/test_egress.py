"""The way out of the mesh: open where the outbound traffic policy says so, and shut where it does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from plait.local.network import egress, namespace, programs
from tests.e2e.mesh import Mesh, running, until
from tests.local.network.spaces import needs_root, shown
from tests.transparent.town import IDLE, NAMESPACE, PROGRAMS, host, python, run, said, samples, workload

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


@asynccontextmanager
async def mesh(tmp_path: Path, policy: str) -> AsyncIterator[Mesh]:
    """A mesh on a host whose resolver is the world's."""
    folder = tmp_path / "town"
    folder.mkdir()
    web = workload("web", python("web.py"), ports={"http": 8080})
    (folder / "town.yaml").write_text(NAMESPACE + web + workload("client", IDLE))
    (tmp_path / "resolv.conf").write_text(f"nameserver {WORLD}\n")
    with host() as own, world(own):
        prefix = (
            *("nsenter", f"--net=/proc/{os.getpid()}/fd/{own}", "unshare", "--mount"),
            *("sh", "-c", f'mount --bind {tmp_path}/resolv.conf /etc/resolv.conf && exec "$@"', "sh"),
        )
        arguments = ("--outbound-traffic-policy", policy)
        async with running(folder, *arguments, mode="transparent", prefix=prefix) as made:
            yield made


_UDP = "import socket; s = socket.socket({}, 2); s.settimeout(3); s.connect(('{}', 7)); s.send(b'hi'); print(s.recv(9))"
UDP, UDP_6 = _UDP.format("socket.AF_INET", WORLD), _UDP.format("socket.AF_INET6", WORLD_6)


async def test_where_the_policy_allows_any_the_world_is_reached_through_envoy(tmp_path: Path) -> None:
    async with mesh(tmp_path, "ALLOW_ANY") as open_mesh:
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


async def test_where_it_does_not_nothing_of_the_world_is_reached_or_asked(tmp_path: Path) -> None:
    async with mesh(tmp_path, "REGISTRY_ONLY") as shut:
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
