"""How soon each page shows what it is for, over a real mesh; median of five."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pytest
from playwright.async_api import Page, expect

from tests.dashboard.conftest import Pages
from tests.dashboard.real import GATED, at, under_load
from tests.e2e.mesh import until, write

pytestmark = [pytest.mark.prove, pytest.mark.timeout(300)]

TIMES, BOUND = 5, 2.0
READY = {
    "/": '[data-node="reservations.bistro.svc.cluster.local"]',
    "/services": '.grid a[href="/services/bistro/reservations"]',
    "/services/bistro/reservations": ".chart svg",
    "/services/bistro/reservations?tab=routes": ".svc-to-share",
    "/services/bistro/payments?tab=policies": ".svc-policy",
    "/traces": ".grid tbody tr",
    "/canaries": ".grid tbody tr",
    "/canaries/bistro/reviews": ".stat .value",
    "/proxies": ".grid tbody tr",
    "/proxies/bistro/frontend/0": ".grid tbody tr",
    "/findings": ".page",
    "/objects?kind=VirtualService&namespace=bistro&name=reservations": ".code .line",
}
"""Each page, and what of it there is once it is ready."""


async def test_each_page_is_ready_within_two_seconds(
    tmp_path: Path, browser: Pages, record_property: Callable[[str, object], None]
) -> None:
    async with under_load(tmp_path) as (mesh, link), browser(link) as page:
        write(mesh.folder / "canary.yaml", GATED)
        await until(lambda: _listed(page, "/canaries"), "the Canary")
        await until(lambda: _listed(page, "/traces"), "traces")
        slow = {}
        for path, what in READY.items():
            took = [await _ready(page, path, what) for _ in range(TIMES)]
            record_property(f"seconds until {path}", round(median(took), 2))
            if median(took) > BOUND:
                slow[path] = took
        assert not slow


async def _listed(page: Page, path: str) -> bool:
    await page.goto(at(page, path))
    await page.wait_for_timeout(500)
    return await page.locator(READY[path]).count() > 0


async def _ready(page: Page, path: str, what: str) -> float:
    began = time.monotonic()
    await page.goto(at(page, path), wait_until="commit")
    await expect(page.locator(what).first).to_be_visible(timeout=20_000)
    return time.monotonic() - began
