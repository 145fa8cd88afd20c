"""Istio's metrics, made by Envoy: access logs that count, the same names and labels at both ends.

They count by one packed label; Istio's are made of it when somebody asks: see `labels` and `scrape`.  A request
pays for each metric with its label, so there are no more of them than it takes: there is no counter of requests,
for these are as many as their durations.

By how many texts there may be is bounded, in each of the scopes that all listeners of a proxy share.
"""

from __future__ import annotations

from typing import Any

from plait.envoy import build, labels, metrics, names
from plait.envoy.filters import denials
from plait.model.mesh import InboundPort

_OF_REQUEST = {
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code": "%RESPONSE_CODE%",
    "grpc_response_status": "%GRPC_STATUS_NUMBER%",
}
_OF_CONNECTION = {"response_flags": "%RESPONSE_FLAGS%"}

_AT_SOURCE = {
    "reporter": "source",
    "source_principal": "%UPSTREAM_LOCAL_URI_SAN%",
    "destination": labels.CALLEE,
    "other_end": labels.CALLED,
}

_AT_DESTINATION = {
    "reporter": "destination",
    "source_principal": "%DOWNSTREAM_PEER_URI_SAN%",
    "destination_principal": "%DOWNSTREAM_LOCAL_URI_SAN%",
    "other_end": "%DOWNSTREAM_PEER_SUBJECT%",
}
_BY_ROUTE = {"service": labels.SERVED}

_LOGGER = "envoy.access_loggers.stats"
_CONFIG = "envoy.extensions.access_loggers.stats.v3.Config"
_CEL_NAME = "envoy.access_loggers.extension_filters.cel"
_CEL = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
_NEVER_CONNECTED = ("UH", "NC", "UO", "URX")
"""Flags of a connection that led nowhere: nobody there, no such cluster, too many, all attempts failed."""


def at_source() -> dict[str, Any]:
    """The access log of the requests that the workload sends."""
    return _of_requests(_AT_SOURCE)


def at_destination(*, mtls: bool) -> dict[str, Any]:
    """The access log of the requests that the workload serves, over mutual TLS or in the clear."""
    return _of_requests(_AT_DESTINATION | _security(mtls=mtls) | _BY_ROUTE)


def tcp_at_source() -> list[dict[str, Any]]:
    """The access logs of the connections that the workload opens."""
    return _of_connections(_AT_SOURCE)


def tcp_at_destination(port: InboundPort, *, mtls: bool) -> list[dict[str, Any]]:
    """The access logs of the connections that the workload takes at a port; the first service there is named."""
    return _of_connections(_AT_DESTINATION | _security(mtls=mtls) | _by_port(port))


def denied(*, mtls: bool) -> dict[str, Any]:
    """Counts the requests that policy, a token or an authorizer keeps from the application."""
    why = {"protocol": "http", "reason": "%RESPONSE_CODE_DETAILS%"}
    groups = _AT_DESTINATION | _security(mtls=mtls) | _BY_ROUTE | _OF_REQUEST | why
    return _of_denials(groups) | {"filter": denials.refused_request()}


def tcp_denied(port: InboundPort, *, mtls: bool) -> dict[str, Any]:
    """Counts the connections to a port that are not let in."""
    why = {"protocol": "tcp", "reason": f"%FILTER_STATE({names.DENIED_BY}:PLAIN)%"}
    groups = _AT_DESTINATION | _security(mtls=mtls) | _by_port(port) | _OF_CONNECTION | why
    return _of_denials(groups) | {"filter": denials.refused_connection()}


def outlasting(kind: str, seconds: float) -> dict[str, Any]:
    """Counts streams or connections (`kind`) over mutual TLS that, by how long they lasted, may outlive a certificate."""
    duration = {"comparison": {"op": "GE", "value": _milliseconds(seconds)}}
    lasted = {"duration_filter": duration}
    counted = build.extension(
        _LOGGER,
        _CONFIG,
        stats_scope={"prefix": names.OWN_METRICS_PREFIX},
        counters=[_one(metrics.OUTLASTING, [{"name": "kind", "value_format": kind}])],
    )
    over = lasted if kind == "http" else _both(_log_type("TcpConnectionEnd"), lasted)
    return counted | {"filter": over}


def _milliseconds(seconds: float) -> dict[str, Any]:
    """Envoy asks for the name of a setting that could change it while it runs; none does."""
    return {"default_value": int(seconds * 1000), "runtime_key": "plait.none"}


def _security(*, mtls: bool) -> dict[str, str]:
    return {"security": "mutual_tls" if mtls else "none"}


def _by_port(port: InboundPort) -> dict[str, str]:
    return {"service": port.services[0].host} if port.services else {}


def _of_requests(groups: dict[str, str]) -> dict[str, Any]:
    tags = _tags("http", groups | _OF_REQUEST)

    def histogram(name: str, unit: str, value: str) -> dict[str, Any]:
        return {"stat": {"name": name, "tags": tags}, "unit": unit, "value_format": value}

    histograms = [
        histogram(metrics.DURATION, "Milliseconds", "%DURATION%"),
        histogram(metrics.REQUEST_BYTES, "Bytes", "%BYTES_RECEIVED%"),
        histogram(metrics.RESPONSE_BYTES, "Bytes", "%BYTES_SENT%"),
    ]
    bound = {"max_histograms": {"value": len(histograms) * metrics.MOST_TEXTS}}
    return _access_log(
        _scope("requests", names.METRICS_PREFIX, enable_eviction=True, **bound), histograms=histograms
    )


def _of_connections(groups: dict[str, str]) -> list[dict[str, Any]]:
    """One log for what is known at the start of a connection and one for what is known at its end.

    A connection is counted as opened when it is known where it leads, so that the labels of both say the same; one
    whose handshake fails, or whose caller leaves before, is neither.  What is received comes from the caller, what is sent goes to it, at both ends; bytes are counted at the end, for
    Envoy's numbers add up from entry to entry.  These are never forgotten: a connection may be silent for long, and
    what was opened is closed one day.
    """
    tags = _tags("tcp", groups | _OF_CONNECTION)

    def sum_of(name: str, value: str) -> dict[str, Any]:
        return {"stat": {"name": name, "tags": tags}, "value_format": value}

    connects = _log_type("TcpUpstreamConnected")
    ends = _log_type("TcpConnectionEnd")
    led_nowhere = {"response_flag_filter": {"flags": _NEVER_CONNECTED}}
    was_connected = {
        "extension_filter": build.extension(_CEL_NAME, _CEL, expression="has(upstream.local_address)")
    }
    at_start = [_one(metrics.OPENED, tags)]
    at_end = [
        _one(metrics.CLOSED, tags),
        sum_of(metrics.SENT, "%BYTES_SENT%"),
        sum_of(metrics.RECEIVED, "%BYTES_RECEIVED%"),
    ]
    bound = {"max_counters": {"value": (len(at_start) + len(at_end)) * metrics.MOST_TEXTS}}
    scope = _scope("connections", names.METRICS_PREFIX, **bound)
    return [
        _access_log(scope, counters=at_start) | {"filter": _any(connects, _both(ends, led_nowhere))},
        _access_log(scope, counters=at_end) | {"filter": _both(ends, _any(was_connected, led_nowhere))},
    ]


def _of_denials(groups: dict[str, str]) -> dict[str, Any]:
    bound = {"max_counters": {"value": metrics.MOST_TEXTS}}
    scope = _scope("denials", names.OWN_METRICS_PREFIX, enable_eviction=True, **bound)
    return _access_log(scope, counters=[_one(metrics.DENIED, _tags("denied", groups))])


def _scope(name: str, prefix: str, **fields: Any) -> dict[str, Any]:
    """One for all listeners of a proxy, which are bounded together."""
    return {"sharing_name": name, "prefix": prefix, **fields}


def _log_type(name: str) -> dict[str, Any]:
    return {"log_type_filter": {"types": [name]}}


def _any(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"or_filter": {"filters": filters}}


def _both(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"and_filter": {"filters": filters}}


def _tags(family: str, groups: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": labels.LABEL, "value_format": labels.packed(family, groups)}]


def _one(name: str, tags: list[dict[str, str]]) -> dict[str, Any]:
    return {"stat": {"name": name, "tags": tags}, "value_fixed": {"value": 1}}


def _access_log(scope: dict[str, Any], **counts: Any) -> dict[str, Any]:
    return build.extension(_LOGGER, _CONFIG, stats_scope=scope, **counts)
