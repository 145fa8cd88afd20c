"""The mesh as a whole: what runs, how it is, what is wrong, and what happens."""

from __future__ import annotations

from aiohttp import web

from plait.api.answers import answer, streaming
from plait.api.events import CanaryChanged, ConfigChanged, Event, FindingAppeared, ReplicaChanged
from plait.api.plane import Plane
from plait.api.views import Findings, Proxies, Status
from plait.codec import Codec

_STATUS: Codec[Status] = Codec(Status)
_PROXIES: Codec[Proxies] = Codec(Proxies)
_FINDINGS: Codec[Findings] = Codec(Findings)
_EVENT: Codec[Event] = Codec(Event)


def routes(plane: Plane) -> tuple[web.RouteDef, ...]:
    paths = _Paths(plane)
    return (
        web.get("/v1/status", paths.status),
        web.get("/v1/proxies", paths.proxies),
        web.get("/v1/findings", paths.findings),
        web.get("/v1/events", paths.events),
        web.post("/v1/shutdown", paths.shutdown),
    )


class _Paths:
    """What each path answers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def status(self, _request: web.Request) -> web.Response:
        return answer(_STATUS, self._status())

    def _status(self) -> Status:
        plane = self._plane
        return Status(mesh=plane.mesh(), workloads=plane.workloads(), routes=plane.routes())

    async def proxies(self, _request: web.Request) -> web.Response:
        return answer(_PROXIES, Proxies(proxies=self._plane.proxies()))

    async def findings(self, _request: web.Request) -> web.Response:
        return answer(_FINDINGS, Findings(findings=self._plane.findings()))

    async def shutdown(self, _request: web.Request) -> web.Response:
        self._plane.shutdown()
        return web.json_response({}, status=202)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """First everything as it is, ending with a ConfigChanged, then whatever happens."""
        subscription = self._plane.events()
        try:
            async with streaming(request, "text/event-stream") as response:
                now: list[Event] = [ReplicaChanged(workload) for workload in self._plane.workloads()]
                now += [FindingAppeared(finding) for finding in self._plane.findings()]
                now += [CanaryChanged(canary) for canary in self._plane.canaries()]
                now.append(ConfigChanged(self._plane.mesh().generation))
                await response.write(b"".join(map(_server_sent, now)))
                async for event in subscription:
                    await response.write(_server_sent(event))
        finally:
            subscription.close()
        return response


def _server_sent(event: Event) -> bytes:
    return b"event: " + type(event).__name__.encode() + b"\ndata: " + _EVENT.encode(event) + b"\n\n"
