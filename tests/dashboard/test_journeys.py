"""What a dashboard is for, walked through in a real browser over a real mesh: the bistro, under its diner's load."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.dashboard.conftest import Pages
from tests.e2e.mesh import Mesh, bistro, until, write

pytestmark = [pytest.mark.prove, pytest.mark.timeout(300)]

_MS = 1000
_EVERY_REQUEST = """\
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: every-request, namespace: bistro}
spec:
  tracing:
    - randomSamplingPercentage: 100
"""
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
_CANARY = """\
apiVersion: flagger.app/v1beta1
kind: Canary
metadata: {name: reviews, namespace: bistro}
spec:
  targetRef: {apiVersion: plait.dev/v1alpha1, kind: Workload, name: reviews}
  service: {port: 8080}
  analysis:
    interval: 5s
    threshold: 3
    stepWeights: [20, 50]
    metrics:
      - name: request-success-rate
        interval: 15s
        thresholdRange: {min: 99}
    webhooks:
      - name: confirm-promotion
        type: confirm-promotion
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
async def shown(tmp_path: Path, browser: Pages, **more: bool) -> AsyncIterator[tuple[Mesh, Page]]:
    """The bistro with its diner, each request traced, and its dashboard."""
    async with bistro(tmp_path, "--dashboard", without=()) as mesh:
        write(mesh.folder / "tracing.yaml", _EVERY_REQUEST)
        found = re.search(r"^dashboard: (\S+)$", mesh.told(), re.MULTILINE)
        assert found, mesh.told()
        async with browser(found[1], **more) as page:
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
        await page.goto(_at(page, "/services/bistro/reservations"))
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
        await page.goto(_at(page, "/services/bistro/reservations?tab=policies"))
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
        write(mesh.folder / "canary.yaml", _CANARY)
        await page.get_by_role("link", name="Canaries").click()
        await page.get_by_role("link", name="bistro/reviews").click(timeout=30 * _MS)
        phase = page.locator(".stat").first
        await expect(phase).to_contain_text("Initialized", timeout=30 * _MS)
        mesh.replace("reviews.yaml", '["python3"', '["env", "NEW=1", "python3"')
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


def _at(page: Page, path: str) -> str:
    return "/".join(page.url.split("/")[:3]) + path
