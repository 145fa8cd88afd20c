"""The way of one trace on the map."""

from __future__ import annotations

from plait.api.views import SpanView, TraceView
from plait.dashboard.map.picture import Picture


def followed(trace: TraceView, picture: Picture) -> frozenset[str]:
    """The keys of the nodes and edges that a trace went along: from each span to those that follow from it.

    A call that reached nobody leads to the service that was meant, as its cluster names it.
    """
    spans = {span.id: span for span in trace.spans}
    hops: set[tuple[str, str]] = set()
    aims: set[tuple[str, str]] = set()
    answered = {span.parent for span in trace.spans}
    for span in trace.spans:
        parent = spans.get(span.parent)
        if parent and parent.workload != span.workload:
            hops.add((parent.workload, span.workload))
        if span.kind == "client" and span.id not in answered and (host := _aim(span)):
            aims.add((span.workload, host))
    along = {
        edge.key
        for edge in picture.edges.values()
        for one in edge.parts
        if (source := f"{one.source_namespace}/{one.source}")
        and ((source, f"{one.destination_namespace}/{one.destination}") in hops or (source, one.service) in aims)
    }  # fmt: skip
    met = {span.workload for span in trace.spans if span.workload}
    ends = {end for key in along for end in (picture.edges[key].source, picture.edges[key].target)}
    alone = {
        node.key
        for node in picture.nodes.values()
        if node.key in met or any(f"{row.who[0]}/{row.who[1]}" in met for row in node.rows)
    }
    return frozenset(along | ends | alone)


def _aim(span: SpanView) -> str:
    """The host that a call was for."""
    cluster = next((one.value for one in span.attributes if one.name == "upstream_cluster"), "")
    parts = cluster.split("|")
    return parts[3] if len(parts) == 4 else ""
