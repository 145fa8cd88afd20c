"""What is made for a replica: from an assignment to the record that shim, agent and control plane work by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plait.agent.record import Record, ReplicaFiles
from plait.agent.shim.spec import (
    AppSpec,
    Confinement,
    EnvoySpec,
    Place,
    ProbeKind,
    ProbeSpec,
    ShimSpec,
    Visible,
)
from plait.envoy.bootstrap import bootstrap, log_bound, own_labels
from plait.link.messages import WorkloadAssignment
from plait.local import addresses, environment, users
from plait.local.addresses import LOOPBACK, Places
from plait.local.network.network import Network
from plait.model.catalog import (
    CommandProbe,
    HttpProbe,
    Process,
    Protocol,
    Readiness,
    Replica,
    TcpProbe,
)
from plait.model.names import ReplicaKey
from plait.model.settings import Mode

_ENVOY_OPTIONS = (
    *("--disable-hot-restart", "--concurrency", "1"),
    *("--log-level", "warning", "--skip-deprecated-logs"),
    *(
        "--drain-strategy",
        "immediate",
    ),  # what still comes in while it drains is told to go elsewhere, at once
    *("--drain-time-s", "5"),  # what a changed filter chain still carries then ends: see ARCHITECTURE, rule 5
    *("--file-flush-interval-msec", "1000"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What all replicas of this machine have in common.

    `control_plane`: the path of its socket or HOST:PORT, for Envoys.  `around`: the environment to inherit from.
    `network`: what shuts replicas in, in transparent mode; None in explicit mode.
    """

    state: Path
    envoy: str
    control_plane: str
    around: Mapping[str, str]
    network: Network | None = None
    bootstrap: Callable[..., dict[str, Any]] = bootstrap

    @property
    def plan(self) -> addresses.Plan:
        """How replicas are given addresses."""
        if self.network is None:
            return addresses.plan(Mode.EXPLICIT)
        return addresses.plan(Mode.TRANSPARENT, ipv6=self.network.ipv6)

    @property
    def terms(self) -> str:
        """By what terms replicas are made; see Record.terms."""
        return str(Mode.EXPLICIT) if self.network is None else self.network.terms

    def marks(self, files: ReplicaFiles) -> dict[str, str]:
        return environment.marks(str(self.state), files.id)

    def shim_environment(self, files: ReplicaFiles) -> dict[str, str]:
        return dict(environment.bare(self.around, self.marks(files)))

    def bootstrap_of(self, record: Record, files: ReplicaFiles) -> dict[str, Any]:
        return self.bootstrap(
            node=record.key,
            trust_domain=record.trust_domain,
            sidecar=record.replica.sidecar,
            admin_socket=str(files.admin),
            stats_socket=str(files.stats),
            control_plane=self.control_plane,
        )


def draw(  # noqa: PLR0913 - all that a replica follows from
    site: Site,
    key: ReplicaKey,
    assignment: WorkloadAssignment,
    places: Places,
    *,
    trust_domain: str,
    taken: Collection[int] = (),
) -> Record:
    """The record of a new replica at the given places; `taken`: users that other replicas have.  NoUserError."""
    files = ReplicaFiles.of(site.state, key)
    process = assignment.process
    confinement = (
        None if site.network is None else _confinement(site, site.network, files, key, process, taken)
    )
    return Record(
        replica=Replica(
            key=key,
            labels=assignment.labels,
            service_account=assignment.service_account,
            sidecar=places.sidecar,
            bindings=places.bindings,
        ),
        revision=assignment.revision,
        trust_domain=trust_domain,
        terms=site.terms,
        shim=ShimSpec(
            directory=str(files.directory),
            socket=str(files.socket),
            confinement=confinement,
            envoy=EnvoySpec(
                command=(site.envoy, "-c", str(files.bootstrap), "--service-node", str(key), *_ENVOY_OPTIONS),
                env=environment.bare(site.around, site.marks(files) | own_labels(key, assignment.labels)),
                admin=str(files.admin),
                listeners=_listeners(places),
            ),
            app=AppSpec(
                command=process.command,
                env=environment.of_application(
                    key, assignment.labels, process, places, site.around, site.marks(files)
                ),
                directory=process.working_dir,
                user="" if confinement else process.user,
                ports=tuple((binding.app_address, binding.app_port) for binding in _streams(places)),
                exactly=confinement is None,
                restart=process.restart,
                grace=process.grace_seconds,
                probe=_probe(process, places),
            ),
        ),
    )


def _listeners(places: Places) -> tuple[Place, ...]:
    """Where Envoy has to listen before the application may start."""
    sidecar, streams = places.sidecar, _streams(places)
    if not sidecar.transparent:
        return (
            (sidecar.address, sidecar.outbound),
            *((binding.address, binding.port) for binding in streams),
        )
    inbound = ((sidecar.address, sidecar.inbound),) if streams else ()
    return ((LOOPBACK, sidecar.outbound), *inbound)


def _confinement(  # noqa: PLR0913, PLR0917 - all that it follows from
    site: Site,
    network: Network,
    files: ReplicaFiles,
    key: ReplicaKey,
    process: Process,
    taken: Collection[int],
) -> Confinement:
    envoy, app = users.draw(taken)
    if process.user:
        app = users.named(process.user)
    plane = (site.control_plane.rpartition("/")[0],) if site.control_plane.startswith("/") else ()
    return Confinement(
        envoy=envoy,
        app=app,
        envoy_sees=(
            Visible(path=str(files.bootstrap)),
            Visible(path=str(files.log_bound)),
            Visible(path=str(files.access_log), writable=True),
            Visible(path=str(files.secrets)),
            Visible(path=str(files.own), writable=True),
            *(Visible(path=path) for path in plane),
        ),
        files=(
            (str(network.names.hosts(key.workload.namespace)), "/etc/hosts"),
            (str(network.names.resolv_conf), "/etc/resolv.conf"),
            (str(files.passwd), "/etc/passwd"),
            (str(files.group), "/etc/group"),
        ),
    )


def prepare(site: Site, record: Record, files: ReplicaFiles) -> None:
    """Writes the files that a replica is made with, beside its secrets.  OSError."""
    files.write_bootstrap(site.bootstrap_of(record, files), log_bound(), record.envoy)
    confinement = record.shim.confinement
    if site.network is not None and confinement is not None:
        site.network.names.prepare(record.key.workload.namespace)
        texts = users.passwd(confinement.envoy, confinement.app)
        for path, text in zip((files.passwd, files.group), texts, strict=True):
            path.write_text(text, errors="surrogateescape")
            path.chmod(0o644)


def _streams(places: Places) -> tuple[Any, ...]:
    """The bindings that can be connected to."""
    return tuple(binding for binding in places.bindings if binding.protocol is not Protocol.UDP)


def _probe(process: Process, places: Places) -> ProbeSpec | None:
    """How to ask whether the application is ready; None when there is nothing to ask: then it is once it runs."""
    readiness = process.readiness
    if readiness is None:
        listens = tuple((binding.app_address, binding.app_port) for binding in _streams(places))
        return ProbeSpec(kind=ProbeKind.TCP, places=listens) if listens else None
    return _asked(readiness, places)


def _asked(readiness: Readiness, places: Places) -> ProbeSpec:
    interval, timeout = readiness.interval, readiness.timeout
    match readiness.probe:
        case HttpProbe(path=path, port=port):
            place = _inside(places, port)
            return ProbeSpec(
                kind=ProbeKind.HTTP, places=(place,), path=path, interval=interval, timeout=timeout
            )
        case TcpProbe(port=port):
            place = _inside(places, port)
            return ProbeSpec(kind=ProbeKind.TCP, places=(place,), interval=interval, timeout=timeout)
        case CommandProbe(command=command):
            return ProbeSpec(kind=ProbeKind.COMMAND, command=command, interval=interval, timeout=timeout)


def _inside(places: Places, port: int) -> Place:
    """Where the application listens for a port; one that is not declared keeps its number."""
    for binding in places.bindings:
        if binding.number == port:
            return binding.app_address, binding.app_port
    return places.host, port
