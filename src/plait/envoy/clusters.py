"""Clusters: where requests go.  Outbound ones are the same for every proxy."""

from __future__ import annotations

from typing import Any

from plait.envoy import api, build, names, tls
from plait.model.catalog import Protocol
from plait.model.mesh import Cluster, InboundPort

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_NO_LIMIT = 2**32 - 1

# An idle connection is closed by the side that opened it, before the other side would: the sidecar behind an
# outbound cluster waits twice as long (see listeners), applications are not trusted to wait at all.
UPSTREAM_IDLE_SECONDS = 300.0
_APPLICATION_IDLE_SECONDS = 1.0

_CONNECT_SECONDS = 5.0
"""Covers the TLS handshake too, on a machine that may be busy."""

_RETRY_BUDGET = {"budget_percent": {"value": 20.0}, "min_retry_concurrency": {"value": 3}}


def outbound(cluster: Cluster, trust_domain: str) -> Any:
    """A port of a service, or of a subset of it: endpoints by EDS, HTTP/2 over mutual TLS.

    An endpoint whose metadata says so is called in the clear (mutual TLS is disabled there); nothing else is.
    """
    uris = [identity.uri for identity in cluster.identities] or [names.nobody_uri(trust_domain)]
    context = tls.client(uris, names.cluster_sni(cluster.key), ("h2",))
    return api.message("envoy.config.cluster.v3.Cluster")(
        name=names.cluster(cluster.key),
        type="EDS",
        eds_cluster_config={"eds_config": build.ADS},
        connect_timeout=build.seconds(_CONNECT_SECONDS),
        lb_policy="LEAST_REQUEST",
        circuit_breakers={"thresholds": [_thresholds(retry_budget=_RETRY_BUDGET)]},
        typed_extension_protocol_options=_http(http2=True, idle=UPSTREAM_IDLE_SECONDS),
        transport_socket=build.extension(tls.SOCKET, tls.UPSTREAM, **context),
        transport_socket_matches=[
            {
                "name": "clear",
                "match": api.struct({"mtls": "false"}),
                "transport_socket": build.extension(
                    "envoy.transport_sockets.raw_buffer",
                    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
                ),
            }
        ],
        metadata={
            "filter_metadata": {
                names.METADATA: api.struct(
                    {
                        "service": cluster.key.host,
                        "service_name": cluster.service_name,
                        "service_namespace": cluster.service_namespace,
                        "protocol": metric_protocol(cluster.protocol),
                    }
                )
            }
        },
    )


def inbound(port: InboundPort) -> Any:
    """The application itself, in the protocol that it declares."""
    options = {}
    if port.protocol.is_http:
        options = _http(http2=port.protocol is not Protocol.HTTP, idle=_APPLICATION_IDLE_SECONDS)
    name = names.inbound(port.number)
    address = {"socket_address": {"address": port.app_address, "port_value": port.app_port}}
    return api.message("envoy.config.cluster.v3.Cluster")(
        name=name,
        type="STATIC",
        connect_timeout=build.seconds(_CONNECT_SECONDS),
        circuit_breakers={"thresholds": [_thresholds()]},
        typed_extension_protocol_options=options,
        load_assignment={
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    )


def metric_protocol(protocol: Protocol) -> str:
    """What Istio's metrics call it: http, grpc or tcp."""
    if protocol is Protocol.GRPC:
        return "grpc"
    return "http" if protocol.is_http else "tcp"


def _http(*, http2: bool, idle: float) -> dict[str, Any]:
    explicit: dict[str, Any] = (
        {"http2_protocol_options": {"allow_connect": True}} if http2 else {"http_protocol_options": {}}
    )
    options = api.message(_HTTP_OPTIONS)(
        common_http_protocol_options={"idle_timeout": build.seconds(idle)}, explicit_http_config=explicit
    )
    return {_HTTP_OPTIONS: api.pack(options)}


def _thresholds(**more: Any) -> dict[str, Any]:
    limits = ("max_connections", "max_pending_requests", "max_requests")
    return {limit: {"value": _NO_LIMIT} for limit in limits} | more
