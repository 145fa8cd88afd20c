"""Listeners: where a proxy takes traffic in.  They stay as they are while routes and policies change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from plait.envoy import api, build, names, tls
from plait.envoy.clusters import UPSTREAM_IDLE_SECONDS
from plait.envoy.filters import ORDER, HttpFilter, rbac, stats
from plait.model.mesh import InboundPort, View
from plait.model.policy import MtlsMode

_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_HCM_NAME = "envoy.filters.network.http_connection_manager"
_LISTENER = "envoy.config.listener.v3.Listener"

_APPLICATION_IDLE_SECONDS = 3600.0
"""For connections of our own application: it closes them itself, long before."""
_PEER_IDLE_SECONDS = 2 * UPSTREAM_IDLE_SECONDS
_PEER_CONNECTION_SECONDS = 3600.0
"""After this a peer has to connect anew, and to show a certificate that holds; nothing running is cut."""
_HANDSHAKE_SECONDS = 10.0
_EARLY_BYTES = 64 * 1024

_PATHS = {
    # What policies and routes look at is what the application gets.
    "normalize_path": {"value": True},
    "merge_slashes": True,
    "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
}


def outbound(view: View) -> Any:
    """Takes what the application sends through its HTTP proxy; the whole authority chooses the routes."""
    manager = _manager(
        "outbound",
        filters=[http_filter for http_filter in ORDER if http_filter.outbound],
        access_log=[stats.at_source(view)],
        common_http_protocol_options={"idle_timeout": build.seconds(_APPLICATION_IDLE_SECONDS)},
        strip_trailing_host_dot=True,  # the same name, said to be whole
        scoped_routes={
            "name": names.OUTBOUND_LISTENER,
            "scope_key_builder": {
                "fragments": [{"header_value_extractor": {"name": ":authority", "index": 0}}]
            },
            "rds_config_source": build.ADS,
            "scoped_rds": {"scoped_rds_config_source": build.ADS},
        },
    )
    return api.message(_LISTENER)(
        name=names.OUTBOUND_LISTENER,
        address=_address(view.sidecar.address, view.sidecar.outbound),
        traffic_direction="OUTBOUND",
        enable_reuse_port={"value": False},
        filter_chains=[{"filters": [manager]}],
    )


def inbound(view: View) -> Any | None:
    """Takes what is sent to the workload, each declared port at its own address; None when there is no port."""
    if not view.inbound:
        return None
    return api.message(_LISTENER)(
        name=names.INBOUND_LISTENER,
        address=_address(view.sidecar.address, view.sidecar.inbound),
        additional_addresses=[{"address": _address(port.address, port.port)} for port in view.inbound],
        traffic_direction="INBOUND",
        enable_reuse_port={"value": False},
        listener_filters=_listener_filters(view.inbound),
        filter_chains=[chain for port in view.inbound for chain in _chains(view, port)],
    )


def _listener_filters(ports: Iterable[InboundPort]) -> list[dict[str, Any]]:
    """TLS is told from plain text only at ports that take both."""
    ports = tuple(ports)
    exact = [port.port for port in ports if port.mtls is not MtlsMode.PERMISSIVE]
    if len(exact) == len(ports):
        return []
    inspector = build.extension(
        "envoy.filters.listener.tls_inspector",
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    )
    ranges = [{"destination_port_range": {"start": number, "end": number + 1}} for number in exact]
    if len(ranges) == 1:
        inspector["filter_disabled"] = ranges[0]
    elif ranges:
        inspector["filter_disabled"] = {"or_match": {"rules": ranges}}
    return [inspector]


def _chains(view: View, port: InboundPort) -> list[dict[str, Any]]:
    """One way in, or two where both mutual TLS and plain text are taken."""
    match port.mtls:
        case MtlsMode.STRICT:
            return [_chain(view, port, {}, mtls=True)]
        case MtlsMode.DISABLE:
            return [_chain(view, port, {}, mtls=False)]
        case MtlsMode.PERMISSIVE:
            return [
                _chain(view, port, {"transport_protocol": "tls"}, mtls=True),
                _chain(view, port, {"transport_protocol": "raw_buffer"}, mtls=False),
            ]


def _chain(view: View, port: InboundPort, match: dict[str, Any], *, mtls: bool) -> dict[str, Any]:
    chain: dict[str, Any] = {
        "name": names.inbound(port.number) + ("mtls" if mtls else "clear"),
        "filter_chain_match": match | {"destination_port": {"value": port.port}},
        "filters": _http(view, port, mtls=mtls) if port.protocol.is_http else _tcp(port),
    }
    if mtls:
        alpn = ("h2", "http/1.1") if port.protocol.is_http else ()
        context = tls.server(view.settings.trust_domain, alpn)
        chain["transport_socket"] = build.extension(tls.SOCKET, tls.DOWNSTREAM, **context)
        chain["transport_socket_connect_timeout"] = build.seconds(_HANDSHAKE_SECONDS)
    return chain


def _http(view: View, port: InboundPort, *, mtls: bool) -> list[dict[str, Any]]:
    return [
        _manager(
            "inbound",
            filters=[http_filter for http_filter in ORDER if http_filter.inbound],
            access_log=[stats.at_destination(view, mtls=mtls)],
            rds={"route_config_name": names.inbound(port.number), "config_source": build.ADS},
            common_http_protocol_options={
                "idle_timeout": build.seconds(_PEER_IDLE_SECONDS),
                "max_connection_duration": build.seconds(_PEER_CONNECTION_SECONDS),
                "max_connection_duration_jitter": {"value": 10.0},
            },
            # Who calls is what the certificate says, never what a header says.
            forward_client_cert_details="SANITIZE_SET",
            set_current_client_cert_details={"subject": {"value": True}, "uri": True},
            early_header_mutation_extensions=[_without_envoy_headers()],
            local_reply_config=_local_replies(),
        )
    ]


def _tcp(port: InboundPort) -> list[dict[str, Any]]:
    """Bytes as they are.  Policies stand in the listener here: to change them ends the port's connections.

    Envoy looks at them when the first byte comes from the client.  The application is not called before, or it
    would greet whom a policy shuts out; protocols in which the server speaks first can't have policies yet.
    """
    guards = rbac.network_filters(port)
    guarded: dict[str, Any] = {
        "upstream_connect_mode": "ON_DOWNSTREAM_DATA",
        "max_early_data_bytes": {"value": _EARLY_BYTES},
    }
    proxy = build.extension(
        "envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        stat_prefix="inbound",
        cluster=names.inbound(port.number),
        **(guarded if guards else {}),
    )
    return [*guards, proxy]


def _manager(stat_prefix: str, *, filters: Iterable[HttpFilter], **fields: Any) -> dict[str, Any]:
    return build.extension(
        _HCM_NAME,
        _HCM,
        stat_prefix=stat_prefix,
        http_filters=[_installed(http_filter) for http_filter in filters],
        http2_protocol_options={"allow_connect": True},
        upgrade_configs=[{"upgrade_type": "websocket"}],
        server_header_transformation="PASS_THROUGH",
        preserve_external_request_id=True,
        stream_idle_timeout=build.seconds(0),
        **_PATHS,
        **fields,
    )


def _installed(http_filter: HttpFilter) -> dict[str, Any]:
    return {
        "name": http_filter.name,
        "typed_config": api.pack(http_filter.on_listener()),
        "disabled": http_filter.waits,
    }


def _without_envoy_headers() -> dict[str, Any]:
    """Removes what would let a caller steer our router, or tell the application things of its caller's."""
    return build.extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[{"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}}],
    )


def _local_replies() -> dict[str, Any]:
    """Marks our own answer when the application could not be reached (see names.NOT_SENT_HEADER)."""
    mark = {
        "header": {"key": names.NOT_SENT_HEADER, "value": "true"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
    unreachable = {"response_flag_filter": {"flags": ["UF"]}}
    return {"mappers": [{"filter": unreachable, "headers_to_add": [mark]}]}


def _address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}
