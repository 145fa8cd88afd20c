"""Services that the proxies themselves call: the hosts of them, by any of their names."""

from __future__ import annotations

from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.names import CLUSTER_DOMAIN, is_dns_label, service_host

_SHOWN = 80


def callee(text: str, namespace: str) -> str:
    """The full host of a Service that is named somehow (`keys`, `keys.bistro`, ...); "" when it can't be one."""
    parts = (
        text.lower().removesuffix(".").removesuffix(f".svc.{CLUSTER_DOMAIN}").removesuffix(".svc").split(".")
    )
    if not all(is_dns_label(part) for part in parts):
        return ""
    match parts:
        case [name]:
            return service_host(namespace, name)
        case [name, place]:
            return service_host(place, name)
        case _:
            return ""


def service(cursor: Cursor, subject: Subject) -> str:
    """The full host of the service that a provider is (`[NAMESPACE/]HOST`); "" and an error when it is none."""
    text = cursor.text()
    place, slash, name = text.rpartition("/")
    found = callee(name, place or subject.namespace) if "/" not in place else ""
    if not text and not cursor.error_count():
        cursor.error("field.required", "a service is missing, such as checks.bistro.svc.cluster.local")
    elif text and (not found or (slash and f".{place}.svc." not in found)):
        cursor.error("provider.service", f"{text[:_SHOWN]!r} is no Service of the mesh")
        return ""
    return found
