"""What a dashboard is for, walked through in a real browser over a real mesh: the bistro, under its diner's load."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from plait.api import figures
from plait.api.client import Client
from tests.dashboard.conftest import Pages
from tests.dashboard.real import GATED, NEW_REVIEWS, at, under_load
from tests.e2e.mesh import Mesh, until, write

pytestmark = [pytest.mark.prove, pytest.mark.timeout(300)]

_MS = 1000
PAGES = (
    "/",
    "/services",
    "/services/bistro/reservations",
    "/traces",
    "/canaries",
    "/proxies",
    "/proxies/bistro/frontend/0",
    "/findings",
)
_NO_DINER = """\
# Diners book at the frontend, never at the table.
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: no-diners
  namespace: bistro
spec:
  selector:
    matchLabels:
      app: reservations
  action: DENY
  rules:
    - from:
        - source:
            principals:
              - cluster.local/ns/bistro/sa/diner
"""
_REFUSED_BY_ENVOY = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: payments
  namespace: bistro
spec:
  hosts: [payments]
  http:
    - match: [{uri: {regex: "/\\\\p{Klingon}+"}}]
      route: [{destination: {host: payments}}]
"""


@asynccontextmanager
async def shown(tmp_path: Path, browser: Pages) -> AsyncIterator[tuple[Mesh, Page]]:
    """The bistro, and a page that has opened its dashboard."""
    async with under_load(tmp_path) as (mesh, link), browser(link) as page:
        yield mesh, page


async def test_from_the_failing_edge_to_the_trace_that_shows_why(tmp_path: Path, browser: Pages) -> None:
    async with shown(tmp_path, browser) as (mesh, page):
        mesh.replace("reviews.yaml", '["python3"', '["env", "FAIL_PERCENT=40", "python3"')
        edge = page.locator('[data-edge*="reviews"].bad')
        await expect(edge.first).to_be_attached(timeout=60 * _MS)
        await page.get_by_role("button", name="Failing").click()
        await page.locator('.map-label.bad[data-label*="reviews"]').first.click()
        panel = page.locator(".map-details")
        await expect(panel).to_contain_text("reviews")
        await panel.get_by_role("link", name=re.compile("Failed traces")).click()
        await page.wait_for_url("**/traces?*status=error*")
        await page.locator(".grid tbody a").first.click()
        await page.wait_for_url("**/traces/*")
        await expect(page.locator(".fall-row").first).to_be_visible()
        await expect(page.get_by_text(re.compile("reviews.*50[03]")).first).to_be_visible()


async def test_a_shift_from_90_10_to_0_100_is_seen_within_ten_seconds(
    tmp_path: Path, browser: Pages, record_property: Callable[[str, object], None]
) -> None:
    async with shown(tmp_path, browser) as (mesh, page):
        await page.goto(at(page, "/services/bistro/reservations"))
        await expect(
            page.get_by_role("img", name=re.compile(r"Share of versions: .*v1 [789]\d%"))
        ).to_be_visible(timeout=60 * _MS)
        rows = page.get_by_role("group", name="Live").locator(".svc-live-row")
        await expect(rows).to_have_text([re.compile(r"v1\d+%"), re.compile(r"v2[\d.]+%")], timeout=30 * _MS)
        began = time.monotonic()
        routing = mesh.folder / "routing.yaml"
        text = routing.read_text().replace("weight: 90", "weight: 0").replace("weight: 10\n", "weight: 100\n")
        write(routing, text)
        await expect(rows).to_have_text(["v10%", "v2100%"], timeout=30 * _MS)
        live = time.monotonic() - began
        await expect(page.get_by_role("link", name="Routed: v1 0%, v2 100%")).to_be_visible(timeout=30 * _MS)
        await expect(
            page.get_by_role("img", name=re.compile(r"Share of versions: .*v1 0%, v2 100%"))
        ).to_be_visible(timeout=30 * _MS)
        counted = time.monotonic() - began
        await page.get_by_role("link", name="Routed: v1 0%, v2 100%").click()
        await expect(page.locator(".svc-rule").last.locator(".svc-to-share")).to_have_text(["0%", "100%"])
        record_property("seconds until the shift is seen live", round(live, 1))
        record_property("seconds until the shift is counted", round(counted, 1))
        assert live < 10
        assert counted < 15  # whole steps of 5 s, told 2 s later


async def test_who_was_refused_by_which_policy_and_its_yaml(tmp_path: Path, browser: Pages) -> None:
    async with shown(tmp_path, browser) as (mesh, page):
        write(mesh.folder / "no-diners.yaml", _NO_DINER)
        command = ("exec", "bistro/diner", "--", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}")

        async def refused() -> bool:
            return await mesh.plait(*command, "http://reservations:8080/", check=False) == "403"

        await until(refused, "the diner to be refused")
        for _ in range(3):
            assert await refused()
        await page.goto(at(page, "/services/bistro/reservations?tab=policies"))
        told = page.locator("section[aria-label='Who was refused, and why']")
        await expect(told).to_contain_text("diner", timeout=30 * _MS)
        await expect(told).to_contain_text("rules[0] of AuthorizationPolicy bistro/no-diners denies it")
        place = told.get_by_role("button", name=re.compile(r"no-diners.yaml:\d+")).first
        await place.click()
        await expect(told.locator(".line.marked").first).to_contain_text("- from:")


async def test_a_canary_is_watched_its_gate_approved_and_it_is_promoted(
    tmp_path: Path, browser: Pages
) -> None:
    async with shown(tmp_path, browser) as (mesh, page):
        write(mesh.folder / "canary.yaml", GATED)
        await page.get_by_role("link", name="Canaries").click()
        await page.get_by_role("link", name="bistro/reviews").click(timeout=30 * _MS)
        phase = page.locator(".stat").first
        await expect(phase).to_contain_text("Initialized", timeout=30 * _MS)
        mesh.replace(*NEW_REVIEWS)
        await expect(phase).to_contain_text("Progressing", timeout=30 * _MS)
        await expect(page.locator(".stat").nth(1)).to_contain_text("20 %", timeout=60 * _MS)
        approve = page.locator("[data-command=approve]")
        await expect(approve).to_be_enabled(timeout=90 * _MS)
        await approve.click()
        await page.locator("dialog [data-yes]").click()
        await expect(phase).to_contain_text("Succeeded", timeout=60 * _MS)
        (canary,) = json.loads(await mesh.plait("canary", "list", "--output", "json"))["canaries"]
        assert (canary["phase"], canary["promoted"]) == ("Succeeded", canary["applied"])


async def test_from_the_proxy_that_rejects_to_the_object_to_mend(tmp_path: Path, browser: Pages) -> None:
    async with shown(tmp_path, browser) as (mesh, page):
        write(mesh.folder / "klingon.yaml", _REFUSED_BY_ENVOY)
        await page.get_by_role("link", name="Proxies").click()
        await page.get_by_role("button", name=re.compile(r"Rejecting [1-9]")).click(timeout=30 * _MS)
        await page.locator(".grid tbody a").first.click()
        refusal = page.get_by_label("Refusal")
        await expect(refusal).to_contain_text("Klingon")
        await refusal.get_by_role("link", name="Mend VirtualService bistro/payments").click()
        await expect(page.locator(".code")).to_contain_text("Klingon")
        (mesh.folder / "klingon.yaml").unlink()
        await page.get_by_role("link", name="Proxies").click()
        await expect(page.get_by_role("button", name="Rejecting 0")).to_be_visible(timeout=30 * _MS)


async def test_the_control_plane_is_killed_and_every_page_goes_on(tmp_path: Path, browser: Pages) -> None:
    async with shown(tmp_path, browser) as (mesh, page):
        for path in PAGES:
            await page.goto(at(page, path))
            await expect(page.locator(".page")).not_to_be_empty()
            os.kill(mesh.pid("control plane"), signal.SIGKILL)
            await expect(page.locator(".banner")).to_contain_text("No control plane", timeout=20 * _MS)
            await expect(page.locator(".banner")).to_be_hidden(timeout=60 * _MS)
            await expect(page.locator(".top .state")).to_contain_text("7 of 7 ready", timeout=30 * _MS)


async def test_the_numbers_of_the_map_are_those_of_the_api(tmp_path: Path, browser: Pages) -> None:
    async with shown(tmp_path, browser) as (mesh, page), mesh.client() as client:
        await until(lambda: _is_busy(client), "a minute of traffic", seconds=120)
        moment = time.time() // 5 * 5 - 15
        graph = await client.graph(window=60, until=moment)
        await page.goto(at(page, f"/?window=60&until={moment:.0f}"))
        for service in graph.services:
            node = page.locator(f'[data-node="{service.host}"]')
            if service.signals.requests:
                await expect(node.locator(".rate")).to_have_text(figures.rate(service.signals.rate))
        assert sum(one.signals.requests for one in graph.services) > 500


async def _is_busy(client: Client) -> bool:
    graph = await client.graph(window=60)
    return graph.heard >= 60 and sum(one.signals.rate for one in graph.services) > 20
