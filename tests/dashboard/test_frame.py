"""What is around every page: it comes whole, its keys, light and dark, and what it says while nobody answers."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, WebSocket, expect

from plait.api.events import ConfigChanged
from plait.api.listening import serving
from plait.api.views import ProxyStatus
from plait.dashboard import parts
from plait.dashboard.frame import NAVIGATION, Frame, due
from tests.api.planes import FINDING
from tests.dashboard.conftest import Pages
from tests.dashboard.scenes import Scene, bistro
from tests.dashboard.stage import dashboard, staged

PAGES = ("/", "/services", "/traces", "/canaries", "/proxies", "/findings")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def link() -> AsyncIterator[str]:
    """Of a dashboard of the bistro that nothing happens to."""
    async with staged(bistro()) as made:
        yield made


@asynccontextmanager
async def without_a_mesh() -> AsyncIterator[tuple[Path, str]]:
    """The socket of a mesh that is away, and the link of its dashboard."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mesh" / "run" / "api.sock"
        path.parent.mkdir(parents=True)
        async with dashboard(path) as made:
            yield path, made


def place(link: str, path: str) -> str:
    return link.partition("/?")[0] + path


async def test_a_page_comes_whole_and_its_address_has_no_token(browser: Pages, link: str) -> None:
    async with browser(link) as page:
        assert await page.title() == "Map - Plait"
        assert "token" not in page.url
        await expect(page.locator("header.top .state")).to_contain_text("8 of 8 ready")
        await expect(page.locator(".state .badge")).to_have_text("1 error")
        await expect(page.locator(".banner")).to_be_hidden()


async def test_a_link_that_stands_elsewhere_opens_though_cookies_are_strict(
    browser: Pages, link: str, tmp_path: Path
) -> None:
    asked_twice = ("a request to file:", "401")
    for number, target in enumerate((link, place(link, "/findings?severity=error"))):
        (tmp_path / f"{number}.html").write_text(f'<a href="{target}">here</a>')
    async with browser((tmp_path / "0.html").as_uri(), place=place(link, ""), tolerated=asked_twice) as page:
        await page.get_by_role("link").click()
        await expect(page.locator("header.top h1")).to_have_text("Map")
        await page.goto((tmp_path / "1.html").as_uri())
        await page.get_by_role("link").click()
        await expect(page.locator("header.top h1")).to_have_text("Findings")
        assert page.url == place(link, "/findings?severity=error")


async def test_an_address_where_nothing_is_says_so(browser: Pages, link: str) -> None:
    async with browser(link, tolerated=("404",)) as page:
        answer = await page.goto(place(link, "/menu"))
        assert answer
        assert answer.status == 404
        await expect(page.locator(".empty")).to_contain_text("Nothing stands at this address.")
        await page.get_by_role("link", name="Proxies").click()
        await page.wait_for_url(place(link, "/proxies"))


def test_every_page_has_a_key_of_its_own() -> None:
    assert [path for path, *_ in NAVIGATION] == list(PAGES)
    assert "".join(key for *_, key in NAVIGATION) == "mstcpf"


async def test_a_page_opens_by_its_key(browser: Pages, link: str) -> None:
    async with browser(link) as page:
        for key, path in (("p", "/proxies"), ("f", "/findings")):
            await page.keyboard.press("g")
            await page.keyboard.press(key)
            await page.wait_for_url(place(link, path))
            await expect(page.locator(".way.here")).to_have_attribute("href", path)


async def test_light_and_dark_are_chosen_by_a_key_and_kept(browser: Pages, link: str) -> None:
    async with browser(link, dark=True) as page:
        await expect(page.locator("body.body--dark")).to_be_visible()
        await page.keyboard.press("d")
        await expect(page.locator("body.body--light")).to_be_visible()
        await page.reload()
        await expect(page.locator("body.body--light")).to_be_visible()


async def test_the_keys_are_told(browser: Pages, link: str) -> None:
    async with browser(link) as page:
        await page.keyboard.press("?")
        await expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()


async def test_a_page_tells_of_a_control_plane_that_hangs_is_away_comes_goes_and_ends(browser: Pages) -> None:
    scene = bistro()
    async with without_a_mesh() as (path, link):
        with socket.socket(socket.AF_UNIX) as hanging:
            hanging.bind(str(path))
            hanging.listen()
            async with browser(place(link, "/findings") + "?" + link.partition("?")[2]) as page:
                banner, rows = page.locator(".banner"), page.locator(".grid tbody tr")
                await expect(banner).to_contain_text("has not answered yet")
                await page.evaluate("window.loadedOnce = true")
                hanging.close()
                await expect(banner).to_contain_text("No control plane answers since")
                await expect(banner).not_to_contain_text("of then")
                async with serving(scene, path):
                    await expect(banner).to_be_hidden()
                    await expect(rows).to_have_count(len(scene.found))
                await expect(banner).to_contain_text("What stands here is of then.")
                await expect(rows).to_have_count(len(scene.found))
                scene.found = (FINDING,)
                async with serving(scene, path):
                    await expect(banner).to_be_hidden()
                    await expect(rows).to_have_count(1)
                shutil.rmtree(path.parent.parent)
                await expect(banner).to_contain_text("The mesh has ended")
                assert await page.evaluate("window.loadedOnce")


class Watched(Scene):
    """Counts how often somebody has looked at its proxies."""

    looks = 0

    def proxies(self) -> tuple[ProxyStatus, ...]:
        self.looks += 1
        return super().proxies()


async def test_a_look_at_what_has_not_changed_sends_nothing(browser: Pages) -> None:
    played = bistro()
    scene = Watched(
        **{name: getattr(played, name) for name in Watched.__dataclass_fields__ if name != "traffic"}
    )
    async with staged(scene) as link, browser(link) as page:
        frames: list[str] = []
        page.on("websocket", lambda one: _listen(one, frames))
        await page.goto(place(link, "/proxies"))
        await expect(page.locator(".grid tbody tr")).to_have_count(7)
        await _look_again(scene, page)
        frames.clear()
        for _ in range(2):
            await _look_again(scene, page)
        assert frames == []
        payments = next(one for one in scene.proxied if one.name == "payments")
        mended = replace(
            payments, synced=True, types=tuple(replace(one, nack=None) for one in payments.types)
        )
        scene.proxied = tuple(mended if one == payments else one for one in scene.proxied)
        await _look_again(scene, page)
        await expect(page.locator("tr", has_text="bistro/payments/0")).to_contain_text("In sync")
        assert frames
        assert not [one for one in frames if "bistro/diner/0" in one.replace('\\"bistro/diner/0\\",', "")]


def _listen(one: WebSocket, frames: list[str]) -> None:
    """Note what a page is sent, but for the connection's own signs of life."""

    def heard(frame: str | bytes) -> None:
        if frame not in {"2", "3"}:
            frames.append(str(frame))

    one.on("framereceived", heard)


async def _look_again(scene: Watched, page: Page) -> None:
    before = scene.looks
    scene.bus.publish(ConfigChanged(generation=8))
    while scene.looks == before:
        await page.wait_for_timeout(20)
    await page.wait_for_timeout(200)


@pytest.mark.parametrize(
    ("called", "now", "every", "expected"),
    [
        (1001.0, 1002.0, 5.0, False),  # what ended at 1000 can't be asked for yet
        (1001.0, 1002.4, 5.0, True),
        (1002.4, 1007.2, 5.0, False),
        (1002.4, 1007.4, 5.0, True),
        (1007.2, 1007.4, 5.0, True),  # something happened just before: that look was too early
        (1007.4, 1000.0, 5.0, True),  # somebody set the clock back
        (1007.4, 1012.4, 15.0, False),
        (1002.4, 1003.4, 1.0, True),
        (0.0, 1001.0, 5.0, True),
    ],
)
def test_it_is_looked_as_soon_as_what_was_counted_can_be_asked_for(
    called: float, now: float, every: float, *, expected: bool
) -> None:
    assert due(called, now, every) is expected


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-3, "0s"), (59.9, "59s"), (60, "1m"), (200, "3m 20s"), (82_800, "23h"), (1_051_200, "12d 4h")],
)
def test_how_long_something_takes(seconds: float, said: str) -> None:
    assert parts.lasting(seconds) == said


def test_one_is_not_several() -> None:
    assert [parts.counted(number, "error") for number in (0, 1, 1200)] == [
        "0 errors",
        "1 error",
        "1,200 errors",
    ]


def test_what_is_broken_into_lines_is_escaped_too() -> None:
    assert parts.breakable("spiffe://a/<b>") == "spiffe://a/<wbr>&lt;b&gt;"


async def test_however_much_happens_a_page_looks_a_fifth_of_the_time_at_most() -> None:
    took, looks = 0.05, 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(took)

    place: Any = nullcontext()
    nothing: Any = SimpleNamespace(set_text=lambda _: None, set_visibility=lambda _: None)
    feed: Any = SimpleNamespace(news=0)
    shown = Frame(feed, nothing, nothing, place)
    await shown.live(look, every=3600)
    began = time.monotonic()
    for _ in range(40):
        feed.news += 1
        await shown.tick()
        await asyncio.sleep(0.01)
    assert 1 < looks <= 1 + (time.monotonic() - began) / (5 * took) + 1
