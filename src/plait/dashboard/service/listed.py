"""Every service of the mesh in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nicegui import ui

from plait.api import figures
from plait.api.views import Traffic
from plait.dashboard import parts
from plait.dashboard.elements.choices import Select, search
from plait.dashboard.elements.grid import Cell, Column, Grid, Row
from plait.dashboard.feed import Feed
from plait.dashboard.frame import Frame
from plait.dashboard.service.golden import a_second
from plait.dashboard.service.looked import WINDOW, Choice, busy
from plait.dashboard.service.windows import Windows
from plait.telemetry.graph import Graph, ServiceNode
from plait.telemetry.queries import By, Signals

POINTS = 20
"""Of the small picture of a rate."""
DRAWN_EVERY = 15.0
"""Seconds between two looks at how rates went: they are the dearer question, and show little that is new."""
_COLUMNS = (
    Column("service", "Service"),
    Column("namespace", "Namespace"),
    Column("health", "Health"),
    Column("versions", "Versions"),
    Column("rate", "Rate", end=True),
    Column("errors", "Errors", end=True),
    Column("p50", "p50", end=True),
    Column("p99", "p99", end=True),
)


@dataclass(frozen=True, slots=True)
class Sought:
    """What is looked for: a namespace, and a part of the name; "" is any."""

    namespace: str
    text: str

    def fits(self, one: ServiceNode) -> bool:
        return self.namespace in {"", one.namespace} and self.text.lower() in one.host.lower()


class ServiceList:
    """The table, and what narrows it."""

    def __init__(self, feed: Feed, shown: Frame, namespace: str, text: str, window: str) -> None:
        self._feed = feed
        self._shown = shown
        self._sought = Sought(namespace, text)
        self._window = Choice.of(window, "", "").window
        self._graph: Graph | None = None
        self._sparks: Mapping[str, tuple[int, ...]] = {}
        with ui.element("div").classes("toolbar"):
            search("Look for a service", text, self._typed)
            self._namespaces = Select("Namespace", "All namespaces", namespace, self._narrowed)
            self._counted = ui.label("").classes("muted")
            Windows(self._window, self._long)
        with parts.panel(flush=True):
            self._grid = Grid(_COLUMNS, empty="No service is called so.", label="Services")

    async def _long(self, window: int) -> None:
        self._window = window
        self._tell_address()
        await self._shown.again()

    async def _typed(self, text: str) -> None:
        self._seek(Sought(self._sought.namespace, text))

    async def _narrowed(self, namespace: str) -> None:
        self._seek(Sought(namespace, self._sought.text))

    def _seek(self, sought: Sought) -> None:
        self._sought = sought
        self._tell_address()
        self._show()

    def _tell_address(self) -> None:
        ui.navigate.history.replace(
            parts.to(
                "/services",
                namespace=self._sought.namespace,
                text=self._sought.text,
                window=self._window if self._window != WINDOW else "",
            )
        )

    async def refresh(self) -> None:
        """Ask for all of them; what is sought is chosen here."""
        window = 0
        while window != self._window:
            window = self._window
            graph = await self._feed.client.graph(window=window)
        self._graph = graph
        self._show()

    async def draw(self) -> None:
        """Ask how the rates of all went."""
        traffic = await self._feed.client.traffic(By.SERVICE, window=self._window, step=self._window / POINTS)
        self._sparks = sparks(traffic)
        self._show()

    def _show(self) -> None:
        if self._graph is None:
            return
        self._namespaces.tell({one.namespace for one in self._graph.services if one.namespace})
        found = [one for one in self._graph.services if self._sought.fits(one)]
        self._counted.set_text(f"{len(found)} of {len(self._graph.services)}")
        _ = self._grid.show(rows(found, self._graph, self._sparks))


def rows(found: Sequence[ServiceNode], graph: Graph, went: Mapping[str, tuple[int, ...]]) -> list[Row]:
    """A row for each, by namespace and name, so that none moves when rates do; what is outside comes last."""
    versions: dict[str, set[str]] = {}
    for workload in graph.workloads:
        for host in workload.services:
            versions.setdefault(host, set()).add(workload.version or workload.name)
    ordered = sorted(found, key=lambda one: (one.external, one.namespace, one.name))
    return [_row(one, versions.get(one.host, set()), went.get(one.host, ())) for one in ordered]


def _row(one: ServiceNode, versions: set[str], went: tuple[int, ...]) -> Row:
    signals = one.signals
    word, tone = health(signals)
    errors = parts.tone_of_errors(signals.error_share)
    return Row(
        one.host,
        (
            Cell(one.name, href=parts.to_service(one.host)),
            Cell("outside of the mesh" if one.external else one.namespace, tone="muted"),
            Cell(word, tone=tone, badge=True),
            Cell(", ".join(sorted(versions)) or figures.NOTHING),
            Cell(a_second(busy(signals)), sort=busy(signals), spark=went),
            Cell(
                figures.share(signals.error_share),
                tone=errors if errors in {parts.WARN, parts.BAD} else parts.PLAIN,
                sort=signals.error_share,
            ),
            Cell(figures.duration(signals.p50_ms), sort=signals.p50_ms),
            Cell(figures.duration(signals.p99_ms), sort=signals.p99_ms),
        ),
    )


def health(signals: Signals) -> tuple[str, str]:
    """How a service is, in a word, and its tone."""
    if not signals.requests and not signals.connections and not signals.refused:
        return "idle", parts.IDLE
    tone = parts.tone_of_errors(signals.error_share)
    if tone == parts.BAD:
        return "failing", tone
    if signals.refused:
        return "refusing", parts.WARN
    return ("some errors", tone) if tone == parts.WARN else ("healthy", parts.GOOD)


def sparks(traffic: Traffic) -> dict[str, tuple[int, ...]]:
    """How the rate of each service went, in percent of its highest."""
    made = {}
    for one in traffic.groups:
        values = [0.0 if point is None else busy(point) for point in one.points]
        highest = max(values, default=0.0)
        if highest:
            made[one.group.service] = tuple(round(100 * value / highest) for value in values)
    return made
