"""What agents are asked to run: the Mesh's workloads, with every path absolute, and the names that they can call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from hashlib import blake2b
from pathlib import Path

from plait.compiler.sharing import Made
from plait.compiler.virtual_addresses import virtual_addresses
from plait.link.messages import Assignments, HostAddress, WorkloadAssignment
from plait.model.catalog import Workload
from plait.model.finding import Place
from plait.model.mesh import Mesh
from plait.model.names import ObjectRef

AGENT = "local"
"""The name of the agent of this machine, which runs every workload for now."""

Locate = Callable[[ObjectRef, str], Place | None]


_MADE = Made()


def assignments(mesh: Mesh, locate: Locate) -> Assignments:
    """Every workload and host of the mesh, sorted; `locate` tells the file that an object was read from.

    Where that file really lies is looked up when the workload is another, or is written in another file.
    """
    _MADE.begin()
    resolved = cache(Path.resolve)

    def made(workload: Workload, file: str | None) -> WorkloadAssignment:
        return _assignment(workload, _folder(Path(file), resolved) if file is not None else Path.cwd())

    workloads = []
    for key in sorted(mesh.workloads):
        workload = mesh.workloads[key]
        place = locate(workload.origin.ref, "")
        workloads.append(_MADE.of(key, (workload, place.file if place else None), made))
    hosts = sorted(virtual_addresses(mesh).items())
    return Assignments(
        trust_domain=mesh.settings.trust_domain,
        workloads=tuple(workloads),
        hosts=tuple(_MADE.of(host, (host, address), _host) for host, address in hosts),
    )


def _folder(file: Path, resolved: Callable[[Path], Path]) -> Path:
    """Where a file lies, as the file system has it; each folder is looked up once."""
    return resolved(file).parent if file.is_symlink() else resolved(file.parent)


def _host(host: str, address: str) -> HostAddress:
    return HostAddress(host=host, address=address)


def _assignment(workload: Workload, folder: Path) -> WorkloadAssignment:
    process = replace(workload.process, working_dir=str(folder / workload.process.working_dir))
    rolled_over = (process, workload.labels, workload.service_account)
    return WorkloadAssignment(
        key=workload.key,
        revision=blake2b(repr(rolled_over).encode(), digest_size=8).hexdigest(),
        labels=workload.labels,
        service_account=workload.service_account,
        replicas=workload.replicas,
        process=process,
    )
