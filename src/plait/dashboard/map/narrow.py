"""The part of a graph that somebody has asked for: what fits, who calls it, and whom it calls."""

from __future__ import annotations

from dataclasses import replace

from plait.dashboard import parts
from plait.dashboard.map.choice import ACTIVE, ALL, FAILING, REFUSED, Choice
from plait.telemetry.graph import Edge, Graph


def narrowed(graph: Graph, choice: Choice) -> Graph:
    """The same with fewer nodes and edges; their numbers are as they were."""
    if not choice.namespace and not choice.service and choice.health == ALL:
        return graph
    homes = {one.host: one.namespace for one in graph.services}
    wanted = choice.service.strip().lower()
    found = {one.host for one in graph.services if wanted in one.name.lower() or wanted == one.host}
    workers = {
        (one.namespace, one.name)
        for one in graph.workloads
        if wanted in one.name.lower() or not found.isdisjoint(one.services)
    }

    def within(edge: Edge) -> bool:
        spaces = {"", edge.source_namespace, edge.destination_namespace, homes.get(edge.service, "")}
        named = (
            not wanted
            or edge.service in found
            or (edge.source_namespace, edge.source) in workers
            or (edge.destination_namespace, edge.destination) in workers
        )
        return choice.namespace in spaces and named and healthy(edge, choice.health)

    edges = tuple(edge for edge in graph.edges if within(edge))
    hosts = {edge.service for edge in edges}
    whole = choice.health == ALL

    def stands(namespace: str, *, named: bool) -> bool:
        return whole and choice.namespace in {"", namespace} and named

    services = tuple(
        one
        for one in graph.services
        if one.host in hosts or stands(one.namespace, named=not one.external and one.host in found)
    )
    ends = {(edge.source_namespace, edge.source) for edge in edges}
    ends |= {(edge.destination_namespace, edge.destination) for edge in edges}
    shown = {one.host for one in services}
    ends_hosts = {
        host for one in graph.workloads if (one.namespace, one.name) in ends for host in one.services
    }
    calling = tuple(one for one in graph.services if one.host in ends_hosts and one.host not in shown)
    workloads = tuple(
        one
        for one in graph.workloads
        if (one.namespace, one.name) in ends
        or not shown.isdisjoint(one.services)
        or (not one.services and stands(one.namespace, named=(one.namespace, one.name) in workers))
    )
    return replace(graph, services=services + calling, workloads=workloads, edges=edges)


def healthy(edge: Edge, health: str) -> bool:
    """Whether an edge is of the chosen health."""
    match health:
        case _ if health == FAILING:
            return parts.tone_of_errors(edge.signals.error_share) in {parts.WARN, parts.BAD}
        case _ if health == REFUSED:
            return edge.signals.refused > 0
        case _ if health == ACTIVE:
            return not edge.idle
        case _:
            return True
