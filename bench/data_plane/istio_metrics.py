"""Istio's standard metrics with all their labels, counted as `istio.stats` counts them, by Envoy's stats logger.

The labels stand here by themselves and are not taken from Plait: whatever Plait finds to count more cheaply, what
it is compared with stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.data_plane import certificates
from bench.data_plane.envoys import Message
from plait.envoy import api, build

HOST = "server.bench.svc.cluster.local"

_METADATA = "istio"
_CLUSTER = "Kubernetes"

_OF_SERVICE = {
    "service": HOST,
    "service_name": "server",
    "service_namespace": "bench",
}
_OF_ENDPOINT = {
    "workload": "server",
    "namespace": "bench",
    "principal": certificates.uri("server"),
    "app": "server",
    "version": "v1",
    "revision": "v1",
}
_OF_REQUEST = {
    "request_protocol": "http",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "grpc_response_status": "%GRPC_STATUS_NUMBER%",
}
_OF_CONNECTION = {"request_protocol": "tcp", "response_flags": "%RESPONSE_FLAGS%"}


def _workload(end: str, name: str) -> dict[str, str]:
    """The workload that reports, as the end that it is."""
    return {
        f"{end}_workload": name,
        f"{end}_workload_namespace": "bench",
        f"{end}_app": name,
        f"{end}_version": "v1",
        f"{end}_cluster": _CLUSTER,
        f"{end}_canonical_service": name,
        f"{end}_canonical_revision": "v1",
    }


_AT_SOURCE = {
    **_workload("source", "client"),
    "reporter": "source",
    "source_principal": "%UPSTREAM_LOCAL_URI_SAN%",
    "destination_workload": f"%UPSTREAM_METADATA({_METADATA}:workload)%",
    "destination_workload_namespace": f"%UPSTREAM_METADATA({_METADATA}:namespace)%",
    "destination_principal": f"%UPSTREAM_METADATA({_METADATA}:principal)%",
    "destination_app": f"%UPSTREAM_METADATA({_METADATA}:app)%",
    "destination_version": f"%UPSTREAM_METADATA({_METADATA}:version)%",
    "destination_canonical_service": f"%UPSTREAM_METADATA({_METADATA}:app)%",
    "destination_canonical_revision": f"%UPSTREAM_METADATA({_METADATA}:revision)%",
    "destination_cluster": _CLUSTER,
    "destination_service": f"%METADATA(CLUSTER:{_METADATA}:service)%",
    "destination_service_name": f"%METADATA(CLUSTER:{_METADATA}:service_name)%",
    "destination_service_namespace": f"%METADATA(CLUSTER:{_METADATA}:service_namespace)%",
    "connection_security_policy": "unknown",
}
_AT_DESTINATION = {
    **_workload("destination", "server"),
    "reporter": "destination",
    # What metadata_exchange would tell of the caller (five labels) is in its certificate's subject: one label.
    "source_subject": "%DOWNSTREAM_PEER_SUBJECT%",
    "source_principal": "%DOWNSTREAM_PEER_URI_SAN%",
    "source_cluster": _CLUSTER,
    "destination_principal": "%DOWNSTREAM_LOCAL_URI_SAN%",
    "destination_service": HOST,
    "destination_service_name": "server",
    "destination_service_namespace": "bench",
    "connection_security_policy": "mutual_tls",
}


def of_service() -> Message:
    """The metadata of a cluster, where the labels at the source are looked for."""
    return _metadata(_OF_SERVICE)


def of_endpoint() -> Message:
    """The metadata of its endpoint."""
    return _metadata(_OF_ENDPOINT)


def requests_at_source() -> Message:
    return _of_requests(_AT_SOURCE)


def requests_at_destination() -> Message:
    return _of_requests(_AT_DESTINATION)


def connections_at_source() -> list[Message]:
    return _of_connections(_AT_SOURCE)


def connections_at_destination() -> list[Message]:
    return _of_connections(_AT_DESTINATION)


def _of_requests(labels: Mapping[str, str]) -> Message:
    tags = _tags(labels, _OF_REQUEST)

    def histogram(name: str, unit: str, value: str) -> Message:
        return {"stat": {"name": name, "tags": tags}, "unit": unit, "value_format": value}

    return _log(
        counters=[_one("requests_total", tags)],
        histograms=[
            histogram("request_duration_milliseconds", "Milliseconds", "%DURATION%"),
            histogram("request_bytes", "Bytes", "%BYTES_RECEIVED%"),
            histogram("response_bytes", "Bytes", "%BYTES_SENT%"),
        ],
    )


def _of_connections(labels: Mapping[str, str]) -> list[Message]:
    """When a connection leads somewhere, and at its end."""
    tags = _tags(labels, _OF_CONNECTION)

    def sum_of(name: str, value: str) -> Message:
        return {"stat": {"name": name, "tags": tags}, "value_format": value}

    opened = _log(counters=[_one("tcp_connections_opened_total", tags)])
    closed = _log(
        counters=[
            _one("tcp_connections_closed_total", tags),
            sum_of("tcp_sent_bytes_total", "%BYTES_SENT%"),
            sum_of("tcp_received_bytes_total", "%BYTES_RECEIVED%"),
        ]
    )
    return [opened | _only("TcpUpstreamConnected"), closed | _only("TcpConnectionEnd")]


def _only(moment: str) -> Message:
    return {"filter": {"log_type_filter": {"types": [moment]}}}


def _tags(*labels: Mapping[str, str]) -> list[Message]:
    found = {name: value for some in labels for name, value in some.items()}
    return [{"name": name, "value_format": value} for name, value in sorted(found.items())]


def _one(name: str, tags: list[Message]) -> Message:
    return {"stat": {"name": name, "tags": tags}, "value_fixed": {"value": 1}}


def _log(**counts: Any) -> Message:
    return build.extension(
        "envoy.access_loggers.stats",
        "envoy.extensions.access_loggers.stats.v3.Config",
        stats_scope={"prefix": "istio"},
        **counts,
    )


def _metadata(labels: Mapping[str, str]) -> Message:
    return {"metadata": {"filter_metadata": {_METADATA: api.struct(labels)}}}
