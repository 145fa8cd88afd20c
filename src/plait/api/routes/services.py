"""One service, an object, one proxy: how they stand, and where that is written."""

from __future__ import annotations

from aiohttp import web

from plait.api.answers import answer
from plait.api.parameters import known, seconds, window
from plait.api.plane import Plane
from plait.api.proxies import ProxyView
from plait.api.services import ObjectView, Refusals, ServiceView
from plait.codec import Codec
from plait.model.names import ReplicaKey, WorkloadKey

_SERVICE: Codec[ServiceView] = Codec(ServiceView)
_REFUSALS: Codec[Refusals] = Codec(Refusals)
_OBJECT: Codec[ObjectView] = Codec(ObjectView)
_PROXY: Codec[ProxyView] = Codec(ProxyView)


def routes(plane: Plane) -> tuple[web.RouteDef, ...]:
    paths = _Paths(plane)
    return (
        web.get("/v1/services/{namespace}/{name}", paths.service),
        web.get("/v1/refusals", paths.refusals),
        web.get("/v1/objects", paths.object),
        web.get("/v1/proxies/{namespace}/{name}/{number:[0-9]{1,9}}", paths.proxy),
    )


class _Paths:
    """What each path answers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def service(self, request: web.Request) -> web.Response:
        found = request.match_info
        return answer(_SERVICE, self._plane.service(found["namespace"], found["name"]))

    async def refusals(self, request: web.Request) -> web.Response:
        """Who was kept out, of all services or (`service`, a host) of one."""
        known(request, {"window", "until", "service"})
        service = request.query.get("service", "")
        found = await self._plane.refusals(window(request), service, seconds(request, "until"))
        return answer(_REFUSALS, Refusals(refusals=found))

    async def object(self, request: web.Request) -> web.Response:
        known(request, {"kind", "namespace", "name"})
        kind, namespace, name = (request.query.get(part, "") for part in ("kind", "namespace", "name"))
        return answer(_OBJECT, self._plane.object(kind, namespace, name))

    async def proxy(self, request: web.Request) -> web.Response:
        found = request.match_info
        key = ReplicaKey(WorkloadKey(found["namespace"], found["name"]), int(found["number"]))
        return answer(_PROXY, self._plane.proxy(key))
