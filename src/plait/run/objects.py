"""An object as it stands in its file, for who asks where something is said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from plait.api.services import ObjectView
from plait.api.targets import NotFound
from plait.explain.phrases import few
from plait.model.change import Located
from plait.model.names import ObjectRef, Origin
from plait.run.places import written
from plait.sources.files.excerpt import Excerpt, excerpt, rendered
from plait.sources.files.parse import MOST_BYTES
from plait.sources.store import Store

_NAMED = 20


def shown(store: Store, kind: str, namespace: str, name: str) -> ObjectView:
    """An object with its comments, or, when its file says something else by now, as it was read.

    NotFound; ValueError for a Secret, which is shown to nobody.  Of several groups with such a kind it is the first.
    """
    if kind == "Secret":
        raise ValueError("what a Secret says is not shown")
    refs = {one.document.ref: one for one in store.documents() if one.document.ref.kind == kind}
    found = next((one for ref, one in refs.items() if (ref.namespace, ref.name) == (namespace, name)), None)
    if found is None:
        raise NotFound(
            f"there is no {ObjectRef('', kind, namespace, name)} written here; {_known(refs, kind)}"
        )
    stands = _now(found)
    place = written(Origin(found.document.ref), store)
    if stands is None:
        return ObjectView(written=place, text=rendered(found.document.value))
    return ObjectView(written=replace(place, line=stands.line), text=stands.text)


def _known(refs: Iterable[ObjectRef], kind: str) -> str:
    names = [f"{ref.namespace}/{ref.name}" if ref.namespace else ref.name for ref in refs]
    return f"there are {few(names, _NAMED)}" if names else f"no {kind} is"


def _now(located: Located) -> Excerpt | None:
    """What its file says of it now."""
    path = Path(located.file)
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            text = file.read(MOST_BYTES).decode("utf-8-sig")
    except (OSError, ValueError):
        return None
    return excerpt(located, text)
