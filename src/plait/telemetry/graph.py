"""The live picture of a mesh: who calls whom, how that goes, and who stands by.

Nodes are services, with the workloads behind them by version, and edges lead from a workload to a service and who of
it answered.  What these values say is what GET /v1/graph answers; documented in docs/cli-output.md.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from plait.envoy import names
from plait.model.catalog import Service
from plait.model.names import ReplicaKey, WorkloadKey
from plait.telemetry.queries import Signals, signals
from plait.telemetry.reporters import Pair, once, told_by_callees
from plait.telemetry.reports import Pool
from plait.telemetry.series import Labels, Total, Used, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A workload of one version as it is in the mesh now, and the hosts of the services that it stands behind."""

    key: WorkloadKey
    version: str
    replicas: int
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUse:
    """Cores, and bytes, that processes use; null: nothing was told of them."""

    cpu: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceNode:
    """A service, or (`external`) something else that is called.  `signals`: of all that it is called for.

    `pool` is what goes on now between all callers and it: open connections, and requests under way; 0 of the past.
    """

    host: str
    namespace: str
    name: str
    external: bool
    signals: Signals
    pool_connections: int = 0
    pool_requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadNode:
    """A workload of one version, the hosts of its services, and what its replicas use together.

    One that had to do with something in the window and is there no more has no replicas.
    """

    namespace: str
    name: str
    version: str
    replicas: int
    services: tuple[str, ...]
    signals: Signals
    sidecar: ProcessUse
    application: ProcessUse


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What a workload asks of a service, and who of it answers.

    `source` "": somebody outside of the mesh, or who calls in the clear.  `destination` "": nobody was chosen.
    `mtls` null: it can't be told.  `idle`: there was something within the hour before, but not in this window.
    """

    source_namespace: str
    source: str
    source_version: str
    service: str
    destination_namespace: str
    destination: str
    destination_version: str
    protocol: str
    mtls: bool | None
    idle: bool
    signals: Signals


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The mesh in the `window` of seconds that ended at `until`; somebody listened for `heard` seconds of it.

    `left_out`: there were more series than are told apart, and what is missing is not in here.
    """

    until: str
    window: float
    heard: float
    left_out: bool
    services: tuple[ServiceNode, ...]
    workloads: tuple[WorkloadNode, ...]
    edges: tuple[Edge, ...]


@dataclass(frozen=True, slots=True)
class _Ends:
    """An edge, by what tells it from others."""

    source: WorkloadKey | None
    source_version: str
    service: str
    destination: WorkloadKey | None
    destination_version: str
    protocol: str


@dataclass(slots=True)
class _Found:
    told: list[tuple[Labels, Total]] = field(default_factory=list)
    mtls: set[bool] = field(default_factory=set)

    def add(self, labels: Labels, total: Total) -> None:
        self.told.append((labels, total))
        if labels.mtls is not None:
            self.mtls.add(labels.mtls)

    @property
    def secured(self) -> bool | None:
        return None if not self.mtls else all(self.mtls)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that was seen, of a window and of the time before."""

    window: Window
    lately: tuple[Labels, ...]
    """Around the window, which tells who reports."""
    before: tuple[Labels, ...]
    """Within the hour before its end."""
    usage: Mapping[tuple[str, str], Used] = field(default_factory=dict)
    pools: Mapping[ReplicaKey, tuple[Pool, ...]] = field(default_factory=dict)


def graph(
    found: Seen, services: Iterable[Service], workloads: Iterable[Standing], *, namespace: str = ""
) -> Graph:
    """The picture; of one namespace: what is in it, who calls it, and whom it calls."""
    window = found.window
    callees = told_by_callees(found.lately)
    active = _edges(window.totals, callees)
    idle = _edges({labels: Total() for labels in found.before}, callees)
    standing = tuple(workloads)
    standing = (*standing, *_gone(active, {(one.key, one.version) for one in standing}))
    edges = [
        *(_edge(ends, one, window.heard) for ends, one in active.items()),
        *(_edge(ends, one, 0.0, idle=True) for ends, one in idle.items() if ends not in active),
    ]
    edges.sort(key=_order)
    services = tuple(services)
    homes = {one.host: one.namespace for one in services}
    edges = [
        edge
        for edge in edges
        if namespace in {"", edge.source_namespace, edge.destination_namespace, homes.get(edge.service)}
    ]
    hosts = {edge.service for edge in edges}
    keys = {WorkloadKey(edge.source_namespace, edge.source) for edge in edges}
    keys |= {WorkloadKey(edge.destination_namespace, edge.destination) for edge in edges}
    nodes = [one for one in standing if not namespace or one.key.namespace == namespace or one.key in keys]
    return Graph(
        until=datetime.fromtimestamp(window.end, UTC).isoformat(timespec="seconds"),
        window=float(window.end - window.start),
        heard=float(window.heard),
        left_out=window.left_out,
        services=_services(found, active, services, hosts, namespace),
        workloads=_workloads(found, active, nodes, standing),
        edges=tuple(edges),
    )


def _edges(totals: Mapping[Labels, Total], callees: frozenset[Pair]) -> dict[_Ends, _Found]:
    """By their ends.  Who was kept out, is counted to the requests on the way where there are any."""
    edges: dict[_Ends, _Found] = defaultdict(_Found)
    for labels, total in once(totals, callees, callers=True):
        if labels.shown:
            edges[_ends(labels)].add(labels, total)
    return dict(edges)


def _gone(edges: Iterable[_Ends], there: Container[tuple[WorkloadKey, str]]) -> Iterator[Standing]:
    """Who is at an end of an edge, and not in the mesh any more; for the services that they were called as."""
    found: dict[tuple[WorkloadKey, str], set[str]] = defaultdict(set)
    for ends in edges:
        for key, version, host in (
            (ends.source, ends.source_version, ""),
            (ends.destination, ends.destination_version, ends.service),
        ):
            if key is not None and (key, version) not in there:
                found[key, version].add(host)
    for (key, version), hosts in found.items():
        yield Standing(key=key, version=version, replicas=0, services=tuple(sorted(hosts - {""})))


def _ends(labels: Labels) -> _Ends:
    return _Ends(
        source=labels.source,
        source_version=labels.source_version,
        service=labels.service or labels.service_name,
        destination=labels.destination,
        destination_version=labels.destination_version,
        protocol=labels.protocol,
    )


def _edge(ends: _Ends, found: _Found, heard: float, *, idle: bool = False) -> Edge:
    source, destination = ends.source, ends.destination
    return Edge(
        source_namespace=source.namespace if source else "",
        source=source.name if source else "",
        source_version=ends.source_version if source else "",
        service=ends.service,
        destination_namespace=destination.namespace if destination else "",
        destination=destination.name if destination else "",
        destination_version=ends.destination_version if destination else "",
        protocol=ends.protocol,
        mtls=found.secured,
        idle=idle,
        signals=signals(found.told, heard),
    )


def _order(edge: Edge) -> tuple[str, ...]:
    return (
        edge.source_namespace, edge.source, edge.source_version, edge.service,
        edge.destination_namespace, edge.destination, edge.destination_version, edge.protocol,
    )  # fmt: skip


def _services(
    found: Seen,
    edges: Mapping[_Ends, _Found],
    known: Iterable[Service],
    hosts: set[str],
    namespace: str,
) -> tuple[ServiceNode, ...]:
    told: dict[str, list[tuple[Labels, Total]]] = defaultdict(list)
    for ends, one in edges.items():
        told[ends.service] += one.told
    connections: Counter[str] = Counter()
    requests: Counter[str] = Counter()
    for pool in (pool for pools in found.pools.values() for pool in pools):
        if key := names.cluster_key(pool.cluster):
            connections[key.host] += pool.connections
            requests[key.host] += pool.requests
    shown = {
        one.host: one for one in known if not namespace or one.namespace == namespace or one.host in hosts
    }

    def node(host: str) -> ServiceNode:
        service = shown.get(host)
        return ServiceNode(
            host=host,
            namespace=service.namespace if service else "",
            name=service.name if service else host,
            external=service is None,
            signals=signals(told[host], found.window.heard),
            pool_connections=connections[host],
            pool_requests=requests[host],
        )

    return tuple(node(host) for host in sorted(shown.keys() | hosts))


def _workloads(
    found: Seen, edges: Mapping[_Ends, _Found], shown: Iterable[Standing], standing: Iterable[Standing]
) -> tuple[WorkloadNode, ...]:
    told: dict[tuple[WorkloadKey | None, str], list[tuple[Labels, Total]]] = defaultdict(list)
    for ends, one in edges.items():
        told[ends.destination, ends.destination_version] += one.told
    used: dict[tuple[WorkloadKey, str], list[Used]] = defaultdict(list)
    for (replica, process), was in found.usage.items():
        if key := ReplicaKey.parse(replica):
            used[key.workload, process].append(was)
    versions = Counter(each.key for each in standing)

    def use(one: Standing, process: str) -> ProcessUse:
        some = used[one.key, process]
        if not some or versions[one.key] > 1:  # while versions are replaced, nobody tells whose process it is
            return ProcessUse()
        return ProcessUse(
            cpu=sum(part.cpu / part.heard for part in some), memory=sum(part.memory for part in some)
        )

    return tuple(
        WorkloadNode(
            namespace=one.key.namespace,
            name=one.key.name,
            version=one.version,
            replicas=one.replicas,
            services=one.services,
            signals=signals(told[one.key, one.version], found.window.heard),
            sidecar=use(one, "sidecar"),
            application=use(one, "application"),
        )
        for one in sorted(shown, key=lambda one: (one.key, one.version))
    )
