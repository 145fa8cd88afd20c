"""Every request, and every connection that is not HTTP, told to the control plane while somebody looks (`plait tap`).

An access log over OTLP (by HTTP), on a connection like that of xDS, that filters first: while nobody looks a request
costs one look into the runtime, by which it is turned on (see `runtime`).  Nothing is told of what a caller may keep
secret: no query, and of all headers the id of the request alone.  What is not in a record never leaves Envoy.
"""

from __future__ import annotations

from typing import Any

from plait.envoy import build, labels, names
from plait.envoy.runtime import ALL_WORD
from plait.model.mesh import InboundPort
from plait.model.telemetry import Side

SIDE = "side"
"""The attribute of whoever tells that says at which end it is."""

_LOGGER = "envoy.access_loggers.open_telemetry"
_CONFIG = "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig"
_FLUSH = 0.2
"""Seconds after which records are sent, however few.  Over gRPC this Envoy heeds no such word, and takes a second."""
_TIMEOUT = 5.0
"""Seconds that the control plane may take to answer."""

_ALWAYS = {
    "protocol": "%PROTOCOL%",
    "flags": "%RESPONSE_FLAGS%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "duration_ms": "%DURATION%",
    "received_bytes": "%BYTES_RECEIVED%",
    "sent_bytes": "%BYTES_SENT%",
    "cluster": labels.CALLED,
    "version": f"%ENVIRONMENT({names.OWN_VERSION})%",
}
_OF_REQUEST = {
    "method": "%REQUEST_HEADER(:METHOD):32%",
    "authority": "%REQUEST_HEADER(:AUTHORITY):256%",
    "path": "%PATH(NQ:PATH):1024%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS_NUMBER%",
    "request_id": "%REQUEST_HEADER(X-REQUEST-ID):64%",
}
_AT_CLIENT = {"callee": labels.CALLEE}
_AT_SERVER = {"principal": "%DOWNSTREAM_PEER_URI_SAN%", "subject": "%DOWNSTREAM_PEER_SUBJECT%"}


def at_client() -> dict[str, Any]:
    """The access log of the requests that the workload sends."""
    return _log(Side.CLIENT, _AT_CLIENT | _OF_REQUEST | {"route": "%ROUTE_NAME%"})


def at_server() -> dict[str, Any]:
    """The access log of the requests that the workload serves."""
    return _log(Side.SERVER, _AT_SERVER | _OF_REQUEST | {"service": labels.SERVED})


def tcp_at_client() -> dict[str, Any]:
    """The access log of the connections that the workload opens, when they end."""
    return _log(Side.CLIENT, _AT_CLIENT | _TCP, _ENDED)


def tcp_at_server(port: InboundPort) -> dict[str, Any]:
    """The access log of the connections that the workload takes at a port, when they end."""
    service = {"service": port.services[0].host} if port.services else {}
    return _log(Side.SERVER, _AT_SERVER | _TCP | service, _ENDED)


_TCP = {"protocol": "TCP"}
_ENDED = {"log_type_filter": {"types": ["TcpConnectionEnd"]}}


def _log(side: Side, fields: dict[str, str], *which: dict[str, Any]) -> dict[str, Any]:
    looked_at = {
        "runtime_filter": {
            "runtime_key": names.tap(side),
            "percent_sampled": {"denominator": ALL_WORD},
            # What an application says of its requests decides nothing.
            "use_independent_randomness": True,
        }
    }
    logger = build.extension(
        _LOGGER,
        _CONFIG,
        log_name="tap",
        http_service={
            "http_uri": {
                "uri": f"https://{names.CONTROL_PLANE_NAME}{names.LOGS_PATH}",
                "cluster": names.XDS_CLUSTER,
                "timeout": build.seconds(_TIMEOUT),
            }
        },
        buffer_flush_interval=build.seconds(_FLUSH),
        resource_attributes=_attributes({SIDE: side}),
        attributes=_attributes(_ALWAYS | fields),
    )
    return {**logger, "filter": {"and_filter": {"filters": [looked_at, *which]}} if which else looked_at}


def _attributes(values: dict[str, str]) -> dict[str, Any]:
    return {"values": [{"key": key, "value": {"string_value": value}} for key, value in values.items()]}
