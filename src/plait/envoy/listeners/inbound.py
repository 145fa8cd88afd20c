"""What is sent to the application: checked by certificate and policy, and passed on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from plait.envoy import api, build, names, tls
from plait.envoy.filters import ORDER, admission, rate_limit, stats
from plait.envoy.listeners import parts
from plait.model.catalog import Protocol, SidecarAddresses
from plait.model.mesh import InboundPort
from plait.model.policy import MtlsMode
from plait.model.traffic import LONGEST_IDLE

_PEER_IDLE_SECONDS = 2 * LONGEST_IDLE
_PEER_CONNECTION_SECONDS = 3600.0
"""After this a peer has to connect anew, and to show a certificate that holds; nothing running is cut."""
_HANDSHAKE_SECONDS = 10.0
_HTTP_IN_TLS = ("h2", "http/1.1")


def listener(sidecar: SidecarAddresses, trust_domain: str, ports: Sequence[InboundPort]) -> Any:
    """Takes each declared port, and nothing else.

    In explicit mode each is listened to at its own place.  In transparent mode the kernel brings all of them to one,
    and what comes for another port, or for that place itself, finds no filter chain and is closed.
    """
    places = () if sidecar.transparent else ports
    return api.message(parts.LISTENER)(
        name=names.INBOUND_LISTENER,
        address=parts.address(sidecar.address, sidecar.inbound),
        additional_addresses=[{"address": parts.address(port.address, port.port)} for port in places],
        traffic_direction="INBOUND",
        enable_reuse_port={"value": False},
        listener_filters=_listener_filters(ports, transparent=sidecar.transparent),
        filter_chains=[chain for port in ports for chain in _chains(port, trust_domain)],
        **(parts.detection() if any(_may_wait(port) for port in ports) else {}),
    )


def _listener_filters(ports: Sequence[InboundPort], *, transparent: bool) -> list[dict[str, Any]]:
    """First bytes are looked at only at ports where they decide something."""
    found = [parts.original_destination()] if transparent else []
    for inspector, decides in ((parts.tls_inspector, _tls_decides), (parts.http_inspector, _http_decides)):
        where = [port.port for port in ports if decides(port)]
        if where:
            everywhere = not transparent and len(where) == len(ports)
            found.append(inspector() | ({} if everywhere else _only_at(where)))
    return found


def _tls_decides(port: InboundPort) -> bool:
    """Policies may ask for the server name; plain text may be taken too, and what TLS agrees on tell HTTP from the rest."""
    return port.mtls is not MtlsMode.DISABLE


def _http_decides(port: InboundPort) -> bool:
    return port.protocol is Protocol.UNDECLARED and port.mtls is not MtlsMode.STRICT


def _may_wait(port: InboundPort) -> bool:
    """Whether a client that waits to be spoken to first would be waited for, who has no TLS to begin with."""
    return not port.protocol.is_http and (_http_decides(port) or port.mtls is MtlsMode.PERMISSIVE)


def _only_at(ports: list[int]) -> dict[str, Any]:
    """At no other port anybody is waited for, be it one that nobody declares."""
    ranges = [{"destination_port_range": {"start": number, "end": number + 1}} for number in ports]
    return {
        "filter_disabled": {"not_match": ranges[0] if len(ranges) == 1 else {"or_match": {"rules": ranges}}}
    }


def _chains(port: InboundPort, trust_domain: str) -> Iterator[dict[str, Any]]:
    """One way in, or two where both mutual TLS and plain text are taken; each twice when HTTP is to be found out."""
    both = port.mtls is MtlsMode.PERMISSIVE
    if port.mtls is not MtlsMode.DISABLE:
        yield from _ways(port, trust_domain, {"transport_protocol": "tls"} if both else {}, mtls=True)
    if port.mtls is not MtlsMode.STRICT:
        yield from _ways(port, trust_domain, {"transport_protocol": "raw_buffer"} if both else {}, mtls=False)


def _ways(
    port: InboundPort, trust_domain: str, match: dict[str, Any], *, mtls: bool
) -> Iterator[dict[str, Any]]:
    suffix = "mtls" if mtls else "clear"
    name = names.inbound(port.number) + suffix
    secured = _secured(trust_domain) if mtls else _in_the_clear
    if port.protocol.is_http:
        yield _chain(port, name, match, [_manager(port, mtls=mtls)]) | secured(_HTTP_IN_TLS)
        return
    if port.protocol.may_be_http:
        seen = {"application_protocols": _HTTP_IN_TLS if mtls else parts.HTTP_SEEN}
        http = names.inbound_http(port.number) + suffix
        yield _chain(port, http, match | seen, [_manager(port, mtls=mtls)]) | secured(_HTTP_IN_TLS)
    yield _chain(port, name, match, _tcp(port, mtls=mtls)) | secured(())


def _chain(
    port: InboundPort, name: str, match: dict[str, Any], filters: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "name": name,
        "filter_chain_match": match | {"destination_port": {"value": port.port}},
        "filters": filters,
    }


def _secured(trust_domain: str) -> Callable[[tuple[str, ...]], dict[str, Any]]:
    """Mutual TLS, in which one of these protocols is agreed on (none: whatever, and nothing is said of it)."""

    def with_alpn(alpn: tuple[str, ...]) -> dict[str, Any]:
        context = tls.server(trust_domain, alpn)
        return {
            "transport_socket": build.extension(tls.SOCKET, tls.DOWNSTREAM, **context),
            "transport_socket_connect_timeout": build.seconds(_HANDSHAKE_SECONDS),
        }

    return with_alpn


def _in_the_clear(_alpn: tuple[str, ...]) -> dict[str, Any]:
    return {}


def _manager(port: InboundPort, *, mtls: bool) -> dict[str, Any]:
    return parts.manager(
        "inbound",
        filters=[http_filter for http_filter in ORDER if http_filter.inbound],
        access_log=[stats.at_destination(mtls=mtls)],
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
        **parts.HTTP_1_0,  # who is called by the replica's own address is told what the client says
    )


def _tcp(port: InboundPort, *, mtls: bool) -> list[dict[str, Any]]:
    """Bytes as they are, to the application once the caller is known and admitted, and otherwise nowhere."""
    log = stats.tcp_at_destination(port, mtls=mtls)
    proxy = parts.tcp_proxy(
        "inbound",
        names.BLACK_HOLE_CLUSTER,
        log,
        upstream_connect_mode="ON_DOWNSTREAM_TLS_HANDSHAKE",
        max_early_data_bytes={"value": 0},
    )
    return [admission.listener_filter(port), proxy]


def _without_envoy_headers() -> dict[str, Any]:
    """Removes what would let a caller steer our router, or tell the application things of its caller's."""
    return build.extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[{"remove_on_match": {"key_matcher": {"prefix": "x-envoy-"}}}],
    )


def _local_replies() -> dict[str, Any]:
    """Marks our own answer when the application could not be reached (see names.NOT_SENT_HEADER), and says why.

    The first that fits is given.
    """
    mark = {
        "header": {"key": names.NOT_SENT_HEADER, "value": "true"},
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
    unreachable = {"response_flag_filter": {"flags": ["UF"]}}
    return {"mappers": [{"filter": unreachable, "headers_to_add": [mark]}, rate_limit.explanation()]}
