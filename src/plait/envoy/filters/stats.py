"""Istio's metrics, made by Envoy: access logs that count, the same names and labels at both ends.

What an operator of Envoy's access log can't say is said when somebody asks: see `scrape`.
"""

from __future__ import annotations

from typing import Any

from plait.envoy import build, names
from plait.model.mesh import InboundPort

_UNKNOWN = "unknown"

SOURCE_SUBJECT = "source_subject"
"""The subject of the caller's certificate; `scrape` makes the caller's workload, app and version of it."""

_OF_REQUEST = {
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "grpc_response_status": "%GRPC_STATUS_NUMBER%",
}

_OF_CONNECTION = {"response_flags": "%RESPONSE_FLAGS%", "request_protocol": "tcp"}

_CEL_NAME = "envoy.access_loggers.extension_filters.cel"
_CEL = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
_NEVER_CONNECTED = ("UH", "NC", "UO", "URX")
"""Flags of a connection that led nowhere: nobody there, no such cluster, too many, all attempts failed."""

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


def at_source() -> dict[str, Any]:
    """The access log of the requests that the workload sends."""
    return _of_requests(_own_labels("source") | _AT_SOURCE)


def at_destination(*, mtls: bool) -> dict[str, Any]:
    """The access log of the requests that the workload serves, over mutual TLS or in the clear."""
    return _of_requests(_own_labels("destination") | _AT_DESTINATION | _security(mtls=mtls))


def tcp_at_source() -> list[dict[str, Any]]:
    """The access logs of the connections that the workload opens."""
    return _of_connections(_own_labels("source") | _AT_SOURCE)


def tcp_at_destination(port: InboundPort, *, mtls: bool) -> list[dict[str, Any]]:
    """The access logs of the connections that the workload takes at a port; the first service there is named."""
    service = port.services[0] if port.services else None
    called = {
        "destination_service": service.host if service else _UNKNOWN,
        "destination_service_name": service.name if service else _UNKNOWN,
        "destination_service_namespace": service.namespace if service else _UNKNOWN,
    }
    labels = _own_labels("destination") | _AT_DESTINATION | called
    return _of_connections(labels | _security(mtls=mtls))


def _security(*, mtls: bool) -> dict[str, str]:
    return {"connection_security_policy": "mutual_tls" if mtls else "none"}


def _own_labels(end: str) -> dict[str, str]:
    """The workload that reports, as the end that it is: Envoy reads it once, from the environment it is started with.

    So what a listener says is the same for every workload.
    """
    return {
        f"{end}_workload": f"%ENVIRONMENT({names.OWN_WORKLOAD})%",
        f"{end}_workload_namespace": f"%ENVIRONMENT({names.OWN_NAMESPACE})%",
        f"{end}_app": f"%ENVIRONMENT({names.OWN_APP})%",
        f"{end}_version": f"%ENVIRONMENT({names.OWN_VERSION})%",
        f"{end}_cluster": _UNKNOWN,
        f"{end}_canonical_service": f"%ENVIRONMENT({names.OWN_APP})%",
        f"{end}_canonical_revision": f"%ENVIRONMENT({names.OWN_REVISION})%",
    }


def _of_requests(labels: dict[str, str]) -> dict[str, Any]:
    tags = _tags(labels | _OF_REQUEST)

    def histogram(name: str, unit: str, value: str) -> dict[str, Any]:
        return {"stat": {"name": name, "tags": tags}, "unit": unit, "value_format": value}

    return _access_log(
        counters=[_one("requests_total", tags)],
        histograms=[
            histogram("request_duration_milliseconds", "Milliseconds", "%DURATION%"),
            histogram("request_bytes", "Bytes", "%BYTES_RECEIVED%"),
            histogram("response_bytes", "Bytes", "%BYTES_SENT%"),
        ],
    )


def _of_connections(labels: dict[str, str]) -> list[dict[str, Any]]:
    """One log for what is known at the start of a connection and one for what is known at its end.

    A connection is counted as opened when it is known where it leads, so that the labels of both say the same; one
    whose handshake fails, or whose caller leaves before, is neither.  What is received comes from the caller, what is sent goes to it, at both ends; bytes are counted at the end, for
    Envoy's numbers add up from entry to entry.
    """
    tags = _tags(labels | _OF_CONNECTION)

    def sum_of(name: str, value: str) -> dict[str, Any]:
        return {"stat": {"name": name, "tags": tags}, "value_format": value}

    connects = _log_type("TcpUpstreamConnected")
    ends = _log_type("TcpConnectionEnd")
    led_nowhere = {"response_flag_filter": {"flags": _NEVER_CONNECTED}}
    was_connected = {
        "extension_filter": build.extension(_CEL_NAME, _CEL, expression="has(upstream.local_address)")
    }
    opened = _access_log(counters=[_one("tcp_connections_opened_total", tags)])
    closed = _access_log(
        counters=[
            _one("tcp_connections_closed_total", tags),
            sum_of("tcp_sent_bytes_total", "%BYTES_SENT%"),
            sum_of("tcp_received_bytes_total", "%BYTES_RECEIVED%"),
        ]
    )
    return [
        opened | {"filter": _any(connects, _both(ends, led_nowhere))},
        closed | {"filter": _both(ends, _any(was_connected, led_nowhere))},
    ]


def _log_type(name: str) -> dict[str, Any]:
    return {"log_type_filter": {"types": [name]}}


def _any(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"or_filter": {"filters": filters}}


def _both(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"and_filter": {"filters": filters}}


def _tags(labels: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value_format": value} for name, value in sorted(labels.items())]


def _one(name: str, tags: list[dict[str, str]]) -> dict[str, Any]:
    return {"stat": {"name": name, "tags": tags}, "value_fixed": {"value": 1}}


def _access_log(**counts: Any) -> dict[str, Any]:
    return build.extension(
        "envoy.access_loggers.stats",
        "envoy.extensions.access_loggers.stats.v3.Config",
        stats_scope={"prefix": names.METRICS_PREFIX},
        **counts,
    )
