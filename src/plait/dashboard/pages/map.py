"""Who calls whom, and how that goes: the map."""

from __future__ import annotations

import json
from dataclasses import replace

from fastapi import Request
from nicegui import ui
from nicegui.events import GenericEventArguments

from plait.api.client import ApiError
from plait.api.services import RefusalView
from plait.api.views import TraceView
from plait.dashboard import parts
from plait.dashboard.elements.details import DetailsPanel
from plait.dashboard.elements.filters import Filters
from plait.dashboard.elements.headline import Headline
from plait.dashboard.elements.map import Map
from plait.dashboard.elements.moment import Moment
from plait.dashboard.feed import Feed
from plait.dashboard.frame import Frame, frame
from plait.dashboard.map.choice import HEALTHS, STORED, WINDOWS, Choice, chosen
from plait.dashboard.map.details import details
from plait.dashboard.map.drawing import drawing
from plait.dashboard.map.follow import followed
from plait.dashboard.map.layout import NOTHING, Layout
from plait.dashboard.map.narrow import narrowed
from plait.dashboard.map.picture import picture
from plait.dashboard.map.summary import summary
from plait.telemetry.graph import Graph

_STEP = 5.0
"""Seconds: counts are kept in slots of these."""
_GONE = "This trace is not kept any more, or never was."


def register(feed: Feed) -> None:
    """Serve the page."""

    @ui.page("/")
    async def page(request: Request) -> None:
        with frame(feed, "Map", "/") as shown:
            await shown.live(_View(feed, shown, chosen(request.query_params)).refresh)


class _View:
    """The map as one browser shows it."""

    def __init__(self, feed: Feed, shown: Frame, choice: Choice) -> None:
        self._feed, self._shown, self._choice = feed, shown, choice
        self._graph: Graph | None = None
        self._trace: TraceView | None = None
        self._refusals: tuple[RefusalView, ...] = ()
        self._layout: Layout = NOTHING
        with ui.element("div").classes("map-page"):
            self._filters = Filters(HEALTHS, WINDOWS)
            self._filters.on("filter", self._filter)
            self._head = Headline()
            self._head.on("leave", self._leave)
            with ui.element("div").classes("map-body"):
                self._map = Map(label="Services and who calls them; arrow keys lead along the edges")
                self._map.on("choose", self._choose)
                self._map.on("toggle", self._toggle)
                self._details = DetailsPanel()
                self._details.on("choose", self._choose)
            self._moment = Moment(span=STORED, step=_STEP, label="The time that is shown")
            self._moment.on("moment", self._go)

    async def refresh(self) -> None:
        """Ask, until what was asked for is what is wanted, and show it."""
        asked = None
        while asked != self._choice:
            asked = self._choice
            self._graph = await self._feed.client.graph(window=asked.window, until=asked.moment)
            self._trace = await self._traced(asked.trace)
            self._refusals = await self._refused(asked)
        self._show()

    async def _traced(self, trace: str) -> TraceView | None:
        if not trace or (self._trace and self._trace.trace == trace):
            return self._trace if trace else None
        try:
            return await self._feed.client.trace(trace)
        except ApiError as error:
            if error.code != "not_found":
                raise
            return None

    async def _refused(self, choice: Choice) -> tuple[RefusalView, ...]:
        """Why somebody is kept out of what is looked at."""
        if not self._graph or not choice.at:
            return ()
        found = details(picture(narrowed(self._graph, choice), choice.opened), choice.at)
        if not found or not found.service:
            return ()
        return await self._feed.client.refusals(window=choice.window, service=found.service, until=choice.moment)  # fmt: skip

    def _show(self) -> None:
        graph, choice = self._graph, self._choice
        assert graph is not None
        part = narrowed(graph, choice)
        seen = picture(part, choice.opened)
        drawn = drawing(seen, self._layout)
        self._layout = drawn.layout
        path = followed(self._trace, seen) if self._trace else frozenset() if choice.trace else None
        self._map.show(drawn, at=choice.at, path=path, empty=_nothing(graph, choice))
        self._details.show(details(seen, choice.at, self._refusals) if choice.at else None)
        self._head.show(summary(part, choice), _chip(choice, self._trace), past=bool(choice.until))
        self._filters.show(choice, sorted({one.namespace for one in graph.services if one.namespace}))
        self._moment.show(choice.until)

    async def _change(self, choice: Choice) -> None:
        """Have another choice: at once what is known of it, then what has to be asked."""
        before, self._choice = self._choice, choice
        _ = ui.run_javascript(f"history.replaceState(history.state, '', {json.dumps(choice.place)})")
        if self._graph and (before.window, before.until) == (choice.window, choice.until):
            self._refusals = () if before.at != choice.at else self._refusals
            self._show()
        if _asked(before) != _asked(choice):
            await self._shown.again()

    async def _filter(self, event: GenericEventArguments) -> None:
        name, value = event.args["name"], event.args["value"]
        query = {"namespace": self._choice.namespace, "service": self._choice.service}
        query |= {"health": self._choice.health, "window": str(self._choice.window), name: str(value)}
        wanted = chosen(query)
        await self._change(replace(self._choice, namespace=wanted.namespace, service=wanted.service,
                                   health=wanted.health, window=wanted.window))  # fmt: skip

    async def _choose(self, event: GenericEventArguments) -> None:
        await self._change(replace(self._choice, at=str(event.args)))

    async def _toggle(self, event: GenericEventArguments) -> None:
        await self._change(replace(self._choice, opened=self._choice.opened ^ {str(event.args)}))

    async def _go(self, event: GenericEventArguments) -> None:
        await self._change(replace(self._choice, until=int(event.args)))

    async def _leave(self) -> None:
        await self._change(replace(self._choice, trace=""))


def _asked(choice: Choice) -> tuple[object, ...]:
    """What of a choice the control plane is asked about; the rest is chosen from its answer."""
    return choice.window, choice.until, choice.trace, choice.at


def _nothing(graph: Graph, choice: Choice) -> str:
    """What is said where nothing is left to show."""
    if graph.services or graph.workloads:
        return "Nothing fits what was asked for."
    return "Nothing was seen at this time." if choice.until else "There is no service yet."


def _chip(choice: Choice, trace: TraceView | None) -> dict[str, str]:
    """The trace that is followed, in a few words."""
    if not choice.trace:
        return {}
    if trace is None:
        return {"text": _GONE}
    root = trace.spans[0].name if trace.spans else ""
    return {"text": f"Trace {trace.trace[:8]} {root}".strip(), "href": parts.to(f"/traces/{trace.trace}")}
