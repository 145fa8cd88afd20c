"""The View: what one proxy may see of the Mesh."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from plait.compiler.asking import asked, authorizers, reaching, tokens
from plait.compiler.outbound import outbound
from plait.compiler.protocols import spoken
from plait.compiler.scopes import scopes
from plait.compiler.selection import mtls_mode, selection
from plait.compiler.sharing import Made, PerMesh
from plait.compiler.telemetry import observing
from plait.model.authentication import RequestAuthentication
from plait.model.authorizer import Authorizer
from plait.model.catalog import Binding, Member, Protocol, Replica, Service
from plait.model.limits import RateLimit, TargetKind
from plait.model.locality import Place
from plait.model.mesh import InboundPort, Mesh, Outbound, ServiceName, View
from plait.model.names import Origin
from plait.model.policy import Action, AuthorizationPolicy, PeerAuthentication
from plait.model.telemetry import NOTHING_SAID, Observed

_NOTHING_SAID = (NOTHING_SAID, NOTHING_SAID)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Over:
    """What holds for all replicas that were started alike."""

    services: tuple[Service, ...]
    policies: tuple[AuthorizationPolicy, ...]
    peer_authentications: tuple[PeerAuthentication, ...]
    rate_limits: tuple[RateLimit, ...]
    authentications: tuple[RequestAuthentication, ...] = ()
    authorizer: Authorizer | None = None
    origins: tuple[Origin, ...]


class _Views:
    """Cuts the Views of one Mesh."""

    def __init__(self, mesh: Mesh, made: Made) -> None:
        self._mesh = mesh
        self._made = made
        self._selection = selection(mesh)
        self._observing = observing(mesh)
        self._alike: dict[object, _Over] = {}
        self._observed: dict[object, tuple[Observed, Observed]] = {}
        self._scopes = scopes(mesh)
        self._authorizers = authorizers(mesh.mesh_configs) if mesh.mesh_configs else {}
        self._told: dict[tuple[bool, str, tuple[str, ...], Place | None], Outbound] = {}
        """By mode, namespace, scope and place."""

    def of(self, replica: Replica) -> View:
        workload, sidecar = replica.key.workload, replica.sidecar
        alike = (workload.namespace, workload.name, replica.labels, replica.service_account)
        over = self._alike.get(alike)
        if over is None:
            over = self._alike[alike] = self._made.same(alike, self._over(replica))
        scope = self._scopes.of(workload.namespace, replica.labels)
        observed = _NOTHING_SAID if self._observing.quiet else self._observed.get(alike)
        if observed is None:
            both = self._observing.over(replica.member, over.services, scope.sight)
            observed = self._observed[alike] = self._made.same(("observed", alike), both)
        alike_told = (sidecar.transparent, workload.namespace, scope.label, scope.place)
        told = self._told.get(alike_told)
        if told is None:
            told = self._told[alike_told] = outbound(
                self._mesh, scope, transparent=sidecar.transparent, namespace=workload.namespace
            )
        return View(
            node=replica.key,
            settings=scope.settings,
            sidecar=sidecar,
            outbound=told,
            inbound=self._made.of(replica.key, (replica, over), _inbound),
            client=observed[0],
            server=observed[1],
            origins=over.origins,
        )

    def _over(self, replica: Replica) -> _Over:
        member = replica.member
        workload = self._mesh.workloads.get(replica.key.workload)
        place = (member.namespace, member.labels)
        own = () if workload is None else (workload.origin,)
        peer_authentications = self._selection.peer_authentications_over(member)
        services = self._selection.services.selecting(member.namespace, member.labels)
        policies, authorizer = self._selection.policies_over(member), None
        if any(one.action is Action.CUSTOM for one in policies):
            policies, authorizer = self._asked(policies, member, services)
        return _Over(
            services=services,
            policies=policies,
            authorizer=authorizer,
            authentications=reaching(
                self._selection.request_authentications_over(member), self._scopes.of(*place).sight
            )
            if self._mesh.request_authentications
            else (),
            peer_authentications=peer_authentications,
            rate_limits=self._selection.limits_over(replica, services) if self._mesh.rate_limits else (),
            origins=(*own, *(one.origin for one in peer_authentications)),
        )

    def policies(self, member: Member) -> tuple[AuthorizationPolicy, ...]:
        services = self._selection.services.selecting(member.namespace, member.labels)
        return self._asked(self._selection.policies_over(member), member, services)[0]

    def _asked(
        self, policies: tuple[AuthorizationPolicy, ...], member: Member, services: Iterable[Service]
    ) -> tuple[tuple[AuthorizationPolicy, ...], Authorizer | None]:
        """The policies over a member that stands behind these services, and who is asked by them."""
        sight = self._scopes.of(member.namespace, member.labels).sight
        return asked(policies, self._authorizers, sight, services)


_views = PerMesh(_Views)


def view(mesh: Mesh, replica: Replica) -> View:
    """Everything that the proxy of a replica is told, but for endpoints."""
    return _views(mesh).of(replica)


def policies(mesh: Mesh, member: Member) -> tuple[AuthorizationPolicy, ...]:
    """The authorization policies as they hold over a member, in the order of their objects."""
    return _views(mesh).policies(member)


def _inbound(replica: Replica, over: _Over) -> tuple[InboundPort, ...]:
    """The ports at which a replica takes what comes in."""
    return tuple(
        _port(replica, binding, over)
        for binding in sorted(replica.bindings, key=lambda binding: binding.number)
        if binding.protocol is not Protocol.UDP
    )


def _port(replica: Replica, binding: Binding, over: _Over) -> InboundPort:
    leading = [
        (service, port)
        for service in over.services
        for port in service.ports
        if replica.binding(port.target) == binding
    ]
    behind = {service.host: service for service, _ in leading}.values()
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
        limits=tuple(
            limit
            for one in over.rate_limits
            if _reaches(one, (service.name for service in behind))
            for limit in one.limits
        ),
        tokens=tokens(over.authentications, (service.name for service in behind))
        if over.authentications
        else (),
        authorizer=over.authorizer,
        origins=(*over.origins, *(service.origin for service in behind)),
    )


def _reaches(limits: RateLimit, services: Iterable[str]) -> bool:
    """Whether limits over a workload are over one of its ports, to which these services lead."""
    target = limits.target
    return target is None or target.kind is TargetKind.WORKLOAD or target.name in services
