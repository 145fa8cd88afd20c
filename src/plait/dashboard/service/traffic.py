"""Who of a service answers, and who calls it: shares, errors and latency of each, now and over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from nicegui import ui

from plait.api import figures
from plait.api.client import Client
from plait.api.views import Traffic, TrafficGroup
from plait.dashboard import parts
from plait.dashboard.elements.chart import Chart, Line
from plait.dashboard.elements.grid import Cell, Column, Grid, Row
from plait.dashboard.service.golden import a_second
from plait.dashboard.service.live import LiveShares
from plait.dashboard.service.looked import (
    NOBODY,
    Choice,
    Looked,
    busy,
    rates,
    share,
    steps,
    until,
    version_names,
)
from plait.dashboard.service.routes import routed
from plait.telemetry.graph import Edge, Graph
from plait.telemetry.queries import Group, Signals

OUTSIDE = "unknown"
_COLOURS = tuple(f"--series-{number}" for number in range(1, 7))
_NUMBERS = (
    Column("errors", "Errors", end=True),
    Column("p50", "p50", end=True),
    Column("p99", "p99", end=True),
    Column("refused", "Refused", end=True),
)
VERSIONS = (
    Column("version", "Version"),
    Column("rate", "Rate", end=True),
    Column("now", "Share now", tight=True),
    Column("share", "In all", end=True),
    *_NUMBERS,
)
CALLERS = (
    Column("caller", "Caller"),
    Column("reached", "Reached", tight=True),
    Column("rate", "Rate", end=True),
    Column("share", "Share", tight=True),
    *_NUMBERS,
    Column("tls", "mTLS"),
)


class TrafficSection:
    """By version, and by caller."""

    def __init__(self, client: Client, choice: Choice) -> None:
        self._choice = choice
        with ui.element("div").classes("columns svc-row"):
            with parts.panel("Share of versions", classes="span-4 svc-chart") as shares:
                assert shares.actions is not None
                with shares.actions:
                    self._routed = ui.html("", sanitize=False).classes("svc-routed")
                self._live = LiveShares(client, choice)
                self._shares = Chart(label="Share of versions", height=150, write=figures.share, most=1.0)
            with parts.panel("By version", flush=True, classes="span-8 svc-wide"):
                self._versions = Grid(
                    VERSIONS, empty="No version was called in this time.", label="By version"
                )
            with parts.panel("Traffic of callers", classes="span-4 svc-chart"):
                self._rates = Chart(label="Traffic of callers", height=150, write=a_second)
            with parts.panel("By caller", flush=True, classes="span-8 svc-wide"):
                self._callers = Grid(CALLERS, empty="Nobody has called it in this time.", label="By caller")

    def show(self, looked: Looked) -> None:
        if looked.versions is None or looked.now is None or looked.callers is None:
            return
        end, step = until(looked.versions), looked.versions.step
        lines = share_lines(looked.versions)
        self._routed.set_content(routed(looked.view, self._choice))
        self._live.show(looked, lines)
        self._shares.show(end, step, lines)
        _ = self._versions.show(version_rows(looked.versions, looked.now))
        self._rates.show(end, step, caller_lines(looked.callers))
        _ = self._callers.show(caller_rows(looked.callers, looked.graph))


def version_rows(traffic: Traffic, now: Traffic) -> list[Row]:
    """Each version that was called, by name; `now` is of the last seconds."""
    names = version_names([one.group for one in (*traffic.groups, *now.groups)])
    lately = {one.group: busy(one.signals) for one in now.groups}
    in_all = sum(busy(one.signals) for one in traffic.groups)
    rows = []
    for one in sorted(traffic.groups, key=lambda one: names[one.group]):
        part = share(lately.get(one.group, 0.0), sum(lately.values()))
        whole = share(busy(one.signals), in_all)
        cells = (
            _version(one.group, names[one.group]),
            Cell(a_second(busy(one.signals)), sort=busy(one.signals)),
            Cell(figures.share(part), bar=part, sort=part),
            Cell(figures.share(whole), sort=whole),
            *numbers(one.signals),
        )
        rows.append(Row(names[one.group], cells))
    return rows


def _version(group: Group, name: str) -> Cell:
    return Cell(name, sub=group.destination_workload if name == group.destination_version else "")


def caller_rows(traffic: Traffic, graph: Graph) -> list[Row]:
    """Each caller and whom it reached, who calls most first."""
    in_all = sum(busy(one.signals) for one in traffic.groups)
    edges = {_ends(edge): edge for edge in graph.edges}
    rows = []
    for one in sorted(traffic.groups, key=lambda one: (-busy(one.signals), one.group)):
        group, part = one.group, share(busy(one.signals), in_all)
        reached = group.destination_version or group.destination_workload or NOBODY
        cells = (
            caller_cell(group.source_namespace, group.source_workload, group.source_version, graph),
            Cell(
                reached,
                sub=group.destination_workload,
                tone=parts.PLAIN if reached != NOBODY else parts.BAD,
            ),
            Cell(a_second(busy(one.signals)), sort=busy(one.signals)),
            Cell(figures.share(part), bar=part, sort=part),
            *numbers(one.signals),
            _tls(edges.get(group)),
        )
        rows.append(Row(repr(group), cells))
    return rows


def caller_cell(namespace: str, workload: str, version: str, graph: Graph) -> Cell:
    """A workload that calls, with the way to the service that it is behind."""
    if not workload:
        return Cell(OUTSIDE, sub="outside, or in the clear", tone="muted")
    hosts = next(
        (one.services for one in graph.workloads if (one.namespace, one.name) == (namespace, workload)), ()
    )
    href = next((found for host in hosts if (found := parts.to_service(host))), "")
    return Cell(workload, href=href, sub=" ".join(filter(None, (namespace, version))))


def numbers(signals: Signals) -> tuple[Cell, ...]:
    """Errors, latency and what was refused."""
    tone = parts.tone_of_errors(signals.error_share)
    return (
        Cell(
            figures.share(signals.error_share),
            tone=tone if tone in {parts.WARN, parts.BAD} else parts.PLAIN,
            sort=signals.error_share,
        ),
        Cell(figures.duration(signals.p50_ms), sort=signals.p50_ms),
        Cell(figures.duration(signals.p99_ms), sort=signals.p99_ms),
        Cell(
            figures.rate(signals.refused),
            tone=parts.WARN if signals.refused else parts.PLAIN,
            sort=signals.refused,
        ),
    )


def share_lines(traffic: Traffic) -> list[Line]:
    """What part of all each version had, one upon the other; a gap where nothing was asked."""
    names = version_names([one.group for one in traffic.groups])
    whole = rates(traffic, traffic.groups)
    ordered = sorted(traffic.groups, key=lambda one: names[one.group])
    return [
        Line(
            names[one.group],
            tuple(
                None if part is None or all_ is None else share(part, all_)
                for part, all_ in zip(rates(traffic, (one,)), whole, strict=True)
            ),
            colour,
            stacked=True,
        )
        for one, colour in zip(ordered, _COLOURS, strict=False)
    ] or [Line("versions", (None,) * steps(traffic))]


def caller_lines(traffic: Traffic) -> list[Line]:
    """What each caller asks a second; those beyond the colours there are together."""
    by: dict[str, list[TrafficGroup]] = defaultdict(list)
    for one in traffic.groups:
        by[_caller(one.group, traffic)].append(one)
    largest = sorted(by, key=lambda name: (-sum(busy(one.signals) for one in by[name]), name))
    named: Mapping[str, list[TrafficGroup]] = by
    if len(largest) > len(_COLOURS):
        kept, rest = largest[: len(_COLOURS) - 1], largest[len(_COLOURS) - 1 :]
        others = f"{len(rest)} others"
        named = {**{name: by[name] for name in kept}, others: [one for name in rest for one in by[name]]}
        largest = [*kept, others]
    return [
        Line(name, rates(traffic, tuple(named[name])), colour)
        for name, colour in zip(largest, _COLOURS, strict=False)
    ] or [Line("requests", rates(traffic, ()))]


def _caller(group: Group, traffic: Traffic) -> str:
    namespaces = {
        one.group.source_namespace
        for one in traffic.groups
        if one.group.source_workload == group.source_workload
    }
    prefix = f"{group.source_namespace}/" if len(namespaces) > 1 else ""
    return f"{prefix}{group.source_workload}" if group.source_workload else OUTSIDE


def _ends(edge: Edge) -> Group:
    return Group(
        service=edge.service,
        source_namespace=edge.source_namespace,
        source_workload=edge.source,
        source_version=edge.source_version,
        destination_namespace=edge.destination_namespace,
        destination_workload=edge.destination,
        destination_version=edge.destination_version,
    )


def _tls(edge: Edge | None) -> Cell:
    if edge is None or edge.mtls is None:
        return Cell(figures.NOTHING, tone="faint")
    return Cell("yes", tone=parts.GOOD) if edge.mtls else Cell("in the clear", tone=parts.WARN)
