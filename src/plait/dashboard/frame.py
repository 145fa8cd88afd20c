"""What is around every page: the way to the others, how the mesh is, what is light and dark, and the keys."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from nicegui import ui

from plait.api.client import ApiError, NoMesh
from plait.api.views import Status
from plait.dashboard.feed import Feed

_HERE = Path(__file__).parent
_STYLE = (_HERE / "dashboard.css").read_text(encoding="utf-8")
_KEYS = (_HERE / "keys.js").read_text(encoding="utf-8")
FAVICON = (_HERE / "favicon.svg").read_text(encoding="utf-8")

_THEME = "plait-theme"
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
_TICK = 0.5

Refresh = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Frame:
    """One page as one browser shows it."""

    feed: Feed
    _banner: ui.element
    _said: ui.label
    _refreshes: list[_Live] = field(default_factory=list)

    async def live(self, refresh: Refresh, every: float = EVERY) -> None:
        """Call it now, whenever something has happened, and every so many seconds as long as the page is open.

        It may raise NoMesh and ApiError: then the page says so, and keeps what it showed.  It is never called while
        it is still under way.
        """
        one = _Live(refresh, every)
        self._refreshes.append(one)
        await self._call(one)

    async def again(self) -> None:
        """Call all of them now: what the user has chosen is another thing."""
        for one in self._refreshes:
            await self._call(one)

    async def tick(self) -> None:
        for one in self._refreshes:
            if self.feed.news != one.news or time.monotonic() - one.called >= one.every:
                await self._call(one)

    async def _call(self, one: _Live) -> None:
        if one.running:
            return
        one.running, one.news, one.called = True, self.feed.news, time.monotonic()
        try:
            await one.refresh()
        except NoMesh:
            since = datetime.fromtimestamp(self.feed.lost or time.time()).astimezone()
            self._say(f"No control plane answers since {since:%H:%M:%S}. What stands here is of then.")
        except ApiError as error:
            self._say(str(error))
        else:
            self._say("")
        finally:
            one.running = False

    def _say(self, text: str) -> None:
        self._said.set_text(text)
        self._banner.set_visibility(bool(text))


@dataclass(slots=True)
class _Live:
    refresh: Refresh
    every: float
    news: int = -1
    called: float = 0.0
    running: bool = False


@contextmanager
def frame(feed: Feed, title: str, here: str) -> Iterator[Frame]:
    """The page's own content goes inside; `here` is where in NAVIGATION it belongs."""
    request = ui.context.client.request
    theme = request.cookies.get(_THEME, "")
    ui.dark_mode({"dark": True, "light": False}.get(theme))
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
                    ui.html(f"<h1>{_escaped(title)}</h1>", sanitize=False)
                state = ui.html("", sanitize=False).classes("state").props('aria-live="polite"')
            with ui.element("div").classes("banner").props('role="status"') as banner:
                ui.icon("cloud_off")
                said = ui.label()
            banner.set_visibility(False)
            made = Frame(feed, banner, said)
            with ui.element("main").classes("page"):
                yield made

    async def mesh() -> None:
        status = await feed.client.status()
        state.set_content(_state(status))
        findings = status.mesh.errors + status.mesh.warnings
        badge.set_text(str(findings) if findings else "")
        badge.classes(replace="count bad" if status.mesh.errors else "count")

    made._refreshes.insert(0, _Live(mesh, EVERY))  # noqa: SLF001 - its own
    ui.timer(_TICK, made.tick)


def _state(status: Status) -> str:
    mesh = status.mesh
    well = mesh.ready >= mesh.wanted and bool(mesh.agents)
    parts = [
        f'<span class="dot {"good" if well else "warn"}"></span>',
        f"<b>{mesh.ready}</b>&nbsp;of&nbsp;<b>{mesh.wanted}</b>&nbsp;ready",
        f'<span class="muted">{_escaped(mesh.trust_domain)}</span>',
    ]
    if mesh.errors:
        parts.append(f'<a class="badge bad" href="/findings?severity=error">{mesh.errors} errors</a>')
    return " ".join(parts)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
