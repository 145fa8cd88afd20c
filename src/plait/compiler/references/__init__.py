"""Whether everything that is named exists.  Each thing that does not is a Finding; nothing here changes a Mesh."""

from __future__ import annotations

from collections.abc import Iterator

from plait.compiler.references import destinations, egress, policies, rate_limits, routes, services
from plait.compiler.references.policies import Known
from plait.compiler.selection import selection
from plait.compiler.sharing import Made
from plait.compiler.sights import Stated
from plait.model.finding import Finding
from plait.model.mesh import Mesh

__all__ = ["Known", "check"]


def check(mesh: Mesh, stated: Stated, known: Known, made: Made) -> Iterator[Finding]:
    """Every name that leads nowhere, in a Mesh and what it was made from; `made` knows what was found before."""
    selected = selection(mesh)
    there, settings = mesh.services, mesh.settings
    running = (mesh.members, mesh.workloads)

    def part(name: str, depends_on: tuple[object, ...], lazily: Iterator[Finding]) -> tuple[Finding, ...]:
        return made.of(("check", name), depends_on, lambda *_: tuple(lazily))

    yield from part("services", (there, *running), services.check(mesh, selected))
    seen = (there, mesh.common, mesh.sights)
    yield from part("hosts", (stated.owned, *seen), routes.check_hosts(mesh, stated.owned))
    yield from part("routes", seen, routes.check_backends(mesh))
    yield from part(
        "destinations",
        (stated.destinations, mesh.for_clients, there, mesh.peer_authentications, settings, *running),
        destinations.check(mesh, selected, (*stated.destinations, *mesh.for_clients)),
    )
    yield from part(
        "egress",
        (mesh.egress, there, mesh.common, mesh.sights, settings, *running),
        egress.check(mesh, selected),
    )
    yield from part(
        "policies", (mesh.policies, known, settings, *running), policies.check(mesh, selected, known)
    )
    yield from part(
        "peers", (mesh.peer_authentications, settings, *running), policies.check_peers(mesh, selected)
    )
    yield from part("limits", (mesh.rate_limits, there, *running), rate_limits.check(mesh, selected))
