"""What is on the map: nodes with their versions, and edges between them, grouped where they would be too many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from plait.dashboard import parts
from plait.dashboard.map.layout import Item
from plait.telemetry.graph import Edge as Seen
from plait.telemetry.graph import Graph, ServiceNode, WorkloadNode
from plait.telemetry.queries import Signals

MOST = 150
"""With more nodes than these, each namespace is one."""
SERVICE, CLIENT, OUTSIDE, EXTERNAL, GROUP = "service", "client", "outside", "external", "group"
OTHERS = "*"
"""Stands for the namespace of what is in none."""
REFUSED = "refused"
"""A tone beside those of `parts`."""
WIDTH, HEAD, ROW, FOOT = 156.0, 46.0, 21.0, 5.0
"""Of a card: its head, each version, and what is left below; in pixels."""
_OUTSIDE = "outside"
SILENCE = Signals()

Who = tuple[str, str, str]
"""Namespace, name and version of a workload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A workload of one version behind a service, and its part of what the service is asked (None: nothing)."""

    key: str
    who: Who
    label: str
    replicas: int
    part: float | None
    signals: Signals


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """`signals` of what it is asked; of clients and what is outside, of what they ask.

    Of a group: `members` is how many services it has, `inside` what they ask of one another.
    """

    key: str
    kind: str
    namespace: str
    name: str
    signals: Signals
    lane: str = ""
    rows: tuple[Row, ...] = ()
    members: int = 0
    inside: Signals = SILENCE

    @property
    def item(self) -> Item:
        rows = 2 if self.kind == GROUP else len(self.rows)
        return Item(self.key, WIDTH, HEAD + (rows * ROW + FOOT if rows else 0), self.lane)

    def port(self, row: str) -> float:
        """How far below its top an edge of a row ends; of none: of the node as a whole."""
        for number, one in enumerate(self.rows):
            if one.key == row:
                return HEAD + ROW * (number + 0.5)
        return HEAD / 2

    @property
    def tone(self) -> str:
        return tone(self.signals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Between two nodes, or rows of them ("": the node as a whole); `parts` is what of the graph it stands for."""

    key: str
    source: str
    source_row: str
    target: str
    target_row: str
    signals: Signals
    mtls: bool | None
    idle: bool
    parts: tuple[Seen, ...]

    @property
    def tone(self) -> str:
        if self.idle:
            return parts.IDLE
        found = tone(self.signals)
        return REFUSED if self.signals.refused and found != parts.BAD else found


@dataclass(frozen=True, slots=True)
class Picture:
    nodes: dict[str, Node]
    edges: dict[str, Edge]
    grouped: bool = False
    """Whether there were too many nodes, so that namespaces are one each until they are opened."""


def tone(signals: Signals) -> str:
    """How it goes; TCP that flows is good."""
    if signals.requests:
        return parts.tone_of_errors(signals.error_share)
    return parts.GOOD if signals.connections or signals.received or signals.sent else parts.IDLE


def added(some: Iterable[Signals]) -> Signals:
    """Of several together.  Percentiles can't be added: they are told where they are of one alone."""
    some = [one for one in some if one != SILENCE]
    if len(some) == 1:
        return some[0]
    requests = sum(one.requests for one in some)
    failed = sum((one.error_share or 0.0) * one.requests for one in some)
    return Signals(
        requests=requests,
        rate=sum(one.rate for one in some),
        error_share=failed / requests if requests else None,
        connections=sum(one.connections for one in some),
        received=sum(one.received for one in some),
        sent=sum(one.sent for one in some),
        refused=sum(one.refused for one in some),
    )


def picture(graph: Graph, opened: frozenset[str] = frozenset()) -> Picture:
    """The picture of a graph; `opened` are namespaces that are shown in full although there are too many nodes."""
    whole = _Whole(graph)
    grouped = len(whole.nodes) > MOST
    if grouped:
        return _grouped(whole, opened)
    spaces = {node.namespace for node in whole.nodes.values() if node.namespace}
    nodes = {key: replace(node, lane=node.namespace) for key, node in whole.nodes.items()}
    return Picture(nodes if len(spaces) > 1 else whole.nodes, whole.edges)


def row_key(who: Who) -> str:
    return "{}/{}@{}".format(*who)


class _Whole:
    """Everything, ungrouped."""

    def __init__(self, graph: Graph) -> None:
        self._known = {(one.namespace, one.name, one.version): one for one in graph.workloads}
        self._rows: defaultdict[str, dict[Who, list[Signals]]] = defaultdict(dict)
        self._owner: dict[Who, str] = {}
        hosts = {one.host: one for one in graph.services}
        called = {edge.service for edge in graph.edges}
        for who, one in self._known.items():
            behind = [host for host in one.services if host in hosts]
            for host in behind:
                self._rows[host][who] = []
            if behind:
                self._owner[who] = min(
                    behind, key=lambda host: (host not in called, hosts[host].name != who[1], host)
                )
        for host in hosts.keys() - called - set(self._owner.values()):
            if self._rows[host]:  # another name of those who are called by a better one
                del hosts[host]
        self.edges = {edge.key: edge for edge in map(self._edge, graph.edges)}
        self.nodes = {host: self._service(one) for host, one in hosts.items()}
        self.nodes |= self._clients()

    def _clients(self) -> dict[str, Node]:
        """Who calls and is called by nobody: workloads without a service, and what is outside."""
        asked: defaultdict[str, list[Signals]] = defaultdict(list)
        clients: defaultdict[str, set[Who]] = defaultdict(set)
        for edge in self.edges.values():
            if edge.source not in self.nodes:
                asked[edge.source].append(edge.signals)
                one = edge.parts[0]
                if one.source:
                    clients[edge.source].add((one.source_namespace, one.source, one.source_version))
        for who, workload in self._known.items():
            if who not in self._owner and not workload.services:
                clients[f"{who[0]}/{who[1]}"].add(who)
        nodes = {key: self._client(key, sorted(some), added(asked[key])) for key, some in clients.items()}
        if _OUTSIDE in asked:
            nodes[_OUTSIDE] = Node(
                key=_OUTSIDE, kind=OUTSIDE, namespace="", name="Outside", signals=added(asked[_OUTSIDE])
            )
        return nodes

    def _edge(self, edge: Seen) -> Edge:
        source = (edge.source_namespace, edge.source, edge.source_version)
        target = (edge.destination_namespace, edge.destination, edge.destination_version)
        start = self._owner.get(source) or (f"{source[0]}/{source[1]}" if edge.source else _OUTSIDE)
        if edge.destination:
            self._rows[edge.service].setdefault(target, []).append(edge.signals)
        row, end = row_key(source) if edge.source else "", row_key(target) if edge.destination else ""
        return Edge(
            key=f"{row or start}>{edge.service}>{end}>{edge.protocol}",
            source=start,
            source_row=row,
            target=edge.service,
            target_row=end,
            signals=edge.signals,
            mtls=edge.mtls,
            idle=edge.idle,
            parts=(edge,),
        )

    def _service(self, one: ServiceNode) -> Node:
        rows = self._rows[one.host]
        told = {who: added(some) for who, some in rows.items()}
        total = sum(_flow(signals) for signals in told.values())
        kind = EXTERNAL if one.external else SERVICE
        return Node(
            key=one.host,
            kind=kind,
            namespace=one.namespace,
            name=one.name,
            signals=one.signals,
            rows=tuple(
                Row(
                    key=row_key(who),
                    who=who,
                    label=_label(one.name, who),
                    replicas=_replicas(self._known.get(who)),
                    part=_flow(told[who]) / total if total else None,
                    signals=told[who],
                )
                for who in sorted(rows)
            ),
        )

    def _client(self, key: str, some: list[Who], signals: Signals) -> Node:
        rows = tuple(
            Row(
                key=row_key(who),
                who=who,
                label=who[2] or who[1],
                replicas=_replicas(self._known.get(who)),
                part=None,
                signals=SILENCE,
            )
            for who in some
        )
        namespace, name, _ = some[0]
        return Node(
            key=key,
            kind=CLIENT,
            namespace=namespace,
            name=name,
            signals=signals,
            rows=rows if len(rows) > 1 else (),
        )


def _label(service: str, who: Who) -> str:
    """The version, and of another workload than the service is named after what makes the difference."""
    _, name, version = who
    own = "" if name == service else name.removeprefix(f"{service}-")
    return version if version and own in {"", version} else f"{own or name} {version}".strip()


def _replicas(one: WorkloadNode | None) -> int:
    return one.replicas if one else 0


def _flow(signals: Signals) -> float:
    return signals.rate + signals.connections


def group_key(namespace: str) -> str:
    return f"namespace:{namespace}"


def _grouped(whole: _Whole, opened: frozenset[str]) -> Picture:
    home: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    members: defaultdict[str, list[Node]] = defaultdict(list)
    for key, node in whole.nodes.items():
        namespace = node.namespace or OTHERS
        if node.kind == OUTSIDE or namespace in opened:
            nodes[key] = replace(node, lane=node.namespace)
            home[key] = key
        else:
            members[namespace].append(node)
            home[key] = group_key(namespace)
    together: defaultdict[tuple[str, str, str, str, str], list[Edge]] = defaultdict(list)
    inside: defaultdict[str, list[Signals]] = defaultdict(list)
    for edge in whole.edges.values():
        source, target = home[edge.source], home[edge.target]
        if source == target and source != edge.source:
            inside[source].append(edge.signals)
            continue
        shown, aimed = source == edge.source, target == edge.target
        start, end = edge.source_row if shown else "", edge.target_row if aimed else ""
        key = edge.key if shown and aimed else f"{start or source}>{target}>{end}"
        together[key, source, start, target, end].append(edge)
    for namespace, some in members.items():
        key = group_key(namespace)
        nodes[key] = Node(
            key=key,
            kind=GROUP,
            namespace=namespace,
            name="Other hosts" if namespace == OTHERS else namespace,
            signals=added(one.signals for one in some if one.kind != CLIENT),
            members=sum(one.kind != CLIENT for one in some),
            inside=added(inside[key]),
        )
    edges = {
        key: Edge(
            key=key,
            source=source,
            source_row=start,
            target=target,
            target_row=end,
            signals=added(one.signals for one in some),
            mtls=_secured(some),
            idle=all(one.idle for one in some),
            parts=tuple(part for one in some for part in one.parts),
        )
        for (key, source, start, target, end), some in together.items()
    }
    return Picture(nodes, edges, grouped=True)


def _secured(some: Iterable[Edge]) -> bool | None:
    told = {one.mtls for one in some if one.mtls is not None}
    return None if not told else all(told)
