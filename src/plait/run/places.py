"""Where something is written, as the API says it."""

from __future__ import annotations

from plait.api.views import Written
from plait.model.names import Origin
from plait.sources.store import Store


def written(origin: Origin, store: Store) -> Written:
    """The object and field that made something, and where they stand now, as far as anybody knows."""
    ref = origin.ref
    place = store.place(ref, origin.field)
    return Written(
        kind=ref.kind,
        namespace=ref.namespace,
        name=ref.name,
        field=origin.field,
        file=place.file if place else "",
        line=place.line if place else 0,
    )
