"""backendRefs: whom a rule sends to.  Whoever can't be sent to keeps its share, which is answered by nobody."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from plait.dialects.checks import port_number
from plait.dialects.gateway_api.bounds import items
from plait.dialects.gateway_api.filters import FilterKind, backend_changes
from plait.dialects.gateway_api.services import SERVICE, host_of, kind_of, told
from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.routing import Backend

_MOST_BACKENDS = 16
MOST_WEIGHT = 1_000_000


def backends(
    cursor: Cursor, subject: Subject, kinds: Collection[FilterKind], nobody_status: int
) -> Iterator[Backend]:
    """A backend for each that is written; `kinds` are the filters that are honoured there."""
    for item in items(cursor, _MOST_BACKENDS):
        yield _backend(item, subject, kinds, nobody_status)


def _backend(item: Cursor, subject: Subject, kinds: Collection[FilterKind], nobody_status: int) -> Backend:
    weight = item.at("weight").integer(1, least=0, most=MOST_WEIGHT)
    changes = backend_changes(item.at("filters"), kinds)
    kind = kind_of(item, SERVICE)
    host, port = "", 0
    if kind == SERVICE:
        host, port = host_of(item, subject), port_number(item.at("port"))
    else:
        for field in ("name", "namespace", "port"):
            item.at(field).ignore()
    if item.error_count() or item.unread():
        message = f"it can't be read: its share of the requests is answered {nobody_status}"
        item.error("backend.left-out", message)
    elif kind != SERVICE:
        message = (
            f"nothing can be sent to a {told(kind)}: its share of the requests is answered {nobody_status}"
        )
        item.error("backend.kind", message)
    if item.error_count():
        return Backend(host="", weight=weight, origin=subject.origin(item))
    return Backend(host=host, port=port, weight=weight, changes=changes, origin=subject.origin(item))
