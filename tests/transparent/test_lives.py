"""Lives that end well: jobs, restarts, takeovers, and kills at any moment, after which nothing is left."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from plait.agent.shim.processes import all_pids, started_at
from tests.e2e.mesh import PLAIT, Mesh, clean_environment, processes_of, until
from tests.local.network.spaces import needs_root
from tests.transparent.town import (
    IDLE,
    address,
    host,
    pids,
    python,
    run,
    said,
    settings_of,
    starting,
    town,
    workload,
)

pytestmark = [needs_root, pytest.mark.timeout(240)]


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Mesh]:
    web = workload("web", python("web.py"), ports={"http": 8080}, callers=["client"])
    with host() as own:
        async with town(tmp_path, web, workload("client", IDLE), host=own) as mesh:
            yield mesh


async def state_of(mesh: Mesh, name: str) -> dict[str, object]:
    found = [one for one in await mesh.workloads() if one["name"] == name]
    return found[0] if len(found) == 1 else {}


async def in_state(mesh: Mesh, name: str, state: str) -> dict[str, object]:
    async def so() -> dict[str, object]:
        found = await state_of(mesh, name)
        return found if found.get("state") == state else {}

    result: dict[str, object] = await until(so, f"{name} to be {state}")
    return result


async def answers(mesh: Mesh) -> bool:
    return "200" in (await run(mesh, "client", "curl", "-si", "--max-time", "5", "http://web:8080/"))[1]


async def test_a_job_ends_with_its_code_and_takes_its_sidecar_along(pair: Mesh) -> None:
    script = "curl -sf http://web:8080/job >/dev/null && exit 7"
    job = workload("client-job", ("sh", "-c", script), restart="Never", serviceAccount="client")
    (pair.folder / "job.yaml").write_text(job)
    ended = await in_state(pair, "client-job", "ended")
    assert ended["exit_code"] == 7

    def gone() -> bool:
        return not any("client-job" in command for command in commands(pair))

    await until(gone, "its Envoy and shim to be gone")


async def test_a_job_that_ends_while_no_agent_is_there_keeps_its_code(pair: Mesh) -> None:
    often = "test -e /tmp/once && exit 0; touch /tmp/once; sleep 4; exit 3"
    jobs = workload("once", ("sh", "-c", "sleep 4; exit 9"), restart="Never")
    jobs += workload("until-it-works", ("sh", "-c", often), restart="OnFailure")
    (pair.folder / "jobs.yaml").write_text(jobs)
    await in_state(pair, "once", "ready")
    await in_state(pair, "until-it-works", "ready")
    os.kill(pair.pid("agent"), signal.SIGKILL)
    assert (await in_state(pair, "once", "ended"))["exit_code"] == 9
    worked = await in_state(pair, "until-it-works", "ended")
    assert (worked["exit_code"], worked["restarts"]) == (0, 1)


def commands(mesh: Mesh) -> list[str]:
    found = []
    for pid in processes_of(mesh.state):
        with suppress(OSError):
            found.append(Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


async def test_what_dies_is_replaced_and_keeps_to_its_restart_policy(pair: Mesh) -> None:
    shim, envoy, application = pids(pair, "web")
    os.kill(application, signal.SIGKILL)

    async def restarted() -> bool:
        found = await state_of(pair, "web")
        return bool(found.get("restarts")) and found["state"] == "ready"

    await until(restarted, "the application to be started again")
    assert pids(pair, "web")[:2] == (shim, envoy)
    os.kill(envoy, signal.SIGKILL)
    await until(lambda: pids_or_none(pair, "web", other_than=envoy), "another Envoy")
    await until(lambda: answers(pair), "web to answer again")
    os.kill(shim, signal.SIGKILL)
    await until(
        lambda: started_at(pids_or_none(pair, "web", other_than=envoy) or 1) is not None, "a new shim"
    )
    await until(lambda: answers(pair), "web to answer from a namespace made anew")
    assert pids(pair, "web")[0] != shim


def pids_or_none(mesh: Mesh, name: str, *, other_than: int) -> int | None:
    """The Envoy of a replica, unless it is still the old one, or none."""
    with suppress(AssertionError):
        envoy = pids(mesh, name)[1]
        return envoy if envoy != other_than else None
    return None


async def test_exec_enters_the_workloads_own_place(pair: Mesh) -> None:
    shown = await said(pair, "client", "cat", "/proc/net/fib_trie")
    assert address(pair, "client") in shown
    assert address(pair, "web") not in shown
    await said(pair, "client", "sh", "-c", "echo mine > /tmp/mine")
    assert await said(pair, "client", "cat", "/tmp/mine") == "mine\n"
    assert (await run(pair, "web", "cat", "/tmp/mine"))[0] == 1, "each has a /tmp of its own"
    assert (await run(pair, "client", "sh", "-c", "exit 42"))[0] == 42


@pytest.mark.parametrize("victims", [("agent",), ("control plane",), ("agent", "control plane")])
async def test_no_process_of_a_workload_notices_the_death_of_what_governs(
    pair: Mesh, victims: tuple[str, ...]
) -> None:
    before = pids(pair, "web"), pids(pair, "client"), address(pair, "web")
    old = {role: pair.pid(role) for role in victims}
    for role in victims:
        os.kill(old[role], signal.SIGKILL)
    assert await asyncio.to_thread(requests_from, pair, 1) == 1, "requests go on"
    await until(lambda: all(pair.pid(role) != old[role] for role in victims), "another to be started")
    await until(lambda: answers(pair), "web to answer")
    late = workload("late", IDLE)
    (pair.folder / "late.yaml").write_text(late)
    await in_state(pair, "late", "ready")
    assert (pids(pair, "web"), pids(pair, "client"), address(pair, "web")) == before
    policy = (pair.folder / "town.yaml").read_text().replace("sa/client", "sa/late")
    (pair.folder / "town.yaml").write_text(policy)

    async def late_is_let_in() -> bool:
        return "200" in (await run(pair, "late", "curl", "-si", "http://web:8080/"))[1]

    await until(late_is_let_in, "the newcomer to reach web over the fabric that was there")


def requests_from(mesh: Mesh, number: int) -> int:
    """How many of so many requests are answered, made from inside the client without the agent's help."""
    client = pids(mesh, "client")[2]
    uid = Path(f"/proc/{client}").stat().st_uid
    enter = ("nsenter", f"--target={client}", "--net", "--mount", f"--setuid={uid}", f"--setgid={uid}")
    done = [
        subprocess.run((*enter, "curl", "-sf", "http://web:8080/"), capture_output=True, check=False)
        for _ in range(number)
    ]
    return sum(one.returncode == 0 for one in done)


async def test_a_second_up_takes_over_what_a_killed_one_left_running(pair: Mesh) -> None:
    before = pids(pair, "web"), address(pair, "web")
    pair.process.kill()
    await pair.process.wait()
    pair.process = await asyncio.create_subprocess_exec(
        *(*PLAIT, "up", str(pair.folder), "--state-dir", str(pair.state), "--mode", "transparent"),
        env=clean_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=(again := pair.output.with_name("again").open("wb")),
        stderr=again,
        start_new_session=True,
    )
    again.close()
    pair.output = pair.output.with_name("again")
    await until(pair.is_ready, "the second to be ready")
    assert (pids(pair, "web"), address(pair, "web")) == before
    assert await asyncio.to_thread(requests_from, pair, 1) == 1, "requests go on"
    await until(lambda: answers(pair), "the agent to be there for exec, too")


async def test_a_stuck_application_is_killed_after_its_grace(pair: Mesh) -> None:
    script = "trap '' TERM; while true; do sleep 1; done"
    stuck = workload("stuck", ("sh", "-c", script), terminationGracePeriodSeconds=1)
    (pair.folder / "stuck.yaml").write_text(stuck)
    await in_state(pair, "stuck", "ready")
    (pair.folder / "stuck.yaml").unlink()

    async def gone() -> bool:
        return not await state_of(pair, "stuck")

    await until(gone, "it to be gone", seconds=20)


async def test_who_runs_on_after_its_agent_has_died_finds_services_that_come_later(pair: Mesh) -> None:
    old = pair.pid("agent")
    os.kill(old, signal.SIGKILL)
    await until(lambda: pair.pid("agent") != old, "another agent")
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "later", "namespace": "town"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 8080}]},
    }
    (pair.folder / "later.yaml").write_text(json.dumps(service))

    async def found() -> bool:
        return (await run(pair, "client", "getent", "hosts", "later"))[0] == 0

    await until(found, "the service to be found by name")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder that every workload sees and may write to."""
    made = Path(tempfile.mkdtemp(prefix="plait-test-", dir="/run"))
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)


async def test_who_is_told_to_stop_still_finds_the_others(tmp_path: Path, scratch: Path) -> None:
    """At the end of the mesh as a whole."""
    script = f"trap 'getent hosts web > {scratch}/found; exit 0' TERM; while true; do sleep 0.1; done"
    web = workload("web", python("web.py"), ports={"http": 8080})
    with host() as own:
        async with town(tmp_path, web, workload("client", ("sh", "-c", script)), host=own):
            pass
    assert "web" in (scratch / "found").read_text()


async def test_what_is_removed_while_it_starts_is_gone_whole(pair: Mesh) -> None:
    chance, flash = random.Random(3), pair.folder / "flash.yaml"
    for _ in range(6):
        flash.write_text(workload("flash", IDLE, replicas=3))
        await asyncio.sleep(chance.uniform(0.05, 0.6))
        flash.unlink()
        await asyncio.sleep(0.1)

    async def gone() -> bool:
        return not [one for one in await pair.workloads() if one["name"] == "flash"]

    await until(gone, "every flash to be gone")
    shims = [command for command in commands(pair) if "shim/__main__.py" in command]
    await until(
        lambda: len([one for one in commands(pair) if "shim/__main__.py" in one]) == 2, f"two of {shims}"
    )
    assert await answers(pair)


# Kills at any moment ---------------------------------------------------------------------------------

Chance = random.Random


@pytest.mark.parametrize("seed", range(3))
async def test_killed_at_any_moment_nothing_is_left_after_down(tmp_path: Path, seed: int) -> None:
    await killed_somewhere(tmp_path, Chance(seed))


@pytest.mark.prove
@pytest.mark.timeout(1800)
async def test_fifty_kills_at_random_moments_leave_nothing(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    moments = []
    for seed in range(50):
        path = tmp_path / str(seed)
        path.mkdir()
        moments.append(await killed_somewhere(path, Chance(1000 + seed)))
    record_property("killed while starting, running and stopping", " ".join(map(str, tally(moments))))


def tally(moments: list[str]) -> tuple[int, int, int]:
    return moments.count("start"), moments.count("run"), moments.count("stop")


async def killed_somewhere(path: Path, chance: Chance) -> str:
    """Kills some or all of a mesh in any order at some moment, then `plait down`; which part of its life it was."""
    mounts = mountinfo()
    web = workload("web", python("web.py"), ports={"http": 8080}, callers=["client"])
    phase = chance.choice(("start", "run", "stop"))
    with host() as own, ExitStack() as held:
        before = settings_of(own)
        async with starting(path, web, workload("client", IDLE), host=own) as mesh:
            await until(mesh.is_ready if phase != "start" else (mesh.state / "lock").exists, "its " + phase)
            if phase == "stop":
                mesh.process.send_signal(signal.SIGINT)
            await asyncio.sleep(chance.uniform(0.0, {"start": 3.0, "run": 0.2, "stop": 1.5}[phase]))
            some = [*processes_of(mesh.state), mesh.process.pid]
            spaces = held_namespaces(some, held)
            assert spaces or phase != "run"
            networks = namespaces(some, ("net",)) - namespaces([os.getpid()], ("net",))
            inside = {(pid, started_at(pid)) for pid in others() if namespaces([pid], ("net",)) & networks}
            for pid in chance.sample(some, chance.randint(1, len(some))):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await ended_by_down(mesh)
            assert settings_of(own) == before
        assert not mesh.state.exists()
        assert mountinfo() == mounts
        await until(lambda: not spaces & namespaces(others()), "the namespaces to be empty", seconds=30)
        await until(
            lambda: not [pid for pid, began in inside if began and started_at(pid) == began],
            "those who were in its networks, or held them, to be gone",
            seconds=30,
        )
    return phase


async def ended_by_down(mesh: Mesh) -> None:
    process = await asyncio.create_subprocess_exec(
        *(*PLAIT, "down", "--state-dir", str(mesh.state)),
        env=clean_environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode == 0, (out, mesh.told())
    await asyncio.wait_for(mesh.process.wait(), 60)
    assert not processes_of(mesh.state)


def mountinfo() -> str:
    return Path("/proc/self/mountinfo").read_text()


def held_namespaces(pids: Iterable[int], held: ExitStack) -> set[str]:
    """Every process and mount namespace of these processes but ours, each kept until `held` ends.

    The kernel gives a namespace's number to the next one as soon as it is free, and other tests make some meanwhile.
    Network namespaces can't be kept, or what leads into them from the host would stay: see who was in them.
    """
    found: set[str] = set()
    for pid in pids:
        for kind in ("pid", "mnt"):
            with suppress(OSError):
                space = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
                held.callback(os.close, space)
                found.add(str(Path(f"/proc/self/fd/{space}").readlink()))
    return found - {str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in ("pid", "mnt")}


def others() -> list[int]:
    return [pid for pid in all_pids() if pid != os.getpid()]


def namespaces(pids: Iterable[int], kinds: tuple[str, ...] = ("pid", "mnt")) -> set[str]:
    """Every namespace of these kinds that one of these processes is in or keeps open."""
    found: set[str] = set()
    for process in (Path(f"/proc/{pid}") for pid in pids):
        links = [process / "ns" / kind for kind in kinds]
        with suppress(OSError):
            links += list((process / "fd").iterdir())
        for link in links:
            with suppress(OSError):
                target = str(link.readlink())
                if target.startswith(tuple(f"{kind}:[" for kind in kinds)):
                    found.add(target)
    return found
