"""Whether rate limits reach anybody, and requests that they can count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from plait.compiler.protocols import spoken
from plait.compiler.selection import Selection
from plait.model.catalog import Workload
from plait.model.finding import Finding, Severity
from plait.model.limits import LimitTarget, RateLimit, TargetKind
from plait.model.mesh import Mesh
from plait.model.names import WorkloadKey, service_host


def check(mesh: Mesh, selected: Selection) -> Iterator[Finding]:
    """What is to be said about the rate limits of a Mesh."""
    for one in mesh.rate_limits:
        target = one.target
        if target is not None and not _is_there(mesh, one.namespace, target):
            message = f"there is no {target.kind} {target.name} in namespace {one.namespace}"
            yield _finding(Severity.ERROR, "limit.unknown-target", message, one)
        elif one.selector and not selected.members.selected(one.namespace, one.selector):
            message = "no workload has the labels that it selects"
            yield _finding(Severity.WARNING, "limit.no-workloads", message, one)
        workloads = _limited(mesh, selected, one)
        without = [str(workload.key) for workload in workloads if not _counts(selected, workload, target)]
        if without:
            message = f"requests of HTTP are counted, and no port of {', '.join(without)} is HTTP: nothing is limited there"
            chosen = target is not None or bool(one.selector)
            yield _finding(Severity.WARNING if chosen else Severity.INFO, "limit.not-http", message, one)


def _finding(severity: Severity, code: str, message: str, limits: RateLimit) -> Finding:
    return Finding(severity, code, message, limits.origin.ref, limits.origin.field)


def _is_there(mesh: Mesh, namespace: str, target: LimitTarget) -> bool:
    if target.kind is TargetKind.WORKLOAD:
        return WorkloadKey(namespace, target.name) in mesh.workloads
    return service_host(namespace, target.name) in mesh.services


def _limited(mesh: Mesh, selected: Selection, limits: RateLimit) -> Sequence[Workload]:
    """The workloads, as they are documented, that rate limits are over."""
    namespace, target = limits.namespace, limits.target
    if target is None and not limits.selector:
        return selected.workloads.inside.get(namespace, ())
    if target is None:
        return selected.workloads.selected(namespace, limits.selector)
    if target.kind is TargetKind.WORKLOAD:
        workload = mesh.workloads.get(WorkloadKey(namespace, target.name))
        return () if workload is None else (workload,)
    service = mesh.services.get(service_host(namespace, target.name))
    return () if service is None else selected.workloads.selected(namespace, service.selector)


def _counts(selected: Selection, workload: Workload, target: LimitTarget | None) -> bool:
    """Whether requests may come to one of the ports that limits for a target are over, if there are any."""
    services = selected.services.selecting(workload.namespace, workload.labels)
    said = []
    for own in workload.process.ports:
        leading = [
            (service.name, port.protocol)
            for service in services
            for port in service.ports
            if port.target in (own.number, own.name)
        ]
        if target is None or target.kind is TargetKind.WORKLOAD or target.name in dict(leading):
            said.append(spoken(own.protocol, (protocol for _, protocol in leading)))
    return not said or any(protocol.may_be_http for protocol in said)
