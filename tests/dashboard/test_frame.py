"""What is around every page."""

from __future__ import annotations

from tests.dashboard.conftest import Pages
from tests.dashboard.scenes import bistro
from tests.dashboard.stage import staged


async def test_a_page_comes_whole_and_asks_nobody_else(browser: Pages) -> None:
    async with staged(bistro()) as link, browser(link) as page:
        assert await page.title() == "Map - Plait"
        assert "token" not in page.url
        await page.get_by_text("of 8 ready").wait_for()


async def test_a_second_page(browser: Pages) -> None:
    async with staged(bistro()) as link, browser(link, dark=True) as page:
        await page.get_by_role("link", name="Proxies").click()
        await page.get_by_role("heading", name="Proxies").wait_for()
