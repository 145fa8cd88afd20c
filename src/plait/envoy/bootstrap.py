"""What an Envoy starts with: a file (who it is, where the control plane is, its own two ports) and an environment.

Made of plain values, without message classes: agents import this and stay small.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from plait.envoy import metrics, names, otlp, scrape, tls
from plait.model.catalog import Labels, SidecarAddresses
from plait.model.names import ReplicaKey

_T = "type.googleapis.com/envoy."
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_MAX_CONNECTIONS = 50_000
_PAGE_BYTES = 32 * 1024 * 1024

_FLUSH = "1s"
"""Histograms are merged then; the metrics port shows them as they were at the last time."""

_RUNTIME = {
    # The TCP proxy is told its way when the caller is known (see filters.admission); else none is ever let in.
    "envoy.reloadable_features.tcp_proxy_delay_route_selection": True,
    # How large the program of a regular expression may be: as with Istio.  By itself Envoy takes 100 instructions.
    "re2.max_program_size.error_level": 32768,
    # Of so many requests on a connection half may be given up before they are answered, or else it is closed: with
    # all requests that go on beside them.  Between sidecars that is many callers' connection, and they are known.
    "overload.premature_reset_total_stream_count": 2**32 - 1,
    # Spans are told when there are so many, or after this time.
    "tracing.opentelemetry.min_flush_spans": 100,
    "tracing.opentelemetry.flush_interval_ms": 1000,
}

_KEPT_PREFIXES = (
    f"{names.METRICS_PREFIX}.",
    f"{names.OWN_METRICS_PREFIX}.",
    "cluster_manager.",
    "control_plane.",
    "listener_manager.",
    "server.",
)
_KEPT_SUFFIXES = (
    ".upstream_cx_active",
    ".upstream_cx_total",
    ".upstream_cx_connect_fail",
    ".upstream_cx_none_healthy",
    ".upstream_rq_active",
    ".upstream_rq_total",
    ".upstream_rq_retry",
    ".upstream_rq_retry_success",
    ".upstream_rq_pending_overflow",
    ".upstream_rq_pending_failure_eject",
    ".membership_total",
    ".outlier_detection.ejections_active",
    ".downstream_cx_active",
    ".downstream_cx_total",
    ".downstream_rq_active",
    ".downstream_rq_total",
    ".no_filter_chain_match",
    ".ssl.handshake",
    ".ssl.connection_error",
    ".ssl.fail_verify_error",
    ".ssl.fail_verify_no_cert",
    ".ssl.fail_verify_san",
    ".ssl.session_reused",
    ".rbac.allowed",
    ".rbac.denied",
    ".process_ratelimit.denied",
    "_.shadow_allowed",
    "_.shadow_denied",
    ".update_rejected",
    ".key_rotation_failed",
)
"""Of Envoy's own statistics; each kept for every cluster is memory in every proxy."""
_KEPT_PARTS = (".retry.upstream_rq_",)
"""Answers that were not good enough, by their codes: there are such where there were retries."""

_BINS = 16
"""Of a histogram at its beginning; Envoy takes 100 by itself, which is memory in every proxy for every label."""

_DENIALS = {"max_tokens": 100, "tokens_per_fill": 10, "fill_interval": "1s"}
"""Lines that the log takes at once, and in the long run; those that are left out are counted."""

_CLUSTER_NAME = (
    r"^cluster\.((.+?)\.)(?:(?:retry\.)?upstream_|membership_|outlier_detection\.|ssl\.[a-z_]+$|update_)"
)


def bootstrap(  # noqa: PLR0913 - what one Envoy is told apart from another by
    *,
    node: ReplicaKey,
    trust_domain: str,
    sidecar: SidecarAddresses,
    admin_socket: str,
    stats_socket: str,
    control_plane: str,
) -> dict[str, Any]:
    """The bootstrap of one sidecar, as Envoy's JSON.

    Both sockets are paths; what the metrics port tells is told at `stats_socket` too, for whom the port is out of
    reach.  `control_plane` is the path of a Unix socket (it begins with `/`) or `HOST:PORT`.
    Envoy must be started in the folder that holds `secrets/`.
    """
    # At 0.0.0.0 they would also take what is sent to these ports of anybody else.
    own = (sidecar.address, *(("127.0.0.1",) if sidecar.transparent else ()))
    health = [_at(address, sidecar.health) for address in own]
    metrics = [*(_at(address, sidecar.metrics) for address in own), _pipe(stats_socket)]
    return {
        "node": {"id": str(node), "cluster": names.node_cluster(node)},
        "admin": {"address": _pipe(admin_socket)},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": _stream()}],
            },
            "cds_config": _ads(),
            "lds_config": _ads(),
        },
        "static_resources": {
            "listeners": [
                _listener(names.HEALTH_LISTENER, health, [_health_route()]),
                _listener(names.METRICS_LISTENER, metrics, [_metrics_route()], lua=True),
                *otlp.listeners(sidecar),
            ],
            "clusters": [_control_plane(control_plane, trust_domain), _admin(admin_socket)],
        },
        "layered_runtime": {
            "layers": [
                {"name": "static", "static_layer": _RUNTIME},
                {
                    "name": names.RUNTIME_LAYER,
                    "rtds_layer": {"name": names.RUNTIME_LAYER, "rtds_config": _ads()},
                },
            ]
        },
        **_stats(),
        "overload_manager": {
            "resource_monitors": [
                _extension(
                    "envoy.resource_monitors.global_downstream_max_connections",
                    "extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
                    max_active_downstream_connections=_MAX_CONNECTIONS,
                )
            ]
        },
    }


def _stats() -> dict[str, Any]:
    """What is kept of all that Envoy counts, for how long, in which buckets, and by which labels."""
    patterns = [
        *({"prefix": prefix} for prefix in _KEPT_PREFIXES),
        *({"suffix": suffix} for suffix in _KEPT_SUFFIXES),
        *({"contains": part} for part in _KEPT_PARTS),
    ]
    buckets = [
        {"match": {"prefix": f"{names.METRICS_PREFIX}.{name}."}, "buckets": list(bounds), "bins": _BINS}
        for name, bounds in metrics.BUCKETS.items()
    ]
    return {
        "stats_flush_interval": _FLUSH,
        "stats_eviction_interval": f"{metrics.IDLE_SECONDS}s",
        "stats_config": {
            "stats_matcher": {"inclusion_list": {"patterns": patterns}},
            # Names of clusters end in hosts, which have dots; Envoy's own rule would stop at the first.
            "stats_tags": [{"tag_name": "envoy.cluster_name", "regex": _CLUSTER_NAME}],
            "allow_default_tag_overrides": True,
            "histogram_bucket_settings": buckets,
        },
    }


def log_bound() -> dict[str, Any]:
    """What says how many denials are logged: the content of names.LOG_BOUND_FILE, as Envoy's JSON.

    By a file, for an Envoy that has to wait for it would not survive a denial before it comes.
    """
    bucket = {"@type": f"{_T}type.v3.TokenBucket", **_DENIALS}
    resource = {"@type": f"{_T}service.discovery.v3.Resource", "name": names.LOG_BOUND, "resource": bucket}
    return {"resources": [resource]}


def own_labels(node: ReplicaKey, labels: Labels) -> dict[str, str]:
    """What an Envoy must have in its environment: the workload that its metrics and its spans speak of."""
    said = dict(labels)
    return {
        RESOURCE: resource(node, labels),
        names.OWN_WORKLOAD: node.workload.name,
        names.OWN_NAMESPACE: node.workload.namespace,
        names.OWN_APP: said.get("app", node.workload.name),
        names.OWN_VERSION: said.get("version", ""),
    }


RESOURCE = "OTEL_RESOURCE_ATTRIBUTES"
"""Variable by which OpenTelemetry is told who tells."""


def resource(node: ReplicaKey, labels: Labels) -> str:
    """Who tells, as OpenTelemetry has it: service, namespace, version and replica."""
    said = dict(labels)
    attributes = {
        "service.name": said.get("app", node.workload.name),
        "service.namespace": node.workload.namespace,
        "service.version": said.get("version", ""),
        "service.instance.id": str(node),
    }
    return ",".join(f"{name}={value}" for name, value in attributes.items() if value)


def _ads() -> dict[str, Any]:
    return {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}


def _stream() -> dict[str, Any]:
    return {
        "cluster_name": names.XDS_CLUSTER,
        "retry_policy": {"retry_back_off": {"base_interval": "0.2s", "max_interval": "2s"}},
        "skip_envoy_headers": True,
    }


def _control_plane(address: str, trust_domain: str) -> dict[str, Any]:
    context = tls.client([names.control_plane_uri(trust_domain)], names.CONTROL_PLANE_NAME, ("h2",))
    keepalive = {"interval": "30s", "timeout": "10s"}
    return {
        "name": names.XDS_CLUSTER,
        **_place(names.XDS_CLUSTER, address),
        "connect_timeout": "5s",
        "transport_socket": {
            "name": tls.SOCKET,
            "typed_config": {"@type": "type.googleapis.com/" + tls.UPSTREAM, **context},
        },
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": "type.googleapis.com/" + _HTTP_OPTIONS,
                "explicit_http_config": {"http2_protocol_options": {"connection_keepalive": keepalive}},
            }
        },
    }


def _admin(socket: str) -> dict[str, Any]:
    return {
        "name": names.ADMIN_CLUSTER,
        **_place(names.ADMIN_CLUSTER, socket),
        "connect_timeout": "1s",
        "per_connection_buffer_limit_bytes": _PAGE_BYTES,
    }


def _place(cluster: str, address: str) -> dict[str, Any]:
    """The kind of a cluster with one endpoint, and that endpoint."""
    kind = "STATIC"
    place: dict[str, Any] = {"pipe": {"path": address}}
    if not address.startswith("/"):
        host, _, port = address.rpartition(":")
        place = {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}
        kind = "STATIC" if _is_ip(host.strip("[]")) else "STRICT_DNS"
    return {
        "type": kind,
        "load_assignment": {
            "cluster_name": cluster,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": place}}]}],
        },
    }


def _is_ip(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _health_route() -> dict[str, Any]:
    return {
        "match": {"path": "/healthz/ready"},
        "route": {"cluster": names.ADMIN_CLUSTER, "prefix_rewrite": "/ready"},
    }


def _metrics_route() -> dict[str, Any]:
    return {"match": {"path": "/stats/prometheus"}, "route": {"cluster": names.ADMIN_CLUSTER}}


def _at(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}


def _pipe(path: str) -> dict[str, Any]:
    """A Unix socket that only Envoy's own user can open, and root."""
    return {"pipe": {"path": path, "mode": 0o600}}


def _listener(
    name: str, addresses: list[dict[str, Any]], routes: list[dict[str, Any]], *, lua: bool = False
) -> dict[str, Any]:
    """One of the two ports that everybody may ask; each leads to one page of the admin interface."""
    filters = [_extension("envoy.filters.http.router", "extensions.filters.http.router.v3.Router")]
    if lua:
        source = {"inline_string": scrape.LUA}
        filters.insert(
            0, _extension("scrape", "extensions.filters.http.lua.v3.Lua", default_source_code=source)
        )
    manager = _extension(
        "envoy.filters.network.http_connection_manager",
        "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=name,
        http_filters=filters,
        route_config={"virtual_hosts": [{"name": name, "domains": ["*"], "routes": routes}]},
    )
    first, *others = addresses
    also = {"additional_addresses": [{"address": one} for one in others]} if others else {}
    return {
        "name": name,
        "address": first,
        **also,
        "enable_reuse_port": False,
        "per_connection_buffer_limit_bytes": _PAGE_BYTES,
        "filter_chains": [{"filters": [manager]}],
    }


def _extension(name: str, type_name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": _T + type_name, **fields}}
