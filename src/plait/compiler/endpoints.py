"""Endpoints: which serving replicas stand behind each cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import repeat

from plait.compiler.hosts import ByHost
from plait.compiler.outbound import called, subsets
from plait.compiler.selection import Population, mtls_mode, selection
from plait.compiler.sharing import Made
from plait.model.catalog import Binding, Labels, Member, Replica, Service, selects
from plait.model.mesh import Behind, Endpoint, Endpoints, Mesh
from plait.model.names import Identity, ReplicaKey
from plait.model.policy import MtlsMode, PeerAuthentication
from plait.model.rollout import TRIED
from plait.model.traffic import DestinationSettings

_Over = tuple[PeerAuthentication, ...]
_Found = tuple[tuple[Behind, tuple[Endpoint, ...]], ...]

_MADE = Made()


@dataclass(frozen=True, slots=True)
class _Serving:
    """The serving replicas of one member, and what is over it."""

    namespace: str
    labels: Labels
    replicas: tuple[Replica, ...]
    over: _Over


def endpoints(mesh: Mesh, replicas: Iterable[Replica]) -> Endpoints:
    """The endpoints of every cluster that any proxy may know, none for one that nobody serves; sorted."""
    replicas = tuple(replicas)
    said = (
        *(sight.destinations for sight in mesh.every_sight),
        *map(_resolved, mesh.for_clients, repeat(mesh)),
    )
    inputs = (mesh.services, said, mesh.peer_authentications, mesh.settings, replicas)
    _MADE.begin()
    return _MADE.whole("endpoints", inputs, partial(_all, mesh, said, replicas))


def _resolved(settings: DestinationSettings, mesh: Mesh) -> Mapping[str, DestinationSettings]:
    """Settings by the services that they are about."""
    by_host = ByHost.of({settings.host: settings})
    return {host: settings for host in mesh.services if by_host.get(host) is not None}


def _all(
    mesh: Mesh,
    said: Iterable[Mapping[str, DestinationSettings]],
    replicas: Iterable[Replica],
    made: Made,
) -> Endpoints:
    serving = Population.of(_serving(mesh, replicas))
    trust_domain = mesh.settings.trust_domain
    found: dict[Behind, tuple[Endpoint, ...]] = {}
    for host, service in mesh.services.items():
        selected = serving.selected(service.namespace, service.selector)
        behind = tuple((one.labels, one.replicas, one.over) for one in selected)
        settings = {id(one): one for destinations in said for one in (destinations.get(host),)}
        inputs = (service, tuple(settings.values()), behind, trust_domain)
        found.update(made.of(host, inputs, _of_service))
    return made.same("", found)


def _serving(mesh: Mesh, replicas: Iterable[Replica]) -> Iterator[_Serving]:
    alike: dict[tuple[str, Labels, str], list[Replica]] = {}
    for replica in replicas:
        if replica.serving:
            alike.setdefault(
                (replica.key.workload.namespace, replica.labels, replica.service_account), []
            ).append(replica)
    selected = selection(mesh)
    for (namespace, labels, account), some in alike.items():
        over = selected.peer_authentications_over(Member(namespace, labels, account))
        yield _Serving(namespace, labels, tuple(some), over)


def _of_service(
    service: Service,
    settings: tuple[DestinationSettings | None, ...],
    behind: tuple[tuple[Labels, tuple[Replica, ...], _Over], ...],
    trust_domain: str,
) -> _Found:
    """The endpoints of every port and subset of a service, whoever sees it cut up as."""
    parts = dict.fromkeys(labels for one in settings for _, labels, _ in subsets(one))
    return tuple(
        (
            Behind(service.host, port.number, chosen),
            _sorted(
                (replica.key, _endpoint(replica, binding, over, trust_domain))
                for labels, replicas, over in behind
                if (TRIED not in labels or TRIED in chosen or TRIED in service.selector)
                and (not chosen or selects(chosen, labels))
                for replica in replicas
                if (binding := replica.binding(port.target)) is not None
            ),
        )
        for chosen in parts
        for port in called(service, whole=not chosen, transparent=True)
    )


def _sorted(found: Iterable[tuple[ReplicaKey, Endpoint]]) -> tuple[Endpoint, ...]:
    ordered = sorted(found, key=lambda one: (one[1].address, one[1].port, one[0]))
    return tuple(endpoint for _, endpoint in ordered)


def _endpoint(replica: Replica, binding: Binding, over: _Over, trust_domain: str) -> Endpoint:
    workload = replica.key.workload
    labels = dict(replica.labels)
    identity = Identity(trust_domain, workload.namespace, replica.service_account)
    return Endpoint(
        address=binding.address,
        port=binding.port,
        workload=workload,
        app=labels.get("app", workload.name),
        version=labels.get("version", ""),
        identity=identity.uri,
        mtls=mtls_mode(over, binding.number) is not MtlsMode.DISABLE,
        labels=replica.labels,
    )
