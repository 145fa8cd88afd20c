"""`plait top`: which services, or edges, have most to do, answer late, or fail."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from plait.api import figures
from plait.api.client import Client
from plait.cli.map import OUTSIDE, Names, headline
from plait.cli.online import ask
from plait.cli.options import Namespace, Output, OutputFormat, StateDir, Window
from plait.cli.output import Row, grid, print_json, print_lines, redraw, terminal_width
from plait.codec import Codec
from plait.telemetry.graph import Graph, ProcessUse, WorkloadNode
from plait.telemetry.queries import Signals

_GRAPH: Codec[Graph] = Codec(Graph)


class Sort(StrEnum):
    """The columns that can be sorted by: the largest first, names as in the alphabet."""

    NAME = "name"
    RATE = "rate"
    ERRORS = "errors"
    P50 = "p50"
    P99 = "p99"
    REFUSED = "refused"
    POOL = "pool"
    CPU = "cpu"
    MEMORY = "memory"
    BYTES = "bytes"


_UNTOLD = ProcessUse()


@dataclass(frozen=True, slots=True)
class _Line:
    """A service, a workload that no service stands before, or an edge of a caller in a namespace."""

    namespace: str
    name: str
    signals: Signals
    sidecar: ProcessUse = _UNTOLD
    application: ProcessUse = _UNTOLD
    connections: int = 0
    requests: int = 0
    idle: bool = False


_BY: dict[Sort, Callable[[_Line], float | None]] = {
    Sort.NAME: lambda _: None,
    Sort.RATE: lambda one: one.signals.rate + one.signals.connections,
    Sort.ERRORS: lambda one: one.signals.error_share,
    Sort.P50: lambda one: one.signals.p50_ms,
    Sort.P99: lambda one: one.signals.p99_ms,
    Sort.REFUSED: lambda one: one.signals.refused,
    Sort.POOL: lambda one: one.requests + one.connections / 1e6,
    Sort.CPU: lambda one: (one.sidecar.cpu or 0) + (one.application.cpu or 0),
    Sort.MEMORY: lambda one: (one.sidecar.memory or 0) + (one.application.memory or 0),
    Sort.BYTES: lambda one: one.signals.received + one.signals.sent,
}
_GOLDEN = ("RATE", "ERRORS", "P50", "P99", "REFUSED")
_SERVICES = ("SERVICE", *_GOLDEN, "POOL", "CPU", "MEMORY", "")
_EDGES = ("EDGE", *_GOLDEN, "IN", "OUT", "")


def top(  # noqa: PLR0913 - an option each
    state_dir: StateDir,
    *,
    edges: Annotated[bool, typer.Option("--edges", help="Show edges instead of services.")] = False,
    sort: Annotated[Sort, typer.Option("--sort", "-s", help="By which column.")] = Sort.RATE,
    window: Window = "60s",  # type: ignore[assignment]  # parsed as the option is
    namespace: Namespace = "",
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show what every service has to do and how it gets on, drawn anew until Ctrl-C; once, if it goes to no terminal.

    RATE is requests and, of TCP, connections that were opened.  POOL is open connections of callers and requests under way, CPU (cores) and MEMORY are those of the sidecars
    and of the applications.  Exit code 3 when no mesh runs.
    """

    async def picture(client: Client) -> Graph:
        return await client.graph(window=window, namespace=namespace)

    async def drawn(client: Client) -> None:
        await redraw(lambda: _lines_of(client))

    async def _lines_of(client: Client) -> Sequence[Text]:
        return lines(await picture(client), edges=edges, sort=sort, width=terminal_width())

    if output is OutputFormat.TEXT and terminal_width() is not None:
        ask(state_dir, drawn)
    found = ask(state_dir, picture)
    if output is OutputFormat.JSON:
        print_json(_GRAPH.to_json(found))
    else:
        print_lines(lines(found, edges=edges, sort=sort, width=None))


def lines(graph: Graph, *, edges: bool, sort: Sort, width: int | None) -> list[Text]:
    """The table, line by line, under what it is of."""
    found = _edges(graph) if edges else _services(graph)
    if not found:
        return [headline(graph), Text("there is nothing to show: no service is written, and nobody calls")]
    ordered = sorted(found, key=lambda one: (*_last_is_unknown(_BY[sort](one)), one.namespace, one.name))
    if len({one.namespace for one in found if one.namespace}) > 1:
        ordered = [
            replace(one, name=f"{one.namespace}/{one.name}" if one.namespace else one.name) for one in ordered
        ]
    row = _edge_row if edges else _service_row
    return [headline(graph), *grid(_EDGES if edges else _SERVICES, [row(one) for one in ordered], width)]


def _last_is_unknown(value: float | None) -> tuple[bool, float]:
    return (value is None, -(value or 0.0))


def _services(graph: Graph) -> list[_Line]:
    behind: dict[str, list[WorkloadNode]] = defaultdict(list)
    for one in graph.workloads:
        for host in one.services:
            behind[host].append(one)
    lines = [
        _Line(
            namespace=one.namespace,
            name=one.name,
            signals=one.signals,
            sidecar=_together(node.sidecar for node in behind[one.host]),
            application=_together(node.application for node in behind[one.host]),
            connections=one.pool_connections,
            requests=one.pool_requests,
        )
        for one in graph.services
    ]
    lines += (
        _Line(one.namespace, one.name, one.signals, one.sidecar, one.application)
        for one in graph.workloads
        if not one.services
    )
    return lines


def _edges(graph: Graph) -> list[_Line]:
    names = Names(graph)
    return [
        _Line(
            edge.source_namespace,
            f"{edge.source or OUTSIDE} > {names.called(edge)}",
            edge.signals,
            idle=edge.idle,
        )
        for edge in graph.edges
    ]


def _together(some: Iterable[ProcessUse]) -> ProcessUse:
    uses = tuple(some)
    cpus = [one.cpu for one in uses if one.cpu is not None]
    memories = [one.memory for one in uses if one.memory is not None]
    return ProcessUse(cpu=sum(cpus) if cpus else None, memory=sum(memories) if memories else None)


def _service_row(line: _Line) -> Row:
    uses = (line.sidecar, line.application)
    return Row(
        (
            line.name,
            *_golden(line.signals),
            f"{line.connections}/{line.requests}",
            _both(figures.cores(one.cpu) for one in uses),
            _both(figures.NOTHING if one.memory is None else figures.size(one.memory) for one in uses),
            "",
        ),
        _style(line),
    )


def _edge_row(line: _Line) -> Row:
    said = line.signals
    sizes = (f"{figures.size(one)}/s" if one else "" for one in (said.received, said.sent))
    return Row((line.name, *_golden(said), *sizes, "idle" if line.idle else ""), _style(line))


def _golden(said: Signals) -> tuple[str, ...]:
    return (
        figures.rate(said.rate + said.connections) or "0/s",
        figures.share(said.error_share),
        figures.duration(said.p50_ms),
        figures.duration(said.p99_ms),
        figures.rate(said.refused),
    )


def _both(figures_: Iterable[str]) -> str:
    """Of the sidecar and of the application."""
    return "/".join(figures_)


def _style(line: _Line) -> str:
    if line.idle:
        return "dim"
    if line.signals.refused:
        return "red"
    return "yellow" if line.signals.error_share else ""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(top)
