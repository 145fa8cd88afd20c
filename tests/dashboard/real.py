"""The bistro with its diner and its dashboard, every request traced: for what is looked at over a real mesh."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Page

from tests.e2e.mesh import Mesh, bistro, write

EVERY_REQUEST = """\
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: every-request, namespace: bistro}
spec:
  tracing:
    - randomSamplingPercentage: 100
"""
GATED = """\
# How new versions of reviews take over: half of the requests at most, and then somebody says yes.
apiVersion: flagger.app/v1beta1
kind: Canary
metadata:
  name: reviews
  namespace: bistro
spec:
  targetRef:
    apiVersion: plait.dev/v1alpha1
    kind: Workload
    name: reviews
  service:
    port: 8080
  analysis:
    interval: 5s
    threshold: 3
    stepWeights: [20, 50]
    metrics:
      - name: request-success-rate
        interval: 15s
        thresholdRange:
          min: 99
    webhooks:
      - name: confirm-promotion
        type: confirm-promotion
"""
NEW_REVIEWS = ("reviews.yaml", '["python3"', '["env", "NEW=1", "python3"')


@asynccontextmanager
async def under_load(tmp_path: Path) -> AsyncIterator[tuple[Mesh, str]]:
    """The mesh, and the link of its dashboard."""
    async with bistro(tmp_path, "--dashboard", without=()) as mesh:
        write(mesh.folder / "tracing.yaml", EVERY_REQUEST)
        found = re.search(r"^dashboard: (\S+)$", mesh.told(), re.MULTILINE)
        assert found, mesh.told()
        yield mesh, found[1]


def at(page: Page, path: str) -> str:
    """Another address of the dashboard that a page has open."""
    return "/".join(page.url.split("/")[:3]) + path
