"""What is made for a replica: from an assignment to the record that shim, agent and control plane work by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plait.agent.record import Record, ReplicaFiles
from plait.agent.shim.spec import AppSpec, EnvoySpec, Place, ProbeKind, ProbeSpec, ShimSpec
from plait.envoy.bootstrap import bootstrap
from plait.link.messages import WorkloadAssignment
from plait.local import environment
from plait.local.addresses import Places, Plan, plan
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

_ENVOY_OPTIONS = (
    *("--disable-hot-restart", "--concurrency", "1"),
    *("--log-level", "warning", "--skip-deprecated-logs"),
    *(
        "--drain-strategy",
        "immediate",
    ),  # what still comes in while it drains is told to go elsewhere, at once
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What all replicas of this machine have in common.

    `control_plane`: the path of its socket or HOST:PORT, for Envoys.  `around`: the environment to inherit from.
    """

    state: Path
    envoy: str
    control_plane: str
    around: Mapping[str, str]
    plan: Plan = field(default_factory=plan)
    bootstrap: Callable[..., dict[str, Any]] = bootstrap

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
            control_plane=self.control_plane,
        )


def draw(
    site: Site, key: ReplicaKey, assignment: WorkloadAssignment, places: Places, *, trust_domain: str
) -> Record:
    """The record of a new replica at the given places."""
    files = ReplicaFiles.of(site.state, key)
    process = assignment.process
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
        shim=ShimSpec(
            directory=str(files.directory),
            socket=str(files.socket),
            envoy=EnvoySpec(
                command=(site.envoy, "-c", str(files.bootstrap), *_ENVOY_OPTIONS),
                env=environment.bare(site.around, site.marks(files)),
                admin=str(files.admin),
                listeners=(
                    (places.sidecar.address, places.sidecar.outbound),
                    *((binding.address, binding.port) for binding in _streams(places)),
                ),
            ),
            app=AppSpec(
                command=process.command,
                env=environment.of_application(process, places, site.around, site.marks(files)),
                directory=process.working_dir,
                user=process.user,
                ports=tuple((binding.app_address, binding.app_port) for binding in _streams(places)),
                restart=process.restart,
                grace=process.grace_seconds,
                probe=_probe(process, places),
            ),
        ),
    )


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
