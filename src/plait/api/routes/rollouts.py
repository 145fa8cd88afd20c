"""How new versions take over: where each rollout stands, what happened to it, and what a user says to it."""

from __future__ import annotations

from aiohttp import web

from plait.api.answers import Refused, answer
from plait.api.plane import Plane
from plait.api.rollouts import Canaries, CanaryHistory, CanaryView
from plait.api.targets import NotFound
from plait.codec import Codec
from plait.model.names import WorkloadKey
from plait.rollout.status import Command

_CANARIES: Codec[Canaries] = Codec(Canaries)
_CANARY: Codec[CanaryView] = Codec(CanaryView)
_HISTORY: Codec[CanaryHistory] = Codec(CanaryHistory)

_ONE = "/v1/canaries/{namespace}/{name}"


def routes(plane: Plane) -> tuple[web.RouteDef, ...]:
    paths = _Paths(plane)
    return (
        web.get("/v1/canaries", paths.canaries),
        web.get(_ONE, paths.canary),
        web.get(f"{_ONE}/history", paths.history),
        web.post(f"{_ONE}/{{command:{'|'.join(Command)}}}", paths.command),
    )


class _Paths:
    """What each path answers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def canaries(self, _request: web.Request) -> web.Response:
        return answer(_CANARIES, Canaries(canaries=self._plane.canaries()))

    async def canary(self, request: web.Request) -> web.Response:
        key = _key(request)
        for found in self._plane.canaries():
            if (found.namespace, found.name) == (key.namespace, key.name):
                return answer(_CANARY, found)
        raise NotFound(f"there is no Canary {key}")

    async def history(self, request: web.Request) -> web.Response:
        return answer(_HISTORY, CanaryHistory(events=self._plane.canary_history(_key(request))))

    async def command(self, request: web.Request) -> web.Response:
        """Said to the rollout, which does it in its next step."""
        try:
            await self._plane.canary_command(_key(request), Command(request.match_info["command"]))
        except ValueError as error:
            raise Refused(str(error)) from error
        return web.json_response({}, status=202)


def _key(request: web.Request) -> WorkloadKey:
    return WorkloadKey(request.match_info["namespace"], request.match_info["name"])
