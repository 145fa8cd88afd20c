"""Every way out of a workload and into one, but the one through its Envoy, is shut."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from plait.local.network.fabric import Fabric
from plait.model.catalog import SidecarAddresses
from plait.model.settings import OutboundTrafficPolicy
from tests.e2e.mesh import Mesh, until
from tests.local.network.spaces import asked, needs_root, shown
from tests.transparent.town import (
    IDLE,
    PROGRAMS,
    address,
    files,
    host,
    network_of,
    pids,
    python,
    run,
    said,
    settings_of,
    town,
    workload,
)

pytestmark = [needs_root, pytest.mark.timeout(300)]

NO_CAPABILITY = "0" * 16
EAGER = """
import socket
for host in {hosts}:
    with socket.socket() as s:
        s.settimeout(3)
        try:
            s.connect((host, 8080)); s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n"); print(host, s.recv(99)[:15], flush=True)
        except OSError as error:
            print(host, type(error).__name__, flush=True)
import time; time.sleep(1000)
"""


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Mesh, int]]:
    """A mesh with somebody who wants out, and the namespace that stands for the host."""
    web = workload("web", python("web.py"), ports={"http": 8080}, callers=["friend"])
    with host() as own:
        before = settings_of(own)
        async with town(
            tmp_path, workload("thief", IDLE), workload("friend", IDLE), web, host=own
        ) as running:
            yield running, own
            assert settings_of(own) == before, "the host's network is as it was while a mesh runs"
        assert settings_of(own) == before, "and after it"


async def tried(mesh: Mesh, *attempt: object) -> str:
    """What comes of one attempt of the thief's."""
    name, *arguments = map(str, attempt)
    out = await said(mesh, "thief", sys.executable, str(PROGRAMS / "probe.py"), name, *arguments)
    return out.removeprefix(f"{name}: ").strip()


async def test_there_is_no_way_around_the_envoys(both: tuple[Mesh, int]) -> None:
    """One mesh for all, since starting it is the most of the time."""
    mesh, own = both
    await the_own_envoy_is_the_only_way(mesh)
    await rights_are_gone_and_do_not_come_back(mesh)
    await rules_are_out_of_reach(mesh)
    await neighbours_can_not_be_entered(mesh)
    await the_own_envoy_can_not_be_touched(mesh)
    await keys_can_not_be_read(mesh)
    await ipv6_and_udp_lead_nowhere(mesh)
    the_host_does_not_reach_an_application(mesh, own)
    a_forged_destination_leads_nowhere(mesh)
    only_what_is_published_is_served(mesh)
    without_a_certificate_nobody_is_heard(mesh)


async def the_own_envoy_is_the_only_way(mesh: Mesh) -> None:
    by_its_envoy = await tried(mesh, "connect", "web", 8080)
    assert by_its_envoy.startswith("done HTTP/1.1 403"), "both Envoys were asked, and the web's has a policy"
    assert '"path"' in await said(mesh, "friend", "curl", "-s", "http://web:8080/"), "others may"
    web, thief = address(mesh, "web"), address(mesh, "thief")
    assert (await tried(mesh, "connect", web, 8080)).startswith("done HTTP/1.1 403"), "by its address too"
    for place in (
        (web, 15006),
        (web, 15001),
        (web, 15090),
        ("192.0.2.1", 80),
        ("169.254.1.1", 53),
    ):
        assert await tried(mesh, "connect", *place) in {"done closed", "ConnectionResetError"}, place
    assert await tried(mesh, "connect", thief, 15006) in {
        "done closed",
        "ConnectionResetError",
        "ConnectionRefusedError",
    }
    assert await tried(mesh, "connect", "127.0.0.1", 15001) in {"done closed", "ConnectionResetError"}, (
        "no loop"
    )


async def rights_are_gone_and_do_not_come_back(mesh: Mesh) -> None:
    who = dict(part.split("=") for part in (await tried(mesh, "identity")).removeprefix("done ").split())
    assert int(who.pop("Uid")) >= 61184
    assert who.pop("NoNewPrivs") == "1"
    assert set(who.values()) == {NO_CAPABILITY}, who
    envoy = status_of(pids(mesh, "thief")[1])
    assert (envoy["CapEff"], envoy["NoNewPrivs"]) == (NO_CAPABILITY, "1")
    uid = envoy["Uid"].split()[0]
    assert int(uid) not in {0, os.getuid()}
    for stranger in (uid, 0):
        assert await tried(mesh, "setuid", stranger) == "PermissionError"
    assert (await run(mesh, "thief", "sh", "-c", "su root -c id </dev/null"))[0] != 0


async def rules_are_out_of_reach(mesh: Mesh) -> None:
    for words in (("flush", "ruleset"), ("delete", "table", "inet", "plait"), ("list", "ruleset")):
        said_so = await tried(mesh, "nft", *words)
        assert said_so.startswith("done exit"), said_so
        assert not said_so.startswith("done exit 0"), said_so
    # Root in a user namespace of its own making is root of nothing else.
    answer = await tried(mesh, "user_namespace", "192.0.2.1", 80)
    assert "exit 0" not in answer, answer
    assert "done HTTP" not in answer, answer
    with network_of(pids(mesh, "thief")[2]) as inside:
        assert "chain turn_out" in shown(inside, "nft list ruleset")


async def neighbours_can_not_be_entered(mesh: Mesh) -> None:
    seen = await said(mesh, "thief", "sh", "-c", "cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '")
    assert "web.py" not in seen
    assert "envoy" not in seen, "not even its own Envoy is seen"
    outcomes = await tried(mesh, "enter_all")
    assert "done'" not in outcomes, outcomes
    for pid in pids(mesh, "web"):
        assert await tried(mesh, "enter", f"/proc/{pid}/ns/net") in {"FileNotFoundError", "PermissionError"}
    code, _ = await run(mesh, "thief", "nsenter", "--target", "1", "--net", "true")
    assert code != 0


async def the_own_envoy_can_not_be_touched(mesh: Mesh) -> None:
    envoy = int(status_of(pids(mesh, "thief")[1])["NSpid"].split()[-1])
    for pid in (envoy, 1):
        assert await tried(mesh, "trace", pid) == "PermissionError"
        assert await tried(mesh, "kill", pid) == "PermissionError"
        for name in ("environ", "mem", "maps"):
            assert await tried(mesh, "read", f"/proc/{pid}/{name}") in {
                "PermissionError",
                "FileNotFoundError",
            }
        for name in ("root", "cwd", "fd"):
            assert await tried(mesh, "look", f"/proc/{pid}/{name}/") in {
                "PermissionError",
                "FileNotFoundError",
            }


def status_of(pid: int) -> dict[str, str]:
    """What the kernel tells of a process; its `NSpid` ends with its number in the innermost of its namespaces."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


async def keys_can_not_be_read(mesh: Mesh) -> None:
    for name in ("thief", "web"):
        own = files(mesh, name)
        assert (own.secrets / "identity.json").exists()
        for path in (own.secrets / "identity.json", own.bootstrap, own.record, own.app_log):
            assert await tried(mesh, "read", path) in {"PermissionError", "FileNotFoundError"}, path
        assert await tried(mesh, "look", own.secrets) in {"PermissionError", "FileNotFoundError"}
    for path in (*(mesh.state / "ca").glob("*.key"), mesh.state / "agent" / "identity.json"):
        assert await tried(mesh, "read", path) in {"PermissionError", "FileNotFoundError"}
    for path in (mesh.state / "run" / "api.sock", files(mesh, "thief").socket, files(mesh, "thief").admin):
        assert await tried(mesh, "read", path) in {"PermissionError", "FileNotFoundError"}
    an_envoy_sees_its_own_alone(mesh)


def an_envoy_sees_its_own_alone(mesh: Mesh) -> None:
    sees = Path(f"/proc/{pids(mesh, 'thief')[1]}/root")
    assert sees.joinpath(*files(mesh, "thief").secrets.parts[1:], "identity.json").exists()
    assert not sees.joinpath(*files(mesh, "web").secrets.parts[1:]).exists()


async def ipv6_and_udp_lead_nowhere(mesh: Mesh) -> None:
    assert await tried(mesh, "connect", "2001:db8::1", 80) in {
        "OSError",
        "PermissionError",
        "ConnectionRefusedError",
    }
    mapped = await tried(mesh, "connect", f"::ffff:{address(mesh, 'web')}", 8080)
    assert mapped.startswith("done HTTP/1.1 403"), "it is IPv4, and goes by both Envoys"
    for place in ((address(mesh, "web"), 8080), ("192.0.2.1", 53), ("198.19.0.3", 53)):
        assert await tried(mesh, "connect", *place, "udp") in {
            "PermissionError",
            "TimeoutError",
            "ConnectionRefusedError",
        }


def the_host_does_not_reach_an_application(mesh: Mesh, own: int) -> None:
    assert asked(own, address(mesh, "web"), 8080) == "OSError", "there is no route"
    assert asked(own, "127.0.0.1", 8080) == "ConnectionRefusedError"
    with another_mesh() as inside:
        assert asked(inside, address(mesh, "web"), 8080) == "OSError", "nobody is there"


@contextmanager
def another_mesh() -> Iterator[int]:
    """The namespace of a workload of another mesh, in which root's traffic passes as its Envoy's."""
    fabric = Fabric.make(OutboundTrafficPolicy.REGISTRY_ONLY)
    sidecar = SidecarAddresses(address="198.18.200.200", transparent=True)
    inside = fabric.join("other", sidecar, envoy_uid=0, udp_ports=())
    try:
        yield inside
    finally:
        os.close(inside)
        fabric.close()


def a_forged_destination_leads_nowhere(mesh: Mesh) -> None:
    for port in (15006, 15001, 15000, 15020, 22, 9999):
        heard = as_its_envoy(mesh, "thief", address(mesh, "web"), port)
        assert heard in {"", "ConnectionRefusedError", "ConnectionResetError"}, (port, heard)
    assert as_its_envoy(mesh, "thief", "192.0.2.1", 80) == "ConnectionRefusedError", "not even Envoy gets out"


def only_what_is_published_is_served(mesh: Mesh) -> None:
    for port, path, status in (
        (15090, "/stats/prometheus", 200),
        (15021, "/healthz/ready", 200),
        (15090, "/config_dump", 404),
        (15090, "/stats", 404),
        (15090, "/quitquitquit", 404),
        (15021, "/", 404),
    ):
        say = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        answer = as_its_envoy(mesh, "thief", address(mesh, "web"), port, say)
        assert answer.startswith(f"HTTP/1.1 {status} "), (port, path, answer)


def without_a_certificate_nobody_is_heard(mesh: Mesh) -> None:
    for hello in ("GET / HTTP/1.1\r\nhost: web:8080\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        heard = as_its_envoy(mesh, "thief", address(mesh, "web"), 8080, hello)
        alert = "\x15\x03"  # the one word of TLS for somebody who does not speak it
        assert heard in {"", "ConnectionResetError"} or heard.startswith(alert), heard


def as_its_envoy(mesh: Mesh, name: str, where: str, port: int, say: str = "?") -> str:
    """What is answered to somebody who has got to be the Envoy of a workload: its user, in its network."""
    envoy = pids(mesh, name)[1]
    with network_of(envoy) as inside:
        return asked(inside, where, port, uid=Path(f"/proc/{envoy}").stat().st_uid, say=say)


async def test_an_application_that_hurries_finds_the_rules_there_before_it(tmp_path: Path) -> None:
    """The first thing that it does is to call around its Envoy."""
    with host() as own:
        web = workload("web", python("web.py"), ports={"http": 8080}, callers=["friend"])
        async with town(tmp_path, web, host=own) as mesh:
            program = EAGER.format(hosts=[address(mesh, "web"), "192.0.2.1", "web"])
            (mesh.folder / "eager.yaml").write_text(workload("eager", (sys.executable, "-c", program)))

            async def ready() -> bool:
                return any(
                    one["name"] == "eager" and one["state"] == "ready" for one in await mesh.workloads()
                )

            await until(ready, "eager to run")
            log = await mesh.plait("logs", "town/eager")
            assert len(log.splitlines()) == 3, log
            assert log.splitlines()[2].startswith("web b'HTTP/1.")
            by_address, outside, _ = log.splitlines()
            assert " b'HTTP/1.0 400" in by_address, "the web's Envoy was asked, which wants to be told a host"
            assert outside.split(" ", 1)[1] in {"b''", "ConnectionResetError"}, log
