"""The map in a line: how much goes on, how it goes, and what is not known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from plait.api import figures
from plait.dashboard import parts
from plait.dashboard.map.choice import Choice
from plait.dashboard.map.picture import added
from plait.telemetry.graph import Graph


@dataclass(frozen=True, slots=True)
class Summary:
    """Texts; `gap` is "" where all was heard."""

    rate: str
    errors: str
    tone: str
    refused: str
    services: str
    time: str
    gap: str


def summary(graph: Graph, choice: Choice) -> Summary:
    """Of all that the graph has: each call counts, whoever makes it."""
    total = added(edge.signals for edge in graph.edges)
    services = sum(not one.external for one in graph.services)
    until = datetime.fromisoformat(graph.until).astimezone()
    return Summary(
        rate=figures.rate(total.rate) or "0/s",
        errors=figures.share(total.error_share),
        tone=parts.tone_of_errors(total.error_share),
        refused=figures.rate(total.refused) or "0/s",
        services=f"{services}",
        time=f"{_span(graph.window)} to {until:%H:%M:%S}" + (f", {until:%b %d}" if choice.until else ""),
        gap=_gap(graph),
    )


def _gap(graph: Graph) -> str:
    if graph.left_out:
        return "More is called than can be told apart: some of it is missing here."
    if not graph.heard:
        return "Nobody told anything of this time."
    if graph.window - graph.heard >= 5:
        return f"Heard of {_span(graph.heard)} of these {_span(graph.window)}; nothing is known of the rest."
    return ""


def _span(seconds: float) -> str:
    if seconds < 60 or seconds % 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.0f} h"
