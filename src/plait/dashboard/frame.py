"""What is around every page: the way to the others, how the mesh is, what is light and dark, and the keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nicegui import ui

from plait.api.client import ApiError, NoMesh
from plait.api.views import Status
from plait.dashboard import parts
from plait.dashboard.elements.choices import Choose
from plait.dashboard.feed import Feed

_HERE = Path(__file__).parent
_STYLE = (_HERE / "dashboard.css").read_text(encoding="utf-8")
_KEYS = (_HERE / "keys.js").read_text(encoding="utf-8")
FAVICON = (_HERE / "favicon.svg").read_text(encoding="utf-8")

NAVIGATION = (
    ("/", "Map", "hub", "m"),
    ("/services", "Services", "dns", "s"),
    ("/traces", "Traces", "timeline", "t"),
    ("/canaries", "Canaries", "alt_route", "c"),
    ("/proxies", "Proxies", "lan", "p"),
    ("/findings", "Findings", "rule", "f"),
)
"""Where, what, its icon, and the key that leads there after a g."""

EVERY = 5.0
"""Seconds between two looks of a page: proxies are counted as often."""
_WRITTEN = 2.3
"""Seconds after the end of what was counted together (which is every EVERY since the epoch) when it can be asked for."""
_TICK = 0.5
_REST = 4
"""After a look, so many times as long as it took pass before news is a reason for another: however much happens, a page
keeps the control plane busy for a fifth of the time at most."""
_NEVER = -1
_PATIENCE = 1.5
"""Seconds that a page waits for what it shows first, before it is sent without."""

Refresh = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class _Live:
    refresh: Refresh
    every: float
    news: int = _NEVER
    called: float = 0.0
    rests: float = 0.0
    """Until when no news is a reason to look again."""
    running: bool = False
    shown: bool = False
    wrong: str = ""


@dataclass(slots=True)
class Frame:
    """One page as one browser shows it."""

    feed: Feed
    _banner: ui.element
    _said: ui.label
    _place: ui.element
    _refreshes: list[_Live] = field(default_factory=list)
    _first: set[asyncio.Task[None]] = field(default_factory=set)

    async def live(self, refresh: Refresh, every: float = EVERY) -> None:
        """Call it now, whenever something has happened, and every so many seconds as long as the page is open.

        Those seconds are of the clock on the wall: what was counted is looked at as soon as it can be asked for.
        It may raise NoMesh and ApiError: then the page says so, and keeps what it showed.  It is never called while
        it is still under way, and a page does not wait long for the first time: what comes late comes to who looks.
        What it makes belongs to the page's content, unless it is made inside of something else.
        """
        self._refreshes.append(_Live(refresh, every))
        first = {asyncio.create_task(self._call(each)): each for each in self._refreshes if not each.called}
        for task in first:
            self._first.add(task)
            task.add_done_callback(self._first.discard)
        done, late = await asyncio.wait(first, timeout=_PATIENCE)
        for task in late:
            first[task].wrong = "The control plane has not answered yet."
        self._tell()
        for task in done:
            task.result()

    async def again(self) -> None:
        """Call all of them now, or as soon as they are over: what the user has chosen is another thing."""
        for one in self._refreshes:
            if one.running:
                one.news = _NEVER
            else:
                await self._call(one)

    def choosing(self, path: str, chosen: dict[str, str]) -> Callable[[str], Choose]:
        """By a name, what takes a choice: it is kept in `chosen` and in the page's address, and shown."""

        def choose(name: str) -> Choose:
            async def take(value: str) -> None:
                chosen[name] = value
                ui.navigate.history.replace(parts.to(path, **chosen))
                await self.again()

            return take

        return choose

    async def tick(self) -> None:
        """Call those that are due."""
        for one in self._refreshes:
            news = self.feed.news != one.news and time.time() >= one.rests
            if news or due(one.called, time.time(), one.every):
                await self._call(one)

    async def _call(self, one: _Live) -> None:
        if one.running:
            return
        one.running, one.news, one.called = True, self.feed.news, time.time()
        try:
            with self._place:
                await one.refresh()
        except NoMesh:
            kept = any(each.shown for each in self._refreshes)
            one.wrong = self.feed.absence() + (" What stands here is of then." if kept else "")
        except ApiError as error:
            one.wrong = str(error)
        else:
            one.shown, one.wrong = True, ""
        finally:
            one.running = False
            one.rests = time.time() + _REST * (time.time() - one.called)
        self._tell()

    def _tell(self) -> None:
        """Say what is wrong, if anything is."""
        text = next((each.wrong for each in self._refreshes if each.wrong), "")
        self._said.set_text(text)
        self._banner.set_visibility(bool(text))


def due(called: float, now: float, every: float) -> bool:
    """Whether it is time to look again; seconds since the epoch."""
    return (now - _WRITTEN) // every != (called - _WRITTEN) // every


@contextmanager
def frame(feed: Feed, title: str, here: str) -> Iterator[Frame]:
    """The page's own content goes inside; `here` is where in NAVIGATION it belongs."""
    ui.add_css(_STYLE)
    ui.add_head_html(f"<script>{_KEYS}</script>")
    ui.page_title(f"{title} - Plait")
    with ui.element("div").classes("shell"):
        with ui.element("nav").classes("rail").props('aria-label="Pages"'):
            ui.html(f'<a class="brand" href="/">{FAVICON}<span>Plait</span></a>', sanitize=False)
            for place, name, icon, key in NAVIGATION:
                with ui.link(target=place).classes("way" + (" here" if place == here else "")) as way:
                    way.props(f'data-key="{key}"' + (' aria-current="page"' if place == here else ""))
                    ui.icon(icon)
                    ui.label(name)
                    if place == "/findings":
                        badge = ui.label().classes("count")
            with ui.element("div").classes("rail-foot"):
                ui.html(
                    '<button class="quiet" data-act="theme" title="Light or dark (d)">'
                    '<i class="material-icons" aria-hidden="true">contrast</i> Light or dark</button>'
                    '<button class="quiet" data-act="help" title="Keys (?)">'
                    '<i class="material-icons" aria-hidden="true">keyboard</i> Keys</button>',
                    sanitize=False,
                )
        with ui.element("div").classes("side"):
            with ui.element("header").classes("top"):
                heading = ui.element("div").classes("heading")
                with heading:
                    ui.html(f"<h1>{parts.escaped(title)}</h1>", sanitize=False)
                state = ui.html("", sanitize=False).classes("state").props('aria-live="polite"')
            with ui.element("div").classes("banner").props('role="status"') as banner:
                ui.icon("cloud_off")
                said = ui.label()
            banner.set_visibility(False)
            with ui.element("div").classes("page") as content:
                made = Frame(feed, banner, said, content)

                async def mesh() -> None:
                    status = await feed.client.status()
                    state.set_content(_state(status))
                    findings = status.mesh.errors + status.mesh.warnings
                    badge.set_text(str(findings) if findings else "")
                    badge.classes(replace="count bad" if status.mesh.errors else "count")

                made._refreshes.append(_Live(mesh, EVERY))  # noqa: SLF001 - its own
                yield made
    ui.timer(_TICK, made.tick)


def _state(status: Status) -> str:
    mesh = status.mesh
    well = mesh.ready >= mesh.wanted and bool(mesh.agents)
    said = [
        f'<span class="dot {"good" if well else "warn"}"></span>',
        f"<span><b>{mesh.ready}</b> of <b>{mesh.wanted}</b> ready</span>",
        f'<span class="muted">{parts.escaped(mesh.trust_domain)}</span>',
    ]
    if mesh.errors:
        said.append(
            f'<a class="badge bad" href="/findings?severity=error">{parts.counted(mesh.errors, "error")}</a>'
        )
    return " ".join(said)
