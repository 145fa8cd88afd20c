"""What the replicas of a service use, over time: cores and memory of applications and sidecars."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nicegui import ui

from plait.api import figures
from plait.api.client import Client
from plait.dashboard import parts
from plait.dashboard.elements.chart import Chart, Line
from plait.dashboard.service.golden import used
from plait.dashboard.service.looked import Looked
from plait.telemetry.graph import Graph, ProcessUse

POINTS = 15
"""Of each line: each is a picture of the past, which is asked for once."""


@dataclass(frozen=True, slots=True)
class Use:
    """What those behind a service used together."""

    application: ProcessUse
    sidecar: ProcessUse


class UsageSection:
    """Two charts, of what is known already and of the moments that are new."""

    def __init__(self) -> None:
        self._known: dict[float, Use] = {}
        self._step = 0
        with ui.element("div").classes("columns svc-row"):
            with parts.panel("CPU", classes="span-6 svc-chart"):
                self._cpu = Chart(label="Cores", height=140, write=_cores)
            with parts.panel("Memory", classes="span-6 svc-chart"):
                self._memory = Chart(label="Memory", height=140, write=figures.size)

    async def show(self, client: Client, looked: Looked) -> None:
        step, ends = moments(datetime.fromisoformat(looked.graph.until).timestamp(), looked.total.window)
        if step != self._step:
            self._step, self._known = step, {}
        new = [end for end in ends if end not in self._known]
        graphs = await asyncio.gather(
            *(client.graph(window=step, namespace=looked.view.namespace, until=end) for end in new)
        )
        self._known |= {end: use_of(graph, looked.view.host) for end, graph in zip(new, graphs, strict=True)}
        self._known = {end: self._known[end] for end in ends}
        self._cpu.show(ends[-1], step, lines(ends, self._known, lambda one: one.cpu))
        self._memory.show(ends[-1], step, lines(ends, self._known, lambda one: one.memory))


def moments(until: float, window: float) -> tuple[int, list[float]]:
    """The seconds of a point, and when each ends: at the same times, whenever somebody looks."""
    step = int(window / POINTS)
    last = until // step * step
    return step, [last - step * back for back in reversed(range(POINTS))]


def use_of(graph: Graph, host: str) -> Use:
    """What the workloads of a service used in a picture."""
    behind = [one for one in graph.workloads if host in one.services]
    return Use(used(one.application for one in behind), used(one.sidecar for one in behind))


def lines(
    ends: Sequence[float], known: Mapping[float, Use], of: Callable[[ProcessUse], float | None]
) -> list[Line]:
    return [
        Line("applications", tuple(of(known[end].application) for end in ends), "--series-1"),
        Line("sidecars", tuple(of(known[end].sidecar) for end in ends), "--series-2"),
    ]


def _cores(value: float) -> str:
    return f"{figures.cores(value)} cores"
