"""The services, and one of them, in a browser: what stands there is what the API says."""

from __future__ import annotations

import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Locator, Page, expect

from plait.api import figures
from plait.api.client import Client
from plait.api.events import ConfigChanged
from plait.api.listening import serving
from plait.api.services import DestinationView, InstanceView, PolicyRuleView, RefusalView
from plait.api.views import TapFilter, TappedRequest, Traffic, TrafficGroup
from plait.dashboard.service import golden, listed, live, policies, routes, traffic, usage
from plait.dashboard.service import page as one_service
from plait.dashboard.service.looked import Choice, version_names
from plait.model.names import service_host
from plait.telemetry.graph import ProcessUse
from plait.telemetry.queries import By, Group, Signals, Where
from tests.api.planes import REQUEST, until
from tests.dashboard.conftest import Pages
from tests.dashboard.scenes import Flow, Scene, bistro
from tests.dashboard.stage import dashboard, staged

NOON = 1_790_000_040.0
"""A moment that stands still, at which a minute begins."""
RESERVATIONS = "/services/bistro/reservations"


@dataclass(frozen=True)
class Stage:
    scene: Scene
    link: str
    client: Client

    def at(self, path: str) -> str:
        """The link that leads to a place."""
        address = urlsplit(self.link)
        return f"{address.scheme}://{address.netloc}{path}{'&' if '?' in path else '?'}{address.query}"

    def now(self, moment: float) -> None:
        """Have it be so late, and tell it."""
        self.scene.moment = moment
        self.scene.bus.publish(ConfigChanged(generation=8))


@asynccontextmanager
async def on_stage(scene: Scene) -> AsyncIterator[Stage]:
    scene.moment = NOON
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "run" / "api.sock"
        async with staged(scene, socket) as link, Client(socket) as client:
            yield Stage(scene, link, client)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage() -> AsyncIterator[Stage]:
    """The bistro at noon, with a service that nobody calls, for tests that change nothing."""
    scene = bistro()
    menu = replace(
        scene.services[0], name="menu", host=service_host("bistro", "menu"), policies=(), instances=()
    )
    scene.services = (*scene.services, menu)
    async with on_stage(scene) as made:
        yield made


def stat(page: Page, label: str) -> Locator:
    named = page.locator(".stat", has=page.locator(".label", has_text=re.compile(f"^{label}$")))
    return named.locator(".value")


async def cells(page: Page, table: str, key: str) -> list[str]:
    """What stands in a row of a table."""
    row = page.get_by_role("table", name=table).locator("tr", has_text=key).first
    return [" ".join(text.split()) for text in await row.locator("td").all_inner_texts()]


async def test_numbers_are_the_api_s(browser: Pages, stage: Stage) -> None:
    where = Where(service=service_host("bistro", "reservations"))
    total = await stage.client.traffic(By.SERVICE, where, window=300)
    versions = await stage.client.traffic(By.VERSION, where, window=300)
    lately = await stage.client.traffic(By.VERSION, where, window=10)
    callers = await stage.client.traffic(By.EDGE, where, window=300)
    signals = total.groups[0].signals
    async with browser(stage.at(RESERVATIONS)) as page:
        await expect(stat(page, "Traffic")).to_have_text(figures.rate(signals.rate))
        await expect(stat(page, "Errors")).to_have_text(figures.share(signals.error_share))
        for name, value in (("p50", signals.p50_ms), ("p90", signals.p90_ms), ("p99", signals.p99_ms)):
            await expect(stat(page, f"Latency {name}")).to_have_text(figures.duration(value))
        await expect(stat(page, "Open connections")).to_have_text("2")
        await expect(stat(page, "CPU")).to_have_text("0.10")
        everything = sum(one.signals.rate for one in lately.groups)
        for one, now in zip(versions.groups, lately.groups, strict=True):
            assert await cells(page, "By version", one.group.destination_version) == [
                f"{one.group.destination_version} reservations",
                figures.rate(one.signals.rate),
                figures.share(now.signals.rate / everything),
                figures.share(one.signals.rate / signals.rate),
                figures.share(one.signals.error_share),
                figures.duration(one.signals.p50_ms),
                figures.duration(one.signals.p99_ms),
                "",
            ]
        first = max(callers.groups, key=lambda one: one.signals.rate).signals
        assert (await cells(page, "By caller", "frontend"))[2:] == [
            figures.rate(first.rate),
            figures.share(first.rate / signals.rate),
            figures.share(first.error_share),
            figures.duration(first.p50_ms),
            figures.duration(first.p99_ms),
            "",
            "yes",
        ]


async def test_charts_show_what_the_api_says_last(browser: Pages, stage: Stage) -> None:
    where = Where(service=service_host("bistro", "reviews"))
    total = await stage.client.traffic(By.SERVICE, where, window=300, step=5)
    last = total.groups[0].points[-1]
    assert last is not None
    async with browser(stage.at("/services/bistro/reviews")) as page:
        for said in (
            f"Traffic: requests {figures.rate(last.rate)}",
            f"Errors: errors {figures.share(last.error_share)}",
            f"Latency: p50 {figures.duration(last.p50_ms)}, p90 {figures.duration(last.p90_ms)}, p99 900ms",
        ):
            await page.get_by_role("img", name=said).wait_for()
        drawn = page.locator(".chart-drawn svg path[stroke^='var(--series']")
        assert await drawn.count() >= 5
        colour = "e => getComputedStyle(e).stroke"
        light = await drawn.first.evaluate(colour)
        await page.keyboard.press("d")
        await page.wait_for_function(f"before => ({colour})(document.querySelector(\".chart-drawn path[stroke^='var(--series']\")) !== before", arg=light)  # fmt: skip


async def test_a_chart_tells_each_number_where_one_points(browser: Pages, stage: Stage) -> None:
    async with browser(stage.at("/services/bistro/reviews")) as page:
        await page.get_by_role("img", name="Latency: p50").wait_for()
        box = await page.locator(".chart-drawn").nth(2).bounding_box()
        assert box is not None
        await page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tip = page.locator(".chart-tip").filter(visible=True)
        await expect(tip).to_contain_text("p99900ms")
        await expect(tip).to_contain_text("p507.0ms")


async def test_a_shift_is_followed(browser: Pages) -> None:
    async with on_stage(bistro()) as stage, browser(stage.at(RESERVATIONS)) as page:
        await page.get_by_role("img", name=re.compile(r"v1 (89|9\d)%, v2 (9\.\d|1\d)%")).wait_for()
        stage.scene.flows = [shifted for flow in stage.scene.flows for shifted in _shifted(flow, NOON)]
        stage.now(NOON + 10)
        await page.get_by_role("img", name="Share of versions: v1 0%, v2 100%").wait_for()
        table = page.get_by_role("table", name="By version")
        await expect(table.locator("tr", has_text="v2")).to_contain_text("100%")
        assert (await cells(page, "By version", "v1"))[2] == "0%"


def _shifted(flow: Flow, at: float) -> list[Flow]:
    """From 90/10 to 0/100."""
    if flow.service != service_host("bistro", "reservations"):
        return [flow]
    if flow.to[2] == "v1":
        return [replace(flow, ends=at)]
    return [replace(flow, ends=at), replace(flow, begins=at, rate=20)]


async def test_live_shares_come_by_the_tap_for_as_long_as_somebody_looks(browser: Pages) -> None:
    scene = bistro()
    async with on_stage(scene) as stage:
        async with browser(stage.at(RESERVATIONS)) as page:
            rows = page.get_by_role("group", name="Live").locator(".svc-live-row")
            await expect(rows).to_have_text([re.compile(r"^v1(89|9\d)%$"), re.compile(r"^v2(\d\.\d|1\d)%$")])
            assert scene.asked.count((TapFilter(destination="bistro/reservations"), live.RATE)) == 1
            await expect(page.get_by_role("link", name="Routed: v1 90%, v2 10%")).to_have_attribute(
                "href", f"{RESERVATIONS}?tab=routes"
            )
            scene.flows = [shifted for flow in scene.flows for shifted in _shifted(flow, NOON)]
            scene.moment = NOON + 10  # and nobody tells the page
            await expect(rows).to_have_text(["v10%", "v2100%"])
            newer = replace(scene.services[0].instances[0], node="bistro/newer/0", version="v3")
            view = next(one for one in scene.services if one.name == "reservations")
            grown = replace(view, instances=(*view.instances, newer))
            scene.services = tuple(grown if one is view else one for one in scene.services)
            stage.now(NOON + 10)
            await expect(rows).to_have_text(["v10%", "v2100%", "v30%"])
            await until(lambda: len(scene.looking) == 2)
            assert not [one for one in scene.looking if one.closed.is_set()]
            await page.get_by_role("tab", name="Routes").click()
            for one in scene.looking:
                await one.closed.wait()
            await page.get_by_role("tab", name="Traffic").click()
            await until(lambda: len(scene.looking) == 4)
        for one in scene.looking:
            await one.closed.wait()


@pytest.mark.prove
async def test_of_many_requests_the_live_shares_are_those_of_all(browser: Pages) -> None:
    scene = bistro()
    host = service_host("bistro", "reviews")
    scene.flows = [replace(one, rate=one.rate * 20) for one in scene.flows if one.service == host]
    expected = [one.signals(1, NOON).rate for one in scene.flows]
    assert min(expected) > 2 * live.RATE
    async with on_stage(scene) as stage, browser(stage.at("/services/bistro/reviews")) as page:
        shares = page.get_by_role("group", name="Live").locator(".svc-to-share")
        await expect(shares).to_have_text([re.compile(r"^\d+%$")] * 2)
        await page.wait_for_timeout(live.LASTING * 1000)
        told = [int(text.rstrip("%")) for text in await shares.all_inner_texts()]
        whole = sum(expected)
        assert told == [pytest.approx(100 * one / whole, abs=4) for one in expected]


@pytest.mark.prove
async def test_without_a_control_plane_there_is_nothing_live_until_it_comes_again(browser: Pages) -> None:
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "run" / "api.sock"
        socket.parent.mkdir()
        async with dashboard(socket) as link, browser(link) as page:
            async with serving(bistro(), socket):
                address = urlsplit(link)
                await page.goto(f"{address.scheme}://{address.netloc}{RESERVATIONS}")
                rows = page.get_by_role("group", name="Live").locator(".svc-live-row")
                await expect(rows).to_contain_text(["%", "%"])
            await expect(rows).to_have_text(["v1-", "v2-"])
            async with serving(bistro(), socket):
                await expect(rows).to_contain_text(["%", "%"])


async def test_only_what_is_new_is_sent(browser: Pages) -> None:
    scene = bistro()
    scene.telling = False
    async with on_stage(scene) as stage, browser(stage.link) as page:
        told: list[str | bytes] = []

        def heard(frame: str | bytes) -> None:
            told.append(frame)

        page.on("websocket", lambda socket: socket.on("framereceived", heard))
        answer = await page.goto(stage.at(RESERVATIONS))
        assert answer is not None
        whole = len(await answer.body())
        await page.get_by_role("img", name="Traffic of callers: frontend").wait_for()
        await _looked_again(page, stage, told, NOON)
        told.clear()
        await _looked_again(page, stage, told, NOON)
        assert sum(len(one) for one in told) < 200, told
        await _looked_again(page, stage, told, NOON + 5)
        await until(lambda: sum(len(one) for one in told) > 200)
        await page.wait_for_timeout(300)
        assert sum(len(one) for one in told) < whole / 5


async def _looked_again(page: Page, stage: Stage, told: list[str | bytes], moment: float) -> None:
    """Have the page look at a moment, and wait until nothing more comes of it."""
    before = len(stage.scene.asked)
    stage.now(moment)
    while len(stage.scene.asked) == before:
        await page.wait_for_timeout(20)
    known = -1
    while known != len(told):
        known = len(told)
        await page.wait_for_timeout(500)


async def test_routes_in_force_and_the_yaml_behind_them(browser: Pages, stage: Stage) -> None:
    view = await stage.client.service("bistro", "reservations")
    async with browser(stage.at(f"{RESERVATIONS}?window=900")) as page:
        await page.get_by_role("tab", name="Routes").click()
        rules = page.locator(".svc-rule")
        await expect(rules).to_have_count(len(view.routes[0].rules))
        await expect(rules.nth(0)).to_contain_text("header x-user is tester")
        await expect(rules.nth(0)).to_contain_text("timeout 2s")
        await expect(rules.nth(1)).to_contain_text("Every request")
        shares = rules.nth(1).locator(".svc-to-share")
        assert await shares.all_inner_texts() == ["90%", "10%"]
        await rules.nth(1).get_by_role("button", name="bistro/routing.yaml:24").click()
        marked = rules.nth(1).locator(".line.marked")
        await expect(marked).to_contain_text("subset: v2}")
        assert await marked.get_attribute("data-line") == "24"
        query = "window=900&tab=routes&open=VirtualService+bistro%2Freservations%3A24"
        await expect(page).to_have_url(stage.at(RESERVATIONS).partition("?")[0] + "?" + query)
        await page.reload()
        await expect(page.locator(".line.marked")).to_have_count(1)
        await rules.nth(0).get_by_role("button", name="bistro/routing.yaml:19").click()
        await expect(rules.nth(1).locator(".svc-yaml")).to_be_hidden()
        await expect(rules.nth(0).locator(".line.marked")).to_have_attribute("data-line", "19")


async def test_who_was_refused_by_which_policy(browser: Pages, stage: Stage) -> None:
    refused = (await stage.client.refusals(window=300, service=service_host("bistro", "reservations")))[0]
    async with browser(stage.at(f"{RESERVATIONS}?tab=policies")) as page:
        told = page.locator("section[aria-label='Who was refused, and why']")
        for text in (refused.source, str(refused.requests), refused.reason):
            await expect(told).to_contain_text(text)
        await told.get_by_role("button", name="bistro/policies.yaml:31").click()
        await expect(told.locator(".line.marked")).to_contain_text("- from:")
        may = page.locator("section[aria-label='Who may call']")
        await may.get_by_role(
            "button", name="bistro/policies.yaml:31"
        ).click()  # the same rule, said here too
        await expect(may.locator(".line.marked")).to_be_visible()
        await expect(told.locator(".svc-yaml")).to_be_hidden()
        await may.get_by_role("button", name="bistro/policies.yaml:31").click()
        await expect(may.locator(".svc-yaml")).to_be_hidden()
        await expect(page).to_have_url(re.compile(r"\?tab=policies$"))
        for text in ("ALLOW", "cluster.local/ns/bistro/sa/frontend", "GET", "always"):
            await expect(may).to_contain_text(text)
        assert (await cells(page, "Who called", "frontend"))[0] == "frontend bistro v1"


async def test_instances(browser: Pages, stage: Stage) -> None:
    async with browser(stage.at(f"{RESERVATIONS}?tab=instances")) as page:
        await page.get_by_role("table", name="Instances").locator("td").first.wait_for()
        row = await cells(page, "Instances", "reservations/1")
        assert row[:5] == ["bistro/reservations/1", "v2", "ready", "198.18.0.8", "2"]
        assert row[6] == "bistro/frontend/0"
        link = page.get_by_role("link", name="bistro/reservations/1")
        assert await link.get_attribute("href") == "/proxies/bistro/reservations/1"
        await page.get_by_role("img", name="Cores: applications 0.10 cores, sidecars 0.04 cores").wait_for()
        await page.get_by_role("img", name="Memory: applications 62MB, sidecars 96MB").wait_for()


async def test_a_canary_has_its_section(browser: Pages, stage: Stage) -> None:
    async with browser(stage.at("/services/bistro/reviews")) as page:
        await page.get_by_role("tab", name="Canary").click()
        await expect(page.get_by_role("tabpanel").filter(visible=True)).to_contain_text("Progressing")
        await page.goto(stage.at(RESERVATIONS))
        await page.get_by_role("tab", name="Traffic").wait_for()
        await expect(page.get_by_role("tab", name="Canary")).to_be_hidden()


async def test_without_traffic_and_without_a_service(browser: Pages, stage: Stage) -> None:
    async with browser(stage.at("/services/bistro/menu")) as page:
        await expect(stat(page, "Traffic")).to_have_text("0/s")
        await expect(page.get_by_text("Nobody has called it in this time.").first).to_be_visible()
        await expect(page.get_by_text("no instance")).to_be_visible()
        await page.goto(stage.at("/services/bistro/nothing"))
        await expect(page.get_by_text("The mesh has no service bistro/nothing")).to_be_visible()
        await page.get_by_role("link", name="bistro/reviews").click()
        await expect(stat(page, "Latency p99")).to_have_text("900ms")


LOOKS = ("/services", RESERVATIONS, "/services/bistro/reviews", "/services/bistro/cache", "/services/bistro/payments?tab=policies", f"{RESERVATIONS}?tab=routes")  # fmt: skip


async def test_nothing_is_clipped(browser: Pages, stage: Stage) -> None:
    async with browser(stage.link) as page:
        for path in LOOKS:
            await page.goto(stage.at(path))
            await page.locator(".grid td, .svc-rule").filter(visible=True).first.wait_for()
            clipped = await page.evaluate(
                """() => [...document.querySelectorAll(".stat *, .svc-wide > .body, .page, .svc-place *, .svc-facts")]
                    .filter((e) => e.scrollWidth > e.clientWidth + 1).map((e) => `${e.className}: ${e.innerText.slice(0, 60)}`)"""
            )
            assert (path, clipped) == (path, [])


async def test_the_list_is_narrowed_by_its_address(browser: Pages, stage: Stage) -> None:
    graph = await stage.client.graph(window=300)
    async with browser(stage.at("/services")) as page:
        rows = page.get_by_role("table", name="Services").locator("tbody tr")
        await expect(rows).to_have_count(len(graph.services))
        for node in graph.services:
            text = await cells(page, "Services", node.name)
            assert text[4:] == [
                figures.rate(node.signals.rate + node.signals.connections),
                figures.share(node.signals.error_share),
                figures.duration(node.signals.p50_ms),
                figures.duration(node.signals.p99_ms),
            ]
        await page.keyboard.press("/")
        await page.keyboard.type("reser")
        await expect(rows).to_have_count(1)
        await expect(page).to_have_url(re.compile(r"/services\?text=reser$"))
        await page.reload()
        await expect(rows).to_have_count(1)
        await page.get_by_role("link", name="reservations").click()
        await expect(page.get_by_role("heading", name="bistro/reservations")).to_be_visible()


def test_an_address_that_makes_no_sense_is_as_if_it_were_not_there() -> None:
    assert Choice.of("7", "secrets", "") == Choice()
    assert Choice.of("3600", "routes", "x") == Choice(window=3600, tab="routes", opened="x")
    assert Choice(window=900, tab="routes").to("/s") == "/s?window=900&tab=routes"


def _group(workload: str, version: str) -> Group:
    return Group(
        service="s", destination_namespace="n", destination_workload=workload, destination_version=version
    )


def test_versions_are_told_apart() -> None:
    one, two, nobody = _group("a", "v1"), _group("a", "v2"), _group("", "")
    assert list(version_names([one, two, nobody, one]).values()) == ["v1", "v2", "nobody"]
    canary = _group("a-canary", "v1")
    assert list(version_names([one, canary]).values()) == ["a v1", "a-canary v1"]


SERVED = service_host("bistro", "reservations")


def _told(version: str, service: str = SERVED) -> TappedRequest:
    return replace(REQUEST, destination="bistro/reservations", destination_version=version, service=service)


def test_what_is_live_is_of_the_last_seconds_and_of_this_service() -> None:
    seen = live.Served()
    for at, version in ((10.0, "v1"), (11.0, "v1"), (12.5, "v2")):
        seen.count(_told(version), 1, at)
    seen.count(_told("v2", service_host("bistro", "tables")), 7, 12.5)
    v1, v2 = (live.group(SERVED, "bistro", "reservations", version) for version in ("v1", "v2"))
    assert seen.lately(SERVED, 12.9) == {v1: 2, v2: 1}
    assert seen.lately(SERVED, 13.0) == {v1: 1, v2: 1}
    assert seen.lately(SERVED, 15.0) == {v2: 1}
    assert seen.lately(SERVED, 15.5) == {}


def test_a_request_stands_for_those_that_were_left_out() -> None:
    seen = live.Served()
    seen.count(_told("v1"), 9, 1.0)
    seen.count(_told("v2"), 1, 1.0)
    assert live.served((), seen.lately(SERVED, 1.0)) == [live.Part("v1", 0.9), live.Part("v2", 0.1)]


def test_each_version_that_runs_has_a_share_be_it_nothing() -> None:
    view = replace(
        bistro().services[0],
        host=SERVED,
        instances=tuple(
            InstanceView(node=f"bistro/{node}", version=version, state="ready", address="", restarts=0)
            for node, version in (
                ("reservations/0", "v1"),
                ("reservations/1", "v1"),
                ("reservations-canary/0", "v1"),
            )
        ),
    )
    behind = live.standing(view)
    assert live.served(behind, {}) == [
        live.Part("reservations v1", None),
        live.Part("reservations-canary v1", None),
    ]
    gone = live.group(SERVED, "bistro", "old", "v0")
    assert live.served(behind, {gone: 3}) == [
        live.Part("reservations v1", 0.0),
        live.Part("reservations-canary v1", 0.0),
        live.Part("v0", 1.0),
    ]


def test_what_is_routed_is_told_where_it_is_divided() -> None:
    view = next(one for one in bistro().services if one.name == "reservations")
    tester, rule = view.routes[0].rules
    assert "Routed: v1 90%, v2 10%<" in routes.routed(view, Choice(window=900))
    assert f'href="{RESERVATIONS}?window=900&amp;tab=routes"' in routes.routed(view, Choice(window=900))
    copied = replace(rule, destinations=(rule.destinations[0], replace(rule.destinations[1], mirrored=True)))
    for rules in ((tester,), (copied,), ()):
        assert not routes.routed(replace(view, routes=(replace(view.routes[0], rules=rules),)), Choice())


def _traffic(*groups: TrafficGroup) -> Traffic:
    return Traffic(
        by="edge", until="", window=10, heard=10, since="2031-02-03T04:05:06+00:00", step=5, groups=groups
    )


def test_of_many_callers_the_largest_have_a_line_and_the_others_one_together() -> None:
    groups = tuple(
        TrafficGroup(
            group=Group(source_namespace="n", source_workload=f"w{number}"),
            signals=Signals(rate=float(number)),
            points=(Signals(rate=float(number)), None),
        )
        for number in range(1, 9)
    )
    lines = traffic.caller_lines(_traffic(*groups))
    assert [line.name for line in lines] == ["w8", "w7", "w6", "w5", "w4", "3 others"]
    assert lines[-1].points == (6.0, None)


def test_a_share_of_nothing_is_a_gap() -> None:
    points = (Signals(rate=1.0), Signals(), None)
    group = TrafficGroup(group=_group("a", "v1"), signals=Signals(rate=1.0), points=points)
    assert [line.points for line in traffic.share_lines(_traffic(group))] == [(1.0, None, None)]
    assert [line.points for line in traffic.share_lines(_traffic())] == [(None, None)]


def test_what_comes_from_the_mesh_is_text() -> None:
    bad = "<img src=x onerror=alert(1)>"
    refusal = RefusalView(
        source_namespace=bad, source=bad, source_version=bad, service=bad, destination_namespace=bad,
        destination=bad, destination_version=bad, requests=1, reason=bad, written=None,
    )  # fmt: skip
    rule = PolicyRuleView(who=(bad,), what=(bad,), when=(bad,), written=None)
    to = DestinationView(host=bad, subset=bad, port=1, share=100.0)
    routed = replace(bistro().services[0].routes[0].rules[0], name=bad, matches=(bad,), answer=bad, more=(bad,), destinations=(to,))  # fmt: skip
    every = replace(routed, matches=(), destinations=(to, to))
    divided = replace(bistro().services[0], routes=(replace(bistro().services[0].routes[0], rules=(every,)),))
    for html in (
        policies.who(refusal),
        policies.words(rule),
        routes.matches(routed),
        routes.goes(routed, "a.b.svc.cluster.local"),
        routes.routed(divided, Choice()),
        live.row(live.Part(bad, 0.5), "--idle"),
        one_service.instead(bad, bad, []),
    ):
        assert "&lt;img" in html
        assert "<img" not in html


def test_a_moment_of_the_past_is_the_same_whenever_one_looks() -> None:
    step, ends = usage.moments(NOON + 7, 300)
    assert (step, ends[-1], len(ends)) == (20, NOON, 15)
    assert usage.moments(NOON + 19.9, 300)[1] == ends
    assert usage.moments(NOON + 20, 300)[1] == [*ends[1:], NOON + 20]


def test_what_nobody_told_of_is_not_nought() -> None:
    assert golden.used([ProcessUse(), ProcessUse()]) == ProcessUse()
    assert golden.used([ProcessUse(cpu=0.5), ProcessUse(cpu=0.25, memory=3)]) == ProcessUse(
        cpu=0.75, memory=3
    )


@pytest.mark.parametrize(
    ("signals", "word"),
    [
        (Signals(), "idle"),
        (Signals(requests=9, error_share=0.0), "healthy"),
        (Signals(requests=9, error_share=0.01), "some errors"),
        (Signals(requests=9, error_share=0.2, refused=1.0), "failing"),
        (Signals(refused=1.0), "refusing"),
        (Signals(connections=1.0), "healthy"),
    ],
)
def test_how_a_service_is(signals: Signals, word: str) -> None:
    assert listed.health(signals)[0] == word
