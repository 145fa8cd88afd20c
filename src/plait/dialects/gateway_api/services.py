"""References to Services, by group, kind, namespace and name."""

from __future__ import annotations

from plait.dialects.checks import dns_label
from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.names import service_host

GROUP = "gateway.networking.k8s.io"
"""Of the kinds of the Gateway API."""

SERVICE = ("", "Service")


def kind_of(cursor: Cursor, default: tuple[str, str]) -> tuple[str, str]:
    """(group, kind) of a reference."""
    return cursor.at("group").text(default[0]), cursor.at("kind").text(default[1])


def host_of(cursor: Cursor, subject: Subject) -> str:
    """The host of the Service that a reference names; "" and errors when it names none."""
    name = dns_label(cursor.at("name"), "name of a Service")
    namespace = cursor.at("namespace")
    place = dns_label(namespace, "name of a namespace") if namespace.present else subject.namespace
    return service_host(place, name) if name and place else ""


def told(kind: tuple[str, str]) -> str:
    """A kind, as a message names it."""
    group, name = kind
    return f"{name} of {group or 'the core API'}"
