"""Root, intermediate and leaves are made anew under load, in a mesh of real Envoys whose certificates hold for a minute."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from plait.agent.record import ReplicaFiles
from plait.agent.secrets import current
from plait.api.client import Client
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
    async with Client(mesh.state / "run" / "api.sock") as client:
        return await client.authority()


async def rotated(mesh: Mesh, what: str) -> tuple[AuthorityStatus, AuthorityStatus]:
    """How the authority stood before, and how it does once all is made anew."""
    before = await authority(mesh)
    async with Client(mesh.state / "run" / "api.sock") as client:
        assert (await client.rotate(what)).phase != "steady"

    async def steady() -> bool:
        return (await authority(mesh)).phase == "steady"

    await until(steady, f"the rotation of {what} to be over", seconds=60)
    return before, await authority(mesh)


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
