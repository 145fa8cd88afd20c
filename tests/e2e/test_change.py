"""A running mesh under change: no edit, no kill and no broken file costs a request."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from statistics import median

import pytest

from tests.e2e.mesh import PLAIT, Load, Mesh, bistro, clean_environment, loading, processes_of, until, write

pytestmark = pytest.mark.timeout(240)

RESERVATIONS = "http://reservations:8080/"


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with bistro(tmp_path) as running:
        yield running


async def test_edits_under_load_cost_no_request(mesh: Mesh) -> None:
    await edit_under_load(mesh, edits=8)


@pytest.mark.prove
@pytest.mark.timeout(900)
async def test_a_hundred_edits_under_load_cost_no_request(
    mesh: Mesh, record_property: Callable[[str, object], None]
) -> None:
    load = await edit_under_load(mesh, edits=100)
    record_property("requests while 100 edits were made", load.total)
    record_property("failed requests", sum(load.failures.values()))


async def edit_under_load(mesh: Mesh, edits: int) -> Load:
    """Weights swing, services, policies and access logs come and go: every edit of another kind."""
    routing, logs = mesh.folder / "routing.yaml", mesh.folder / "logs.yaml"
    original = routing.read_text()
    service = mesh.folder / "extra.yaml"
    async with loading(await mesh.sidecar("frontend"), RESERVATIONS, rate=200) as load:
        for number in range(edits):
            weight = (number * 37) % 100 + 1
            text = original.replace("weight: 90", f"weight: {100 - weight}")
            write(routing, text.replace("weight: 10\n", f"weight: {weight}\n"))
            if number % 4 == 1:
                write(service, EXTRA_SERVICE.replace("NAME", f"extra-{number}"))
            if number % 4 == 2:
                write(logs, ACCESS_LOGS)  # which replaces every listener
            if number % 4 == 3:
                service.unlink(missing_ok=True)
            if number % 4 == 0:
                logs.unlink(missing_ok=True)
            seen = load.total
            await until(lambda seen=seen: load.total > seen + 60, "more answers")  # type: ignore[misc]
    assert not load.failures, mesh.told()
    assert load.answers["v1"]
    assert load.answers["v2"]
    return load


ACCESS_LOGS = """
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: all, namespace: istio-system}
spec: {accessLogging: [{providers: [{name: envoy}]}]}
"""
EXTRA_SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: bistro}
spec:
  selector: {app: reviews}
  ports: [{name: http, port: 8080}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: NAME, namespace: bistro}
spec:
  selector: {matchLabels: {app: reservations}}
  rules: [{from: [{source: {principals: [cluster.local/ns/bistro/sa/reviews]}}]}]
"""


async def test_kills_of_control_plane_and_agent_cost_no_request_and_push_nothing(mesh: Mesh) -> None:
    await kill_under_load(mesh, control_planes=2, agents=2)


@pytest.mark.prove
@pytest.mark.timeout(1200)
async def test_thirty_kills_of_the_control_plane_and_twenty_of_the_agent(
    mesh: Mesh, record_property: Callable[[str, object], None]
) -> None:
    load = await kill_under_load(mesh, control_planes=30, agents=20)
    record_property("requests during 30 + 20 kills", load.total)
    record_property("failed requests", sum(load.failures.values()))


async def kill_under_load(mesh: Mesh, control_planes: int, agents: int) -> Load:
    roles = ["control plane"] * control_planes + ["agent"] * agents
    random.Random(2).shuffle(roles)
    before = {one["replica"]: one for one in await mesh.workloads()}
    async with loading(await mesh.sidecar("frontend"), RESERVATIONS, rate=200) as load:
        for role in roles:
            pid = mesh.pid(role)
            os.kill(pid, signal.SIGKILL)
            await until(lambda role=role, pid=pid: mesh.pid(role) != pid, f"another {role}")  # type: ignore[misc]
            await until(lambda: everyone_is_in_sync(mesh), "all proxies and the agent to be back")
            if role == "control plane":
                assert set((await mesh.sent()).values()) == {0}, "something was sent again"
            seen = load.total
            await until(lambda seen=seen: load.total > seen + 100, "more answers")  # type: ignore[misc]
    assert not load.failures, mesh.told()
    after = {one["replica"]: one for one in await mesh.workloads()}
    assert before == after
    return load


async def everyone_is_in_sync(mesh: Mesh) -> bool:
    """Whether every replica's proxy is connected and in sync, and the agent is connected."""
    text = await mesh.plait("proxies", "--output", "json", check=False)
    status = await mesh.plait("status", "--output", "json", check=False)
    if not text or not status:
        return False
    proxies = json.loads(text)["proxies"]
    return (
        len(proxies) == 6
        and all(one["synced"] for one in proxies)
        and json.loads(status)["mesh"]["agents"] == ["local"]
    )


async def test_a_comment_pushes_nothing_and_a_route_pushes_one_resource(mesh: Mesh) -> None:
    await until(lambda: everyone_is_in_sync(mesh), "all proxies to be in sync")
    before = await mesh.sent()
    routing = mesh.folder / "routing.yaml"
    write(routing, "# A comment that moves every line.\n" + routing.read_text())
    write(mesh.folder / "policies.yaml", "# Another.\n" + (mesh.folder / "policies.yaml").read_text())
    mesh.replace("reservations.yaml", "app: reservations\n", "app: reservations  # the same\n")
    # What is looked at after it has been read, and shows that the three have been read too.
    write(mesh.folder / "broken.yaml", "kind: [")
    await until(lambda: "broken.yaml" in mesh.told(), "the broken file to be reported")
    assert await mesh.sent() == before
    mesh.replace("routing.yaml", "weight: 90", "weight: 91")

    async def pushed() -> bool:
        return await mesh.sent() != before

    await until(pushed, "the route to be pushed")
    await until(lambda: everyone_is_in_sync(mesh), "all proxies to be in sync")
    assert await mesh.sent() == {node: count + 1 for node, count in before.items()}


async def test_a_changed_policy_touches_only_the_proxies_it_is_for(mesh: Mesh) -> None:
    await until(lambda: everyone_is_in_sync(mesh), "all proxies to be in sync")
    before = await mesh.sent()
    mesh.replace("policies.yaml", 'methods: ["POST"]', 'methods: ["POST", "PUT"]')

    async def pushed() -> bool:
        return await mesh.sent() != before

    await until(pushed, "the policy to be pushed")
    await until(lambda: everyone_is_in_sync(mesh), "all proxies to be in sync")
    assert await mesh.sent() == before | {"payments/0": before["payments/0"] + 1}


async def test_a_broken_file_is_reported_and_the_last_good_state_outlives_a_restart(mesh: Mesh) -> None:
    routing = mesh.folder / "routing.yaml"
    good = routing.read_text()
    async with loading(
        await mesh.sidecar("frontend"), RESERVATIONS, rate=100, headers={"x-user": "tester"}
    ) as load:
        write(routing, good.replace("  http:", "  http: }"))
        await until(lambda: "routing.yaml:" in mesh.told(), "the broken file to be reported")
        pid = mesh.pid("control plane")
        os.kill(pid, signal.SIGKILL)
        await until(lambda: mesh.pid("control plane") != pid, "another control plane")
        await until(lambda: everyone_is_in_sync(mesh), "all proxies to be back")
        assert set((await mesh.sent()).values()) == {0}
        write(routing, good.replace("subset: v2", "subset: v9"))
        await until(lambda: "missing-subset" in mesh.told(), "the missing subset to be reported")
        seen = load.total
        await until(lambda: load.total > seen + 100, "more answers")
        write(routing, good)
    assert load.answers == {"v2": load.total}, load.statuses


async def test_workloads_come_roll_over_and_go_without_a_failed_request(mesh: Mesh) -> None:
    async with loading(await mesh.sidecar("frontend"), RESERVATIONS, rate=150) as load:
        mesh.replace("reservations.yaml", '"reservations", "v1"]', '"reservations", "v1", "--"]')
        mesh.replace("reservations.yaml", '"reservations", "v1", "--"]', '"reservations", "v3"]')
        await until(lambda: load.answers["v3"], "the new command to answer")
        await until(lambda: rolled(mesh, "reservations-v1"), "the old replica to be gone")
        extra = (mesh.folder / "reservations.yaml").read_text().split("---")[2]
        extra = extra.replace("name: reservations-v1", "name: reservations-v4").replace('"v3"]', '"v4"]')
        write(mesh.folder / "extra.yaml", extra)
        await until(lambda: load.answers["v4"], "the new workload to answer")
        (mesh.folder / "extra.yaml").unlink()
        await until(lambda: gone(mesh, "reservations-v4"), "the removed workload to be gone")
        seen = load.total
        await until(lambda: load.total > seen + 100, "more answers")
    assert not load.failures, mesh.told()


async def rolled(mesh: Mesh, name: str) -> bool:
    found = [one for one in await mesh.workloads() if one["name"] == name]
    return len(found) == 1 and found[0]["state"] == "ready"


async def gone(mesh: Mesh, name: str) -> bool:
    return not [one for one in await mesh.workloads() if one["name"] == name]


async def test_what_is_killed_comes_back(mesh: Mesh) -> None:
    envoy, application = children_of(mesh, "reviews")
    os.kill(envoy, signal.SIGKILL)
    frontend = await mesh.sidecar("frontend")

    async def answers() -> bool:
        async with loading(frontend, "http://reviews:8080/", rate=50) as load:
            await until(lambda: load.total > 10, "answers")
        return not load.failures

    await until(answers, "reviews to answer again")
    os.kill(application, signal.SIGKILL)

    async def restarted() -> bool:
        found = next(one for one in await mesh.workloads() if one["name"] == "reviews")
        return bool(found["restarts"]) and found["state"] == "ready"

    await until(restarted, "the application to be restarted")
    await until(answers, "reviews to answer again")


@pytest.mark.prove
@pytest.mark.timeout(600)
async def test_a_killed_envoy_serves_again_within_two_seconds(
    mesh: Mesh, record_property: Callable[[str, object], None]
) -> None:
    frontend = await mesh.sidecar("frontend")
    times = []
    for _ in range(5):
        envoy, _ = children_of(mesh, "reviews")
        async with loading(frontend, "http://reviews:8080/", rate=100) as load:
            os.kill(envoy, signal.SIGKILL)
            killed = time.monotonic()
            await until(lambda load=load: load.failures, "a request to fail")  # type: ignore[misc]
            load.statuses.clear()
            await until(lambda load=load: load.statuses[200], "an answer")  # type: ignore[misc]
            times.append(time.monotonic() - killed)
    record_property("seconds until a killed Envoy serves again, median of five", round(median(times), 2))
    assert median(times) < 2


def children_of(mesh: Mesh, workload: str) -> tuple[int, int]:
    """The Envoy and the application of a workload, told apart by their commands."""
    envoy = application = 0
    for pid in processes_of(mesh.state):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            folder = Path(f"/proc/{pid}/cwd").readlink()
        except OSError:
            continue
        if "bistro.py" in command and workload in command:
            application = pid
        elif "/envoy " in command and workload in (folder / "replica.json").read_text():
            envoy = pid
    assert envoy
    assert application
    return envoy, application


async def test_down_cleans_up_after_everything_was_killed(mesh: Mesh) -> None:
    pids = processes_of(mesh.state)
    assert len(pids) > 18
    mesh.process.kill()
    await mesh.process.wait()
    for pid in random.Random(5).sample(pids, len(pids)):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    out = await mesh.plait("down")
    assert "nothing is left" in out
    assert not mesh.state.exists()
    assert not processes_of(mesh.state)


async def test_a_second_up_takes_over_what_a_killed_one_left_running(mesh: Mesh) -> None:
    before = {one["name"]: one["address"] for one in await mesh.workloads()}
    mesh.process.kill()
    await mesh.process.wait()
    assert processes_of(mesh.state)
    with (mesh.state.parent / "second").open("wb") as output:
        mesh.process = await asyncio.create_subprocess_exec(
            *PLAIT,
            "up",
            str(mesh.folder),
            "--state-dir",
            str(mesh.state),
            "--mode",
            "explicit",
            env=clean_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    mesh.output = mesh.state.parent / "second"
    await until(mesh.is_ready, "the second to be ready")
    assert {one["name"]: one["address"] for one in await mesh.workloads()} == before
