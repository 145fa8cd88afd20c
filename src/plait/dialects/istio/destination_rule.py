"""DestinationRule: the subsets of a host, and how it is called."""

from __future__ import annotations

from collections.abc import Iterator

from plait.dialects.checks import dns_label, labels
from plait.dialects.exports import export
from plait.dialects.istio.shared import VERSIONS, host
from plait.dialects.istio.traffic_policies import UNSUPPORTED, policies
from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.reading import Fact
from plait.model.traffic import NO_POLICY, DestinationSettings, LoadBalancing, PortPolicies, Subset


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    name = host(spec.at("host"), subject.namespace)
    subsets = tuple(_subsets(spec.at("subsets"), subject))
    found = policies(spec.at("trafficPolicy"))
    exported = export(spec.at("exportTo"), subject.namespace)
    chosen = spec.at("workloadSelector")
    clients = labels(chosen.at("matchLabels"))
    if chosen.error_count() or chosen.unread():
        chosen.error("destination.left-out", "left out: whose calls it is about can't be read")
        return ()
    if not name:
        return ()
    settings = DestinationSettings(
        host=name,
        subsets=subsets,
        policies=found,
        export=exported,
        clients=clients,
        origin=subject.origin(root),
    )
    _warn_about_failover(spec, settings)
    return (settings,)


def _warn_about_failover(spec: Cursor, settings: DestinationSettings) -> None:
    """Tell of each place where a failover is asked for that can't happen, since nobody looks who is healthy."""
    parts = (settings.policies, *(one.policies for one in settings.subsets))
    if not any(one.ports or one.everywhere.load_balancing for one in parts):
        return
    effective = [one.load_balancing for one in settings.every_policy if one.outliers is not None]
    for cursor, policies_here in _traffic_policies(spec, settings):
        for item, told in _load_balancing(cursor, policies_here):
            locality = told.locality
            asked = locality is not None and locality.enabled and (locality.failover or locality.priority)
            if asked and not any(one is told for one in effective):
                item.at("loadBalancer").at("localityLbSetting").warn(
                    "traffic.failover-without-outliers",
                    "nobody is left for another one: add an outlierDetection, which finds out who is healthy",
                )


def _traffic_policies(spec: Cursor, settings: DestinationSettings) -> Iterator[tuple[Cursor, PortPolicies]]:
    yield spec.at("trafficPolicy"), settings.policies
    subsets = {one.name: one.policies for one in settings.subsets}
    for item in spec.at("subsets").each():
        yield item.at("trafficPolicy"), subsets.get(item.at("name").text(), PortPolicies())


def _load_balancing(cursor: Cursor, told: PortPolicies) -> Iterator[tuple[Cursor, LoadBalancing]]:
    """What a trafficPolicy says of load balancing, itself and for single ports."""
    if told.everywhere.load_balancing is not None:
        yield cursor, told.everywhere.load_balancing
    ports = dict(told.ports)
    for item in cursor.at("portLevelSettings").each():
        found = ports.get(item.at("port").at("number").integer(), NO_POLICY).load_balancing
        if found is not None:
            yield item, found


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
        *(
            f"{where}.{field}"
            for where in ("spec.trafficPolicy", "spec.subsets[].trafficPolicy")
            for field in UNSUPPORTED
        ),
        *(
            f"{where}.portLevelSettings[].{field}"
            for where in ("spec.trafficPolicy", "spec.subsets[].trafficPolicy")
            for field in UNSUPPORTED[:-2]
        ),
    ),
)
