"""Endpoints: who stands behind a cluster right now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from plait.envoy import api, labels, names
from plait.model.locality import Locality, LocalityBalancing, Place
from plait.model.mesh import ClusterKey, Endpoint

_ASSIGNMENT = "envoy.config.endpoint.v3.ClusterLoadAssignment"
_FINENESS = 1000
"""What a weight of one is cut into where a share is that of several localities."""


def assignment(key: ClusterKey, endpoints: Iterable[Endpoint]) -> Any:
    """The ClusterLoadAssignment of a cluster; without endpoints requests get a 503."""
    lb_endpoints = [_endpoint(endpoint) for endpoint in endpoints]
    return api.message(_ASSIGNMENT)(
        cluster_name=names.cluster(key), endpoints=[{"lb_endpoints": lb_endpoints}] if lb_endpoints else []
    )


def by_locality(
    key: ClusterKey, endpoints: Iterable[Endpoint], balancing: LocalityBalancing, place: Place
) -> Any:
    """The same for clients of one place: in groups by locality, with weights or with priorities."""
    groups = _shared if balancing.distributions else _ranked
    return api.message(_ASSIGNMENT)(
        cluster_name=names.cluster(key), endpoints=list(groups(endpoints, balancing, place))
    )


def _ranked(
    endpoints: Iterable[Endpoint], balancing: LocalityBalancing, place: Place
) -> Iterator[dict[str, Any]]:
    """Groups by how far they are.  Envoy's priorities begin at 0 and leave none out."""
    found: dict[tuple[int, Locality], list[Endpoint]] = {}
    for one in endpoints:
        where = (balancing.distance(place, one.labels), Locality.of(one.labels))
        found.setdefault(where, []).append(one)
    distances = sorted({distance for distance, _ in found})
    for (distance, locality), inside in sorted(found.items(), key=lambda group: group[0]):
        yield _group(locality, inside) | {"priority": distances.index(distance)}


def _shared(
    endpoints: Iterable[Endpoint], balancing: LocalityBalancing, place: Place
) -> Iterator[dict[str, Any]]:
    """Groups that each get a share; one that is said of several localities goes to these by their endpoints."""
    found: dict[Locality, list[Endpoint]] = {}
    for one in endpoints:
        found.setdefault(Locality.of(one.labels), []).append(one)
    shares = balancing.shares(place) or ((Locality.parse("*"), 1),)
    for area, share in shares:
        covered = [(locality, found[locality]) for locality in sorted(found) if area.covers(locality)]
        total = sum(len(inside) for _, inside in covered)
        for locality, inside in covered:
            weight = max(1, share * _FINENESS * len(inside) // total)
            yield _group(locality, inside) | {"load_balancing_weight": {"value": weight}}


def _group(locality: Locality, endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    return {
        "locality": {"region": locality.region, "zone": locality.zone, "sub_zone": locality.subzone},
        "lb_endpoints": [_endpoint(one) for one in endpoints],
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    said = labels.workload(
        name=endpoint.workload.name,
        namespace=endpoint.workload.namespace,
        app=endpoint.app,
        version=endpoint.version,
        principal=endpoint.identity if endpoint.mtls else "",
    )
    return {
        "endpoint": {
            "address": {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}},
            "hostname": said,
        },
        "metadata": {
            "filter_metadata": {
                names.TRANSPORT_MATCH: api.struct({"mtls": "true" if endpoint.mtls else "false"}),
            }
        },
    }
