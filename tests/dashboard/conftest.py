"""The one browser of these tests: Debian's Chromium, driven by Playwright; tests with it are skipped without it.

A test that takes `browser` runs in the session's event loop, since the browser belongs to that one.  A fixture that
it shares with others says `@pytest_asyncio.fixture(scope="module", loop_scope="session")`.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright, expect

CHROMIUM = shutil.which("chromium")
# In ms: what is asked is whether something comes, not how fast this machine is today.
expect.set_options(timeout=20_000)

Pages = Callable[..., AbstractAsyncContextManager[Page]]
"""`async with browser(link) as page`: a page with a profile of its own, which has opened the link.

`width`, `height` and `dark` say how it looks.  At its end the test fails of whatever went wrong in it: an error in
the console or in a script, a request to another host (than that of `place`, or of the link).  `tolerated`: what may stand in such an error (a control plane
that is away on purpose is none, for the browser never asks it).
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser's process; pages are for `browser`."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here (Debian's package chromium): nothing is tried in a browser")
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-software-rasterizer"]
        )
        yield started
        await started.close()


@pytest.fixture
def browser(chromium: Browser) -> Pages:
    """See Pages."""

    @asynccontextmanager
    async def opened(  # noqa: PLR0913 - what a test may ask for
        link: str,
        *,
        width: int = 1280,
        height: int = 800,
        dark: bool = False,
        place: str = "",
        tolerated: tuple[str, ...] = (),
    ) -> AsyncIterator[Page]:
        context = await chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
        )
        try:
            page = await context.new_page()
            wrong = _watched(page, urlsplit(place or link).netloc)
            await page.goto(link)
            yield page
        finally:
            await context.close()
        assert not [one for one in wrong if not any(text in one for text in tolerated)]

    return opened


def _watched(page: Page, place: str) -> list[str]:
    """What goes wrong in a page from now on."""
    wrong: list[str] = []

    def logged(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            wrong.append(f"console: {message.text} ({message.location.get('url', '')})")

    def asked(request: Request) -> None:
        to = urlsplit(request.url)
        if to.scheme not in {"data", "blob", "about"} and to.netloc != place:
            wrong.append(f"a request to {request.url}")

    page.on("console", logged)
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("request", asked)
    page.on(
        "websocket", lambda socket: wrong.extend([] if urlsplit(socket.url).netloc == place else [socket.url])
    )
    return wrong


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A browser belongs to the loop that started it."""
    session = pytest.mark.asyncio(loop_scope="session")
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(session, append=False)
