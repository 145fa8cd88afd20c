"""Resources of real Envoy messages, framed as the xDS server takes them."""

import hashlib
from pathlib import Path
from typing import Any

from plait.envoy import api
from plait.envoy.build import frame
from plait.resource import Resource, Snapshot


def framed(message: Any) -> Resource:
    """A message as a Resource; its name is the field that Envoy knows it by."""
    body = api.serialize(message)
    type_url = api.TYPE_PREFIX + message.DESCRIPTOR.full_name
    name = message.cluster_name if hasattr(message, "cluster_name") else message.name
    version = hashlib.sha256(body).hexdigest()[:16]
    return Resource(type_url, name, version, body, frame(type_url, name, version, body))


def snapshot(*messages: Any) -> Snapshot:
    result: dict[str, dict[str, Resource]] = {}
    for message in messages:
        one = framed(message)
        result.setdefault(one.type_url, {})[one.name] = one
    return result


def changed(before: Snapshot, *messages: Any) -> Snapshot:
    """The snapshot with these in place of (or beside) what it had, all else the same objects."""
    result = {type_url: dict(resources) for type_url, resources in before.items()}
    for type_url, resources in snapshot(*messages).items():
        result.setdefault(type_url, {}).update(resources)
    return result


def runtime(value: int) -> Any:
    return api.message("envoy.service.runtime.v3.Runtime")(
        name="told", layer=api.any_struct({"plait.test": value})
    )


def cluster(name: str, *, connect_seconds: int = 1) -> Any:
    return api.message("envoy.config.cluster.v3.Cluster")(
        name=name,
        type="EDS",
        connect_timeout={"seconds": connect_seconds},
        eds_cluster_config={"eds_config": _ADS},
    )


def endpoints(name: str, *ports: int) -> Any:
    return api.message("envoy.config.endpoint.v3.ClusterLoadAssignment")(
        cluster_name=name,
        endpoints=[{"lb_endpoints": [{"endpoint": {"address": _address(port)}} for port in ports]}],
    )


def routes(name: str, to_cluster: str) -> Any:
    return api.message("envoy.config.route.v3.RouteConfiguration")(
        name=name,
        virtual_hosts=[
            {
                "name": "all",
                "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": to_cluster}}],
            }
        ],
    )


def scope(authority: str, route: str) -> Any:
    return api.message("envoy.config.route.v3.ScopedRouteConfiguration")(
        name=authority,
        route_configuration_name=route,
        key={"fragments": [{"string_key": authority}]},
    )


def listener(
    name: str, path: Path, *, stat_prefix: str = "test", access_log: dict[str, Any] | None = None
) -> Any:
    """An HTTP listener on a Unix socket that chooses routes by the whole authority; its log over OTLP, if it has one."""
    logs = []
    if access_log is not None:
        config = api.message(_OTLP)(**access_log)
        logs = [{"name": "envoy.access_loggers.open_telemetry", "typed_config": api.pack(config)}]
    manager = api.message(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    )(
        stat_prefix=stat_prefix,
        access_log=logs,
        scoped_routes={
            "name": name,
            "scope_key_builder": {
                "fragments": [{"header_value_extractor": {"name": ":authority", "index": 0}}]
            },
            "rds_config_source": _ADS,
            "scoped_rds": {"scoped_rds_config_source": _ADS},
        },
        http_filters=[
            {
                "name": "router",
                "typed_config": api.pack(api.message("envoy.extensions.filters.http.router.v3.Router")()),
            }
        ],
    )
    return api.message("envoy.config.listener.v3.Listener")(
        name=name,
        address={"pipe": {"path": str(path)}},
        filter_chains=[{"filters": [{"name": "http", "typed_config": api.pack(manager)}]}],
    )


def extension(name: str, to_cluster: str) -> Any:
    """A filter that tells the TCP proxy behind it where to go."""
    state = {
        "object_key": "envoy.tcp_proxy.cluster",
        "format_string": {"text_format_source": {"inline_string": to_cluster}},
    }
    return api.message("envoy.config.core.v3.TypedExtensionConfig")(
        name=name, typed_config=api.pack(api.message(_STATE)(on_new_connection=[state]))
    )


def led_listener(name: str, path: Path, by: str) -> Any:
    """A TCP listener on a Unix socket that an extension leads, which it asks for by name."""
    proxy = api.message("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy")(
        stat_prefix="test", cluster="nowhere"
    )
    return api.message("envoy.config.listener.v3.Listener")(
        name=name,
        address={"pipe": {"path": str(path)}},
        filter_chains=[
            {
                "filters": [
                    {
                        "name": by,
                        "config_discovery": {"config_source": _ADS, "type_urls": [api.TYPE_PREFIX + _STATE]},
                    },
                    {"name": "tcp", "typed_config": api.pack(proxy)},
                ]
            }
        ],
    )


_OTLP = "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig"
_STATE = "envoy.extensions.filters.network.set_filter_state.v3.Config"
_ADS = {"ads": {}, "resource_api_version": "V3"}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
