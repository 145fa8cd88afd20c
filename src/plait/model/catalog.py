"""Services, workloads, and what is known of their running replicas."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from plait.model.names import Export, Identity, Origin, ReplicaKey, WorkloadKey, service_host

Labels = tuple[tuple[str, str], ...]
"""Labels as sorted pairs, so that values holding them can be hashed."""


class Protocol(StrEnum):
    """What is spoken at a port.  UNDECLARED: nobody says, so whatever comes is looked at."""

    HTTP = "http"
    HTTP2 = "http2"
    GRPC = "grpc"
    TCP = "tcp"
    UDP = "udp"
    UNDECLARED = "undeclared"

    @property
    def is_http(self) -> bool:
        """Whether it is declared to be HTTP."""
        return self in (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC)

    @property
    def may_be_http(self) -> bool:
        """Whether HTTP may be spoken there: declared, or not ruled out."""
        return self.is_http or self is Protocol.UNDECLARED

    @property
    def may_be_tcp(self) -> bool:
        """Whether something else than HTTP may be spoken over TCP there: declared, or not ruled out."""
        return self in (Protocol.TCP, Protocol.UNDECLARED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePort:
    """A port that clients call.  `target` is a number, or the name of a port of the workload."""

    name: str
    number: int
    protocol: Protocol
    target: int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A host that clients call, and the labels of the workloads behind it."""

    namespace: str
    name: str
    ports: tuple[ServicePort, ...]
    selector: Labels
    headless: bool = False
    export: Export = None
    origin: Origin

    @property
    def host(self) -> str:
        return service_host(self.namespace, self.name)

    def port(self, number: int) -> ServicePort | None:
        return next((port for port in self.ports if port.number == number), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadPort:
    """A port that the application listens on."""

    name: str
    number: int
    protocol: Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpProbe:
    path: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpProbe:
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandProbe:
    command: tuple[str, ...]


Probe = HttpProbe | TcpProbe | CommandProbe


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """How to ask an application whether it is ready; times in seconds."""

    probe: Probe
    interval: float = 1.0
    timeout: float = 1.0


class Restart(StrEnum):
    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What to run: everything of a Workload whose change means that its replicas are rolled over."""

    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    """As written; the control plane takes it from the folder of the file that says it, which is also the default."""
    user: str = ""
    ports: tuple[WorkloadPort, ...] = ()
    readiness: Readiness | None = None
    restart: Restart = Restart.ALWAYS
    grace_seconds: float = 30.0


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """What a service's selector looks at, and the account that whoever is selected runs as."""

    namespace: str
    labels: Labels
    service_account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A program to run in the mesh, in so many replicas; what a Pod template is to a container."""

    namespace: str
    name: str
    labels: Labels = ()
    service_account: str = "default"
    replicas: int = 1
    process: Process
    origin: Origin

    @property
    def key(self) -> WorkloadKey:
        return WorkloadKey(self.namespace, self.name)

    @property
    def app(self) -> str:
        return dict(self.labels).get("app", self.name)

    @property
    def version(self) -> str:
        return dict(self.labels).get("version", "")

    @property
    def member(self) -> Member:
        return Member(self.namespace, self.labels, self.service_account)

    def identity(self, trust_domain: str) -> Identity:
        return Identity(trust_domain, self.namespace, self.service_account)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One declared port of a replica.

    Its sidecar accepts at `address:port`, and the application behind it listens at `app_address:app_port`.
    `number` is the port as the Workload declares it; in explicit mode on Linux `port` is the same number.
    """

    name: str
    number: int
    protocol: Protocol
    address: str
    port: int
    app_address: str
    app_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarAddresses:
    """Where one sidecar listens for what is not the application's own traffic.

    `transparent`: the kernel of its network namespace hands it every connection, whose destination it can ask for;
    `outbound` then listens on the loopback address, and `inbound` takes what comes for any port.
    """

    address: str
    outbound: int = 15001
    inbound: int = 15006
    health: int = 15021
    metrics: int = 15090
    otlp_grpc: int = 4317
    otlp_http: int = 4318
    """Where it takes the spans of its application, on the loopback address in transparent mode; 0: nowhere."""
    transparent: bool = False
    ipv6: bool = False
    """Whether the kernel hands it what is sent over IPv6 as well; only where that leads anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One replica as the control plane knows it: what its proxy is configured from, and whether it serves.

    Labels, account and ports are those it was started with; while a workload is rolled over they may differ
    from what its document says by now.
    """

    key: ReplicaKey
    labels: Labels
    service_account: str
    sidecar: SidecarAddresses
    bindings: tuple[Binding, ...] = field(default=())
    serving: bool = False

    @property
    def member(self) -> Member:
        return Member(self.key.workload.namespace, self.labels, self.service_account)

    def binding(self, target: int | str) -> Binding | None:
        """The binding of a port by its number, or by its name."""
        for binding in self.bindings:
            if target in (binding.number, binding.name):
                return binding
        return None


def selects(selector: Labels, labels: Labels) -> bool:
    """Whether every pair of the selector is among the labels; an empty selector selects nothing."""
    return bool(selector) and set(selector) <= set(labels)
