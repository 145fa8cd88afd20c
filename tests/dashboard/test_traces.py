"""Traces in a real browser: what is looked for, what is found, and one of them whole."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from playwright.async_api import Page, WebSocket, expect

from plait.api import figures
from plait.api.events import ConfigChanged
from plait.api.views import TraceSummary
from plait.dashboard.elements.marks import decades
from plait.dashboard.pages.traces import mark, row
from plait.dashboard.searching import MOST, Search, seconds
from tests.api.planes import until
from tests.dashboard.conftest import Pages
from tests.dashboard.scenes import Scene, rolling
from tests.dashboard.stage import staged

ONE = TraceSummary(
    trace="4bf92f3577b34da6a3ce929d0e0e4736",
    started="2026-11-30T12:00:01.123+00:00",
    duration_ms=48.2,
    spans=10,
    failed=2,
    service="frontend",
    name="GET /menu",
    services=("frontend", "restaurants", "reviews", "reservations", "payments"),
)


def test_what_is_typed_is_what_the_api_is_asked() -> None:
    asked = Search(
        service="reviews",
        workload="bistro/reviews",
        status="error",
        min_duration="200ms",
        tag='http.status_code=503 error="a b"',
        window="900",
    )
    assert asked.query(10_000.0) == {
        "service": "reviews",
        "workload": "bistro/reviews",
        "status": "error",
        "min_duration": "0.2",
        "tag": ["http.status_code=503", "error=a b"],
        "since": "9100.000",
        "limit": str(MOST),
    }
    assert replace(asked, until="5000").query(10_000.0)["since"] == "4100.000"
    assert Search().query(0.0) == {"limit": str(MOST)}


def test_its_place_says_all_that_was_typed_and_nothing_else() -> None:
    assert Search().place() == "/traces"
    assert Search(status="error", tag="a=b c").place() == "/traces?status=error&tag=a%3Db+c"


@pytest.mark.parametrize(("text", "found"), [("200ms", 0.2), ("1.5s", 1.5), ("2", 2.0), ("1m", 60.0)])
def test_durations_are_read_as_people_write_them(text: str, found: float) -> None:
    assert seconds(text) == pytest.approx(found)


@pytest.mark.parametrize("wrong", [{"min_duration": "soon"}, {"window": "x"}, {"tag": 'a="b'}])
def test_what_can_not_be_understood_is_said(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"duration|window|quotation"):
        Search(**wrong).query(0.0)


def test_a_row_and_a_mark_say_what_the_api_says() -> None:
    cells = row(ONE, longest=96.4).cells
    assert [cell.text for cell in cells[1:]] == ["GET /menu", "frontend", "48ms", "10", "2"]
    assert cells[1].href == f"/traces/{ONE.trace}"
    assert cells[1].sub == "frontend > restaurants > reviews > reservations …"
    assert cells[3].bar == 0.5
    found = mark(ONE)
    assert (found.value, found.kind, found.href) == (48.2, "failed", f"/traces/{ONE.trace}")
    assert mark(replace(ONE, failed=0)).kind == "well"


def test_the_axis_has_all_powers_of_ten_around_what_is_shown() -> None:
    assert decades([48.2, 1800.0]) == [10.0, 100.0, 1000.0, 10_000.0]
    assert decades([0.0]) == pytest.approx([0.1, 1.0])
    assert decades([]) == [1.0, 10.0, 100.0]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def scene() -> Scene:
    return rolling()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def link(scene: Scene) -> AsyncIterator[str]:
    async with staged(scene) as link:
        yield link


def at(link: str, path: str) -> str:
    """Another place of the same dashboard, opened by its token."""
    place, _, token = link.partition("/?")
    return f"{place}{path}{'&' if '?' in path else '?'}{token}"


async def titles(page: Page) -> list[str]:
    return [str(await one.get_attribute("data-key")) for one in await page.locator(".grid tbody tr").all()]


async def test_the_list_is_what_the_api_finds_and_the_address_says_what_was_asked(
    browser: Pages, link: str, scene: Scene
) -> None:
    async with browser(at(link, "/traces")) as page:
        await expect(page.locator(".grid tbody tr")).to_have_count(len(scene.traced))
        newest = sorted(scene.traced, key=lambda one: one.started, reverse=True)
        assert await titles(page) == [one.trace for one in newest]
        shown = await page.locator(".grid tbody tr td:nth-child(4)").all_inner_texts()
        assert [text.strip() for text in shown] == [figures.duration(one.duration_ms) for one in newest]

        await page.select_option("select[name=status]", "error")
        await page.fill("input[name=min_duration]", "30ms")
        await page.locator("input[name=min_duration]").blur()
        search = Search(status="error", min_duration="30ms")
        await expect(page).to_have_url(f"{link.partition('/?')[0]}{search.place()}")
        failed = [
            one.trace for one in newest if one.duration_ms >= 30 and any(span.failed for span in one.spans)
        ]
        await expect(page.locator(".grid tbody tr")).to_have_count(len(failed))
        assert await titles(page) == failed
        assert scene.asked[-1].least == pytest.approx(0.03)

        await page.reload()
        await expect(page.locator(".grid tbody tr")).to_have_count(len(failed))
        assert await page.input_value("input[name=min_duration]") == "30ms"
        assert await page.input_value("select[name=status]") == "error"


async def test_it_says_in_words_when_there_is_nothing_and_when_it_does_not_understand(
    browser: Pages, link: str, scene: Scene
) -> None:
    async with browser(at(link, "/traces?workload=bistro/nobody")) as page:
        await expect(page.get_by_text("No trace fits what is asked.")).to_be_visible()
        await page.goto(at(link, "/traces?min_duration=soon"))
        await expect(page.get_by_text("'soon' is not a duration")).to_be_visible()
        await page.goto(at(link, "/traces?tag=name"))
        await expect(page.get_by_text("a tag is NAME=VALUE")).to_be_visible()
        kept, scene.traced = scene.traced, ()
        try:
            await page.goto(at(link, "/traces"))
            await expect(page.get_by_text("No trace was seen yet.")).to_be_visible()
            await expect(page.get_by_text("plait exec")).to_be_visible()
        finally:
            scene.traced = kept


async def test_a_mark_in_the_picture_opens_its_trace_and_stays_while_it_is_pointed_at(
    browser: Pages, link: str
) -> None:
    async with browser(at(link, "/traces?min_duration=1s")) as page:
        mark = page.locator(".marks svg path[fill='var(--bad)']")
        await mark.hover()
        await expect(page.locator(".marks-tip")).to_contain_text("1.8s")
        grown = re.compile(r"matrix\(8\.4,")
        await expect(mark).to_have_attribute("transform", grown)
        await mark.click()
        await expect(page).to_have_url(re.compile("/traces/d{32}"))


async def test_a_trace_is_walked_folded_and_opened_by_keys_and_its_address_keeps_what_is_open(
    browser: Pages, link: str, scene: Scene
) -> None:
    trace = scene.traced[0]
    async with browser(at(link, f"/traces/{trace.trace[:12]}")) as page:
        rows = page.locator(".fall-row")
        await expect(rows).to_have_count(len(trace.spans))
        assert [text.strip() for text in await page.locator(".fall-row .fall-took").all_inner_texts()] == [
            figures.duration(one.duration_ms) for one in trace.spans
        ]
        await page.locator(".fall").focus()
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("ArrowLeft")
        await expect(rows).to_have_count(2)
        await page.keyboard.press("ArrowRight")
        await expect(rows).to_have_count(len(trace.spans))
        for _ in range(3):
            await page.keyboard.press("ArrowDown")
        await page.keyboard.press("Enter")
        opened = page.locator(".fall-more")
        await expect(opened).to_contain_text("upstream_reset_before_response_started")
        await expect(opened).to_contain_text("UC")
        await expect(opened).to_contain_text("The callee closed the connection before its answer was whole.")
        await expect(page).to_have_url(re.compile("span=0000000000000004"))
        await page.reload()
        await expect(opened).to_contain_text("upstream_reset_before_response_started")
        links = await opened.locator("a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
        assert links[:3] == [
            "/services/bistro/restaurants",
            "/services/bistro/reviews",
            "/proxies/bistro/restaurants/0",
        ]
        path = page.get_by_text("Path on the map")
        assert await path.get_attribute("href") == f"/?trace={trace.trace}"


async def test_the_cause_stands_above_the_waterfall_and_200_spans_are_shown(
    browser: Pages, link: str
) -> None:
    async with browser(at(link, f"/traces/{'d' * 32}")) as page:
        await expect(page.locator(".fall-row")).to_have_count(200)
        await expect(page.locator(".callout")).to_contain_text("connection refused")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 1280


async def test_a_trace_that_is_not_there_is_said_to_be_not_there(browser: Pages, link: str) -> None:
    async with browser(at(link, "/traces/0123456789abcdef")) as page:
        await expect(page.get_by_text("no trace begins with 0123456789abcdef")).to_be_visible()


async def test_a_look_sends_the_marks_that_are_new_and_no_others(
    browser: Pages, link: str, scene: Scene
) -> None:
    heard: list[str] = []

    def hear(socket: WebSocket) -> None:
        socket.on("framereceived", lambda data: heard.append(str(data)))

    async with browser(at(link, "/traces?status=ok")) as page:
        page.on("websocket", hear)
        await page.reload()
        await expect(page.locator(".marks-legend span").first).to_be_visible()
        await until(lambda: bool(heard))
        kept = scene.traced
        try:
            for new in ((), (replace(kept[1], trace="e" * 32),)):
                before = len(scene.asked)
                scene.traced = (*kept, *new)
                scene.bus.publish(ConfigChanged(generation=8))
                await until(lambda before=before: len(scene.asked) > before)  # type: ignore[misc]
            await until(lambda: any("e" * 32 in one and "added" in one for one in heard))
        finally:
            scene.traced = kept
        (sent,) = [one for one in heard if "added" in one]
        assert not any(one.trace in sent for one in kept)
