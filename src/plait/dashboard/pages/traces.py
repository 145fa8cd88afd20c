"""Traces: which were seen, found by what is asked of them."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from nicegui import ui
from nicegui.events import GenericEventArguments

from plait.api import figures
from plait.api.client import ApiError
from plait.api.views import TraceSummary
from plait.dashboard import parts
from plait.dashboard.elements.grid import Cell, Column, Grid, Row
from plait.dashboard.elements.marks import Kind, Mark, Marks
from plait.dashboard.feed import Feed
from plait.dashboard.frame import frame
from plait.dashboard.pages import trace
from plait.dashboard.searching import MOST, WINDOWS, Search

_COLUMNS = (
    Column("began", "Began", tight=True),
    Column("what", "What"),
    Column("service", "Service"),
    Column("took", "Duration", end=True, tight=True),
    Column("spans", "Spans", end=True),
    Column("failed", "Failed", end=True, tight=True),
)
_KINDS = (
    Kind("well", "nothing failed", "--series-1"),
    Kind("failed", "something failed", "--bad", "diamond"),
)
_STATUSES = (("", "any"), ("ok", "nothing failed"), ("error", "failed"))
_NONE = (
    "No trace was seen yet. Of the requests that come without trace context one in a hundred begins one, unless a "
    "Telemetry says another share. A request that says itself that it is to be traced always is:"
)
_ASK = (
    'plait exec NAMESPACE/WORKLOAD -- curl -s -H "traceparent: 00-$(openssl rand -hex 16)-$(openssl rand -hex 8)-01" '
    "http://SERVICE:PORT/"
)
_PATH = 4
"""So many services of a trace are named."""


def register(feed: Feed) -> None:
    """Serve the pages."""
    trace.register(feed)

    @ui.page("/traces")
    async def page(  # noqa: PLR0913, PLR0917 - what can be asked
        service: str = "",
        workload: str = "",
        status: str = "",
        min_duration: str = "",
        tag: str = "",
        window: str = "",
        until: str = "",
    ) -> None:
        asked = Search(
            service=service,
            workload=workload,
            status=status,
            min_duration=min_duration,
            tag=tag,
            window=window,
            until=until,
        )
        with frame(feed, "Traces", "/traces") as shown:
            form = _Form(asked, shown.again)
            suggest = _toolbar(form)
            found = _Found()

            async def refresh() -> None:
                typed = None
                while typed != form.asked:
                    typed, now = form.asked, time.time()
                    try:
                        traces = await feed.client.traces(typed.query(now))
                    except (ValueError, ApiError) as error:
                        if isinstance(error, ApiError) and error.code != "bad_request":
                            raise
                        found.wrong(str(error))
                    else:
                        found.show(traces, typed, now)
                        suggest("service", sorted({name for one in traces for name in one.services}))
                replicas = (await feed.client.status()).workloads
                suggest("workload", sorted({f"{one.namespace}/{one.name}" for one in replicas}))

            await shown.live(refresh)


@dataclass(slots=True)
class _Form:
    """What is typed, and whom to tell of it."""

    asked: Search
    changed: Callable[[], Awaitable[None]]

    async def take(self, name: str, typed: str) -> None:
        """It stands in the page's address at once."""
        self.asked = replace(self.asked, **{name: typed})
        _ = ui.run_javascript(f"history.replaceState(history.state, '', {json.dumps(self.asked.place())})")
        await self.changed()


def _toolbar(form: _Form) -> Callable[[str, Sequence[str]], None]:
    """The fields; what comes back tells the one of a name what could be typed."""
    with ui.element("div").classes("toolbar traces-form").props('role="search"'):
        _text(form, "service", "Service", "any", width=140)
        _text(form, "workload", "Workload", "namespace/name", width=160)
        _choice(form, "status", "Outcome", _STATUSES)
        _text(form, "min_duration", "At least", "200ms", width=84)
        _text(form, "tag", "Tags", "http.status_code=503", width=176)
        _choice(form, "window", "Within", WINDOWS)
        ui.link("Clear", "/traces").classes("button")
    lists = {
        name: ui.html("", tag="datalist", sanitize=False).props(f'id="traces-{name}"')
        for name in ("service", "workload")
    }

    def tell(name: str, some: Sequence[str]) -> None:
        lists[name].set_content("".join(f'<option value="{parts.escaped(one)}"></option>' for one in some))

    return tell


def _text(form: _Form, name: str, label: str, hint: str, *, width: int) -> None:
    _field(
        form,
        name,
        label,
        f'<input type="search" class="field" name="{name}" style="width: {width}px" placeholder="{hint}" '
        f'list="traces-{name}" autocomplete="off" spellcheck="false" value="{parts.escaped(getattr(form.asked, name))}">',
    )


def _choice(form: _Form, name: str, label: str, options: Sequence[tuple[str, str]]) -> None:
    chosen = getattr(form.asked, name)
    if chosen not in dict(options):
        options = (*options, (chosen, chosen))
    said = "".join(
        f'<option value="{parts.escaped(value)}"{" selected" if value == chosen else ""}>{parts.escaped(text)}</option>'
        for value, text in options
    )
    _field(form, name, label, f'<select class="field" name="{name}">{said}</select>')


def _field(form: _Form, name: str, label: str, field: str) -> None:
    """What is typed stays in the browser until it is done."""

    async def taken(event: GenericEventArguments) -> None:
        await form.take(name, str(event.args))

    ui.html(f'<label class="traces-field"><span>{label}</span>{field}</label>', sanitize=False).on(
        "change", taken, js_handler="(event) => emit(event.target.value.trim())"
    )


class _Found:
    """What was found, as a picture and as a list; or why there is nothing."""

    def __init__(self) -> None:
        with parts.panel("Duration over time") as self._picture:
            self._marks = Marks(label="Duration of each trace over time", kinds=_KINDS, write=_axis, log=True)
        with parts.panel("Traces", flush=True, classes="traces-list") as self._list:
            self._grid = Grid(_COLUMNS, label="Traces")
            assert self._list.actions is not None
            with self._list.actions:
                self._number = ui.label("").classes("muted")
        with parts.panel() as self._none:
            self._why = ui.label("").classes("traces-why")
            self._how = ui.label(_ASK).classes("mono traces-how")
        self._set(found=False)

    def show(self, traces: Sequence[TraceSummary], asked: Search, now: float) -> None:
        self._set(found=bool(traces))
        if not traces:
            self._why.set_text("No trace fits what is asked." if asked.narrow else _NONE)
            self._how.set_visibility(not asked.narrow)
            return
        marks = [mark(one) for one in traces]
        until = float(asked.until) if asked.until else now
        since = until - float(asked.window) if asked.window else min(one.at for one in marks) - 1
        self._marks.show(since, until, marks)
        longest = max(one.duration_ms for one in traces)
        self._grid.show([row(one, longest) for one in traces])
        failed = sum(one.failed > 0 for one in traces)
        newest = "the newest " if len(traces) == MOST else ""
        many = f"{len(traces)} trace{'' if len(traces) == 1 else 's'}"
        self._number.set_text(f"{newest}{many}, {f'{failed} of them' if failed else 'none'} failed")

    def wrong(self, why: str) -> None:
        """What was typed can't be understood."""
        self._set(found=False)
        self._why.set_text(why)
        self._how.set_visibility(False)

    def _set(self, *, found: bool) -> None:
        self._picture.section.set_visibility(found)
        self._list.section.set_visibility(found)
        self._none.section.set_visibility(not found)


def _axis(milliseconds: float) -> str:
    return figures.duration(milliseconds).replace(".0", "")


def mark(one: TraceSummary) -> Mark:
    """A trace in the picture."""
    failed = f", {one.failed} of {one.spans} spans failed" if one.failed else f", {one.spans} spans"
    return Mark(
        key=one.trace,
        at=datetime.fromisoformat(one.started).timestamp(),
        value=one.duration_ms,
        kind="failed" if one.failed else "well",
        text=(f"{one.service} {one.name}", figures.duration(one.duration_ms) + failed),
        href=parts.to(f"/traces/{one.trace}"),
    )


def row(one: TraceSummary, longest: float) -> Row:
    """A trace in the list, its bar as long as its part of the longest."""
    began = datetime.fromisoformat(one.started).astimezone()
    path = " > ".join(one.services[:_PATH]) + (" …" if len(one.services) > _PATH else "")
    return Row(
        key=one.trace,
        cells=(
            Cell(
                f"{began:%H:%M:%S}.{began.microsecond // 1000:03}", title=one.started, sort=began.timestamp()
            ),
            Cell(one.name, href=parts.to(f"/traces/{one.trace}"), sub=path),
            Cell(one.service),
            Cell(
                figures.duration(one.duration_ms),
                sort=one.duration_ms,
                bar=round(one.duration_ms / longest, 3) if longest else 0.0,
            ),
            Cell(str(one.spans), sort=one.spans),
            Cell(str(one.failed) if one.failed else "", tone=parts.BAD, badge=True, sort=one.failed),
        ),
    )
