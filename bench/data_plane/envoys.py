"""Envoys with a fixed configuration, started as Plait's agent starts its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.data_plane.ground import Ground
from bench.data_plane.load import Protocol
from bench.data_plane.processes import LOOPBACK, listens, pin, started
from plait.envoy import api, build
from plait.run.agent import envoy

_OPTIONS = (
    *("--disable-hot-restart", "--concurrency", "1"),
    *("--log-level", "warning", "--skip-deprecated-logs"),
)
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

Message = dict[str, Any]


def address(port: int) -> Message:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def bootstrap(folder: Path, listeners: list[Message], clusters: list[Message], **more: Any) -> Any:
    """All that an Envoy needs to know."""
    return api.message("envoy.config.bootstrap.v3.Bootstrap")(
        node={"id": "bench", "cluster": "bench"},
        admin={"address": {"pipe": {"path": str(folder / "admin")}}},
        static_resources={"listeners": listeners, "clusters": clusters},
        **more,
    )


def listener(port: int, filters: list[Message], **more: Any) -> Message:
    """Takes connections at a port of the loopback; `more`: of its one filter chain."""
    return {"name": "bench", "address": address(port), "filter_chains": [{"filters": filters, **more}]}


def cluster(name: str, port: int, *, http2: bool, **more: Any) -> Message:
    """One endpoint, at a port of the loopback."""
    version = "http2_protocol_options" if http2 else "http_protocol_options"
    options = api.message(_HTTP_OPTIONS)(explicit_http_config={version: {}})
    endpoint = {"endpoint": {"address": address(port)}} | more.pop("endpoint", {})
    return {
        "name": name,
        "type": "STATIC",
        "typed_extension_protocol_options": {_HTTP_OPTIONS: api.pack(options)},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        **more,
    }


def manager(**fields: Any) -> Message:
    """Looks at HTTP."""
    name = "http_connection_manager"
    return build.extension(
        f"envoy.filters.network.{name}",
        f"envoy.extensions.filters.network.{name}.v3.HttpConnectionManager",
        **fields,
    )


def tcp_proxy(cluster: str, **fields: Any) -> Message:
    """Passes bytes on."""
    return build.extension(
        "envoy.filters.network.tcp_proxy",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        stat_prefix="bench",
        cluster=cluster,
        **fields,
    )


def http_filter(name: str, message: str = "", **fields: Any) -> Message:
    """`envoy.filters.http.NAME`, whose configuration is this message of it."""
    kind = message or "".join(part.capitalize() for part in name.split("_"))
    return build.extension(
        f"envoy.filters.http.{name}", f"envoy.extensions.filters.http.{name}.v3.{kind}", **fields
    )


@contextmanager
def running(ground: Ground, folder: Path, port: int, configuration: Any) -> Iterator[int]:
    """An Envoy on the core of the proxies, once it listens at a port."""
    file, log = folder / "bootstrap.json", folder / "envoy.log"
    file.write_text(api.to_json(configuration))
    command = (envoy(), "-c", str(file), *_OPTIONS)
    with started(command, log, ground.cores.proxies) as pid:
        listens(port, pid, log)
        pin(pid, ground.cores.proxies)
        yield pid


def is_http2(protocol: Protocol) -> bool:
    return protocol is Protocol.GRPC
