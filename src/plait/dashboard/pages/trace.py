"""One trace: who called whom, when, for how long, and where it went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from nicegui import ui

from plait.api import figures
from plait.api.client import ApiError
from plait.api.views import SpanView, TraceView
from plait.dashboard import parts, waterfall
from plait.dashboard.elements.waterfall import Line, Waterfall
from plait.dashboard.feed import Feed
from plait.dashboard.frame import frame
from plait.dashboard.waterfall import Bar

_TICKS = 4
_SHORTEST = 0.35
"""Percent of the width that a bar has at least, so that it is seen."""


def register(feed: Feed) -> None:
    """Serve the page."""

    @ui.page("/traces/{trace}")
    async def page(trace: str, span: str = "") -> None:
        with frame(feed, f"Trace {trace[:8]}", "/traces") as shown:
            view = _View(trace, span)
            services: dict[str, str] = {}

            async def refresh() -> None:
                try:
                    found = await feed.client.trace(trace)
                except ApiError as error:
                    if error.code not in {"not_found", "bad_request"}:
                        raise
                    view.missing(str(error))
                    return
                if not services:
                    services.update(await _services(feed))
                view.show(found, services)

            await shown.live(refresh)


async def _services(feed: Feed) -> Mapping[str, str]:
    """A host of each workload's services."""
    graph = await feed.client.graph()
    return {f"{one.namespace}/{one.name}": one.services[0] for one in graph.workloads if one.services}


class _View:
    def __init__(self, trace: str, opened: str) -> None:
        with ui.element("div").classes("row trace-head"):
            ui.link("All traces", "/traces").classes("button")
            self._path = ui.link("Path on the map", parts.to("/", trace=trace)).classes("button")
            self._id = ui.label(trace).classes("mono trace-id")
            ui.html('<button type="button" class="button" data-copy>Copy id</button>', sanitize=False).on(
                "click",
                js_handler="(event) => { const said = event.target; "
                "navigator.clipboard.writeText(document.querySelector('.trace-id').textContent)"
                ".then(() => { said.textContent = 'Copied'; setTimeout(() => (said.textContent = 'Copy id'), 1500); }); }",
            )
        with ui.element("div").classes("stack") as self._body:
            self._stats = parts.stats("Began", "Took", "Spans", "Services", "Failed")
            with ui.element("div").classes("callout bad") as self._cause:
                ui.icon("error_outline")
                self._why = ui.html("", sanitize=False)
            with parts.panel("Waterfall", flush=True) as box:
                self._fall = Waterfall(opened=opened)
            assert box.actions is not None
            with box.actions:
                ui.html(
                    '<span class="muted fall-keys"><i class="fall-key"></i> critical path '
                    "<kbd>↑</kbd> <kbd>↓</kbd> move <kbd>←</kbd> <kbd>→</kbd> fold <kbd>Enter</kbd> open</span>",
                    sanitize=False,
                )
        self._none = parts.empty("")
        self._body.set_visibility(False)

    def missing(self, why: str) -> None:
        self._body.set_visibility(False)
        self._none.set_text(why)
        self._none.set_visibility(True)

    def show(self, trace: TraceView, services: Mapping[str, str]) -> None:
        self._none.set_visibility(False)
        self._body.set_visibility(True)
        self._id.set_text(trace.trace)
        if self._path.props["href"] != (place := parts.to("/", trace=trace.trace)):
            self._path.props["href"] = place
        began = datetime.fromisoformat(trace.started).astimezone()
        failed = sum(one.failed for one in trace.spans)
        said = (
            (f"{began:%H:%M:%S}", f"{began:%d %B %Y}, {began.microsecond // 1000:03} ms", ""),
            (figures.duration(trace.duration_ms), "from the first to the last", ""),
            (str(len(trace.spans)), "", ""),
            (str(len({one.service for one in trace.spans})), "", ""),
            (str(failed), "of the spans" if failed else "nothing has", parts.BAD if failed else parts.GOOD),
        )
        for stat, (value, note, tone) in zip(self._stats, said, strict=True):
            stat.tell(value, note, tone)
        bars = waterfall.bars(trace)
        cause = waterfall.cause(bars)
        self._cause.set_visibility(cause is not None)
        if cause is not None:
            self._why.set_content(_cause(trace, cause))
        hues = waterfall.colours(trace.spans)
        ticks = [
            figures.duration(trace.duration_ms * number / _TICKS) if number else "0"
            for number in range(_TICKS + 1)
        ]
        self._fall.show([line(bar, hues[bar.span.workload], services) for bar in bars], ticks)


def _cause(trace: TraceView, span: SpanView) -> str:
    """Where it went wrong first, and what Envoy's flags of it mean."""
    called = waterfall.callee(span)
    where = f"{waterfall.who(span)} calls {called}" if called else waterfall.who(span)
    what = ", ".join(part for part in (span.name, waterfall.status(span) or "failed", span.message) if part)
    words = "".join(f"<p>{parts.escaped(one)}</p>" for one in span.flags)
    href = parts.to(f"/traces/{trace.trace}", span=span.id)
    return (
        f"<b>{parts.escaped(where)}</b>: {parts.escaped(what)} "
        f'<a href="{parts.escaped(href)}">Open the span</a>{words}'
    )


def line(bar: Bar, colour: int, services: Mapping[str, str]) -> Line:
    """A span as the waterfall shows it; `services` has a host for each workload."""
    span = bar.span
    return Line(
        id=span.id,
        depth=bar.depth,
        below=bar.below,
        who=waterfall.who(span),
        what=span.name,
        to=waterfall.callee(span),
        colour=colour,
        left=round(min(100 * bar.left, 100 - _SHORTEST), 3),
        width=round(max(100 * min(bar.width, 1 - bar.left), _SHORTEST), 3),
        took=figures.duration(span.duration_ms),
        status=waterfall.status(span),
        failed=span.failed,
        critical=bar.critical,
        message=span.message,
        words=span.flags,
        facts=_facts(bar),
        links=tuple(_links(span, services)),
    )


def _facts(bar: Bar) -> tuple[tuple[str, str], ...]:
    span = bar.span
    by = f"its {span.by}" if span.by else ""
    told = f"{span.workload}/{span.replica}" if span.replica is not None else span.workload
    return (
        ("began after", figures.duration(span.start_ms) if span.start_ms else "0"),
        ("own time", f"{figures.duration(bar.own_ms)} of {figures.duration(span.duration_ms)}"),
        ("kind", span.kind),
        ("told by", f"{told}, {by}" if by else told),
        ("service", span.service),
        ("span", span.id),
        *((one.name, one.value) for one in span.attributes),
    )


def _links(span: SpanView, services: Mapping[str, str]) -> list[tuple[str, str]]:
    called = waterfall.host(span)
    own = services.get(span.workload, "")
    found = [
        (f"Service {waterfall.who(span)}", parts.to_service(own)),
        (f"Service {waterfall.callee(span) or called.partition('.')[0]}", parts.to_service(called)),
        (
            "Its proxy",
            parts.to(f"/proxies/{span.workload}/{span.replica}") if span.replica is not None else "",
        ),
        ("Traces of it", parts.to("/traces", workload=span.workload)),
    ]
    return [(text, href) for text, href in {href: (text, href) for text, href in found if href}.values()]
