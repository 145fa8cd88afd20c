"""What listeners are made of: managers of HTTP, proxies of TCP, and inspectors of first bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plait.envoy import api, build
from plait.envoy.filters import HttpFilter

LISTENER = "envoy.config.listener.v3.Listener"

HTTP_SEEN = ("http/1.0", "http/1.1", "h2c")
"""What the inspector of HTTP says that it has seen."""
DETECTION_SECONDS = 0.1
"""So long the first bytes of a client are waited for where it must be found out what is spoken."""

_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_RBAC = "envoy.extensions.filters.http.rbac.v3.RBAC"
HTTP_1_0: dict[str, Any] = {"http_protocol_options": {"accept_http_10": True}}
"""Of a manager: clients of HTTP/1.0 are served, if they name a host."""

_RESETS: dict[str, Any] = {"stream_reset_burst": {"value": 10_000}, "stream_reset_rate": {"value": 10_000}}
"""So many requests a second may be reset on one connection, or else it is closed: with all requests that go on beside
them.  Every retry after an answer is a reset, and one connection carries all that two sidecars say to each other; so
this is about as many as it can carry at all.
"""

_NAMES = "envoy.filters.listener"
_LISTENER_FILTERS = "envoy.extensions.filters.listener"

_PATHS = {
    # What policies and routes look at is what the application gets.
    "normalize_path": {"value": True},
    "merge_slashes": True,
    "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
}


def manager(stat_prefix: str, *, filters: Iterable[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """Looks at HTTP, and routes each request."""
    return build.extension(
        "envoy.filters.network.http_connection_manager",
        _HCM,
        stat_prefix=stat_prefix,
        http_filters=list(filters),
        http2_protocol_options={"allow_connect": True, **_RESETS},
        upgrade_configs=[{"upgrade_type": "websocket"}],
        server_header_transformation="PASS_THROUGH",
        preserve_external_request_id=True,
        stream_idle_timeout=build.seconds(0),
        **_PATHS,
        **fields,
    )


def tcp_proxy(
    stat_prefix: str, cluster: str, access_log: list[dict[str, Any]], **fields: Any
) -> dict[str, Any]:
    """Passes bytes on as they are, the end of either direction by itself.

    For as long as the two ends like, unless the fields say otherwise.
    """
    return build.extension(
        "envoy.filters.network.tcp_proxy",
        _TCP_PROXY,
        stat_prefix=stat_prefix,
        cluster=cluster,
        access_log=access_log,
        access_log_options={"flush_access_log_on_connected": True},
        **{"idle_timeout": build.seconds(0), **fields},
    )


def original_destination() -> dict[str, Any]:
    """Asks the kernel where a redirected connection was going."""
    return build.extension(f"{_NAMES}.original_dst", f"{_LISTENER_FILTERS}.original_dst.v3.OriginalDst")


def tls_inspector() -> dict[str, Any]:
    """Tells TLS from what is not, and what the client would speak inside."""
    return build.extension(f"{_NAMES}.tls_inspector", f"{_LISTENER_FILTERS}.tls_inspector.v3.TlsInspector")


def http_inspector() -> dict[str, Any]:
    """Tells HTTP in the clear from what is not."""
    return build.extension(f"{_NAMES}.http_inspector", f"{_LISTENER_FILTERS}.http_inspector.v3.HttpInspector")


def detection() -> dict[str, Any]:
    """Of a listener: whoever says nothing in time is taken to speak no HTTP and no TLS."""
    return {
        "listener_filters_timeout": build.seconds(DETECTION_SECONDS),
        "continue_on_listener_filters_timeout": True,
    }


def address(host: str, port: int) -> dict[str, Any]:
    """Where to listen."""
    return {"socket_address": {"address": host, "port_value": port}}


def installed(http_filter: HttpFilter, port: int = 0) -> dict[str, Any]:
    """A filter of a manager; `port`: of the workload, at which it stands inbound."""
    found = {"name": http_filter.at(port), "disabled": http_filter.waits}
    if http_filter.discovered:
        return found | {"config_discovery": _discovered(http_filter.discovered)}
    return found | {"typed_config": api.pack(http_filter.on_listener())}


def _discovered(message_name: str) -> dict[str, Any]:
    """A configuration that comes as a resource, for which no listener waits: without it nobody gets past the filter."""
    return {
        "config_source": build.ADS,
        "type_urls": [api.TYPE_PREFIX + message_name, api.TYPE_PREFIX + _RBAC],
        "default_config": api.pack(api.message(_RBAC)(rules={"action": "ALLOW"})),
        "apply_default_config_without_warming": True,
    }
