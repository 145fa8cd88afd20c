"""Clusters: where requests go.  Outbound ones are the same for every proxy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from plait.envoy import api, build, names, tls, traffic
from plait.model.catalog import Protocol
from plait.model.mesh import Cluster, InboundPort

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_CLUSTER = "envoy.config.cluster.v3.Cluster"

# An idle connection is closed by the side that opened it, before the other side would: the sidecar behind an
# outbound cluster waits twice as long (see listeners), applications are trusted to wait a second and no more.
_TO_APPLICATION = {"idle_timeout": build.seconds(0.5)}

_HTTP1: dict[str, Any] = {"http_protocol_options": {}}


def outbound(cluster: Cluster, trust_domains: tuple[str, ...]) -> Any:
    """A port of a service, or of a subset of it: endpoints by EDS, over mutual TLS.

    HTTP goes as HTTP/2.  At an undeclared port it goes in the version that the client speaks, so that the server's
    sidecar can do the same; there the protocol that TLS agrees on tells HTTP from the rest, which agrees on none.
    The server may have its identity in any of the trust domains, which mean the same.  An endpoint whose metadata says so is called in the clear (mutual TLS is disabled there); nothing else is.
    """
    uris = [replace(one, trust_domain=domain).uri for one in cluster.identities for domain in trust_domains]
    uris = uris or [names.nobody_uri(trust_domains[0])]
    context = tls.client(uris, names.cluster_sni(cluster.key), ("h2",) if cluster.protocol.is_http else ())
    options = {}
    common = traffic.http_options(cluster.policy, cluster.protocol)
    http2 = traffic.streams(cluster.policy, cluster.protocol)
    if cluster.protocol.is_http:
        options = _options(common, explicit_http_config=_http2(http2))
    elif cluster.protocol.may_be_http:
        options = _options(common, use_downstream_protocol_config=_HTTP1 | _http2(http2))
    return api.message(_CLUSTER)(
        name=names.cluster(cluster.key),
        type="EDS",
        eds_cluster_config={"eds_config": build.ADS},
        typed_extension_protocol_options=options,
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
        **traffic.policy(cluster.policy),
    )


def inbound(port: InboundPort) -> Any:
    """The application itself: in the HTTP that it declares, or byte by byte."""
    options = {}
    if port.protocol.is_http:
        http2 = port.protocol is not Protocol.HTTP
        options = _options(_TO_APPLICATION, explicit_http_config=_http2() if http2 else _HTTP1)
    return _application(port, names.inbound(port.number), options)


def inbound_http(port: InboundPort) -> Any:
    """The application at an undeclared port, when HTTP was seen: in the version that the client speaks."""
    options = _options(_TO_APPLICATION, use_downstream_protocol_config=_HTTP1 | _http2())
    return _application(port, names.inbound_http(port.number), options)


def _application(port: InboundPort, name: str, options: dict[str, Any]) -> Any:
    address = {"socket_address": {"address": port.app_address, "port_value": port.app_port}}
    return api.message(_CLUSTER)(
        name=name,
        type="STATIC",
        connect_timeout=build.seconds(traffic.CONNECT_SECONDS),
        circuit_breakers={"thresholds": [traffic.thresholds()]},
        typed_extension_protocol_options=options,
        load_assignment={
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    )


def black_hole() -> Any:
    """Where nothing gets anywhere."""
    return api.message(_CLUSTER)(
        name=names.BLACK_HOLE_CLUSTER,
        type="STATIC",
        connect_timeout=build.seconds(traffic.CONNECT_SECONDS),
    )


def replicas(trust_domains: tuple[str, ...]) -> Any:
    """The replica whose address the application was going to, over mutual TLS: whoever it is, a workload of ours."""
    context = tls.client_of_any(trust_domains)
    return api.message(_CLUSTER)(
        name=names.REPLICAS_CLUSTER,
        type="ORIGINAL_DST",
        lb_policy="CLUSTER_PROVIDED",
        connect_timeout=build.seconds(traffic.CONNECT_SECONDS),
        circuit_breakers={"thresholds": [traffic.thresholds()]},
        transport_socket=build.extension(tls.SOCKET, tls.UPSTREAM, **context),
    )


def passthrough() -> Any:
    """Wherever the application was going: the destination that the kernel knows, and no header says."""
    return api.message(_CLUSTER)(
        name=names.PASSTHROUGH_CLUSTER,
        type="ORIGINAL_DST",
        lb_policy="CLUSTER_PROVIDED",
        connect_timeout=build.seconds(traffic.CONNECT_SECONDS),
        circuit_breakers={"thresholds": [traffic.thresholds()]},
    )


def _http2(more: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"http2_protocol_options": {"allow_connect": True, **(more or {})}}


def _options(common: dict[str, Any], **protocol: Any) -> dict[str, Any]:
    options = api.message(_HTTP_OPTIONS)(common_http_protocol_options=common, **protocol)
    return {_HTTP_OPTIONS: api.pack(options)}
