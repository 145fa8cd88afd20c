"""A pair of Envoys in the shape that Istio gives its sidecars by default, made of what stock Envoy has.

After Istio's listener, route and cluster builders (1.27 and later), for a client and a server with declared ports,
mutual TLS and one AuthorizationPolicy.  In the order of the filters:

| Istio's | here |
|---|---|
| istio.metadata_exchange | left out: headers with the workload's metadata, in both directions, are spared |
| rbac (inbound) | one rule with the client's principal |
| grpc_stats | the same |
| istio.alpn (outbound) | set_filter_state, which sets the same state: what the upstream's TLS offers |
| fault, cors | the same, with nothing to do |
| istio.stats | Envoy's stats logger with Istio's names and labels (`istio_metrics`) |
| router | the same, with its headers (x-envoy-decorator-operation, x-envoy-upstream-service-time and the like) |

1 % of requests are traced to a collector by OpenTelemetry.  HTTP/1.1 stays HTTP/1.1 between the sidecars, for
h2UpgradePolicy is DO_NOT_UPGRADE by default; gRPC is HTTP/2.  The file log has Istio's own text format.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.data_plane import certificates, envoys, istio_metrics
from bench.data_plane.certificates import Files
from bench.data_plane.envoys import Message, http_filter
from bench.data_plane.ground import AUTHORITY, Ground, Standing, at
from bench.data_plane.istio_metrics import HOST
from bench.data_plane.load import Protocol
from bench.data_plane.processes import LOOPBACK, free_ports
from plait.envoy import api, build

_OUTBOUND, _INBOUND, _COLLECTOR = f"outbound|8080||{HOST}", "inbound|8080||", "collector"
_SNI = f"outbound_.8080_._.{HOST}"
_TLS = "envoy.extensions.transport_sockets.tls.v3"
_NO_TIME = build.seconds(0)
_NO_LIMIT = {"value": 2**32 - 1}

_LOG_FORMAT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% '
    "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "
    '"%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% '
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" "%REQ(X-REQUEST-ID)%" '
    '"%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)
_KEPT = ("istio", "cluster_manager", "listener_manager", "server", "cluster.xds-grpc", "wasm")
_KEPT_ENDS = ("rbac.allowed", "rbac.denied", "shadow_allowed", "shadow_denied", "downstream_cx_active")
"""Of Envoy's own statistics, as Istio's bootstrap has it."""


@contextmanager
def stand(ground: Ground, *, file_log: bool = False) -> Iterator[Standing]:
    base = ground.folder / ("istio-log" if file_log else "istio")
    pair = {name: base / name for name in ("client", "server")}
    for folder in pair.values():
        folder.mkdir(parents=True)
    files = certificates.issued(base)
    client, server = free_ports(2)
    made = {
        "server": (server, partial(_server, ground, server, files["server"])),
        "client": (client, partial(_client, ground, client, server, files["client"])),
    }
    logs = tuple(folder / "access.log" for folder in pair.values()) if file_log else ()
    with ExitStack() as stack:
        proxies = []
        for name, (port, configure) in made.items():
            log = [_file_log(pair[name] / "access.log")] if file_log else []
            running = envoys.running(ground, pair[name], port, configure(pair[name], log))
            proxies.append(stack.enter_context(running))
        yield Standing(target=at(client), proxies=tuple(proxies), logs=logs)


def _client(ground: Ground, port: int, server: int, files: Files, folder: Path, log: list[Message]) -> Any:  # noqa: PLR0913, PLR0917 - all that it follows from
    if ground.protocol is Protocol.TCP:
        passing = envoys.tcp_proxy(_OUTBOUND, **_counted(istio_metrics.connections_at_source(), log))
    else:
        passing = _manager(
            "outbound",
            [
                http_filter("grpc_stats", "FilterConfig", emit_filter_state=True),
                _alpn(ground.protocol),
                *_idle_filters(),
                http_filter("router"),
            ],
            access_log=[*log, istio_metrics.requests_at_source()],
            route_config={
                "name": "8080",
                "validate_clusters": {"value": False},
                "max_direct_response_body_size_bytes": {"value": 1048576},
                "virtual_hosts": [
                    {
                        "name": f"{HOST}:8080",
                        "domains": [HOST, "server", AUTHORITY, "server.bench", f"{HOST}:8080"],
                        "include_request_attempt_count": True,
                        "routes": [_route(_OUTBOUND, retry_policy=_retries())],
                    }
                ],
            },
        )
    cluster = envoys.cluster(
        _OUTBOUND,
        server,
        http2=envoys.is_http2(ground.protocol),
        endpoint=istio_metrics.of_endpoint(),
        connect_timeout=build.seconds(10),
        lb_policy="LEAST_REQUEST",
        circuit_breakers=_circuit_breakers(),
        transport_socket=build.extension(
            "envoy.transport_sockets.tls",
            f"{_TLS}.UpstreamTlsContext",
            common_tls_context=_tls(
                files, [{"exact": certificates.uri("server")}], _offered(ground.protocol)
            ),
            sni=_SNI,
        ),
        **istio_metrics.of_service(),
    )
    return _bootstrap(ground, folder, envoys.listener(port, [passing]), cluster)


def _server(ground: Ground, port: int, files: Files, folder: Path, log: list[Message]) -> Any:
    if ground.protocol is Protocol.TCP:
        counted = _counted(istio_metrics.connections_at_destination(), log)
        filters = [_network_rbac(), envoys.tcp_proxy(_INBOUND, **counted)]
    else:
        filters = [
            _manager(
                "inbound",
                [
                    http_filter("rbac", "RBAC", rules=_rules()),
                    http_filter("grpc_stats", "FilterConfig", emit_filter_state=True),
                    *_idle_filters(),
                    http_filter("router"),
                ],
                access_log=[*log, istio_metrics.requests_at_destination()],
                forward_client_cert_details="APPEND_FORWARD",
                set_current_client_cert_details={"subject": {"value": True}, "dns": True, "uri": True},
                route_config={
                    "name": _INBOUND,
                    "validate_clusters": {"value": False},
                    "virtual_hosts": [
                        {
                            "name": "inbound|http|8080",
                            "domains": ["*"],
                            "routes": [_route(_INBOUND)],
                        }
                    ],
                },
            )
        ]
    socket = build.extension(
        "envoy.transport_sockets.tls",
        f"{_TLS}.DownstreamTlsContext",
        common_tls_context=_tls(
            files, [{"prefix": f"spiffe://{certificates.DOMAIN}/"}], _agreed(ground.protocol)
        ),
        require_client_certificate={"value": True},
    )
    listener = envoys.listener(
        port, filters, transport_socket=socket, filter_chain_match={"transport_protocol": "tls"}
    )
    listener["listener_filters"] = [_inspector("tls"), _inspector("http")]
    cluster = envoys.cluster(
        _INBOUND,
        ground.server,
        http2=envoys.is_http2(ground.protocol),
        connect_timeout=build.seconds(10),
        circuit_breakers=_circuit_breakers(),
    )
    return _bootstrap(ground, folder, listener, cluster)


def _bootstrap(ground: Ground, folder: Path, listener: Message, cluster: Message) -> Any:
    collector = envoys.cluster(_COLLECTOR, ground.collector, http2=True)
    kept = [*({"prefix": one} for one in _KEPT), *({"suffix": one} for one in _KEPT_ENDS)]
    matcher = {"inclusion_list": {"patterns": kept}}
    return envoys.bootstrap(folder, [listener], [cluster, collector], stats_config={"stats_matcher": matcher})


def _manager(prefix: str, filters: list[Message], **fields: Any) -> Message:
    name = f"{prefix}_{LOOPBACK}_8080"
    return envoys.manager(
        stat_prefix=name,
        http_filters=filters,
        server_name="istio-envoy",
        use_remote_address={"value": False},
        normalize_path={"value": True},
        path_with_escaped_slashes_action="KEEP_UNCHANGED",
        stream_idle_timeout=_NO_TIME,
        upgrade_configs=[{"upgrade_type": "websocket"}],
        request_id_extension={
            "typed_config": api.pack(
                api.message("envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig")(
                    use_request_id_for_trace_sampling={"value": True}
                )
            )
        },
        tracing=_tracing(),
        http2_protocol_options={},
        **fields,
    )


def _tracing() -> Message:
    tags = {
        "istio.canonical_revision": "v1",
        "istio.canonical_service": "server",
        "istio.mesh_id": "cluster.local",
        "istio.namespace": "bench",
        "istio.cluster_id": "Kubernetes",
    }
    provider = build.extension(
        "envoy.tracers.opentelemetry",
        "envoy.config.trace.v3.OpenTelemetryConfig",
        service_name="server.bench",
        grpc_service={"envoy_grpc": {"cluster_name": _COLLECTOR}, "timeout": build.seconds(1)},
    )
    return {
        "client_sampling": {"value": 100.0},
        "random_sampling": {"value": 1.0},
        "overall_sampling": {"value": 100.0},
        "custom_tags": [{"tag": tag, "literal": {"value": value}} for tag, value in tags.items()],
        "provider": provider,
    }


def _alpn(protocol: Protocol) -> Message:
    state = {
        "object_key": "envoy.network.application_protocols",
        "format_string": {"text_format_source": {"inline_string": ",".join(_offered(protocol))}},
        "shared_with_upstream": "ONCE",
    }
    return http_filter("set_filter_state", "Config", on_request_headers=[state])


def _offered(protocol: Protocol) -> tuple[str, ...]:
    """What istio.alpn makes of the version of HTTP; for TCP, what its clusters say."""
    match protocol:
        case Protocol.HTTP:
            return "istio-http/1.1", "istio", "http/1.1"
        case Protocol.GRPC:
            return "istio-h2", "istio", "h2"
        case Protocol.TCP:
            return ("istio",)


def _agreed(protocol: Protocol) -> tuple[str, ...]:
    return ("istio",) if protocol is Protocol.TCP else ("h2", "http/1.1")


def _idle_filters() -> tuple[Message, ...]:
    return http_filter("fault", "HTTPFault"), http_filter("cors")


def _route(cluster: str, **more: Any) -> Message:
    """Without a timeout, as Istio's routes are by default."""
    return {
        "name": "default",
        "match": {"prefix": "/"},
        "decorator": {"operation": f"{HOST}:8080/*"},
        "route": {
            "cluster": cluster,
            "timeout": _NO_TIME,
            "max_stream_duration": {"max_stream_duration": _NO_TIME, "grpc_timeout_header_max": _NO_TIME},
            **more,
        },
    }


def _retries() -> Message:
    predicate = build.extension(
        "envoy.retry_host_predicates.previous_hosts",
        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
    )
    return {
        "retry_on": "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes",
        "num_retries": {"value": 2},
        "retriable_status_codes": [503],
        "retry_host_predicate": [predicate],
        "host_selection_retry_max_attempts": 5,
    }


def _rules() -> Message:
    principal = {"authenticated": {"principal_name": {"exact": certificates.uri("client")}}}
    alone = {"and_ids": {"ids": [{"or_ids": {"ids": [principal]}}]}}
    rule = {"permissions": [{"and_rules": {"rules": [{"any": True}]}}], "principals": [alone]}
    return {"action": "ALLOW", "policies": {"ns[bench]-policy[server]-rule[0]": rule}}


def _network_rbac() -> Message:
    return build.extension(
        "envoy.filters.network.rbac",
        "envoy.extensions.filters.network.rbac.v3.RBAC",
        rules=_rules(),
        stat_prefix="tcp.",
    )


def _tls(files: Files, peers: list[Message], alpn: tuple[str, ...]) -> Message:
    own = {"filename": str(files.own)}
    return {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
        "alpn_protocols": list(alpn),
        "tls_certificates": [{"certificate_chain": own, "private_key": own}],
        "validation_context": {
            "trusted_ca": {"filename": str(files.roots)},
            "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": peer} for peer in peers],
        },
    }


def _inspector(kind: str) -> Message:
    return build.extension(
        f"envoy.filters.listener.{kind}_inspector",
        f"envoy.extensions.filters.listener.{kind}_inspector.v3.{kind.capitalize()}Inspector",
    )


def _circuit_breakers() -> Message:
    limits = ("max_connections", "max_pending_requests", "max_requests", "max_retries")
    return {"thresholds": [dict.fromkeys(limits, _NO_LIMIT) | {"track_remaining": True}]}


def _counted(counting: list[Message], log: list[Message]) -> Message:
    return {
        "access_log": [*log, *counting],
        "access_log_options": {"flush_access_log_on_connected": True},
    }


def _file_log(path: Path) -> Message:
    return build.extension(
        "envoy.access_loggers.file",
        "envoy.extensions.access_loggers.file.v3.FileAccessLog",
        path=str(path),
        log_format={"text_format_source": {"inline_string": _LOG_FORMAT}},
    )
