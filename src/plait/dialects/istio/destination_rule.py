"""DestinationRule: the subsets of a host."""

from __future__ import annotations

from collections.abc import Iterator

from plait.dialects.checks import dns_label, labels
from plait.dialects.istio.shared import VERSIONS, host
from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.reading import Fact
from plait.model.routing import DestinationSettings, Subset


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    name = host(spec.at("host"), subject.namespace)
    subsets = tuple(_subsets(spec.at("subsets"), subject))
    if not name:
        return ()
    return (DestinationSettings(host=name, subsets=subsets, origin=subject.origin(root)),)


def _subsets(cursor: Cursor, subject: Subject) -> Iterator[Subset]:
    """The subsets that can be read; one whose labels can't be is left out rather than made wider."""
    seen: set[str] = set()
    for item in cursor.each():
        name = dns_label(item.at("name"), "name of a subset")
        selected = labels(item.at("labels"))
        if name in seen:
            item.at("name").error("subset.duplicate", f"another subset is named {name!r}")
        if not selected and not item.at("labels").error_count():
            item.at("labels").warn("subset.no-labels", "a subset without labels is the whole of its host")
        if not item.error_count():
            seen.add(name)
            yield Subset(name=name, labels=selected, origin=subject.origin(item))


DESTINATION_RULE = Kind(
    group="networking.istio.io",
    name="DestinationRule",
    versions=VERSIONS,
    read=read,
    unsupported=(
        "spec.exportTo",
        "spec.trafficPolicy",
        "spec.workloadSelector",
        "spec.subsets[].trafficPolicy",
    ),
)
