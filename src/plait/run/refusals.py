"""Who was kept out, as the API tells it: how often, why, and by what that is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from plait.api.services import RefusalView
from plait.compiler.selection import selection
from plait.explain.denials import NOTHING_OVER, Over, denial
from plait.model.catalog import Member, Replica
from plait.model.mesh import Mesh
from plait.model.names import WorkloadKey
from plait.run.places import written
from plait.sources.store import Store
from plait.telemetry.queries import Group, Measured

_Versions = Mapping[tuple[WorkloadKey, str], Member]


def refusals(
    found: Measured,
    mesh: Mesh | None,
    replicas: Iterable[Replica],
    store: Store,
) -> tuple[RefusalView, ...]:
    """Of what was measured by refusal, most first; `mesh` is what is written now, and `store` knows where."""
    versions = _versions(mesh, replicas)

    def told(group: Group, requests: int) -> RefusalView:
        why = denial(group.reason, _over(mesh, versions, group))
        return RefusalView(
            source_namespace=group.source_namespace,
            source=group.source_workload,
            source_version=group.source_version,
            service=group.service,
            destination_namespace=group.destination_namespace,
            destination=group.destination_workload,
            destination_version=group.destination_version,
            requests=requests,
            reason=why.words,
            written=None if why.origin is None else written(why.origin, store),
        )

    counted = ((group, round(one.refused * found.heard)) for group, one in found.groups.items())
    ordered = sorted(counted, key=lambda one: (-one[1], one[0]))
    return tuple(told(group, requests) for group, requests in ordered if requests)


def _versions(mesh: Mesh | None, replicas: Iterable[Replica]) -> _Versions:
    """Who is selected, by workload and version: as it runs, or as it is written."""
    members = [(one.key, one.member) for one in (mesh.workloads.values() if mesh else ())]
    members += [(one.key.workload, one.member) for one in replicas]
    return {(key, dict(member.labels).get("version", "")): member for key, member in members}


def _over(mesh: Mesh | None, versions: _Versions, group: Group) -> Over:
    key = WorkloadKey(group.destination_namespace, group.destination_workload)
    member = versions.get((key, group.destination_version))
    if mesh is None or member is None:
        return NOTHING_OVER
    chosen = selection(mesh)
    called = mesh.services.get(group.service)
    return Over(
        policies=chosen.policies_over(member),
        authentications=tuple(
            one
            for one in chosen.request_authentications_over(member)
            if not one.targets or (called is not None and called.name in one.targets)
        ),
    )
