"""Whether workloads are behind services, and listen where these lead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from plait.compiler.references.findings import warning
from plait.compiler.selection import Selection
from plait.model.catalog import Protocol, Service, ServicePort, Workload
from plait.model.finding import Finding, Severity
from plait.model.mesh import Mesh
from plait.model.rollout import REVISION_LABEL


def check(mesh: Mesh, selected: Selection) -> Iterator[Finding]:
    """Services without workloads, and ports that lead to none; what is said of one is not said again of its versions."""
    for service in mesh.services.values():
        if all(name != REVISION_LABEL for name, _ in service.selector):
            yield from _service(service, selected)


def _service(service: Service, selected: Selection) -> Iterator[Finding]:
    if not selected.behind(service):
        message = "no workload has the labels that this service selects"
        if not service.selector:
            message = "without a selector this service has no workloads"
        yield warning("service.no-workloads", message, service.origin)
    workloads = selected.workloads.selected(service.namespace, service.selector)
    for port in service.ports:
        if port.protocol is not Protocol.UDP:  # its dialect has said that UDP is not carried
            yield from _service_port(service, port, workloads)


def _service_port(service: Service, port: ServicePort, workloads: Iterable[Workload]) -> Iterator[Finding]:
    without = []
    for workload in workloads:
        target = next((one for one in workload.process.ports if port.target in (one.number, one.name)), None)
        if target is None:
            without.append(workload)
        elif Protocol.UNDECLARED in (target.protocol, port.protocol):
            pass  # what the other says holds
        elif target.protocol.is_http != port.protocol.is_http:
            message = (
                f"port {port.number} is {port.protocol} here and {target.protocol} in {workload.key}: "
                "declare one protocol on both"
            )
            yield warning("service.protocol-conflict", message, service.origin)
    if without:
        keys = ", ".join(str(workload.key) for workload in without)
        message = f"port {port.number} leads to port {port.target}, which {keys} does not declare"
        yield warning("service.unknown-target-port", message, service.origin)
    if not port.protocol.is_http:
        message = (
            f"port {port.number} is {port.protocol}: in explicit mode only what is declared as HTTP is called "
            "through the mesh; name it http, http2 or grpc if it is one"
        )
        yield Finding(Severity.INFO, "port.tcp-explicit", message, service.origin.ref, service.origin.field)
