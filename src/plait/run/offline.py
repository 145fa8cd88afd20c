"""A folder of YAML without a running mesh: what `plait check` and `plait compile` look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path

from plait.model.catalog import Binding, Replica, SidecarAddresses, Workload
from plait.model.finding import Finding
from plait.model.mesh import Mesh
from plait.model.names import ReplicaKey
from plait.model.settings import MeshSettings
from plait.run.compilation import Compilation
from plait.sources.files.folder import Folder
from plait.sources.store import Store

_FIRST_SIDECAR = IPv4Address("127.77.0.1")
_FIRST_APPLICATION = IPv4Address("127.78.0.1")


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


def replicas(mesh: Mesh) -> tuple[Replica, ...]:
    """The replicas as an agent would start them, serving, at addresses counted up from the first."""
    running = [
        (workload, number)
        for _, workload in sorted(mesh.workloads.items())
        for number in range(workload.replicas)
    ]
    return tuple(_replica(workload, number, index) for index, (workload, number) in enumerate(running))


def _replica(workload: Workload, number: int, index: int) -> Replica:
    sidecar, application = str(_FIRST_SIDECAR + index), str(_FIRST_APPLICATION + index)
    return Replica(
        key=ReplicaKey(workload.key, number),
        labels=workload.labels,
        service_account=workload.service_account,
        sidecar=SidecarAddresses(address=sidecar),
        bindings=tuple(
            Binding(
                name=port.name,
                number=port.number,
                protocol=port.protocol,
                address=sidecar,
                port=port.number,
                app_address=application,
                app_port=port.number,
            )
            for port in workload.process.ports
        ),
        serving=True,
    )
