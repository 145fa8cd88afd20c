"""The Mesh that all documents together describe, and the View of it that one proxy gets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from plait.model.authentication import RequestAuthentication, TokenRule
from plait.model.authorizer import Authorizer, MeshConfig
from plait.model.catalog import Labels, Member, Protocol, Service, SidecarAddresses, Workload
from plait.model.limits import Limit, RateLimit
from plait.model.locality import Place
from plait.model.names import Identity, Origin, ReplicaKey, WorkloadKey
from plait.model.policy import AuthorizationPolicy, MtlsMode, PeerAuthentication
from plait.model.rollout import NO_PLANS, Plans
from plait.model.routing import RouteRule
from plait.model.scope import EgressScope, Sight
from plait.model.settings import MeshSettings
from plait.model.telemetry import NOTHING_SAID, Observed, Telemetry
from plait.model.traffic import NO_POLICY, DestinationSettings, TrafficPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """Everything, merged: conflicts resolved, references checked, in an order that no input order changes."""

    settings: MeshSettings
    services: Mapping[str, Service]
    """By fully qualified host: all there are, whoever sees them."""
    workloads: Mapping[WorkloadKey, Workload]
    common: Sight
    """What clients see of whose namespace nothing else is said."""
    sights: Mapping[str, Sight]
    """What clients of a namespace see otherwise, by that."""
    egress: tuple[EgressScope, ...]
    """Who needs less than they see."""
    for_clients: tuple[DestinationSettings, ...]
    """What some clients of a namespace heed in place of what they see; by namespace and name."""
    policies: tuple[AuthorizationPolicy, ...]
    peer_authentications: tuple[PeerAuthentication, ...]
    rate_limits: tuple[RateLimit, ...]
    request_authentications: tuple[RequestAuthentication, ...]
    mesh_configs: tuple[MeshConfig, ...]
    """By namespace and name."""
    telemetries: tuple[Telemetry, ...] = ()
    """The oldest first; of those whose age nobody knows, by namespace and name, and last."""
    plans: Plans = NO_PLANS
    """How new versions take over."""
    members: frozenset[Member]
    """Of the workloads as documented and of the replicas that run: whom a service's selector can select."""

    def sight(self, namespace: str) -> Sight:
        """What clients of a namespace see."""
        return self.sights.get(namespace, self.common)

    @property
    def every_sight(self) -> Iterator[Sight]:
        """The common one, and then the others."""
        yield self.common
        yield from self.sights.values()


@dataclass(frozen=True, slots=True, order=True)
class ClusterKey:
    """What a request may be sent to: a port of a host, and perhaps one subset of it."""

    host: str
    port: int
    subset: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Behind:
    """Who stands behind a cluster: those at a port of a host that have some labels."""

    host: str
    port: int
    labels: Labels = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A destination as a client sees it; the server must prove one of the identities."""

    key: ClusterKey
    protocol: Protocol
    service_namespace: str
    service_name: str
    identities: tuple[Identity, ...]
    labels: Labels = ()
    """Of the subset: who of the service stands behind it."""
    policy: TrafficPolicy = NO_POLICY
    origins: tuple[Origin, ...]

    @property
    def behind(self) -> Behind:
        return Behind(self.key.host, self.key.port, self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundRoutes:
    """The routes for one authority: a host and a port; the same value for every proxy that sees it."""

    host: str
    port: int
    rules: tuple[RouteRule, ...]
    """Backends here always name a port, and only clusters of the same View or none that exist (then 503)."""
    origins: tuple[Origin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpPort:
    """A port of a service that is called by its virtual address, since nothing in its bytes says who is meant."""

    host: str
    port: int
    protocol: Protocol
    """TCP, or undeclared: then HTTP is told from the rest."""
    address: str
    """The virtual address of the host."""
    idle_timeout: float | None = None
    longest: float | None = None
    """Seconds after which a connection is closed, without a byte in either direction, and in any case; None: never."""
    origins: tuple[Origin, ...]

    @property
    def cluster(self) -> ClusterKey:
        return ClusterKey(self.host, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceName:
    """A service that a port of a workload stands behind, for the labels of metrics and the hosts of requests."""

    host: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundPort:
    """A declared port of the proxy's own workload: where it comes in, where it goes, who may."""

    number: int
    protocol: Protocol
    address: str
    port: int
    app_address: str
    app_port: int
    mtls: MtlsMode
    services: tuple[ServiceName, ...]
    policies: tuple[AuthorizationPolicy, ...]
    """Those that apply to this workload, sorted by name."""
    limits: tuple[Limit, ...] = ()
    """Of the requests that come in here, in the order of their objects."""
    tokens: tuple[TokenRule, ...] = ()
    """Whose tokens are taken here; keys are fetched from where this proxy gets."""
    authorizer: Authorizer | None = None
    """Who is asked about requests for which a CUSTOM policy holds."""
    origins: tuple[Origin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """What proxies are told alike that are of one mode and scope: whom their applications may call, and how."""

    scope: tuple[str, ...] = ()
    """What tells them from others, whatever it is; (): they are of no scope, and see what is common."""
    authorities: tuple[tuple[str, str, int], ...]
    """(text, host, port): which routes lead on from an authority or, in transparent mode, an address and port."""
    routes: tuple[OutboundRoutes, ...]
    clusters: tuple[Cluster, ...]
    place: Place | None = None
    """Where these clients stand; None: it makes no difference to them."""
    missing: tuple[ClusterKey, ...] = ()
    """What routes name and nothing defines: meant to be answered 503."""
    tcp: tuple[TcpPort, ...] = ()
    """In transparent mode: the ports of services that are not, or not surely, HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that one proxy is told."""

    node: ReplicaKey
    settings: MeshSettings
    sidecar: SidecarAddresses
    outbound: Outbound
    inbound: tuple[InboundPort, ...]
    client: Observed = NOTHING_SAID
    """What is told of the requests that the workload sends."""
    server: Observed = NOTHING_SAID
    """What is told of those that it is sent."""
    origins: tuple[Origin, ...] = ()
    """The workload's own document, as long as there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One place behind a cluster: the sidecar of a replica, and the labels that metrics show."""

    address: str
    port: int
    workload: WorkloadKey
    app: str
    version: str
    identity: str
    mtls: bool
    labels: Labels = ()


Endpoints = Mapping[Behind, tuple[Endpoint, ...]]
