"""The View: what one proxy may see of the Mesh."""

from __future__ import annotations

from dataclasses import dataclass

from plait.compiler.outbound import outbound
from plait.compiler.protocols import spoken
from plait.compiler.selection import mtls_mode, peer_authentications_over, policies_over
from plait.model.catalog import Binding, Protocol, Replica, Service, selects
from plait.model.mesh import InboundPort, Mesh, ServiceName, View
from plait.model.names import Origin
from plait.model.policy import AuthorizationPolicy, PeerAuthentication


@dataclass(frozen=True, slots=True, kw_only=True)
class _Over:
    """What holds for every port of one replica."""

    policies: tuple[AuthorizationPolicy, ...]
    peer_authentications: tuple[PeerAuthentication, ...]
    origins: tuple[Origin, ...]


def view(mesh: Mesh, replica: Replica) -> View:
    """Everything that the proxy of a replica is told, but for endpoints."""
    shared = outbound(mesh, transparent=replica.sidecar.transparent)
    namespace = replica.key.workload.namespace
    services = tuple(
        service for service in shared.services.get(namespace, ()) if selects(service.selector, replica.labels)
    )
    over = _over(mesh, replica)
    return View(
        node=replica.key,
        settings=mesh.settings,
        labels=replica.labels,
        service_account=replica.service_account,
        sidecar=replica.sidecar,
        authorities=shared.authorities.get(namespace, ()),
        routes=shared.routes,
        clusters=shared.clusters,
        missing=shared.missing,
        tcp=shared.tcp,
        inbound=tuple(
            _inbound(replica, binding, services, over)
            for binding in sorted(replica.bindings, key=lambda binding: binding.number)
            if binding.protocol is not Protocol.UDP
        ),
        origins=over.origins,
    )


def _over(mesh: Mesh, replica: Replica) -> _Over:
    workload = mesh.workloads.get(replica.key.workload)
    peer_authentications = peer_authentications_over(mesh, replica.member)
    own = () if workload is None else (workload.origin,)
    return _Over(
        policies=policies_over(mesh, replica.member),
        peer_authentications=peer_authentications,
        origins=(*own, *(one.origin for one in peer_authentications)),
    )


def _inbound(replica: Replica, binding: Binding, services: tuple[Service, ...], over: _Over) -> InboundPort:
    leading = [
        (service, port)
        for service in services
        for port in service.ports
        if replica.binding(port.target) == binding
    ]
    behind = dict.fromkeys(service for service, _ in leading)
    return InboundPort(
        number=binding.number,
        protocol=spoken(binding.protocol, (port.protocol for _, port in leading)),
        address=binding.address,
        port=binding.port,
        app_address=binding.app_address,
        app_port=binding.app_port,
        mtls=mtls_mode(over.peer_authentications, binding.number),
        services=tuple(
            ServiceName(host=service.host, namespace=service.namespace, name=service.name)
            for service in behind
        ),
        policies=over.policies,
        origins=(*over.origins, *(service.origin for service in behind)),
    )
