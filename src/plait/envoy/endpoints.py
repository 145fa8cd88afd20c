"""Endpoints: who stands behind a cluster right now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plait.envoy import api, labels, names
from plait.model.mesh import ClusterKey, Endpoint


def assignment(key: ClusterKey, endpoints: Iterable[Endpoint]) -> Any:
    """The ClusterLoadAssignment of a cluster; without endpoints requests get a 503."""
    lb_endpoints = [_endpoint(endpoint) for endpoint in endpoints]
    return api.message("envoy.config.endpoint.v3.ClusterLoadAssignment")(
        cluster_name=names.cluster(key), endpoints=[{"lb_endpoints": lb_endpoints}] if lb_endpoints else []
    )


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
            "address": {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}}
        },
        "metadata": {
            "filter_metadata": {
                names.METADATA: api.struct({names.LABELS: said}),
                names.TRANSPORT_MATCH: api.struct({"mtls": "true" if endpoint.mtls else "false"}),
            }
        },
    }
