"""DestinationRule: the subsets of a host, and how it is called."""

from __future__ import annotations

from collections.abc import Iterator

from plait.dialects.checks import dns_label, labels
from plait.dialects.exports import export
from plait.dialects.istio.shared import VERSIONS, host
from plait.dialects.istio.traffic_policies import policies
from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.reading import Fact
from plait.model.traffic import DestinationSettings, Subset

_UNSUPPORTED = (
    "tls",
    "loadBalancer.localityLbSetting",
    "loadBalancer.consistentHash.httpCookie.attributes",
    "connectionPool.http.h2UpgradePolicy",
    "connectionPool.tcp.idleTimeout",
    "connectionPool.http.useClientProtocol",
    "tunnel",
    "proxyProtocol",
)


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    name = host(spec.at("host"), subject.namespace)
    subsets = tuple(_subsets(spec.at("subsets"), subject))
    found = policies(spec.at("trafficPolicy"))
    exported = export(spec.at("exportTo"), subject.namespace)
    if not name:
        return ()
    return (
        DestinationSettings(
            host=name, subsets=subsets, policies=found, export=exported, origin=subject.origin(root)
        ),
    )


def _subsets(cursor: Cursor, subject: Subject) -> Iterator[Subset]:
    """The subsets that can be read; one whose labels can't be is left out rather than made wider."""
    seen: set[str] = set()
    for item in cursor.each():
        name = dns_label(item.at("name"), "name of a subset")
        selected = labels(item.at("labels"))
        policy_errors = item.at("trafficPolicy")
        found = policies(policy_errors)
        if name in seen:
            item.at("name").error("subset.duplicate", f"another subset is named {name!r}")
        if not selected and not item.at("labels").error_count():
            item.at("labels").warn("subset.no-labels", "a subset without labels is the whole of its host")
        if item.error_count() == policy_errors.error_count():
            seen.add(name)
            yield Subset(name=name, labels=selected, policies=found, origin=subject.origin(item))


DESTINATION_RULE = Kind(
    group="networking.istio.io",
    name="DestinationRule",
    versions=VERSIONS,
    read=read,
    unsupported=(
        "spec.workloadSelector",
        *(
            f"{where}.{field}"
            for where in ("spec.trafficPolicy", "spec.subsets[].trafficPolicy")
            for field in _UNSUPPORTED
        ),
        *(
            f"{where}.portLevelSettings[].{field}"
            for where in ("spec.trafficPolicy", "spec.subsets[].trafficPolicy")
            for field in _UNSUPPORTED[:-2]
        ),
    ),
)
