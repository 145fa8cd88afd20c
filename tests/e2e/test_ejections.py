"""What real proxies make of who fails, as the mesh tells it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.mesh import BISTRO, running, until, write

pytestmark = [pytest.mark.prove, pytest.mark.timeout(240)]

CAREFUL = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reservations, namespace: bistro}
spec:
  host: reservations
  trafficPolicy:
    outlierDetection:
      {consecutive5xxErrors: 3, interval: 1s, baseEjectionTime: 12s, maxEjectionPercent: 50}
"""
SECOND = 'command: ["python3", "bistro.py", "reservations", "v2"]'
ASK = """
import urllib.request
for _ in range(20):
    try:
        urllib.request.urlopen(urllib.request.Request("http://reservations:8080/reservations", method="POST"))
    except OSError:
        pass
"""


@pytest.mark.parametrize("mode", ["explicit", "transparent"])
async def test_who_fails_is_shown_as_avoided_by_its_caller_until_it_is_called_again(
    tmp_path: Path, mode: str
) -> None:
    folder = tmp_path / "bistro"
    shutil.copytree(BISTRO, folder, ignore=shutil.ignore_patterns("diner.yaml", "__pycache__"))
    write(folder / "routing.yaml", CAREFUL)
    text = (folder / "reservations.yaml").read_text()
    write(folder / "reservations.yaml", text.replace(SECOND, f'env: {{FAIL_PERCENT: "100"}}\n  {SECOND}'))
    async with running(folder, mode=mode) as mesh, mesh.client() as client:

        async def avoided() -> dict[str, tuple[str, ...]]:
            service = await client.service("bistro", "reservations")
            return {one.node: one.ejected_by for one in service.instances if one.ejected_by}

        async def seen() -> bool:
            await mesh.plait("exec", "bistro/frontend", "--", "python3", "-c", ASK)
            return bool(await avoided())

        async def forgotten() -> bool:
            return not await avoided()

        await until(seen, "the failing replica to be avoided")
        assert await avoided() == {"bistro/reservations-v2/0": ("bistro/frontend/0",)}
        await until(forgotten, "it to be called again")
