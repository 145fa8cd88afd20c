"""One Envoy between load and server that does nothing but pass on: HTTP by a router, TCP by a proxy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.data_plane import envoys
from bench.data_plane.ground import Ground, Standing, at
from bench.data_plane.load import Protocol
from bench.data_plane.processes import free_ports

_ROUTE = {"match": {"prefix": "/"}, "route": {"cluster": "server", "timeout": {}}}


@contextmanager
def stand(ground: Ground) -> Iterator[Standing]:
    folder = ground.folder / "hop"
    folder.mkdir()
    (port,) = free_ports(1)
    passing = envoys.tcp_proxy("server") if ground.protocol is Protocol.TCP else _router()
    cluster = envoys.cluster("server", ground.server, http2=envoys.is_http2(ground.protocol))
    configuration = envoys.bootstrap(folder, [envoys.listener(port, [passing])], [cluster])
    with envoys.running(ground, folder, port, configuration) as pid:
        yield Standing(target=at(port), proxies=(pid,))


def _router() -> envoys.Message:
    return envoys.manager(
        stat_prefix="bench",
        http_filters=[envoys.http_filter("router")],
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [_ROUTE]}]},
    )
