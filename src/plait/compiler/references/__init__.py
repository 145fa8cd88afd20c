"""Whether everything that is named exists.  Each thing that does not is a Finding; nothing here changes a Mesh."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from plait.compiler.references import (
    asking,
    destinations,
    egress,
    policies,
    rate_limits,
    rollouts,
    routes,
    services,
    telemetry,
)
from plait.compiler.references.policies import Known
from plait.compiler.selection import Selection, selection
from plait.compiler.sharing import Made
from plait.compiler.sights import Stated
from plait.model.finding import Finding
from plait.model.mesh import Mesh
from plait.model.policy import Action

_Part = Callable[[str, tuple[object, ...], Iterator[Finding]], tuple[Finding, ...]]

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
        "policies", (mesh.policies, known, settings, there, *running), policies.check(mesh, selected, known)
    )
    yield from part(
        "peers", (mesh.peer_authentications, settings, *running), policies.check_peers(mesh, selected)
    )
    yield from part("limits", (mesh.rate_limits, there, *running), rate_limits.check(mesh, selected))
    if mesh.plans.canaries:
        tried = (mesh.plans, there, mesh.workloads, mesh.for_clients)
        others = (stated.owned, stated.attached, stated.destinations)
        yield from part("rollouts", (*tried, *others), rollouts.check(mesh, stated))
    yield from _asked(mesh, selected, part)


def _asked(mesh: Mesh, selected: Selection, part: _Part) -> Iterator[Finding]:
    """Of those whom proxies call themselves, to ask or to tell them something; most often there are none."""
    about = (mesh.services, mesh.settings)
    seen = (*about, mesh.common, mesh.sights, mesh.egress, mesh.for_clients, mesh.members, mesh.workloads)
    if mesh.request_authentications:
        tokens = (mesh.request_authentications, *seen)
        yield from part("tokens", tokens, asking.check_tokens(mesh, selected))
    if mesh.mesh_configs:
        configs = (mesh.mesh_configs, *about)
        yield from part("configs", configs, asking.check_configs(mesh))
        yield from part("providers", configs, telemetry.check_providers(mesh))
    if mesh.telemetries:
        told = (mesh.telemetries, mesh.mesh_configs, *seen)
        yield from part("telemetry", told, telemetry.check(mesh, selected))
    if any(policy.action is Action.CUSTOM for policy in mesh.policies):
        custom = (mesh.policies, mesh.mesh_configs, *seen)
        yield from part("custom", custom, asking.check_custom(mesh, selected))
