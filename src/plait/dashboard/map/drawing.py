"""The picture as the browser draws it: texts, tones and places by key, so that only what has changed is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log10

from plait.api import figures
from plait.dashboard import parts
from plait.dashboard.map.layers import crowded
from plait.dashboard.map.layout import NOTHING, Layout, arrange
from plait.dashboard.map.paths import Label, Run, labels, run
from plait.dashboard.map.picture import (
    CLIENT,
    EXTERNAL,
    GROUP,
    OTHERS,
    OUTSIDE,
    REFUSED,
    Edge,
    Node,
    Picture,
    Row,
    tone,
)
from plait.telemetry.queries import Signals

Said = Mapping[str, object]

_LABELLED = 160
"""With more edges than these, or in a crowd, only those are labelled that somebody should see."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """`nodes` and `edges` are what is said of each, `places`, `routes` and `frames` where each is.

    `crowded`: there are too many edges to follow one with the eye.
    """

    nodes: Mapping[str, Said]
    edges: Mapping[str, Said]
    places: Mapping[str, Said]
    routes: Mapping[str, Said]
    frames: Mapping[str, Said]
    crowded: bool
    layout: Layout


def drawing(picture: Picture, before: Layout = NOTHING) -> Drawing:
    """With its nodes near to where they stood before."""
    items = [node.item for node in picture.nodes.values()]
    layout = arrange(items, ((edge.source, edge.target) for edge in picture.edges.values()), before)
    runs = {key: _run(edge, picture, layout) for key, edge in picture.edges.items()}
    crowd = crowded(len(picture.nodes), len(layout.links)) or len(picture.edges) > _LABELLED
    written = labels(runs, _served(picture, few=crowd), layout)
    return Drawing(
        nodes={key: node_said(node) for key, node in picture.nodes.items()},
        edges={key: edge_said(edge, picture) for key, edge in picture.edges.items()},
        places={
            key: {"x": round(box.x), "y": round(box.y), "w": round(box.width), "h": round(box.height)}
            for key, box in layout.boxes.items()
        },
        routes={key: _route(one, written.get(key)) for key, one in runs.items()},
        frames={
            lane: {"x": round(box.x), "y": round(box.y), "w": round(box.width), "h": round(box.height),
                   "closes": picture.grouped}
            for lane, box in layout.frames.items()
        },
        crowded=crowd,
        layout=layout,
    )  # fmt: skip


def _run(edge: Edge, picture: Picture, layout: Layout) -> Run:
    source, target = layout.boxes[edge.source], layout.boxes[edge.target]
    return run(
        source,
        target,
        source.y + picture.nodes[edge.source].port(edge.source_row),
        target.y + picture.nodes[edge.target].port(edge.target_row),
        layout.passes.get((edge.source, edge.target), ()),
    )


def _served(picture: Picture, *, few: bool) -> list[str]:
    """Whose labels are placed, those first that somebody should see."""
    rank = {parts.BAD: 0, REFUSED: 1, parts.WARN: 2}
    shown = [edge for edge in picture.edges.values() if not edge.idle]
    if few:
        shown = [edge for edge in shown if edge.tone in {parts.BAD, REFUSED}]
    return [edge.key for edge in sorted(shown, key=lambda edge: (rank.get(edge.tone, 3), edge.key))]


def _route(one: Run, label: Label | None) -> Said:
    where: dict[str, object] = {"d": one.written}
    if label:
        where |= {"x": label.at.x, "y": label.at.y} | ({"short": True} if label.short else {})
    return where


def node_said(node: Node) -> Said:
    signals = node.signals
    note, note_tone = _note(node)
    said: dict[str, object] = {
        "kind": node.kind,
        "name": node.name,
        "tone": node.tone,
        "rate": flow(signals) if node.kind != EXTERNAL else "",
        "note": note,
        "noteTone": note_tone,
        "refused": f"{figures.rate(signals.refused)} refused" if signals.refused else "",
        "rows": _rows(node),
    }
    if node.kind == GROUP:
        said["namespace"] = node.namespace
    return {name: value for name, value in said.items() if value}


def flow(signals: Signals) -> str:
    """Requests a second; of TCP connections."""
    if signals.rate or not signals.connections:
        return figures.rate(signals.rate)
    return figures.rate(signals.connections)


def _note(node: Node) -> tuple[str, str]:
    signals, found = node.signals, tone(node.signals)
    match node.kind:
        case _ if node.kind == OUTSIDE:
            return "without identity", ""
        case _ if node.kind == CLIENT:
            return "client", ""
        case _ if not signals.requests:
            what = "connections" if signals.connections else "no traffic"
            return f"{flow(signals)} {what}".strip() if node.kind == EXTERNAL else what, ""
        case _ if found in {parts.WARN, parts.BAD}:
            return f"{figures.share(signals.error_share)} errors", found
        case _ if signals.p99_ms is not None:
            rate = f"{flow(signals)} " if node.kind == EXTERNAL else ""
            return f"{rate}p99 {figures.duration(signals.p99_ms)}", ""
        case _:
            return f"{figures.share(signals.error_share)} errors", ""


def _rows(node: Node) -> list[Said]:
    if node.kind == GROUP:
        what = "host" if node.namespace == OTHERS else "service"
        some = [{"key": "members", "label": f"{node.members} {what}{'' if node.members == 1 else 's'}"}]
        return [*some, {"key": "inside", "label": "inside", "share": flow(node.inside) or "-"}]
    return [_row(row, alone=len(node.rows) == 1) for row in node.rows]


def _row(row: Row, *, alone: bool) -> Said:
    said: dict[str, object] = {
        "key": row.key,
        "label": row.label,
        "title": f"{row.who[0]}/{row.who[1]} {row.who[2]}".strip(),
        "tone": tone(row.signals),
        "share": figures.share(row.part) if row.part is not None and not alone else "",
        "part": round(row.part, 2) if row.part is not None and not alone else None,
        "times": f"\N{MULTIPLICATION SIGN}{row.replicas}" if row.replicas > 1 else "",
    }
    return {name: value for name, value in said.items() if value not in {"", None}}


def edge_said(edge: Edge, picture: Picture) -> Said:
    signals, found = edge.signals, edge.tone
    said: dict[str, object] = {
        "s": edge.source,
        "t": edge.target,
        "tone": found,
        "w": width(signals),
        "idle": edge.idle,
        "mtls": edge.mtls,
        "name": f"{_named(edge.source, edge.source_row, picture)} \N{RIGHTWARDS ARROW} "
        f"{_named(edge.target, edge.target_row, picture)}",
    }
    if not edge.idle:
        said |= {"text": flow(signals), "mark": _mark(edge), "all": numbers(signals)}
    return {name: value for name, value in said.items() if value not in ("", None)}


def width(signals: Signals) -> float:
    """Of an edge, in pixels, by how much goes along it: steps of a quarter, ten times as much two wider."""
    return round(min(7.0, 1.25 + 1.6 * log10(1 + signals.rate + signals.connections)) * 4) / 4


def _mark(edge: Edge) -> str:
    match edge.tone:
        case "bad" | "warn":
            return figures.share(edge.signals.error_share)
        case "refused":
            return "refused"
        case _:
            return figures.duration(edge.signals.p99_ms) if edge.signals.p99_ms is not None else ""


def numbers(signals: Signals) -> dict[str, str]:
    """All that is known of how it goes, by what it is called."""
    said = {}
    if signals.requests or not signals.connections:
        said["Requests"] = figures.rate(signals.rate) or "0/s"
        said["Errors"] = figures.share(signals.error_share)
    if signals.p99_ms is not None:
        for name, value in (("p50", signals.p50_ms), ("p90", signals.p90_ms), ("p99", signals.p99_ms)):
            said[name] = figures.duration(value)
    if signals.connections or signals.received or signals.sent:
        said["Connections"] = figures.rate(signals.connections) or "0/s"
        said["Received"] = f"{figures.size(signals.received)}/s"
        said["Sent"] = f"{figures.size(signals.sent)}/s"
    if signals.refused:
        said["Refused"] = figures.rate(signals.refused)
    return said


def _named(node: str, row: str, picture: Picture) -> str:
    one = picture.nodes[node]
    label = next((each.label for each in one.rows if each.key == row), "")
    return f"{one.name} {label}".strip()
