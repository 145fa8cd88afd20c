"""What is sent to the application: checked by certificate and policy, and passed on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from plait.envoy import access_log, api, build, names, tls, tracing
from plait.envoy.filters import ORDER, admission, denials, rate_limit, stats, tap
from plait.envoy.listeners import parts
from plait.model.catalog import Protocol, SidecarAddresses
from plait.model.mesh import InboundPort
from plait.model.policy import MtlsMode
from plait.model.settings import MeshSettings
from plait.model.telemetry import NOTHING_SAID, Observed, Side
from plait.model.traffic import LONGEST_IDLE

_PEER_IDLE_SECONDS = 2 * LONGEST_IDLE
_PEER_CONNECTION_SECONDS = 3600.0
"""After this, or before a certificate ends, a peer has to connect anew and to show one that holds; nothing running is
cut."""
_PEER_CONNECTION_SHARE = 0.25
"""Of the life of a certificate, which has 45 % left at every handshake."""
_JITTER_PERCENT = 10.0
_DRAIN_SECONDS = 5.0
"""So long Envoy lets a connection live on that it has said goodbye to, for what is on its way."""
_HANDSHAKE_SECONDS = 10.0
_HTTP_IN_TLS = ("h2", "http/1.1")


def listener(
    sidecar: SidecarAddresses,
    settings: MeshSettings,
    ports: Sequence[InboundPort],
    admitting: Mapping[int, str],
    observed: Observed = NOTHING_SAID,
) -> Any:
    """Takes each declared port, and nothing else.

    In explicit mode each is listened to at its own place.  In transparent mode the kernel brings all of them to one,
    and what comes for another port, or for that place itself, finds no filter chain and is closed.

    `admitting` marks whom the ports admit that are not HTTP: when a mark changes, Envoy replaces the filter chain that
    carries it, and so ends the connections that were admitted before, and no others.  `observed` is what is told of
    requests.
    """
    places = () if sidecar.transparent else ports
    return api.message(parts.LISTENER)(
        name=names.INBOUND_LISTENER,
        address=parts.address(sidecar.address, sidecar.inbound),
        additional_addresses=[{"address": parts.address(port.address, port.port)} for port in places],
        traffic_direction="INBOUND",
        enable_reuse_port={"value": False},
        listener_filters=_listener_filters(ports, transparent=sidecar.transparent),
        filter_chains=[
            chain
            for port in ports
            for chain in _chains(port, settings, admitting.get(port.number, ""), observed)
        ],
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


def _chains(
    port: InboundPort, settings: MeshSettings, mark: str, observed: Observed
) -> Iterator[dict[str, Any]]:
    """One way in, or two where both mutual TLS and plain text are taken; each twice when HTTP is to be found out.

    Each is told from the other even where it is alone, so that a changed mode ends what is no longer taken, and
    nothing else.
    """
    if port.mtls is not MtlsMode.DISABLE:
        yield from _ways(port, settings, {"transport_protocol": "tls"}, mark, observed, mtls=True)
    if port.mtls is not MtlsMode.STRICT:
        yield from _ways(port, settings, {"transport_protocol": "raw_buffer"}, mark, observed, mtls=False)


def _ways(  # noqa: PLR0913  # what a way is made of
    port: InboundPort,
    settings: MeshSettings,
    match: dict[str, Any],
    mark: str,
    observed: Observed,
    *,
    mtls: bool,
) -> Iterator[dict[str, Any]]:
    suffix = "mtls" if mtls else "clear"
    name = names.inbound(port.number) + suffix
    secured = _secured(settings) if mtls else _in_the_clear
    if port.protocol.may_be_http:
        manager = _manager(port, settings, observed, mtls=mtls)
    if port.protocol.is_http:
        yield _chain(port, name, match, [manager]) | secured(_HTTP_IN_TLS)
        return
    if port.protocol.may_be_http:
        seen = {"application_protocols": _HTTP_IN_TLS if mtls else parts.HTTP_SEEN}
        http = names.inbound_http(port.number) + suffix
        yield _chain(port, http, match | seen, [manager]) | secured(_HTTP_IN_TLS)
    yield _chain(port, name, match, _tcp(port, settings, observed, mtls=mtls)) | secured(()) | _marked(mark)


def _chain(
    port: InboundPort, name: str, match: dict[str, Any], filters: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "name": name,
        "filter_chain_match": match | {"destination_port": {"value": port.port}},
        "filters": filters,
    }


def _marked(mark: str) -> dict[str, Any]:
    return (
        {"metadata": {"filter_metadata": {names.METADATA: api.struct({names.ADMITTING: mark})}}}
        if mark
        else {}
    )


def _secured(settings: MeshSettings) -> Callable[[tuple[str, ...]], dict[str, Any]]:
    """Mutual TLS, in which one of these protocols is agreed on (none: whatever, and nothing is said of it)."""

    def with_alpn(alpn: tuple[str, ...]) -> dict[str, Any]:
        context = tls.server(settings.trust_domains, alpn)
        return {
            "transport_socket": build.extension(tls.SOCKET, tls.DOWNSTREAM, **context),
            "transport_socket_connect_timeout": build.seconds(_HANDSHAKE_SECONDS),
        }

    return with_alpn


def _in_the_clear(_alpn: tuple[str, ...]) -> dict[str, Any]:
    return {}


def _manager(port: InboundPort, settings: MeshSettings, observed: Observed, *, mtls: bool) -> dict[str, Any]:
    return parts.manager(
        "inbound",
        filters=[parts.installed(one, port.number) for one in ORDER if one.inbound],
        access_log=[
            *([stats.at_destination(mtls=mtls)] if observed.metrics else []),
            *([stats.outlasting("http", _sure_stream_seconds(settings))] if mtls else []),
            stats.denied(mtls=mtls),
            denials.of_requests(port.number),
            tap.at_server(),
            *access_log.of_requests(observed.logs, Side.SERVER),
        ],
        **tracing.of_manager(observed.tracing, outbound=False),
        rds={"route_config_name": names.inbound(port.number), "config_source": build.ADS},
        common_http_protocol_options={
            "idle_timeout": build.seconds(_PEER_IDLE_SECONDS),
            "max_connection_duration": build.seconds(_connection_seconds(settings)),
            "max_connection_duration_jitter": {"value": _JITTER_PERCENT},
            **(_at_most("max_stream_duration", settings) if mtls else {}),
        },
        # Who calls is what the certificate says, never what a header says.
        forward_client_cert_details="SANITIZE_SET",
        set_current_client_cert_details={"subject": {"value": True}, "uri": True},
        early_header_mutation_extensions=[_without_envoy_headers(), *tracing.early(observed.tracing)],
        local_reply_config=_local_replies(),
        **parts.HTTP_1_0,  # who is called by the replica's own address is told what the client says
    )


def _tcp(
    port: InboundPort, settings: MeshSettings, observed: Observed, *, mtls: bool
) -> list[dict[str, Any]]:
    """Bytes as they are, to the application once the caller is known and admitted, and otherwise nowhere."""
    log = [
        *(stats.tcp_at_destination(port, mtls=mtls) if observed.metrics else []),
        stats.tcp_denied(port, mtls=mtls),
        denials.of_connections(port.number),
        tap.tcp_at_server(port),
    ]
    if mtls:
        log = [*log, stats.outlasting("tcp", settings.certain)]
    log += access_log.of_connections(observed.logs, Side.SERVER)
    proxy = parts.tcp_proxy(
        "inbound",
        names.BLACK_HOLE_CLUSTER,
        log,
        upstream_connect_mode="ON_DOWNSTREAM_TLS_HANDSHAKE",
        max_early_data_bytes={"value": 0},
        **(_at_most("max_downstream_connection_duration", settings) if mtls else {}),
    )
    return [admission.listener_filter(port), proxy]


def _connection_seconds(settings: MeshSettings) -> float:
    """After how long a connection is drained: with its jitter and its goodbye it is gone before a certificate is."""
    return min(_PEER_CONNECTION_SECONDS, settings.certificate_lifetime * _PEER_CONNECTION_SHARE)


def _sure_stream_seconds(settings: MeshSettings) -> float:
    """How long a stream can last that surely outlives no certificate, however late on its connection it began."""
    latest = _connection_seconds(settings) * (1 + _JITTER_PERCENT / 100) + _DRAIN_SECONDS
    return max(0.0, settings.certain - latest)


def _at_most(field: str, settings: MeshSettings) -> dict[str, Any]:
    """What has begun under a certificate does not outlive it for ever."""
    return {field: build.seconds(settings.longest_connection)}


_NOT_FOR_APPLICATIONS: tuple[dict[str, str], ...] = (
    {"prefix": "x-envoy"},
    *({"prefix": one} for one in ("x_envoy", "x_forwarded", "x-forwarded_")),
    *({"exact": one} for one in ("x-forwarded-client_cert", "content_length", "transfer_encoding")),
)
"""What would steer our router, and what an application may take for a header of ours: to many `_` is as good as `-`."""


def _without_envoy_headers() -> dict[str, Any]:
    """Removes what would let a caller steer our router, or tell the application things of its caller's."""
    return build.extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[{"remove_on_match": {"key_matcher": matcher}} for matcher in _NOT_FOR_APPLICATIONS],
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
