"""A folder of YAML without a running mesh: what `plait check` and `plait compile` look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

from plait.model.catalog import Binding, Replica, SidecarAddresses, Workload
from plait.model.finding import Finding
from plait.model.mesh import Mesh
from plait.model.names import REPLICA_NETWORK, ReplicaKey
from plait.model.settings import MeshSettings, Mode
from plait.run.compilation import Compilation
from plait.sources.files.folder import Folder
from plait.sources.store import Store

_FIRST_SIDECAR = IPv4Address("127.77.0.1")
_FIRST_APPLICATION = IPv4Address("127.78.0.1")
_FIRST_REPLICA = REPLICA_NETWORK[1]
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Offline:
    """What the documents under some paths say, every finding with its place."""

    mesh: Mesh
    findings: tuple[Finding, ...]
    store: Store


def read(paths: Sequence[Path], settings: MeshSettings) -> Offline:
    """Read and compile; OSError when a path can't be read."""
    store = Store()
    for change in Folder(paths).load():
        store.apply(change)
    compiled = Compilation(settings).compile(store.documents())
    return Offline(compiled.mesh, store.findings() + locate(compiled.findings, store), store)


def locate(findings: Iterable[Finding], store: Store) -> tuple[Finding, ...]:
    """The findings with the file and line where each field stands now."""
    return tuple(
        replace(finding, place=store.place(finding.ref, finding.field))
        if finding.place is None and finding.ref is not None
        else finding
        for finding in findings
    )


def replicas(mesh: Mesh, mode: Mode = Mode.TRANSPARENT) -> tuple[Replica, ...]:
    """The replicas as an agent would start them, serving, at addresses counted up from the first."""
    running = [
        (workload, number)
        for _, workload in sorted(mesh.workloads.items())
        for number in range(workload.replicas)
    ]
    return tuple(
        _replica(workload, number, _places(index, mode)) for index, (workload, number) in enumerate(running)
    )


def _places(index: int, mode: Mode) -> tuple[SidecarAddresses, str]:
    """Where the sidecar listens, and where its application does."""
    if mode is Mode.EXPLICIT:
        return SidecarAddresses(address=str(_FIRST_SIDECAR + index)), str(_FIRST_APPLICATION + index)
    return SidecarAddresses(address=str(_FIRST_REPLICA + index), transparent=True), _LOOPBACK


def _replica(workload: Workload, number: int, places: tuple[SidecarAddresses, str]) -> Replica:
    sidecar, application = places
    return Replica(
        key=ReplicaKey(workload.key, number),
        labels=workload.labels,
        service_account=workload.service_account,
        sidecar=sidecar,
        bindings=tuple(
            Binding(
                name=port.name,
                number=port.number,
                protocol=port.protocol,
                address=sidecar.address,
                port=port.number,
                app_address=application,
                app_port=port.number,
            )
            for port in workload.process.ports
        ),
        serving=True,
    )
