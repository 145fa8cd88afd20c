"""What Prometheus scrapes, and where it finds that."""

from __future__ import annotations

from aiohttp import web

from plait.api.answers import page
from plait.api.plane import Plane, Unavailable
from plait.api.prometheus import targets
from plait.api.targets import Target, replicas
from plait.model.names import WorkloadKey


def routes(plane: Plane) -> tuple[web.RouteDef, ...]:
    paths = _Paths(plane)
    return (
        web.get("/v1/proxies/{namespace}/{name}/{number:[0-9]{1,9}}/metrics", paths.proxy_metrics),
        web.get("/v1/metrics", paths.metrics),
        web.get("/v1/prometheus/targets", paths.prometheus_targets),
    )


class _Paths:
    """What each path answers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def proxy_metrics(self, request: web.Request) -> web.Response:
        """The page of one Envoy for Prometheus, which nobody outside of a shut-in replica can ask for itself."""
        found = request.match_info
        workload = WorkloadKey(found["namespace"], found["name"])
        target = Target(workload, int(found["number"]))
        (replica,) = replicas(target, self._plane.workloads())
        session = self._plane.proxy_metrics(replica)
        try:
            text = b"".join([data async for _, data in session.output()])
        finally:
            await session.close()
        if session.error:
            raise Unavailable(f"{replica}: {session.error}")
        return page(text)

    async def metrics(self, _request: web.Request) -> web.Response:
        return page(self._plane.metrics())

    async def prometheus_targets(self, request: web.Request) -> web.Response:
        """What Prometheus finds here to scrape, by its HTTP service discovery."""
        return web.json_response(targets(self._plane.workloads(), request.host))
