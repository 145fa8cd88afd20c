"""parentRefs: the Services that a route is attached to."""

from __future__ import annotations

from plait.dialects.checks import port_number
from plait.dialects.gateway_api.bounds import bounded, items
from plait.dialects.gateway_api.services import GROUP, SERVICE, host_of, kind_of, told
from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.routing import Parent

_MOST_PARENTS = 32
_MOST_HOSTNAMES = 16
_LONGEST_NAME = 253
_GATEWAY = (GROUP, "Gateway")


def parents(spec: Cursor, subject: Subject) -> tuple[Parent, ...]:
    """The Services that a route is attached to; whatever else it names is told, and does not keep it from these."""
    cursor = spec.at("parentRefs")
    found: dict[tuple[str, int, str], Parent] = {}
    for item in items(cursor, _MOST_PARENTS):
        parent = _parent(item, subject)
        if parent is None:
            continue
        first = found.setdefault((parent.host, parent.port, parent.section), parent)
        if first is not parent:
            item.error("parent.twice", f"another of the parentRefs is the same: {first.origin.field}")
    if not cursor.value and not cursor.error_count():
        cursor.warn(
            "parent.none", "without parentRefs it is attached to nothing, and nothing is routed by it"
        )
    _hostnames(spec.at("hostnames"), attached=bool(found))
    return tuple(found.values())


def _parent(item: Cursor, subject: Subject) -> Parent | None:
    kind = kind_of(item, _GATEWAY)
    host = host_of(item, subject)
    section = bounded(item.at("sectionName"), _LONGEST_NAME)
    port = port_number(item.at("port")) if item.has("port") else 0
    if item.error_count():
        return None
    if kind == _GATEWAY:
        message = "Plait has no gateways yet: write group: '' and kind: Service to attach it to a Service"
        item.warn("parent.gateway", message)
        return None
    if kind != SERVICE:
        hint = "; the group of Services is ''" if kind[1] == SERVICE[1] else ""
        item.error("parent.kind", f"nothing can be attached to a {told(kind)}{hint}")
        return None
    return Parent(host=host, port=port, section=section, origin=subject.origin(item))


def _hostnames(cursor: Cursor, *, attached: bool) -> None:
    """Hostnames are for gateways: the specification leaves them without effect on what is attached to Services."""
    for item in items(cursor, _MOST_HOSTNAMES):
        item.is_text()
    if cursor.value and attached and not cursor.error_count():
        message = "they do not choose among requests to a Service: match the header Host for that"
        cursor.warn("hostnames.no-effect", message)
