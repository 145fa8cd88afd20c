"""Whether rollouts have something to try, somebody to ask and to tell, and traffic that is theirs to shift."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping

from plait.compiler.hosts import covers, hint, is_wildcard
from plait.compiler.references.findings import error, warning
from plait.compiler.sights import Stated
from plait.model.catalog import Service, Workload
from plait.model.finding import Finding
from plait.model.mesh import Mesh
from plait.model.names import ObjectRef, Origin
from plait.model.rollout import Canary, MetricTemplate, Plans
from plait.model.traffic import PortPolicies

_NOTHING = PortPolicies()
_VARIABLE = re.compile(r"\{\{-?\s*variables\.(\w+)\s*-?\}\}")


def check(mesh: Mesh, stated: Stated) -> Iterator[Finding]:
    """What is to be said about the Canaries of a Mesh."""
    plans = mesh.plans
    templates = {(one.namespace, one.name): one for one in plans.templates}
    providers = frozenset((one.namespace, one.name) for one in plans.providers)
    yield from _twice(plans)
    for canary in plans.canaries:
        yield from _asked(canary, templates)
        for alert in canary.analysis.alerts:
            if (alert.provider.namespace, alert.provider.name) not in providers:
                yield error(
                    "alert.unknown-provider", _missing(alert.provider), _at(alert.origin, "providerRef")
                )
        yield from _tried(mesh, canary)
        yield from _owners(mesh, stated, canary)


def _at(origin: Origin, field: str) -> Origin:
    return Origin(origin.ref, f"{origin.field}.{field}" if origin.field else field)


def _missing(ref: ObjectRef) -> str:
    return f"there is no {ref.kind} {ref.name} in namespace {ref.namespace}"


def _twice(plans: Plans) -> Iterator[Finding]:
    """Canaries whose target or service another one has already; the first by namespace and name holds."""
    targets: dict[Hashable, Canary] = {}
    hosts: dict[Hashable, Canary] = {}
    for canary in sorted(plans.canaries, key=lambda one: one.key):
        first = targets.setdefault(canary.target, canary)
        if first is not canary:
            message = f"{first.origin.ref} has the target {canary.target} already, and stays in force"
            yield error("canary.target-twice", message, _at(canary.origin, "spec.targetRef"))
            continue
        first = hosts.setdefault(canary.host, canary)
        if first is not canary:
            message = f"{first.origin.ref} shifts the traffic of {canary.host} already, and stays in force"
            yield error("canary.service-twice", message, _at(canary.origin, "spec.service"))


def _asked(canary: Canary, templates: Mapping[tuple[str, str], MetricTemplate]) -> Iterator[Finding]:
    """Templates that are not there, and variables that they ask for and are not given."""
    for metric in canary.analysis.metrics:
        if metric.template is None:
            continue
        template = templates.get((metric.template.namespace, metric.template.name))
        if template is None:
            yield error(
                "metric.unknown-template", _missing(metric.template), _at(metric.origin, "templateRef")
            )
            continue
        given = dict(metric.variables)
        without = sorted(set(_VARIABLE.findall(template.query)) - given.keys())
        if without:
            message = (
                f"{template.origin.ref} asks for {', '.join(without)}: write them into templateVariables"
            )
            yield error("metric.variables", message, metric.origin)


def _tried(mesh: Mesh, canary: Canary) -> Iterator[Finding]:
    """What is wrong with the workload that is tried and the service that is called for it."""
    target = mesh.plans.targets.get(canary.key) or mesh.workloads.get(canary.target)
    if target is None:
        message = f"there is no Workload {canary.target.name} in namespace {canary.namespace}"
        yield error("canary.unknown-target", message, _at(canary.origin, "spec.targetRef"))
    service = mesh.services.get(canary.host)
    if service is not None:
        yield from _called(canary, service, target)
    elif not canary.port:
        message = (
            f"there is no service {canary.host}{hint(canary.host, mesh.services)}, "
            "and no port is named to make one of"
        )
        yield error("canary.unknown-service", message, _at(canary.origin, "spec.service"))


def _called(canary: Canary, service: Service, target: Workload | None) -> Iterator[Finding]:
    at = _at(canary.origin, "spec.service")
    called = [one for one in service.ports if canary.port in (0, one.number)]
    if not called:
        ports = ", ".join(str(one.number) for one in service.ports)
        yield error("canary.unknown-port", f"{canary.host} has no port {canary.port}; it has {ports}", at)
    elif not any(one.protocol.may_be_http for one in called):
        message = f"requests of HTTP are shifted, and no port of {canary.host} that is meant is HTTP"
        yield error("canary.not-http", message, at)
    selected = target is not None and bool(service.selector) and set(service.selector) <= set(target.labels)
    if target is not None and not selected:
        message = f"{canary.host} does not select {target.origin.ref}: nothing of its traffic can be shifted"
        yield error("canary.not-behind", message, at)


def _owners(mesh: Mesh, stated: Stated, canary: Canary) -> Iterator[Finding]:
    """What the Canary says of routing where somebody else says it: the other's word holds."""
    if canary.rule is not None:
        for ref in sorted(_routing(stated, canary) - {canary.origin.ref}):
            message = f"{ref} routes {canary.host} as well, and stays in force: say there how it is routed"
            yield warning("canary.two-owners", message, _at(canary.origin, "spec.service"))
    if canary.policies is not None:
        told = (*stated.destinations, *mesh.for_clients)
        rules = {
            one.origin.ref for one in told if one.policies != _NOTHING and _means((one.host,), canary.host)
        }
        for ref in sorted(rules - {canary.origin.ref}):
            message = f"{ref} says how {canary.host} is called, and stays in force: say it there"
            yield warning("canary.two-owners", message, _at(canary.origin, "spec.service.trafficPolicy"))


def _routing(stated: Stated, canary: Canary) -> set[ObjectRef]:
    """Who else says how requests to the host are routed, at the port of the Canary if that has one."""
    owned = {one.origin.ref for one in stated.owned if _means(one.hosts, canary.host)}
    attached = {
        origin.ref
        for one in stated.attached
        if one.host == canary.host
        for table in one.tables
        if not canary.port or not table.ports or canary.port in table.ports
        for origin in table.origins
    }
    return owned | attached


def _means(hosts: Iterable[str], host: str) -> bool:
    return any(covers(one, host) if is_wildcard(one) else one == host for one in hosts)
