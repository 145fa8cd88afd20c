"""Who calls whom, and how that goes."""

from __future__ import annotations

import asyncio
from dataclasses import fields

from aiohttp import web

from plait.api.answers import answer, iso
from plait.api.parameters import known, number, seconds, window
from plait.api.plane import Plane
from plait.api.views import Traffic, TrafficGroup
from plait.codec import Codec
from plait.telemetry.graph import Graph
from plait.telemetry.queries import By, History, Signals, Where

_GRAPH: Codec[Graph] = Codec(Graph)
_TRAFFIC: Codec[Traffic] = Codec(Traffic)


def routes(plane: Plane) -> tuple[web.RouteDef, ...]:
    paths = _Paths(plane)
    return (
        web.get("/v1/graph", paths.graph),
        web.get("/v1/traffic", paths.traffic),
    )


class _Paths:
    """What each path answers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def graph(self, request: web.Request) -> web.Response:
        known(request, {"window", "namespace", "until"})
        namespace, until = request.query.get("namespace", ""), seconds(request, "until")
        found = await self._plane.graph(window(request), namespace, until)
        return await asyncio.to_thread(answer, _GRAPH, found)

    async def traffic(self, request: web.Request) -> web.Response:
        """How traffic went, by what is told apart; with a step also as it went."""
        filters = {field.name for field in fields(Where)}
        known(request, {"by", "window", "step", "at_least", "until"} | filters)
        by = _by(request)
        where = Where(**{name: value for name, value in request.query.items() if name in filters})
        width, step = window(request), number(request, "step", default=0)
        at_least, end = number(request, "at_least", default=1), seconds(request, "until")
        queries = self._plane.queries()
        found = await queries.measure(by, where, window=width, end=end, at_least=at_least)
        history = History(start=0.0, step=0.0, groups={})
        if step:
            history = await queries.history(by, where, window=width, step=step, end=end, at_least=at_least)
        told = Traffic(
            by=by,
            until=iso(found.end),
            window=found.end - found.start,
            heard=found.heard,
            left_out=found.left_out,
            since=iso(history.start) if step else "",
            step=history.step,
            groups=tuple(
                TrafficGroup(
                    group=group,
                    signals=found.groups.get(group, Signals()),
                    points=history.groups.get(group, ()),
                )
                for group in sorted(found.groups.keys() | history.groups.keys())
            ),
        )
        return await asyncio.to_thread(answer, _TRAFFIC, told)


def _by(request: web.Request) -> By:
    text = request.query.get("by", By.SERVICE)
    try:
        return By(text)
    except ValueError:
        raise ValueError(f"by must be one of {', '.join(By)}, not {text!r}") from None
