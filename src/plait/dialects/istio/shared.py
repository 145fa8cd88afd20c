"""What the kinds of Istio share: their versions, selectors, hosts."""

from __future__ import annotations

import re
from ipaddress import ip_address

from plait.dialects.checks import labels
from plait.model.catalog import Labels
from plait.model.document import Cursor
from plait.model.names import is_dns_label, qualify

VERSIONS = ("v1", "v1beta1", "v1alpha3")
"""The schema is the same in all of them."""

SECURITY_VERSIONS = ("v1", "v1beta1")

_SHOWN = 80
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9_]{0,61}[a-z0-9])?\Z")


def selector(spec: Cursor) -> Labels | None:
    """The labels of the workloads that a policy is for; () for all of the namespace, None when it can't be read."""
    cursor = spec.at("selector")
    if not cursor.present and not cursor.error_count():
        return () if not spec.error_count() else None
    found = labels(cursor.at("matchLabels"))
    if cursor.error_count() or cursor.unread():
        return None
    if not found:
        cursor.warn("selector.empty", "a selector without labels stands for every workload of the namespace")
    return found


def host(cursor: Cursor, namespace: str) -> str:
    """A host of a Service, fully qualified; "" and an error when it can't be one."""
    text = cursor.text()
    if not text:
        if not cursor.error_count():
            cursor.error("field.required", "a host is missing")
        return ""
    name = text.lower().removesuffix(".")
    if _is_address(name):
        return name
    if not _is_host(name):
        port = "; a host has no port" if ":" in name else ""
        cursor.error("host.invalid", f"{text[:_SHOWN]!r} is no host{port}")
        return ""
    return qualify(name, namespace)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_host(name: str) -> bool:
    first, *rest = name.split(".")
    wildcard = first == "*" or (first.startswith("*-") and is_dns_label(first[2:]))
    return (
        len(name) <= 253
        and (wildcard or bool(_LABEL.match(first)))
        and all(_LABEL.match(part) for part in rest)
    )
