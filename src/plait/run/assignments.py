"""What agents are asked to run: the Mesh's workloads, with every path absolute, and the names that they can call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from plait.compiler.virtual_addresses import virtual_addresses
from plait.link.messages import Assignments, HostAddress, WorkloadAssignment
from plait.model.catalog import Workload
from plait.model.finding import Place
from plait.model.mesh import Mesh
from plait.model.names import ObjectRef

AGENT = "local"
"""The name of the agent of this machine, which runs every workload for now."""

Locate = Callable[[ObjectRef, str], Place | None]


def assignments(mesh: Mesh, locate: Locate) -> Assignments:
    """Every workload and host of the mesh, sorted; `locate` tells the file that an object was read from."""
    return Assignments(
        trust_domain=mesh.settings.trust_domain,
        workloads=tuple(_assignment(mesh.workloads[key], locate) for key in sorted(mesh.workloads)),
        hosts=tuple(
            HostAddress(host=host, address=address)
            for host, address in sorted(virtual_addresses(mesh).items())
        ),
    )


def _assignment(workload: Workload, locate: Locate) -> WorkloadAssignment:
    place = locate(workload.origin.ref, "")
    folder = Path(place.file).resolve().parent if place else Path.cwd()
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
