"""`plait map`: who calls whom, how that goes, and what is refused; as a tree by callers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.text import Text

from plait.api import figures
from plait.api.client import Client
from plait.cli.online import ask
from plait.cli.options import Namespace, Output, OutputFormat, StateDir, Window
from plait.cli.output import Row, grid, plain_letters, print_json, print_lines, redraw, terminal_width
from plait.codec import Codec
from plait.telemetry.graph import Edge, Graph

_GRAPH: Codec[Graph] = Codec(Graph)
_COLUMNS = ("CALLS", "RATE", "ERRORS", "P50", "P99", "TLS", "")
OUTSIDE = "unknown"
"""Who calls from outside of the mesh, or in the clear."""

Workload = tuple[str, str, str]
"""Namespace, name and version."""


def map_(
    state_dir: StateDir,
    *,
    window: Window = "60s",  # type: ignore[assignment]  # parsed as the option is
    namespace: Namespace = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Draw it anew until Ctrl-C.")] = False,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show who calls whom: a line for each edge, below who calls.

    RATE is that of requests, and of connections that were opened where it is tcp; TLS has a lock where both ends prove who they are.  What was
    called within the past hour and is not now is idle.  Exit code 3 when no mesh runs.
    """

    async def picture(client: Client) -> Graph:
        return await client.graph(window=window, namespace=namespace)

    async def drawn(client: Client) -> None:
        await redraw(lambda: _lines_of(client))

    async def _lines_of(client: Client) -> Sequence[Text]:
        return lines(await picture(client), terminal_width())

    if watch and output is OutputFormat.TEXT and terminal_width() is not None:
        ask(state_dir, drawn)
    found = ask(state_dir, picture)
    if output is OutputFormat.JSON:
        print_json(_GRAPH.to_json(found))
    else:
        print_lines(lines(found, terminal_width()))


def lines(graph: Graph, width: int | None) -> list[Text]:
    """The whole picture, line by line."""
    tree = _Tree(graph)
    rows = tuple(tree.rows())
    made = [headline(graph)]
    if rows:
        made += grid(_COLUMNS, rows, width)
    else:
        made.append(Text("nobody has called anybody in the past hour; the mesh sees what its workloads send"))
    if tree.quiet:
        made.append(Text(f"without traffic: {', '.join(tree.quiet)}", "dim"))
    return made


def headline(graph: Graph) -> Text:
    """What the picture is of, and what it lacks."""
    told = sum(one.signals.rate for one in graph.services)
    text = f"{figures.rate(told) or '0/s'} over {graph.window:.0f} s up to {graph.until}"
    if graph.heard < graph.window:
        text += f"; {graph.heard:.0f} s of it were reported"
    if graph.left_out:
        text += "; there is more than is told apart"
    return Text(text)


class Names:
    """How those in a picture are called: as shortly as nobody is taken for another."""

    def __init__(self, graph: Graph) -> None:
        self._services = {one.host: one for one in graph.services}
        behind = {(host, one.name, one.version) for one in graph.workloads for host in one.services}
        behind |= {
            (one.service, one.destination, one.destination_version) for one in graph.edges if one.destination
        }
        self._behind = Counter(host for host, _, _ in behind)
        self._versions = Counter((one.namespace, one.name) for one in graph.workloads)

    def workload(self, workload: Workload) -> str:
        """With its version, where there are several."""
        namespace, name, version = workload
        if not name:
            return OUTSIDE
        several = version and self._versions[namespace, name] > 1
        return f"{namespace}/{name} {version}" if several else f"{namespace}/{name}"

    def called(self, edge: Edge) -> str:
        """The service as its caller calls it; and, where there are several behind it, who of them."""
        node = self._services.get(edge.service)
        if not edge.service and edge.destination:
            return f"{edge.destination_namespace}/{edge.destination}"
        if node is None or node.external:
            name = edge.service or OUTSIDE
        else:
            name = node.name if node.namespace == edge.source_namespace else f"{node.name}.{node.namespace}"
        if not edge.destination:
            return name if node is None or node.external else f"{name} (nobody)"
        several = self._behind[edge.service] > 1
        return f"{name} {edge.destination_version or edge.destination}" if several else name


@dataclass
class _Tree:
    """Each edge once, below its caller; whom it leads to goes on there, the first time."""

    graph: Graph
    quiet: list[str] = field(default_factory=list)
    """Who takes no part."""

    def __post_init__(self) -> None:
        self._names = Names(self.graph)
        self._of: dict[Workload, list[Edge]] = defaultdict(list)
        for edge in self.graph.edges:
            self._of[_source(edge)].append(edge)
        self._told: set[Workload] = set()
        plain = plain_letters()
        self._branch, self._last, self._trunk = ("|- ", "`- ", "|  ") if plain else ("├─ ", "└─ ", "│  ")
        self._lock = "mtls" if plain else "🔒"
        taking_part = {*self._of, *map(_destination, self.graph.edges)}
        named = ((one.namespace, one.name, one.version) for one in self.graph.workloads)
        self.quiet += (self._names.workload(one) for one in named if one not in taking_part)

    def rows(self) -> Iterator[Row]:
        called_ones = set(map(_destination, self.graph.edges))
        # Those of circles come late, and who is outside comes last: what they call is told of before.
        roots = sorted(self._of, key=lambda one: (not one[1], one in called_ones, one))
        for root in roots:
            if root not in self._told:
                yield Row((self._names.workload(root), "", "", "", "", "", ""), "bold")
                yield from self._below(root, "")

    def _below(self, caller: Workload, indent: str) -> Iterator[Row]:
        self._told.add(caller)
        edges = self._of[caller]
        for edge in edges:
            last = edge is edges[-1]
            goes_on = _destination(edge)
            told = goes_on in self._told and bool(self._of.get(goes_on))
            yield self._row(edge, indent + (self._last if last else self._branch), " (above)" if told else "")
            if goes_on in self._of and goes_on not in self._told:
                yield from self._below(goes_on, indent + ("   " if last else self._trunk))

    def _row(self, edge: Edge, indent: str, remark: str) -> Row:
        said = edge.signals
        name = indent + self._names.called(edge) + remark
        lock = {True: self._lock, False: "clear", None: ""}[edge.mtls]
        figured = ("", "", "", "")
        if edge.protocol == "tcp":
            figured = (figures.rate(said.connections), "", "", "")
        elif not edge.idle:
            figured = (
                figures.rate(said.rate) or "0/s",
                figures.share(said.error_share),
                figures.duration(said.p50_ms),
                figures.duration(said.p99_ms),
            )
        return Row((name, *figured, lock, _remark(edge)), _style(edge))


def _remark(edge: Edge) -> str:
    said = edge.signals
    if edge.idle:
        return "idle"
    parts = [f"refused {figures.rate(said.refused)}"] if said.refused else []
    if edge.protocol == "tcp":
        parts.append(f"tcp, {figures.size(said.received + said.sent)}/s")
    elif edge.protocol != "http":
        parts.append(edge.protocol)
    return ", ".join(parts)


def _style(edge: Edge) -> str:
    if edge.idle:
        return "dim"
    if edge.signals.refused:
        return "red"
    return "yellow" if edge.signals.error_share else ""


def _source(edge: Edge) -> Workload:
    return edge.source_namespace, edge.source, edge.source_version


def _destination(edge: Edge) -> Workload:
    return edge.destination_namespace, edge.destination, edge.destination_version


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("map")(map_)
