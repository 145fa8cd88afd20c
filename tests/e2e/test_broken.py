"""Broken documents in a running mesh: each is reported with file and line, and requests go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dialects.test_broken import BROKEN
from tests.e2e.mesh import Mesh, bistro, loading, until, write

pytestmark = pytest.mark.timeout(240)

SECOND_OWNER = b"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: usurper, namespace: bistro}
spec:
  hosts: [reservations]
  http: [{route: [{destination: {host: payments}}]}]
"""
MISSING_SUBSET = b"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: bistro}
spec:
  hosts: [reviews]
  http: [{route: [{destination: {host: reviews, subset: v9}}]}]
"""
UNKNOWN_HOST = MISSING_SUBSET.replace(b"host: reviews, subset: v9", b"host: nobody")

BETWEEN_OBJECTS = {
    "two owners of one host": (SECOND_OWNER, 2, "route.host-owned-twice"),
    "a route to a missing subset": (MISSING_SUBSET, 7, "route.missing-subset"),
    "a route to an unknown host": (UNKNOWN_HOST, 7, "route.unknown-host"),
}


async def test_every_sort_of_broken_document_is_reported_and_the_mesh_goes_on(tmp_path: Path) -> None:
    async with bistro(tmp_path) as mesh:
        control_plane = mesh.pid("control plane")
        sidecar = await mesh.sidecar("frontend")
        headers = {"x-user": "tester"}
        async with loading(sidecar, "http://reservations:8080/", rate=50, headers=headers) as load:
            for name, (data, line, code) in (BROKEN | BETWEEN_OBJECTS).items():
                await reported(mesh, name, data, line, code)
        assert load.answers == {"v2": load.total}, load.statuses
        assert mesh.pid("control plane") == control_plane


async def reported(mesh: Mesh, name: str, data: bytes, line: int, code: str) -> None:
    """Write the document, and wait for its finding."""
    path = mesh.folder / "broken.yaml"
    write(path, data)

    async def told() -> bool:
        async with mesh.client() as client:
            findings = await client.findings()
        return any((one.file, one.line, one.code) == (str(path), line, code) for one in findings)

    await until(told, f"{name} to be reported", 20)
