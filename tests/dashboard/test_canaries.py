"""Rollouts in a real browser: where each stands, how it went, and that a button says its word once, after a yes."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from playwright.async_api import Page, WebSocket, expect

from plait.api import figures
from plait.api.client import Client
from plait.api.rollouts import CanaryView
from plait.dashboard import rollouts, versions
from plait.dashboard.pages.canaries import row
from plait.dashboard.versions import WINDOW, both, side
from plait.model.names import WorkloadKey
from plait.model.rollout import HookType
from plait.rollout import step
from plait.rollout.status import Command, Phase, Status
from plait.telemetry.queries import Signals
from tests.api.planes import served
from tests.dashboard.conftest import Pages
from tests.dashboard.rollouts import every_phase, history, view
from tests.dashboard.scenes import Scene, rolling
from tests.dashboard.stage import staged
from tests.rollout.canaries import canary

NOW = 1_800_000_000.0
EVERY = {one.name: one for one in every_phase(NOW)}


def test_a_button_makes_sense_where_the_rollout_would_do_it() -> None:
    """What is refused here is what the control plane refuses."""
    gate = HookType.CONFIRM_PROMOTION
    held = itertools.product((False, True), repeat=3)
    for (phase, command), (paused, suspended, gated) in itertools.product(
        itertools.product(Phase, Command), held
    ):
        shown = view("tables", phase, NOW, paused=paused, suspended=suspended, gate=gate if gated else "")
        status = Status(phase=phase, paused=paused, gate=gate if gated else None)
        refused = step.refused(canary(suspend=suspended), status, command)
        assert bool(rollouts.refusal(shown, command)) is bool(refused), (phase, command, refused)


def test_the_last_run_is_the_one_that_is_on_or_else_the_one_that_ended() -> None:
    run = rollouts.last_run(history(EVERY["reservations"], NOW))
    assert run[0].text.endswith("(run 2)")
    assert run[-1].phase == "WaitingPromotion"
    over = rollouts.last_run(history(EVERY["succeeded"], NOW))
    assert [over[0].text.endswith("(run 2)"), over[-1].phase] == [True, "Succeeded"]
    assert rollouts.last_run(()) == ()
    before = history(EVERY["reservations"], NOW)[:3]
    assert rollouts.last_run(before) == before


def test_the_share_of_the_new_version_grows_to_all_of_it_or_falls_to_nothing() -> None:
    over = rollouts.last_run(history(EVERY["succeeded"], NOW))
    assert rollouts.shares(over) == (0, 0, 20, 20, 20, 40, 40, 50, 50, 50, 50, 100, 100)
    failed = rollouts.last_run(history(EVERY["failed"], NOW))
    assert rollouts.shares(failed) == (0, 0, 20, 20, 20, 40, 0)
    taken_back = [replace(failed[0], weight=20), replace(failed[1], phase="Succeeded")]
    assert rollouts.shares(taken_back) == (20, 0)


def test_a_step_is_where_the_share_changed_and_the_last_one_goes_on() -> None:
    run = rollouts.last_run(history(EVERY["reservations"], NOW))
    found = rollouts.steps(run, NOW)
    assert [share for _, share in found] == [0, 20, 40, 50, 50]
    assert found[-1] == (NOW, 50)
    assert found[0][0] == rollouts.moment(run[0].at)
    assert rollouts.steps((), NOW) == ()


def test_a_mark_says_whether_it_went_on_a_check_was_bad_it_waits_or_it_was_rolled_back() -> None:
    run = rollouts.last_run(history(EVERY["reservations"], NOW))
    found = rollouts.marks(run, "reservations")
    assert [one.kind for one in found] == [
        "passed", "passed", "passed", "failed", "waits", "passed", "failed", "passed", "waits",
    ]  # fmt: skip
    assert found[3].text == (
        "request-duration 640 ms is over 500 ms (1 of 5 failed checks)",
        "Progressing, 20 % to the new version",
    )
    assert len({one.key for one in found}) == len(found)
    failed = rollouts.last_run(history(EVERY["failed"], NOW))
    assert rollouts.marks(failed, "failed")[-1].kind == "ended"
    unsure = replace(
        run[1], text="reservations: p99 9 ms is not over 500 ms; waits for what is counted at this step"
    )
    approved = replace(run[-1], failed_checks=0, text="reservations: confirm-promotion approved by a user")
    assert [one.kind for one in rollouts.marks([unsure, approved], "reservations")] == ["waits", "passed"]


@pytest.mark.parametrize(
    ("name", "tone", "words"),
    [
        ("cache", "", "1 of 2 replicas"),
        ("diner", "good", "What is written serves."),
        ("frontend", "warn", "waits at confirm-rollout"),
        ("payments", "info", "40 % of the traffic"),
        ("restaurants", "info", "replaces"),
        ("succeeded", "good", "the new version serves"),
        ("failed", "bad", "rolled back"),
        ("paused", "warn", "paused by a user"),
        ("suspended", "warn", "Suspended: nothing moves"),
    ],
)
def test_what_it_waits_for_is_said_in_the_tone_that_it_deserves(name: str, tone: str, words: str) -> None:
    state = rollouts.state(EVERY[name])
    assert state.tone == tone
    assert words in state.text
    assert row(EVERY[name]).cells[4].text == state.text


def test_what_is_tried_is_worse_or_better_only_by_what_matters() -> None:
    serves = Signals(requests=900, error_share=0.0, p50_ms=3.0, p90_ms=40.0, p99_ms=100.0)
    same = replace(serves, error_share=0.0004, p50_ms=3.6, p90_ms=44.0, p99_ms=115.0)
    assert set(versions.tones(serves, same)) == {""}
    other = replace(serves, error_share=0.01, p50_ms=5.0, p90_ms=20.0, p99_ms=None)
    assert versions.tones(serves, other) == ("", "bad", "bad", "good", "")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stage() -> AsyncIterator[tuple[Scene, str]]:
    scene = rolling()
    async with staged(scene) as link:
        yield scene, link


@pytest.fixture
def scene(stage: tuple[Scene, str]) -> Scene:
    """The one that is on stage, as it was at the beginning."""
    played, fresh = stage[0], rolling()
    played.rolling, played.happened, played.moment = fresh.rolling, fresh.happened, None
    played.asked.clear()
    return played


@pytest.fixture
def link(stage: tuple[Scene, str]) -> str:
    return stage[1]


def at(link: str, path: str) -> str:
    """Another place of the same dashboard, opened by its token."""
    place, _, token = link.partition("/?")
    return f"{place}{path}{'&' if '?' in path else '?'}{token}"


def said(scene: Scene) -> list[object]:
    """What was said to rollouts."""
    return [one for one in scene.asked if isinstance(one, tuple) and isinstance(one[-1], Command)]


async def ask(page: Page, command: Command) -> None:
    await page.locator(f"[data-command={command}]").click()
    await expect(page.locator("dialog.ask")).to_be_visible()


async def test_all_are_listed_those_that_run_first(browser: Pages, link: str, scene: Scene) -> None:
    async with browser(at(link, "/canaries")) as page:
        rows = page.locator(".grid tbody tr")
        await expect(rows).to_have_count(len(scene.rolling))
        expected = sorted(scene.rolling, key=lambda one: (not one.runs, one.key))
        for number, one in enumerate(expected):
            await expect(rows.nth(number)).to_contain_text(one.key)
            await expect(rows.nth(number)).to_contain_text(one.phase)
            if one.runs:
                await expect(rows.nth(number)).to_contain_text(one.share)
        await page.get_by_role("link", name="bistro/payments").click()
        await expect(page).to_have_url(re.compile("/canaries/bistro/payments$"))


@pytest.mark.parametrize(
    "names",
    [("frontend", "restaurants", "failed", "suspended"), pytest.param(tuple(EVERY), marks=pytest.mark.prove)],
)
async def test_phases_are_shown_with_the_buttons_that_make_sense(
    browser: Pages, link: str, scene: Scene, names: tuple[str, ...]
) -> None:
    async with browser(at(link, "/canaries")) as page:
        for one in (one for one in scene.rolling if one.name in names):
            await page.goto(at(link, f"/canaries/{one.key}"))
            await expect(page.locator(".stat").first).to_contain_text(one.phase)
            await expect(page.locator(".canary-said")).to_have_text(rollouts.state(one).text)
            await expect(page.locator(".canary-check")).to_have_count(len(one.checks))
            for command in Command:
                button = page.locator(f"[data-command={command}]")
                if await button.is_visible():
                    assert await button.is_enabled() is not bool(rollouts.refusal(one, command)), (
                        one.name,
                        command,
                    )
                else:
                    assert rollouts.refusal(one, command), (one.name, command)


async def test_a_word_is_said_once_and_only_after_a_yes(browser: Pages, link: str, scene: Scene) -> None:
    gate = WorkloadKey("bistro", "reservations")
    async with browser(at(link, f"/canaries/{gate}")) as page:
        await ask(page, Command.APPROVE)
        await expect(page.locator("dialog.ask")).to_contain_text("Approve bistro/reservations?")
        await expect(page.locator("dialog.ask")).to_contain_text("The gate confirm-promotion is opened")
        await page.keyboard.press("Escape")
        await expect(page.locator("dialog.ask")).to_be_hidden()
        await ask(page, Command.APPROVE)
        await page.mouse.click(10, 10)
        await expect(page.locator("dialog.ask")).to_be_hidden()
        await ask(page, Command.APPROVE)
        await page.locator("dialog [data-no]").click()
        await expect(page.locator("dialog.ask")).to_be_hidden()
        assert said(scene) == []

        await ask(page, Command.APPROVE)
        await page.locator("dialog [data-yes]").dblclick()
        await expect(page.locator(".canary-came")).to_have_text("The gate is opened.")
        await expect(page.locator(".stat").first).to_contain_text("Promoting")
        assert said(scene) == [(gate, Command.APPROVE)]
        await expect(page.locator("[data-command=approve]")).to_be_hidden()
        await expect(page.locator("[data-command=abort]")).to_be_disabled()


@pytest.mark.parametrize(
    ("name", "command", "then"),
    [
        ("payments", Command.PAUSE, "paused by a user"),
        ("paused", Command.RESUME, "The new version is tried."),
        ("payments", Command.PROMOTE, "replaces the one that served"),
        ("suspended", Command.ABORT, "rolled back: aborted by a user"),
    ],
)
async def test_each_button_says_its_own_word_by_the_keyboard_alone(  # noqa: PLR0913, PLR0917 - fixtures
    browser: Pages, link: str, scene: Scene, name: str, command: Command, then: str
) -> None:
    async with browser(at(link, f"/canaries/bistro/{name}")) as page:
        await page.locator(f"[data-command={command}]").focus()
        await page.keyboard.press("Enter")
        await expect(page.locator("dialog.ask")).to_be_visible()
        await expect(page.locator("dialog [data-yes]")).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(page.locator(".canary-said")).to_contain_text(then)
        assert said(scene) == [(WorkloadKey("bistro", name), command)]


async def test_a_refusal_is_told_with_its_reason(browser: Pages, link: str, scene: Scene) -> None:
    """The gate is gone by the time that somebody approves it, and no news of that has come."""
    async with browser(at(link, "/canaries/bistro/reservations")) as page:
        await ask(page, Command.APPROVE)
        scene.rolling = tuple(replace(one, gate="") for one in scene.rolling)
        await page.locator("dialog [data-yes]").click()
        await expect(page.locator(".canary-came")).to_have_text(
            "Approve was not done: bistro/reservations waits at no gate"
        )
        assert said(scene) == []


async def test_what_the_control_plane_says_later_is_shown_without_a_reload(
    browser: Pages, link: str, scene: Scene
) -> None:
    async with browser(at(link, "/canaries/bistro/payments")) as page:
        await expect(page.locator(".stat").first).to_contain_text("Progressing")
        one = next(one for one in scene.rolling if one.name == "payments")
        scene.turn(replace(one, weight=50, step=50, message="<b>50 %</b>"))
        await expect(page.locator(".stat").nth(1)).to_contain_text("50 %")
        await expect(page.locator(".canary-said")).to_have_text("<b>50 %</b>")
        scene.turn(replace(one, phase="Succeeded", message="the new version serves"))
        await expect(page.locator(".stat").first).to_contain_text("Succeeded")
        await expect(page.locator(".canary-commands")).to_be_hidden()


async def test_both_versions_have_the_numbers_that_the_api_says(
    browser: Pages, link: str, scene: Scene
) -> None:
    scene.moment = time.time()
    one = next(one for one in scene.rolling if one.name == "payments")
    async with browser(at(link, "/canaries/bistro/payments")) as page:
        cells = page.locator(".canary-both tbody td")
        await expect(cells).to_have_count(10)
        serves, tried = await numbers(scene, one)
        assert min(serves.requests, tried.requests) > 0
        expected = [
            text for pair in zip(versions.cells(serves), versions.cells(tried), strict=True) for text in pair
        ]
        assert [text.strip() for text in await cells.all_inner_texts()] == expected
        assert figures.rate(tried.rate) in expected


async def numbers(scene: Scene, one: CanaryView) -> tuple[Signals, Signals]:
    """What the API says of both versions."""
    async with served(scene) as plane, Client(plane.socket) as client:
        serves, tried = await both(client, one, window=WINDOW)
        return side(serves).signals, side(tried).signals


async def test_what_happened_is_listed_the_newest_first(browser: Pages, link: str, scene: Scene) -> None:
    async with browser(at(link, "/canaries/bistro/failed")) as page:
        rows = page.locator(".canary-events tbody tr")
        events = scene.happened["bistro/failed"]
        await expect(rows).to_have_count(len(events))
        for number, event in enumerate(reversed(events)):
            await expect(rows.nth(number)).to_contain_text(rollouts.plain(event, "failed"))


async def test_a_canary_that_is_not_there_is_said_to_be_not_there(browser: Pages, link: str) -> None:
    async with browser(at(link, "/canaries/bistro/nobody")) as page:
        await expect(page.get_by_text("there is no Canary bistro/nobody")).to_be_visible()
        await expect(page.locator(".stat").first).to_be_hidden()


async def test_news_send_what_has_changed_and_nothing_else(browser: Pages, link: str, scene: Scene) -> None:
    scene.moment = time.time()
    heard: list[str] = []

    def hear(socket: WebSocket) -> None:
        socket.on("framereceived", lambda data: heard.append(str(data)))

    async with browser(at(link, "/canaries/bistro/failed")) as page:
        page.on("websocket", hear)
        await page.reload()
        await expect(page.locator(".canary-events tbody tr").first).to_be_visible()
        one = next(one for one in scene.rolling if one.name == "failed")
        scene.turn(replace(one, message="at first"))  # what is late of the beginning comes before it
        await expect(page.locator(".canary-said")).to_have_text("at first")
        heard.clear()
        scene.turn(replace(one, message="and then"))
        await expect(page.locator(".canary-said")).to_have_text("and then")
        (sent,) = [frame for frame in heard if frame.startswith("42[") and "echart" not in frame]
        assert "and then" in sent
        assert sent.count('"tag"') == 1
