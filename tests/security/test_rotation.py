"""Root, intermediate and leaves are made anew under load, in a mesh of real Envoys whose certificates hold for a minute."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from plait.agent.record import ReplicaFiles
from plait.agent.secrets import current
from plait.api.client import NoMesh
from plait.api.views import AuthorityStatus, SignerView
from tests.e2e.mesh import Mesh, bistro, loading, until

pytestmark = pytest.mark.timeout(240)

RESERVATIONS = "http://reservations:8080/"
RATE = 300


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with bistro(tmp_path, "--certificate-lifetime", "60s") as running:
        yield running


async def authority(mesh: Mesh) -> AuthorityStatus:
    async with mesh.client() as client:
        return await client.authority()


async def begun(mesh: Mesh, what: str) -> None:
    async with mesh.client() as client:
        assert (await client.rotate(what)).phase != "steady"


async def until_phase(mesh: Mesh, phase: str) -> None:
    async def reached() -> bool:
        try:
            return (await authority(mesh)).phase == phase
        except NoMesh:  # it has just been killed
            return False

    await until(reached, f"the authority to be {phase}", seconds=60)


async def rotated(mesh: Mesh, what: str) -> tuple[AuthorityStatus, AuthorityStatus]:
    """How the authority stood before, and how it does once all is made anew."""
    before = await authority(mesh)
    await begun(mesh, what)
    await until_phase(mesh, "steady")
    return before, await authority(mesh)


async def killed(mesh: Mesh, role: str) -> None:
    pid = mesh.pid(role)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: mesh.pid(role) != pid, f"another {role}")


def names(found: tuple[SignerView, ...]) -> list[str]:
    return [one.fingerprint for one in found]


def serials(mesh: Mesh) -> dict[str, float]:
    """When the certificate of each replica was signed."""
    held = {files.id: current(files, None) for files in ReplicaFiles.all(mesh.state)}
    return {name: one.signed for name, one in held.items() if one is not None}


async def shows(mesh: Mesh, roots: str) -> bool:
    """Whether what reservations shows to its callers stands under one of these roots."""
    address = next(one["address"] for one in await mesh.workloads() if one["name"].startswith("reservations"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata=roots)
    try:
        _, writer = await asyncio.open_connection(address, 8080, ssl=context)
    except ssl.SSLCertVerificationError:
        return False
    writer.close()
    return True


async def test_root_intermediate_and_leaves_are_made_anew_under_load(mesh: Mesh) -> None:
    old_root = (mesh.state / "ca" / "root.pem").read_text()
    assert await shows(mesh, old_root)
    async with loading(await mesh.sidecar("frontend"), RESERVATIONS, rate=RATE) as load:
        signed = serials(mesh)
        before, after = await rotated(mesh, "root")
        assert len(after.roots) == len(before.roots) == 1
        assert names(before.roots) != names(after.roots)
        assert await shows(mesh, (mesh.state / "ca" / "root.pem").read_text())
        assert not await shows(mesh, old_root)
        assert all(serials(mesh)[name] > when for name, when in signed.items())

        before, after = await rotated(mesh, "intermediate")
        assert names(before.roots) == names(after.roots)
        assert names(before.issuers) != names(after.issuers)

        signed = serials(mesh)
        before, after = await rotated(mesh, "leaves")
        assert names(before.issuers) == names(after.issuers)
        assert (after.issuers[0].holders, after.others) == (7, 0)  # six replicas and the agent
        assert all(serials(mesh)[name] > when for name, when in signed.items())
        seen = load.total
        await until(lambda: load.total > seen + RATE, "more answers")
    assert not load.failures, load.statuses


@pytest.mark.prove
async def test_a_rotation_goes_on_when_control_plane_and_agent_are_killed_in_it(mesh: Mesh) -> None:
    """Killed in every phase; what is waited for is told, and is told again after the restart."""
    async with loading(await mesh.sidecar("frontend"), RESERVATIONS, rate=100) as load:
        for role in ("agent", "control plane"):
            before = await authority(mesh)
            await begun(mesh, "root")
            await killed(mesh, role)  # nobody has acknowledged anything yet
            await until_phase(mesh, "renewing")
            await killed(mesh, role)
            await until_phase(mesh, "steady")
            after = await authority(mesh)
            assert len(after.roots) == 1
            assert names(before.roots) != names(after.roots)
    assert not load.failures, load.statuses


@pytest.mark.prove
@pytest.mark.timeout(900)
async def test_ten_minutes_of_rotations_under_three_hundred_requests_a_second(
    mesh: Mesh, record_property: Callable[[str, object], None]
) -> None:
    """Every other rotation has the control plane or the agent killed in the midst of it."""
    turns: Counter[str] = Counter()
    kills: Counter[str] = Counter()
    chance = random.Random(6)
    end = time.monotonic() + 600
    async with loading(await mesh.sidecar("frontend"), RESERVATIONS, rate=RATE) as load:
        while time.monotonic() < end:
            what = ("root", "intermediate", "leaves")[turns.total() % 3]
            await begun(mesh, what)
            if turns.total() % 2:
                await asyncio.sleep(chance.uniform(0, 4))
                role = chance.choice(("control plane", "agent"))
                await killed(mesh, role)
                kills[role] += 1
            await until_phase(mesh, "steady")
            turns[what] += 1
    for what, number in turns.items():
        record_property(f"{what} made anew", number)
    record_property(
        "killed in the midst of it: control plane, agent", f"{kills['control plane']}, {kills['agent']}"
    )
    record_property("requests in ten minutes", load.total)
    record_property("failed requests", sum(load.failures.values()))
    assert not load.failures, load.statuses


@pytest.mark.prove
async def test_a_machine_that_has_slept_longer_than_certificates_hold_comes_back(mesh: Mesh) -> None:
    """Agent and control plane stand still meanwhile, as all does when a lid is closed."""
    parts = [mesh.pid(role) for role in ("agent", "control plane")]
    for pid in parts:
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(75)
    for pid in parts:
        os.kill(pid, signal.SIGCONT)
    async with loading(await mesh.sidecar("frontend"), RESERVATIONS, rate=10) as load:
        await until(lambda: load.statuses[200] > 50, "requests to be answered again")
        failed = sum(load.failures.values())
        seen = load.total
        await until(lambda: load.total > seen + 50, "more answers")
    assert sum(load.failures.values()) == failed
    assert mesh.pid("agent") != parts[0]
