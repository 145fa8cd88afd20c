"""Why somebody was not let in, told in the callee's own log: one line of JSON for each denial.

The lines are access logs that filter: a request that is let through costs two comparisons.  They are bounded by one
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
    ours = {"extension_filter": build.extension("cel", _CEL, expression=_NOT_BY_THE_APPLICATION)}
    refused = _both(_status("GE", 401), _status("LE", 403), ours)
    by_authorizer = {"response_flag_filter": {"flags": ["UAEX"]}}
    return _log("request", port, said, {"or_filter": {"filters": [refused, by_authorizer]}})


def of_connections(port: int) -> dict[str, Any]:
    """The access log of the connections to a port that are not let in: those that are led nowhere."""
    said = {
        "protocol": "TCP",
        "sni": "%REQUESTED_SERVER_NAME%",
        "why": f"%FILTER_STATE({names.DENIED_BY}:PLAIN)%",
    }
    ended = {"log_type_filter": {"types": ["TcpConnectionEnd"]}}
    nowhere = {"response_flag_filter": {"flags": ["UH"]}}
    return _log("connection", port, said, _both(ended, nowhere))


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


def _status(how: str, code: int) -> dict[str, Any]:
    value = {"default_value": code, "runtime_key": "plait.denials.status"}
    return {"status_code_filter": {"comparison": {"op": how, "value": value}}}
