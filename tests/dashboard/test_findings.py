"""Findings and objects: what is told and in which order, what is looked for, and YAML with its line marked."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import quote

import pytest
import pytest_asyncio
from playwright.async_api import expect

from plait.api.views import FindingView
from plait.dashboard import yaml
from plait.dashboard.pages import findings
from plait.dashboard.pages.findings import Wanted
from tests.dashboard.conftest import Pages
from tests.dashboard.scenes import FINDINGS, ROUTING, bistro
from tests.dashboard.stage import staged

FILE = FindingView(severity="error", code="yaml.unreadable", message="bad <indent>", file="/etc/mesh/a.yaml")
ALL = (*reversed(FINDINGS), FILE)


def test_the_worst_stand_first_each_with_its_place_and_remedy() -> None:
    shown = findings.rows(ALL, Wanted())
    assert [row.cells[0].text for row in shown] == ["Error", "Error", "Warning", "Info"]
    file, rejected = shown[0].cells, shown[1].cells
    assert (file[3].text, file[3].sub, file[3].href) == ("a.yaml", "/etc/mesh", "")
    assert (rejected[3].text, rejected[3].sub) == ("routing.yaml:41", "bistro")
    assert rejected[1].sub == FINDINGS[0].remedy
    assert rejected[2].href == "/objects?kind=VirtualService&namespace=bistro&name=payments&line=41"
    assert (rejected[2].sub, rejected[4].text) == ("spec.http[0].match[0].uri.regex", "envoy.rejected")


@pytest.mark.parametrize(
    ("wanted", "codes"),
    [
        (Wanted(severity="warning"), ["tracing.lost-context"]),
        (Wanted(namespace="bistro", severity="error"), ["envoy.rejected"]),
        (Wanted(text="TRACEPARENT"), ["tracing.lost-context"]),
        (Wanted(text="routing.yaml"), ["envoy.rejected", "host.nobody"]),
        (Wanted(namespace="kitchen"), []),
    ],
)
def test_what_is_looked_for_is_left(wanted: Wanted, codes: list[str]) -> None:
    assert [row.cells[4].text for row in findings.rows(ALL, wanted)] == codes


def test_they_are_counted_by_severity() -> None:
    assert findings.counts(ALL) == {"": 4, "error": 2, "warning": 1, "info": 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\na: 1\n",
        ROUTING,
        "a: |\n  <b>\n\n  &amp;\n# <i>\n",
        "  oops: [\n\t- }",
        "a: '\n",
        "\r\na: b\r\n",
    ],
)
def test_yaml_keeps_its_lines_and_nothing_of_it_is_html(text: str) -> None:
    shown = yaml.shown(text, 10, 11)
    numbers = [int(number) for number in re.findall(r'data-line="(\d+)"', shown)]
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []
    assert numbers == list(range(10, 10 + len(lines)))
    assert shown.count("marked") == (len(lines) > 1)
    plain = re.sub(r'<span class="no">\d+</span>', "", shown)
    body = [re.sub(r"<[^>]*>", "", one) for one in re.split(r'<span class="line[^>]*>', plain)[1:]]
    unescaped = [
        one.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
        for one in body
    ]
    assert unescaped == lines


def test_keys_and_comments_are_told_apart() -> None:
    shown = yaml.shown("# why\nname: reviews\n", 1, 0)
    assert '<span class="c"># why</span>' in shown
    assert '<span class="k">name</span>' in shown


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def link() -> AsyncIterator[str]:
    scene = bistro()
    about = replace(FINDINGS[2], object="VirtualService bistro/reservations", line=22, message="<img src=x>")
    scene.found = (*FINDINGS, about)
    async with staged(scene) as made:
        yield made


async def test_what_is_chosen_stands_in_the_address(browser: Pages, link: str) -> None:
    async with browser(link) as page:
        await page.get_by_role("link", name="Findings").click()
        rows = page.locator(".grid tbody tr")
        await expect(rows).to_have_count(4)
        await page.get_by_role("button", name="Info 2").click()
        await expect(rows).to_have_count(2)
        await page.keyboard.press("/")
        await page.keyboard.type("menu")
        await page.wait_for_url("**/findings?severity=info&text=menu")
        await expect(rows).to_have_count(1)
        await expect(page.get_by_role("button", name="All 1")).to_be_visible()
        await page.reload()
        await expect(rows).to_have_count(1)
        await expect(page.get_by_role("searchbox")).to_have_value("menu")
        await page.get_by_label("Namespace").select_option("bistro")
        await page.wait_for_url("**/findings?severity=info&namespace=bistro&text=menu")


async def test_from_a_finding_to_its_line_and_what_else_is_found_there(browser: Pages, link: str) -> None:
    async with browser(link) as page:
        await page.goto(f"{link.partition('/?')[0]}/findings")
        await page.get_by_role("link", name="VirtualService bistro/reservations").click()
        await expect(page.locator(".line.marked")).to_contain_text(
            "destination: {host: reservations, subset: v1}"
        )
        await expect(page.locator(".objects-findings article")).to_have_count(1)
        await expect(page.locator(".objects-findings")).to_contain_text("<img src=x>")
        evil = quote("</title><script>window.hit = 1</script>`${window.hit = 1}`{{window.hit = 1}}\\")
        await page.goto(f"{link.partition('/?')[0]}/objects?kind={evil}&namespace={evil}&name={evil}")
        await expect(page.locator(".banner")).to_contain_text("there is no </title><script>")
        assert await page.evaluate("window.hit") is None
        assert (await page.title()).startswith("</title><script>")
        await page.goto(f"{link.partition('/?')[0]}/objects?kind=Service&namespace=bistro&name=gone")
        await expect(page.locator(".banner")).to_contain_text("there is no Service bistro/gone")
