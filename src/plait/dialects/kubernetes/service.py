"""Service: the host that clients call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

from plait.dialects.checks import labels, port_number
from plait.dialects.exports import exported
from plait.dialects.kind import Kind, Subject
from plait.dialects.protocols import UNDECLARED, declared
from plait.model.catalog import Protocol, Service, ServicePort
from plait.model.document import Cursor
from plait.model.names import Export, is_dns_label
from plait.model.reading import Fact

_IGNORED = (
    "allocateLoadBalancerNodePorts",
    "clusterIPs",
    "healthCheckNodePort",
    "ipFamilies",
    "ipFamilyPolicy",
    "loadBalancerClass",
)
"""Fields that concern addresses which a mesh has no use for."""

_EXPORT = "networking.istio.io/exportTo"

_HARMLESS = {
    "sessionAffinity": "None",
    "internalTrafficPolicy": "Cluster",
    "externalTrafficPolicy": "Cluster",
}
"""Fields that ask for nothing when they have these values."""

_PORT_NAME = re.compile(r"(?=.*[a-z])[a-z0-9](?:-?[a-z0-9])*\Z")


class _Type(StrEnum):
    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL_NAME = "ExternalName"


class _Transport(StrEnum):
    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    if not is_dns_label(subject.name):
        message = "the name of a Service is lower case letters, digits and - between them, 63 at most"
        root.at("metadata").at("name").error("name.invalid", message)
    headless = spec.at("clusterIP").text() == "None"
    _read_harmless(spec)
    kind = _type(spec.at("type"))
    ports = tuple(_ports(spec.at("ports")))
    if not ports and not headless and not spec.at("ports").error_count():
        spec.at("ports").error("field.required", "a Service has at least one port")
    selector = labels(spec.at("selector"))
    unusable = spec.at("selector").error_count() or spec.at("clusterIP").error_count()
    if kind in (None, _Type.EXTERNAL_NAME) or unusable or not is_dns_label(subject.name):
        return ()
    service = Service(
        namespace=subject.namespace,
        name=subject.name,
        ports=ports,
        selector=selector,
        headless=headless,
        export=_export(root, subject),
        origin=subject.origin(root),
    )
    return (service,)


def _export(root: Cursor, subject: Subject) -> Export:
    """Who sees the service, by Istio's annotation."""
    cursor = root.at("metadata").at("annotations").at(_EXPORT)
    names = [name.strip() for name in cursor.text().split(",") if name.strip()]
    return exported(cursor, names, subject.namespace)


def _type(cursor: Cursor) -> _Type | None:
    """The type of a Service, None when it can't be honoured."""
    kind = cursor.choice(_Type, _Type.CLUSTER_IP)
    if cursor.error_count():
        return None
    if kind is _Type.EXTERNAL_NAME:
        cursor.error("service.type", "an ExternalName has no workloads: Plait can't route to it yet")
    elif kind is not _Type.CLUSTER_IP:
        cursor.warn(
            "service.type", f"{kind} opens nothing to the outside here: inside the mesh it is a ClusterIP"
        )
    return kind


def _read_harmless(spec: Cursor) -> None:
    for field in _IGNORED:
        spec.at(field).ignore()
    for field, harmless in _HARMLESS.items():
        if spec.at(field).text(harmless) != harmless:
            spec.at(field).warn("field.unsupported", f"Plait does not honour it yet: taken as {harmless}")
    if spec.at("publishNotReadyAddresses").boolean():
        message = "Plait does not honour it yet: only ready replicas are called"
        spec.at("publishNotReadyAddresses").warn("field.unsupported", message)


def _ports(cursor: Cursor) -> Iterator[ServicePort]:
    items = list(cursor.each())
    names: set[str] = set()
    numbers: set[tuple[int, bool]] = set()
    for item in items:
        port = _port(item)
        if port is None:
            continue
        number = (port.number, port.protocol is Protocol.UDP)
        if port.name in names:
            item.at("name").error("port.duplicate", f"another port is named {port.name!r}")
        elif number in numbers:
            item.at("port").error("port.duplicate", f"another port has the number {port.number}")
        elif not port.name and len(items) > 1:
            item.at("name").error("field.required", "of several ports each needs a name")
        else:
            names.add(port.name)
            numbers.add(number)
            yield port


def _port(item: Cursor) -> ServicePort | None:
    number = port_number(item.at("port"))
    name = item.at("name").text()
    if len(name) > 63 or (name and not _PORT_NAME.match(name)):
        item.at("name").error(
            "name.invalid", "the name of a port is lower case letters, digits and -, 63 at most"
        )
    app_protocol = item.at("appProtocol").text()
    transport = item.at("protocol").choice(_Transport, _Transport.TCP)
    item.at("nodePort").ignore()
    target = _target(item.at("targetPort"), number)
    if transport is _Transport.SCTP:
        item.at("protocol").error("port.protocol", "SCTP is not carried by the mesh")
    if item.error_count():
        return None
    if transport is _Transport.UDP:
        item.at("protocol").warn("port.udp", f"UDP port {number} is not carried by the proxies")
        return ServicePort(name=name, number=number, protocol=Protocol.UDP, target=target)
    protocol = declared(name, app_protocol, number)
    if protocol is None or protocol is Protocol.UDP:
        # No UDP it is, whatever its name says: the field protocol has the last word about that.
        item.warn("port.protocol-undeclared", f"port {number} {UNDECLARED}")
        protocol = Protocol.UNDECLARED
    return ServicePort(name=name, number=number, protocol=protocol, target=target)


def _target(cursor: Cursor, number: int) -> int | str:
    """The number or the name of the workload's port; the Service's own number when nothing is said."""
    if not isinstance(cursor.value, str):
        return cursor.integer(number, least=1, most=65535)
    if len(cursor.value) > 63 or not _PORT_NAME.match(cursor.value):
        hint = "; take the quotes away" if cursor.value.isdecimal() else ""
        cursor.error("name.invalid", f"{cursor.value[:80]!r} is no name of a port{hint}")
    return cursor.value


SERVICE = Kind(
    group="",
    name="Service",
    versions=("v1",),
    read=read,
    unsupported=(
        "spec.externalIPs",
        "spec.externalName",
        "spec.loadBalancerIP",
        "spec.loadBalancerSourceRanges",
        "spec.sessionAffinityConfig",
        "spec.topologyKeys",
        "spec.trafficDistribution",
    ),
)
