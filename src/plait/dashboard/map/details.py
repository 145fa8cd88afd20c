"""What is said of the one node or edge that is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from plait.api import figures
from plait.api.services import RefusalView
from plait.dashboard import parts
from plait.dashboard.map.drawing import flow, numbers
from plait.dashboard.map.picture import (
    CLIENT,
    EXTERNAL,
    GROUP,
    OUTSIDE,
    REFUSED,
    SERVICE,
    Edge,
    Node,
    Picture,
    tone,
)
from plait.telemetry.queries import Signals

_LISTED = 12
"""So many of one kind, those with most requests; the others are counted."""

Said = dict[str, object]


@dataclass(frozen=True, slots=True)
class Details:
    """`said` is what is shown, `service` the host whose refusals are worth a question ("": none are known)."""

    said: Said
    service: str = ""


def details(picture: Picture, key: str, refusals: Sequence[RefusalView] = ()) -> Details | None:
    """Of a node or an edge by its key; None: there is none."""
    if node := picture.nodes.get(key):
        return _of_node(picture, node, refusals)
    if edge := picture.edges.get(key):
        return _of_edge(picture, edge, refusals)
    return None


def _of_node(picture: Picture, node: Node, refusals: Sequence[RefusalView]) -> Details:
    calls = [edge for edge in picture.edges.values() if edge.source == node.key]
    called = [edge for edge in picture.edges.values() if edge.target == node.key]
    versions: list[Said] = [
        {
            "key": row.key,
            "name": f"{row.label} \N{MULTIPLICATION SIGN}{row.replicas}" if row.replicas > 1 else row.label,
            "value": figures.share(row.part) if row.part is not None else "",
            "mark": _mark(row.signals),
            "tone": tone(row.signals),
        }
        for row in node.rows
        if node.kind == SERVICE
    ]
    kinds = {
        SERVICE: f"service in {node.namespace}",
        CLIENT: f"client in {node.namespace}; what it asks",
        OUTSIDE: "calls without an identity of the mesh",
        EXTERNAL: "host outside of the mesh",
        GROUP: f"{node.members} services",
    }
    refused = node.signals.refused > 0 and node.kind == SERVICE
    said: Said = {
        "title": node.name,
        "sub": kinds[node.kind],
        "tone": node.tone,
        "facts": _facts(node.signals),
        "notes": _refusals(refusals) if refused else [],
        "lists": _lists(
            ("Versions", versions),
            ("Called by", _listed(called, lambda edge: _caller(picture, edge))),
            ("Calls", _listed(calls, lambda edge: _end(picture, edge.target, edge.target_row))),
        ),
        "links": _links(node),
    }
    return Details(said, node.key if refused else "")


def _of_edge(picture: Picture, edge: Edge, refusals: Sequence[RefusalView]) -> Details:
    source, target = picture.nodes[edge.source], picture.nodes[edge.target]
    row, aim = _end(picture, edge.source, edge.source_row), _end(picture, edge.target, edge.target_row)
    protocols = sorted({one.protocol for one in edge.parts})
    secured = {True: "mutual TLS", False: "in the clear", None: ""}[edge.mtls]
    notes: list[Said] = []
    if edge.idle:
        notes.append({"text": "Nothing now; there was something within the past hour."})
    if edge.mtls is False:
        notes.append({"text": "Not all of it is encrypted and proves who calls.", "tone": parts.WARN})
    if len(edge.parts) > 1:
        notes.append({"text": f"{len(edge.parts)} edges together; percentiles can't be added up."})
    whole = edge.parts[0]
    mine = [
        one
        for one in refusals
        if len(edge.parts) == 1
        and (one.source_namespace, one.source, one.service)
        == (whole.source_namespace, whole.source, whole.service)
    ]
    ends: list[Said] = [
        {"key": end, "name": f"{word} {name}", "at": end, "tone": picture.nodes[end].tone}
        for word, end, name in (("from", edge.source, row), ("to", edge.target, aim))
    ]
    refused = edge.signals.refused > 0 and target.kind == SERVICE
    said: Said = {
        "title": f"{source.name} \N{RIGHTWARDS ARROW} {target.name}",
        "sub": ", ".join(one for one in (*protocols, secured) if one),
        "tone": edge.tone,
        "facts": _facts(edge.signals),
        "notes": [*notes, *(_refusals(mine) if refused else [])],
        "lists": _lists(("Ends", ends)),
        "links": _edge_links(edge, target),
    }
    return Details(said, edge.target if refused else "")


def _facts(signals: Signals) -> list[Said]:
    tones = {"Errors": parts.tone_of_errors(signals.error_share), "Refused": REFUSED}
    return [
        {"name": name, "value": value, "tone": tones.get(name, "")}
        for name, value in numbers(signals).items()
    ]


def _refusals(some: Sequence[RefusalView]) -> list[Said]:
    notes: list[Said] = []
    for one in some[:_LISTED]:
        who = f"{one.source_namespace}/{one.source}" if one.source else "Somebody without identity"
        note: Said = {"text": f"{who} was refused {one.requests} times: {one.reason}.", "tone": REFUSED}
        if one.written:
            note |= {"href": parts.to_object(one.written), "link": one.written.place or one.written.object}
        notes.append(note)
    return notes


def _listed(edges: Iterable[Edge], name: Callable[[Edge], str]) -> list[Said]:
    order = sorted(edges, key=lambda edge: (-edge.signals.rate - edge.signals.connections, edge.key))
    rows: list[Said] = [
        {
            "key": edge.key,
            "at": edge.key,
            "name": name(edge),
            "value": "idle" if edge.idle else flow(edge.signals) or "0/s",
            "mark": _mark(edge.signals),
            "tone": edge.tone,
        }
        for edge in order[:_LISTED]
    ]
    if more := len(order) - _LISTED:
        rows += [{"key": "more", "name": f"and {more} more"}] if more > 0 else []
    return rows


def _mark(signals: Signals) -> str:
    if signals.refused:
        return "refused"
    return figures.share(signals.error_share) if signals.error_share is not None else ""


def _end(picture: Picture, node: str, row: str) -> str:
    one = picture.nodes[node]
    label = next((each.label for each in one.rows if each.key == row), "")
    return f"{one.name} {label}" if label and len(one.rows) > 1 else one.name


def _caller(picture: Picture, edge: Edge) -> str:
    """Who calls and, where several versions answer, which of them."""
    node = picture.nodes[edge.target]
    label = next((row.label for row in node.rows if row.key == edge.target_row), "")
    source = _end(picture, edge.source, edge.source_row)
    return f"{source} \N{RIGHTWARDS ARROW} {label}" if label and len(node.rows) > 1 else source


def _lists(*some: tuple[str, Sequence[Said]]) -> list[Said]:
    return [{"title": title, "rows": list(rows)} for title, rows in some if rows]


def _links(node: Node) -> list[Said]:
    if node.kind == CLIENT:
        return [_traces(node.key, failed=True)]
    if node.kind != SERVICE:
        return []
    links: list[Said] = [
        {"text": "Service", "href": parts.to_service(node.key)},
        {"text": "Policies", "href": _policies(node.key)},
    ]
    workloads = [f"{row.who[0]}/{row.who[1]}" for row in node.rows]
    if workloads:
        links.insert(1, _traces(workloads[0], failed=node.tone in {parts.WARN, parts.BAD}))
    return links


def _edge_links(edge: Edge, target: Node) -> list[Said]:
    links: list[Said] = []
    one = edge.parts[0]
    failed = edge.tone in {parts.WARN, parts.BAD}
    if len(edge.parts) == 1 and one.source and one.protocol != "tcp":
        links.append(_traces(f"{one.source_namespace}/{one.source}", failed=failed))
    if target.kind == SERVICE:
        links.append({"text": "Service", "href": parts.to_service(target.key)})
        links.append({"text": "Policies", "href": _policies(target.key)})  # fmt: skip
    return links


def _traces(workload: str, *, failed: bool) -> Said:
    return {
        "text": "Failed traces" if failed else "Traces",
        "href": parts.to("/traces", workload=workload, status="error" if failed else ""),
    }


def _policies(host: str) -> str:
    """Who may call a service, on its page."""
    return f"{parts.to_service(host)}?tab=policies"
