"""The pictures of the README and of the guide: the bistro as it is after some minutes; `make pictures` writes them, and no other run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.dashboard.real import GATED, NEW_REVIEWS, at, under_load
from tests.e2e.mesh import Mesh, write

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
SHOWN = 5 * 60
"""Seconds of traffic that charts show."""

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.asyncio(loop_scope="session"),  # the browser belongs to that one
]


async def test_the_pictures_of_the_guide(tmp_path: Path, chromium: Browser) -> None:
    FOLDER.mkdir(exist_ok=True)
    async with under_load(tmp_path) as (mesh, link):
        write(mesh.folder / "canary.yaml", GATED)
        mesh.replace("payments.yaml", '["python3"', '["env", "FAIL_PERCENT=30", "python3"')
        async with opened(chromium, link) as page:
            await page.wait_for_timeout((SHOWN - 100) * 1000)
            mesh.replace(*NEW_REVIEWS)
            for _ in range(20):
                await refused(mesh)
                await page.wait_for_timeout(4_000)
            await page.goto(at(page, "/"))
            await expect(page.locator(".map-label.bad").first).to_be_visible()
            await taken(page, "map")
            await page.goto(at(page, "/services/bistro/reservations"))
            await expect(page.locator(".chart svg").first).to_be_visible()
            await taken(page, "service")
            await page.goto(at(page, "/services/bistro/payments?tab=policies"))
            await expect(page.locator("section[aria-label='Who was refused, and why']")).to_contain_text(
                "diner"
            )
            await taken(page, "policies")
            await page.goto(at(page, "/canaries/bistro/reviews"))
            await expect(page.locator("[data-command=approve]")).to_be_enabled(timeout=60_000)
            await taken(page, "canary")
            await page.goto(at(page, "/traces?status=error"))
            await page.locator(".grid tbody a").first.click()
            await expect(page.locator(".fall-row").first).to_be_visible()
            await taken(page, "trace")
        async with opened(chromium, link, dark=True) as page:
            await page.goto(at(page, "/"))
            await expect(page.locator(".map-label.bad").first).to_be_visible()
            await taken(page, "map-dark")


@asynccontextmanager
async def opened(chromium: Browser, link: str, *, dark: bool = False) -> AsyncIterator[Page]:
    context = await chromium.new_context(
        viewport={"width": 1280, "height": 800},
        device_scale_factor=2,
        color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )
    page = await context.new_page()
    await page.goto(link)
    yield page
    await context.close()


async def taken(page: Page, name: str) -> None:
    await page.wait_for_timeout(1_500)
    await page.screenshot(path=FOLDER / f"{name}.png")


async def refused(mesh: Mesh) -> None:
    """The diner asks for what it may not."""
    asked = ("exec", "bistro/diner", "--", "curl", "-s", "-o", "/dev/null", "http://payments:8080/")
    await mesh.plait(*asked, check=False)
