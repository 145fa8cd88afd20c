"""Istio's metrics, made by Envoy: an access log that counts, the same names and labels at both ends.

What an operator of Envoy's access log can't say is said when somebody asks: see `scrape`.
"""

from __future__ import annotations

from typing import Any

from plait.envoy import build, names
from plait.model.mesh import View

_UNKNOWN = "unknown"

SOURCE_SUBJECT = "source_subject"
"""The subject of the caller's certificate; `scrape` makes the caller's workload, app and version of it."""

_OF_REQUEST = {
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "grpc_response_status": "%GRPC_STATUS_NUMBER%",
}

_AT_SOURCE = {
    "reporter": "source",
    "source_principal": "%UPSTREAM_LOCAL_URI_SAN%",
    "destination_workload": f"%UPSTREAM_METADATA({names.METADATA}:workload)%",
    "destination_workload_namespace": f"%UPSTREAM_METADATA({names.METADATA}:namespace)%",
    "destination_principal": f"%UPSTREAM_METADATA({names.METADATA}:principal)%",
    "destination_app": f"%UPSTREAM_METADATA({names.METADATA}:app)%",
    "destination_version": f"%UPSTREAM_METADATA({names.METADATA}:version)%",
    "destination_canonical_service": f"%UPSTREAM_METADATA({names.METADATA}:app)%",
    "destination_canonical_revision": f"%UPSTREAM_METADATA({names.METADATA}:revision)%",
    "destination_cluster": _UNKNOWN,
    "destination_service": f"%METADATA(CLUSTER:{names.METADATA}:service)%",
    "destination_service_name": f"%METADATA(CLUSTER:{names.METADATA}:service_name)%",
    "destination_service_namespace": f"%METADATA(CLUSTER:{names.METADATA}:service_namespace)%",
    "request_protocol": f"%METADATA(CLUSTER:{names.METADATA}:protocol)%",
    "connection_security_policy": _UNKNOWN,
}

_AT_DESTINATION = {
    "reporter": "destination",
    SOURCE_SUBJECT: "%DOWNSTREAM_PEER_SUBJECT%",
    "source_principal": "%DOWNSTREAM_PEER_URI_SAN%",
    "source_cluster": _UNKNOWN,
    "destination_principal": "%DOWNSTREAM_LOCAL_URI_SAN%",
    "destination_service": f"%METADATA(ROUTE:{names.METADATA}:service)%",
    "destination_service_name": f"%METADATA(ROUTE:{names.METADATA}:service_name)%",
    "destination_service_namespace": f"%METADATA(ROUTE:{names.METADATA}:service_namespace)%",
    "request_protocol": f"%METADATA(ROUTE:{names.METADATA}:protocol)%",
}


def at_source(view: View) -> dict[str, Any]:
    """The access log of what the workload sends."""
    return _access_log(_workload_labels(view, "source") | _AT_SOURCE)


def at_destination(view: View, *, mtls: bool) -> dict[str, Any]:
    """The access log of what the workload serves, over mutual TLS or in the clear."""
    security = {"connection_security_policy": "mutual_tls" if mtls else "none"}
    return _access_log(_workload_labels(view, "destination") | _AT_DESTINATION | security)


def _workload_labels(view: View, end: str) -> dict[str, str]:
    """The workload that reports, as the end that it is."""
    labels = dict(view.labels)
    workload = view.node.workload
    app = labels.get("app", workload.name)
    version = labels.get("version", "")
    return {
        f"{end}_workload": workload.name,
        f"{end}_workload_namespace": workload.namespace,
        f"{end}_app": app,
        f"{end}_version": version or _UNKNOWN,
        f"{end}_cluster": _UNKNOWN,
        f"{end}_canonical_service": app,
        f"{end}_canonical_revision": version or "latest",
    }


def _access_log(labels: dict[str, str]) -> dict[str, Any]:
    tags = [{"name": name, "value_format": value} for name, value in sorted((labels | _OF_REQUEST).items())]

    def histogram(name: str, unit: str, value: str) -> dict[str, Any]:
        return {"stat": {"name": name, "tags": tags}, "unit": unit, "value_format": value}

    return build.extension(
        "envoy.access_loggers.stats",
        "envoy.extensions.access_loggers.stats.v3.Config",
        stats_scope={"prefix": names.METRICS_PREFIX},
        counters=[{"stat": {"name": "requests_total", "tags": tags}, "value_fixed": {"value": 1}}],
        histograms=[
            histogram("request_duration_milliseconds", "Milliseconds", "%DURATION%"),
            histogram("request_bytes", "Bytes", "%BYTES_RECEIVED%"),
            histogram("response_bytes", "Bytes", "%BYTES_SENT%"),
        ],
    )
