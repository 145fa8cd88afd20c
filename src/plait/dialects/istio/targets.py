"""targetRefs of a policy: the services whose workloads it is for."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from plait.dialects.checks import dns_label
from plait.model.document import Cursor


class _Kind(StrEnum):
    SERVICE = "Service"
    GATEWAY = "Gateway"
    GATEWAY_CLASS = "GatewayClass"
    SERVICE_ENTRY = "ServiceEntry"


def services(spec: Cursor, namespace: str) -> tuple[str, ...]:
    """The names of the services of `namespace` that are named; errors say what else stands there."""
    found = [*_named(spec.at("targetRefs"), namespace)]
    if spec.has("targetRef"):
        found += _one(spec.at("targetRef"), namespace)
    if (spec.has("targetRefs") or spec.has("targetRef")) and spec.has("selector"):
        spec.at("targetRefs").error("policy.target", "a selector or targets say whom it is for, and not both")
    return tuple(dict.fromkeys(found))


def _named(cursor: Cursor, namespace: str) -> Iterator[str]:
    for item in cursor.each():
        yield from _one(item, namespace)


def _one(item: Cursor, namespace: str) -> Iterator[str]:
    kind = item.at("kind").choice(_Kind, _Kind.SERVICE)
    if not item.has("kind"):
        item.at("kind").error("field.required", "a kind is missing: Service")
    group = item.at("group").text()
    where = item.at("namespace").text(namespace)
    if kind is not _Kind.SERVICE:
        item.error("policy.target", f"there is no {kind} in a mesh of sidecars: name a Service")
        item.at("name").text()
        return
    if group not in ("", "core"):
        item.at("group").error(
            "policy.target", f"{group[:80]!r} is not the group of a Service: leave it away"
        )
    if where != namespace:
        item.at("namespace").error("policy.target", "a target is in the namespace of its policy")
    name = dns_label(item.at("name"), "name of a Service")
    if name:
        yield name
