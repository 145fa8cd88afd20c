"""Access logs: a line, or a record of OTLP, for each request or connection of which that is asked.

Nothing stands in a listener of which none is asked.  Lines of Plait's own tell no query, no credential and no header
that an application may keep secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from plait.envoy import api, build, names
from plait.model.mesh import ClusterKey
from plait.model.telemetry import OWN_FILE, STDERR, STDOUT, AccessLog, FileSink, OtlpSink, Side

OTLP = "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig"
_STREAM = "envoy.extensions.access_loggers.stream.v3"
_PLACES: Mapping[str, tuple[str, str, dict[str, str]]] = {
    STDOUT: ("stdout", f"{_STREAM}.StdoutAccessLog", {}),
    STDERR: ("stderr", f"{_STREAM}.StderrAccessLog", {}),
}
_OWN_PLACE = ("file", "envoy.extensions.access_loggers.file.v3.FileAccessLog", {"path": f"./{OWN_FILE}"})
_CEL = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"

LOG = "access"
"""What Plait's own lines say that they are, in the field `log`."""

_OTLP_NAME = "otel_envoy_accesslog"
"""Istio's."""

_WHOM = {
    Side.CLIENT: {"caller": "%UPSTREAM_LOCAL_URI_SAN%", "callee": "%UPSTREAM_PEER_URI_SAN%"},
    Side.SERVER: {"caller": "%DOWNSTREAM_PEER_URI_SAN%", "callee": "%DOWNSTREAM_LOCAL_URI_SAN%"},
}
_OF_ANY = {
    "log": LOG,
    "time": "%START_TIME%",
    "flags": "%RESPONSE_FLAGS%",
    "flags_long": "%RESPONSE_FLAGS_LONG%",
    "termination": "%CONNECTION_TERMINATION_DETAILS%",
    "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration_ms": "%DURATION%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "address": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
    "details": "%RESPONSE_CODE_DETAILS%",
}
_OF_REQUESTS = {
    **_OF_ANY,
    "method": "%REQUEST_HEADER(:METHOD)%",
    "path": "%PATH(NQ:ORIG_OR_PATH)%",
    "protocol": "%PROTOCOL%",
    "authority": "%REQUEST_HEADER(:AUTHORITY)%",
    "status": "%RESPONSE_CODE%",
    "grpc_status": "%GRPC_STATUS%",
    "upstream_ms": "%COMMON_DURATION(US_TX_BEG:US_RX_BEG:ms)%",
    "request_id": "%REQUEST_HEADER(X-REQUEST-ID)%",
    "trace_id": "%TRACE_ID%",
    "route": "%ROUTE_NAME%",
    "user_agent": "%REQUEST_HEADER(USER-AGENT)%",
}
_RBAC_DENIED = "rbac_access_denied_matched_policy["
_VERDICT = (
    f"%CEL(response.code_details == '{_RBAC_DENIED}none]' ? '{names.NO_ALLOW}'"
    f" : response.code_details.startsWith('{_RBAC_DENIED}')"
    " || response.code_details.startsWith('jwt_authn_access_denied')"
    " || response.code_details.startsWith('ext_authz_')"
    " ? response.code_details : 'allowed')%"
)


def _of_rbac(prefix: str) -> str:
    return f"%DYNAMIC_METADATA({names.RBAC_METADATA}:{prefix}shadow_effective_policy_id)%"


_REQUESTS = {
    Side.CLIENT: {
        **_OF_REQUESTS,
        "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
        "origin": f"%METADATA(ROUTE:{names.METADATA}:{names.ORIGIN})%",
    },
    Side.SERVER: {
        **_OF_REQUESTS,
        "policy": _VERDICT,
        "dry_run_denied_by": _of_rbac(names.DRY_RUN_DENY),
        "dry_run_allowed_by": _of_rbac(names.DRY_RUN_ALLOW),
        "audited_by": _of_rbac(names.AUDIT),
    },
}
_CONNECTIONS = {
    Side.CLIENT: {**_OF_ANY, "protocol": "TCP", "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%"},
    Side.SERVER: {
        **_OF_ANY,
        "protocol": "TCP",
        "sni": "%REQUESTED_SERVER_NAME%",
        "denied_by": f"%FILTER_STATE({names.DENIED_BY}:PLAIN)%",
    },
}

_TEXT_OF_REQUEST = (
    '[%START_TIME%] {side} "%REQUEST_HEADER(:METHOD)% %PATH(NQ:ORIG_OR_PATH)% %PROTOCOL%" %RESPONSE_CODE%'
    " %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION%"
    ' "%REQUEST_HEADER(USER-AGENT)%" "%REQUEST_HEADER(X-REQUEST-ID)%" %TRACE_ID% "%REQUEST_HEADER(:AUTHORITY)%"'
    ' {caller} {callee} "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %ROUTE_NAME% {more}'
)
_TEXT_OF_CONNECTION = (
    '[%START_TIME%] {side} "TCP" %RESPONSE_FLAGS% "%CONNECTION_TERMINATION_DETAILS%" %BYTES_RECEIVED% %BYTES_SENT%'
    ' %DURATION% {caller} {callee} "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW%'
)


def of_requests(logs: Iterable[AccessLog], side: Side) -> list[dict[str, Any]]:
    """The access logs of the requests at one end."""
    more = _REQUESTS[side]["origin" if side is Side.CLIENT else "policy"]
    text = _TEXT_OF_REQUEST.format(side=side, more=f'"{more}"', **_WHOM[side])
    return [_log(one, {**_REQUESTS[side], **_WHOM[side], "side": side.value}, text) for one in logs]


def of_connections(logs: Iterable[AccessLog], side: Side) -> list[dict[str, Any]]:
    """The access logs of the connections at one end, each of which is told when it ends."""
    text = _TEXT_OF_CONNECTION.format(side=side, **_WHOM[side])
    fields = {**_CONNECTIONS[side], **_WHOM[side], "side": side.value}
    ended = {"log_type_filter": {"types": ["TcpConnectionEnd"]}}
    return [_log(one, fields, text, ended) for one in logs]


def _log(
    log: AccessLog, fields: Mapping[str, str], text: str, ended: dict[str, Any] | None = None
) -> dict[str, Any]:
    found = _file(log.sink, fields, text) if isinstance(log.sink, FileSink) else _otlp(log.sink, fields, text)
    filters = [] if ended is None else [ended]
    if log.condition:
        filters.append({"extension_filter": build.extension("cel", _CEL, expression=log.condition)})
    if not filters:
        return found
    return found | {
        "filter": filters[0] if len(filters) == 1 else {"and_filter": {"filters": filters}},
    }


def _file(sink: FileSink, fields: Mapping[str, str], text: str) -> dict[str, Any]:
    name, message, where = _PLACES.get(sink.path, _OWN_PLACE)
    return build.extension(
        f"envoy.access_loggers.{name}", message, **where, log_format=_lines(sink, fields, text)
    )


def _lines(sink: FileSink, fields: Mapping[str, str], text: str) -> dict[str, Any]:
    if sink.fields:
        return {"json_format": api.struct(dict(sink.fields)), "omit_empty_values": sink.omit_empty}
    if sink.text or not sink.json:
        line = sink.text or text
        whole = line if line.endswith("\n") else f"{line}\n"
        return {"text_format_source": {"inline_string": whole}, "omit_empty_values": sink.omit_empty}
    return {"json_format": api.struct(fields), "omit_empty_values": True}


def _otlp(sink: OtlpSink, fields: Mapping[str, str], text: str) -> dict[str, Any]:
    """Which proxy tells is said by Envoy's own labels (`node_name`)."""
    one = sink.collector
    cluster = names.cluster(ClusterKey(one.host, one.port))
    own = not sink.text and not sink.fields
    attributes = fields if own else dict(sink.fields)
    return build.extension(
        "envoy.access_loggers.open_telemetry",
        OTLP,
        grpc_service={
            "envoy_grpc": {"cluster_name": cluster, "authority": f"{one.host}:{one.port}"},
            "timeout": build.seconds(one.timeout),
        },
        log_name=sink.log_name or _OTLP_NAME,
        body={"string_value": sink.text or text},
        attributes={
            "values": [
                {"key": key, "value": {"string_value": value}} for key, value in sorted(attributes.items())
            ]
        },
    )
