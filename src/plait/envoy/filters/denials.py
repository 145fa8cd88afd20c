"""Why somebody was not let in, told in the callee's own log: one line of JSON for each denial.

The lines are access logs that filter: a request that is let through costs a few comparisons.  They are bounded by one
bucket for the whole proxy (see bootstrap.log_bound), so that who is refused can't fill a disk; how many were left out
is counted.  Nothing is told of what a caller may keep secret: no query, no header, no token.
"""

from __future__ import annotations

from typing import Any

from plait.envoy import api, build, names

_STDERR = "envoy.extensions.access_loggers.stream.v3.StderrAccessLog"
_BOUND = "envoy.extensions.access_loggers.filters.process_ratelimit.v3.ProcessRateLimitFilter"
_CEL = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"

_NOT_BY_THE_APPLICATION = "response.code_details != 'via_upstream'"
_WHY_REQUEST = (
    f"%CEL(response.code_details == 'rbac_access_denied_matched_policy[none]' ? '{names.NO_ALLOW}'"
    " : response.code_details)%"
)

_WHO = {
    "time": "%START_TIME%",
    "caller": "%DOWNSTREAM_PEER_URI_SAN%",
    "address": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
}


def of_requests(port: int) -> dict[str, Any]:
    """The access log of the requests to a port that policy, a token or an authorizer keeps from the application."""
    said = {
        "method": "%REQUEST_HEADER(:METHOD)%",
        "host": "%REQUEST_HEADER(:AUTHORITY)%",
        "path": "%PATH(NQ:PATH)%",
        "protocol": "%PROTOCOL%",
        "status": "%RESPONSE_CODE%",
        "why": _WHY_REQUEST,
    }
    return _log("request", port, said, refused_request())


def of_connections(port: int) -> dict[str, Any]:
    """The access log of the connections to a port that are not let in: those that are led nowhere."""
    said = {
        "protocol": "TCP",
        "sni": "%REQUESTED_SERVER_NAME%",
        "why": f"%FILTER_STATE({names.DENIED_BY}:PLAIN)%",
    }
    return _log("connection", port, said, refused_connection())


def refused_request() -> dict[str, Any]:
    """What lets requests into a log that policy, a token or an authorizer keeps from the application.

    gRPC is refused by a status of its own, and then HTTP's is 200.
    """
    ours = {"extension_filter": build.extension("cel", _CEL, expression=_NOT_BY_THE_APPLICATION)}
    by_status = _both(_status("GE", 401), _status("LE", 403))
    by_grpc_status = {"grpc_status_filter": {"statuses": ["PERMISSION_DENIED", "UNAUTHENTICATED"]}}
    by_authorizer = {"response_flag_filter": {"flags": ["UAEX"]}}
    return _any(_both(_any(by_status, by_grpc_status), ours), by_authorizer)


def refused_connection() -> dict[str, Any]:
    """What lets connections into a log that are led nowhere."""
    ended = {"log_type_filter": {"types": ["TcpConnectionEnd"]}}
    nowhere = {"response_flag_filter": {"flags": ["UH"]}}
    return _both(ended, nowhere)


def _log(what: str, port: int, said: dict[str, str], which: dict[str, Any]) -> dict[str, Any]:
    fields = {"denied": what, **_WHO, "port": str(port), **said}
    source = {"path_config_source": {"path": f"./{names.LOG_BOUND_FILE}"}, "resource_api_version": "V3"}
    bounded = {
        "extension_filter": build.extension(
            "envoy.access_loggers.extension_filters.process_ratelimit",
            _BOUND,
            dynamic_config={"resource_name": names.LOG_BOUND, "config_source": source},
        )
    }
    logger = build.extension(
        "envoy.access_loggers.stderr", _STDERR, log_format={"json_format": api.struct(fields)}
    )
    return {**logger, "filter": _both(which, bounded)}


def _both(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"and_filter": {"filters": list(filters)}}


def _any(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"or_filter": {"filters": list(filters)}}


def _status(how: str, code: int) -> dict[str, Any]:
    value = {"default_value": code, "runtime_key": "plait.denials.status"}
    return {"status_code_filter": {"comparison": {"op": how, "value": value}}}
