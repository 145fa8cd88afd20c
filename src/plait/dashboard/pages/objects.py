"""An object as it stands in its file, at the line that somebody has asked about, and what is found wrong with it."""

from __future__ import annotations

from nicegui import ui

from plait.api.views import FindingView
from plait.dashboard import parts, yaml
from plait.dashboard.feed import Feed
from plait.dashboard.frame import frame
from plait.dashboard.pages.findings import TONES

_TO_THE_LINE = "document.querySelector('.code .marked')?.scrollIntoView({block: 'center'})"


def register(feed: Feed) -> None:
    """Serve the page."""

    @ui.page("/objects")
    async def page(kind: str = "", namespace: str = "", name: str = "", line: int = 0) -> None:
        title = f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
        with frame(feed, title, "") as shown:
            with ui.element("div").classes("columns"):
                with parts.panel("As written", flush=True, classes="span-8") as box:
                    text = ui.html("", sanitize=False)
                assert box.actions is not None
                with box.actions:
                    place = ui.label("").classes("muted mono")
                with parts.panel("What is found in it", flush=True, classes="span-4"):
                    found_in_it = ui.element("div").classes("objects-findings")
            known: list[tuple[FindingView, ...] | None] = [None]

            async def refresh() -> None:
                found = await feed.client.object(kind, namespace, name)
                place.set_text(found.written.place)
                before = text.content
                text.set_content(yaml.shown(found.text, found.written.line or 1, line))
                if not before and line:
                    _ = ui.run_javascript(_TO_THE_LINE)
                findings = tuple(one for one in await feed.client.findings() if one.object == title)
                if known[0] != findings:
                    known[0] = findings
                    found_in_it.clear()
                    with found_in_it:
                        _list(findings)

            await shown.live(refresh)


def _list(findings: tuple[FindingView, ...]) -> None:
    if not findings:
        parts.empty("Nothing is wrong with it.")
    for one in findings:
        with ui.element("article"):
            with ui.element("div").classes("row"):
                parts.badge(one.severity.capitalize(), TONES.get(one.severity, parts.PLAIN))
                if one.line:
                    ui.link(f"line {one.line}", parts.to_named(one.object, one.line))
                ui.label(one.code).classes("mono muted")
            ui.label(one.message).classes("what")
            if one.field:
                ui.label(one.field).classes("mono muted")
            if one.remedy:
                ui.label(one.remedy).classes("muted")
