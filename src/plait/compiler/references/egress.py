"""Whether egress scopes select anybody, and name what is there."""

from __future__ import annotations

from collections.abc import Iterator

from plait.compiler.hosts import (
    covers_egress,
    hint,
)
from plait.compiler.references.findings import error, warning
from plait.compiler.selection import Selection
from plait.model.finding import Finding
from plait.model.mesh import Mesh
from plait.model.scope import EgressHosts, EgressScope
from plait.model.settings import OutboundTrafficPolicy


def check(mesh: Mesh, selected: Selection) -> Iterator[Finding]:
    """Egress scopes for nobody, said twice, or of what is not there."""
    root = mesh.settings.root_namespace
    whole: dict[str, EgressScope] = {}
    for one in mesh.egress:
        if one.selector and one.namespace == root:
            message = (
                f"it has no effect: in {root} a selector is not looked at, say it where the workloads are"
            )
            yield error("sidecar.selector-in-root", message, one.origin)
            continue
        if one.selector and not selected.members.selected(one.namespace, one.selector):
            message = "no workload has the labels that this selects"
            yield warning("sidecar.no-workloads", message, one.origin)
        first = whole.setdefault(one.namespace, one) if not one.selector else one
        if first is not one:
            message = f"{first.origin.ref} already says it for the whole namespace and stays in force"
            yield error("sidecar.said-twice", message, one.origin)
        yield from _way_out(mesh, one)
        for hosts in one.hosts or ():
            if not _names_any(mesh, hosts):
                message = f"there is nothing to call like {hosts.namespace}/{hosts.host}{hint(hosts.host, mesh.services)}"
                yield warning("egress.unknown-host", message, hosts.origin)


def _names_any(mesh: Mesh, hosts: EgressHosts) -> bool:
    named = ((one.namespace, host) for host, one in mesh.services.items())
    routed = (
        (origin.ref.namespace, host)
        for sight in mesh.every_sight
        for host, tables in sight.routes.items()
        for table in tables
        for origin in table.origins
    )
    return any(covers_egress(hosts, namespace, host) for namespace, host in (*named, *routed))


def _way_out(mesh: Mesh, one: EgressScope) -> Iterator[Finding]:
    """Of a policy for what is outside that is another than the mesh's: what of it can't hold."""
    wanted, given = one.outbound_traffic_policy, mesh.settings.outbound_traffic_policy
    if wanted in (None, given):
        return
    message = "a mesh that is started with REGISTRY_ONLY has no way out: start it with ALLOW_ANY"
    if wanted is OutboundTrafficPolicy.REGISTRY_ONLY:
        message = (
            "what is sent over UDP still gets out: only a mesh that is started with REGISTRY_ONLY shuts it in"
        )
    yield warning("sidecar.outbound-policy", message, one.origin)
