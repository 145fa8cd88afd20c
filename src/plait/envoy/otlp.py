"""Where a sidecar takes the spans of its own application, by OTLP, and hands them on to the control plane.

Plain values, without message classes: agents import this and stay small.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plait.envoy import names
from plait.model.catalog import SidecarAddresses

_T = "type.googleapis.com/envoy.extensions.filters"
_LOOPBACK = "127.0.0.1"

_TIMEOUT = "10s"
_NOT_OURS = ("authorization", "cookie", "proxy-authorization")
"""Headers that an application may send to a collector of its own, and that are nobody's business here."""
_NOTHING_ELSE = (
    "spans are taken here, by OTLP: POST /v1/traces, or gRPC's TraceService; no metrics and no logs\n"
)

OFFERED = (4317, 4318)
"""The ports that OTLP has by agreement, over gRPC and over HTTP; a workload that declares one is itself a collector."""


def listeners(sidecar: SidecarAddresses) -> Iterator[dict[str, Any]]:
    """One for gRPC and one for HTTP."""
    address = _LOOPBACK if sidecar.transparent else sidecar.address
    grpc, http = (names.SPANS_METHOD, names.APPLICATION_SPANS_METHOD), (names.APPLICATION_SPANS_PATH,) * 2
    for name, port, (asked, told) in (
        (names.OTLP_GRPC_LISTENER, sidecar.otlp_grpc, grpc),
        (names.OTLP_HTTP_LISTENER, sidecar.otlp_http, http),
    ):
        if port:
            yield _listener(name, address, port, asked, told)


def _listener(name: str, address: str, port: int, asked: str, told: str) -> dict[str, Any]:
    onward = {
        "match": {"path": asked},
        "route": {"cluster": names.XDS_CLUSTER, "prefix_rewrite": told, "timeout": _TIMEOUT},
        "request_headers_to_remove": list(_NOT_OURS),
    }
    nowhere = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 404, "body": {"inline_string": _NOTHING_ELSE}},
    }
    manager = {
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": f"{_T}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": name,
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {
                        "@type": f"{_T}.http.router.v3.Router",
                        "suppress_envoy_headers": True,
                    },
                }
            ],
            "route_config": {
                "virtual_hosts": [{"name": name, "domains": ["*"], "routes": [onward, nowhere]}]
            },
        },
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": address, "port_value": port}},
        "enable_reuse_port": False,
        "filter_chains": [{"filters": [manager]}],
    }
