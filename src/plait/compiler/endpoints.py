"""Endpoints: which serving replicas stand behind each cluster."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plait.compiler.hosts import ByHost
from plait.compiler.outbound import called, subsets
from plait.compiler.selection import mtls_mode, peer_authentications_over
from plait.model.catalog import Binding, Replica, Service, selects
from plait.model.mesh import ClusterKey, Endpoint, Mesh
from plait.model.names import Identity
from plait.model.policy import MtlsMode, PeerAuthentication

_Over = tuple[PeerAuthentication, ...]


def endpoints(mesh: Mesh, replicas: Iterable[Replica]) -> Mapping[ClusterKey, tuple[Endpoint, ...]]:
    """The endpoints of every cluster that any proxy may know, none for one that nobody serves; sorted."""
    serving: dict[str, list[tuple[Replica, _Over]]] = {}
    for replica in sorted(replicas, key=lambda one: one.key):
        if replica.serving:
            over = peer_authentications_over(mesh, replica.member)
            serving.setdefault(replica.member.namespace, []).append((replica, over))
    destinations = ByHost.of(mesh.destinations)
    found: dict[ClusterKey, tuple[Endpoint, ...]] = {}
    for service in mesh.services.values():
        selected = [
            (replica, over)
            for replica, over in serving.get(service.namespace, ())
            if selects(service.selector, replica.labels)
        ]
        for name, labels, _ in subsets(destinations.get(service.host)):
            part = [one for one in selected if not labels or selects(labels, one[0].labels)]
            found.update(_of_service(mesh, service, name, part))
    return found


def _of_service(
    mesh: Mesh, service: Service, subset: str, replicas: list[tuple[Replica, _Over]]
) -> Iterable[tuple[ClusterKey, tuple[Endpoint, ...]]]:
    for port in called(service, subset, transparent=True):
        who = (
            _endpoint(mesh, replica, binding, over)
            for replica, over in replicas
            if (binding := replica.binding(port.target)) is not None
        )
        key = ClusterKey(service.host, port.number, subset)
        yield key, tuple(sorted(who, key=lambda one: (one.address, one.port)))


def _endpoint(mesh: Mesh, replica: Replica, binding: Binding, over: _Over) -> Endpoint:
    workload = replica.key.workload
    labels = dict(replica.labels)
    identity = Identity(mesh.settings.trust_domain, workload.namespace, replica.service_account)
    return Endpoint(
        address=binding.address,
        port=binding.port,
        workload=workload,
        app=labels.get("app", workload.name),
        version=labels.get("version", ""),
        identity=identity.uri,
        mtls=mtls_mode(over, binding.number) is not MtlsMode.DISABLE,
    )
