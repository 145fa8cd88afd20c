"""Proxies: what of them is told and in which order, and the way from one that rejects to the line to mend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from playwright.async_api import expect

from plait.api.proxies import PushView
from plait.api.views import Nack, ProxyStatus, ProxyTypeStatus
from plait.dashboard import proxies
from plait.dashboard.elements.grid import Row
from plait.dashboard.proxies import State, Wanted
from tests.dashboard.conftest import Pages
from tests.dashboard.scenes import SPLIT, bistro, iso
from tests.dashboard.stage import staged

NOW = 1_790_000_040.0
SYNCED = ProxyStatus(
    namespace="bistro",
    name="reviews",
    replica=0,
    connected=iso(NOW - 60),
    synced=True,
    types=(
        ProxyTypeStatus(type="Cluster", wanted=1200, acknowledged=1200, sent=1300, latency_ms=4.0),
        ProxyTypeStatus(type="Listener", wanted=4, acknowledged=4, sent=4, latency_ms=12.0),
    ),
)
BEHIND = replace(
    SYNCED,
    name="frontend",
    synced=False,
    types=(replace(SYNCED.types[0], acknowledged=1199), SYNCED.types[1]),
)
AWAY = replace(BEHIND, name="cache", connected=None)
REJECTS = replace(
    BEHIND,
    namespace="kitchen",
    name="oven",
    types=(replace(BEHIND.types[0], nack=Nack(reason="no such port", resources=("a", "b"))), SYNCED.types[1]),
)
ALL = (SYNCED, BEHIND, AWAY, REJECTS)


def texts(row: Row) -> list[str]:
    return [cell.text for cell in row.cells]


def test_the_worst_stand_first() -> None:
    assert [proxies.state_of(one) for one in ALL] == [
        State.SYNCED,
        State.BEHIND,
        State.AWAY,
        State.REJECTS,
    ]
    shown = proxies.rows(ALL, {}, Wanted(), NOW)
    assert [row.key for row in shown] == [
        "kitchen/oven/0",
        "bistro/cache/0",
        "bistro/frontend/0",
        "bistro/reviews/0",
    ]


def test_a_row_says_how_far_a_proxy_has_come_and_why_not_further() -> None:
    row = proxies.rows([REJECTS], {REJECTS.node: iso(NOW + 7_300)}, Wanted(), NOW)[0]
    assert texts(row)[:5] == ["kitchen/oven/0", "Rejecting", "Cluster", "1,203 of 1,204", "12ms"]
    assert (row.cells[2].sub, row.cells[6].text) == ("no such port", "in 2h")
    assert row.cells[0].href == "/proxies/kitchen/oven/0"


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (Wanted(state="behind"), ["bistro/frontend/0"]),
        (Wanted(namespace="kitchen"), ["kitchen/oven/0"]),
        (Wanted(text=" FRONT "), ["bistro/frontend/0"]),
        (Wanted(state="synced", namespace="kitchen"), []),
    ],
)
def test_what_is_looked_for_is_left(wanted: Wanted, kept: list[str]) -> None:
    assert [row.key for row in proxies.rows(ALL, {}, wanted, NOW)] == kept


@pytest.mark.parametrize(
    ("left", "text", "tone"),
    [
        (70_000, "in 19h", ""),
        (3_601, "in 1h", ""),
        (1_799, "in 29m", "warn"),
        (30, "in 0s", "warn"),
        (0, "it has ended", "bad"),
    ],
)
def test_a_certificate_that_ends_soon_is_told(left: float, text: str, tone: str) -> None:
    cell = proxies.certificate(iso(NOW + left), NOW)
    assert (cell.text, cell.tone) == (text, tone)


def test_what_was_sent_is_told_with_the_answer() -> None:
    pushes = [
        PushView(at=iso(NOW), type="Cluster", resources=2, removed=1, bytes=2_300, outcome="sent"),
        PushView(
            at=iso(NOW),
            type="Cluster",
            resources=1200,
            removed=0,
            bytes=900,
            outcome="rejected",
            latency_ms=3,
            reason="why",
        ),
    ]
    first, second = proxies.push_rows(pushes)
    assert texts(first)[1:] == ["Cluster", "2", "1", "2.3kB", "Sent", "-", ""]
    assert texts(second)[1:] == ["Cluster", "1,200", "-", "900B", "Rejected", "3.0ms", "why"]
    assert first.key != second.key
    newer = replace(pushes[0], resources=7)
    assert [row.key for row in proxies.push_rows([newer, *pushes])[1:]] == [first.key, second.key]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def link() -> AsyncIterator[str]:
    scene = bistro()
    written = replace(SPLIT, line=22)
    scene.pushed["bistro/payments/0"] = replace(scene.pushed["bistro/payments/0"], written=(written,))
    async with staged(scene) as made:
        yield made


async def test_from_the_proxy_that_rejects_to_the_line_to_mend(browser: Pages, link: str) -> None:
    async with browser(link) as page:
        await page.get_by_role("link", name="Proxies").click()
        await page.get_by_role("button", name="Rejecting 1").click()
        await page.wait_for_url("**/proxies?state=rejects")
        await expect(page.locator(".grid tbody tr")).to_have_count(1)
        await page.reload()
        await expect(page.get_by_role("button", name="Rejecting 1")).to_have_attribute("aria-pressed", "true")
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/proxies/bistro/payments/0")
        await expect(page.get_by_label("Refusal")).to_contain_text("the regular expression is too large")
        await page.get_by_role("link", name="Mend VirtualService bistro/reservations").click()
        await expect(page.locator(".line.marked")).to_have_attribute("data-line", "22")
        await expect(page.locator(".line.marked")).to_be_in_viewport()


async def test_one_proxy_has_its_types_its_pushes_and_its_service(browser: Pages, link: str) -> None:
    async with browser(link, dark=True) as page:
        await page.goto(f"{link.partition('/?')[0]}/proxies/bistro/frontend/0")
        await expect(page.get_by_role("table", name="Types").locator("tbody tr")).to_have_count(5)
        await expect(page.get_by_role("table", name="Pushes").locator("tbody tr")).to_have_count(10)
        await expect(page.locator(".facts")).to_contain_text("spiffe://cluster.local/ns/bistro/sa/frontend")
        await expect(page.get_by_label("Refusal")).to_have_count(0)
        services = page.locator(".facts a", has_text="frontend")
        assert await services.get_attribute("href") == "/services/bistro/frontend"
        await page.goto(f"{link.partition('/?')[0]}/proxies/bistro/nobody/0")
        await expect(page.locator(".banner")).to_contain_text("there is no proxy bistro/nobody/0")


async def test_a_table_is_sorted_by_its_headings_and_by_number(browser: Pages, link: str) -> None:
    async with browser(link) as page:
        await page.goto(f"{link.partition('/?')[0]}/proxies/bistro/frontend/0")
        table = page.get_by_role("table", name="Types")
        heading = table.get_by_role("button", name="Wanted")
        numbers = table.locator("tbody tr td:nth-child(3)")
        await heading.press("Enter")
        await expect(numbers).to_have_text(["12", "12", "9", "4", "2"])
        await heading.press("Enter")
        await expect(numbers).to_have_text(["2", "4", "9", "12", "12"])
        await expect(table.get_by_role("columnheader", name="Wanted")).to_have_attribute(
            "aria-sort", "ascending"
        )
