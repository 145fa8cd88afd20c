"""Sidecar: whom workloads call at all, and whether they may call what the mesh does not know."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from plait.dialects.checks import labels
from plait.dialects.istio.shared import VERSIONS, host
from plait.dialects.kind import Kind, Subject
from plait.model.catalog import Labels
from plait.model.document import Cursor
from plait.model.names import is_dns_label
from plait.model.reading import Fact
from plait.model.scope import EgressHosts, EgressScope
from plait.model.settings import OutboundTrafficPolicy

_SHOWN = 80


class _Namespace(StrEnum):
    """What stands for a namespace before the slash."""

    ANY = "*"
    OWN = "."
    NONE = "~"


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    selector = _selector(spec.at("workloadSelector"))
    hosts = _egress(spec.at("egress"), subject)
    policy = _policy(spec.at("outboundTrafficPolicy"))
    if selector is None:
        spec.at("workloadSelector").error("sidecar.left-out", "left out: whom it is for can't be read")
        return ()
    return (
        EgressScope(
            namespace=subject.namespace,
            selector=selector,
            hosts=hosts,
            outbound_traffic_policy=policy,
            origin=subject.origin(root),
        ),
    )


def _selector(cursor: Cursor) -> Labels | None:
    """The labels of the workloads that it is for; () for all of the namespace, None when it can't be read."""
    found = labels(cursor.at("labels"))
    return None if cursor.error_count() or cursor.unread() else found


def _egress(cursor: Cursor, subject: Subject) -> tuple[EgressHosts, ...] | None:
    """The hosts that are called; None when nothing is said of them."""
    if not cursor.value:
        return None
    found: list[EgressHosts] = []
    for item in cursor.each():
        for field in ("port", "bind", "captureMode"):
            if item.has(field):
                message = "not honoured: the hosts beside it are called at every port"
                item.at(field).warn("field.unsupported", message)
        hosts = item.at("hosts")
        if not hosts.value and not hosts.error_count():
            hosts.error("field.required", "hosts are missing, such as ./* or bistro/reservations")
        found += _hosts(hosts, subject)
    return tuple(found)


def _hosts(cursor: Cursor, subject: Subject) -> Iterator[EgressHosts]:
    for item in cursor.each():
        namespace, slash, name = item.text().partition("/")
        if not slash or "/" in name:
            if item.is_text():
                item.error("egress.invalid", f"{item.value[:_SHOWN]!r} is not of the form NAMESPACE/HOST")
            continue
        if namespace == _Namespace.NONE:
            continue
        if namespace not in (_Namespace.ANY, _Namespace.OWN) and not is_dns_label(namespace):
            item.error("egress.invalid", f"{namespace[:_SHOWN]!r} is no namespace, nor one of . * ~")
            continue
        place = subject.namespace if namespace == _Namespace.OWN else namespace
        written = Cursor(name, item.path, item.reading)
        found = name if name == "*" else host(written, subject.namespace if place == "*" else place)
        if found:
            yield EgressHosts(namespace=place, host=found, origin=subject.origin(item))


def _policy(cursor: Cursor) -> OutboundTrafficPolicy | None:
    mode = cursor.at("mode")
    if not mode.present:
        return None
    found = mode.choice(OutboundTrafficPolicy, OutboundTrafficPolicy.REGISTRY_ONLY)
    return OutboundTrafficPolicy.REGISTRY_ONLY if mode.error_count() else found


SIDECAR = Kind(
    group="networking.istio.io",
    name="Sidecar",
    versions=VERSIONS,
    read=read,
    unsupported=(
        "spec.ingress",
        "spec.inboundConnectionPool",
        "spec.outboundTrafficPolicy.egressProxy",
    ),
)
