"""Traces."""

from __future__ import annotations

import re

from aiohttp import web

from plait.api.answers import answer
from plait.api.parameters import number, seconds
from plait.api.plane import Plane
from plait.api.targets import NotFound
from plait.api.views import Traces, TraceView
from plait.codec import Codec
from plait.telemetry.spans import Search

_TRACES: Codec[Traces] = Codec(Traces)
_TRACE: Codec[TraceView] = Codec(TraceView)

_ID = re.compile("[0-9a-f]{1,32}")
_MOST_TRACES = 1000
_FAILED = {"": None, "ok": False, "error": True}


def routes(plane: Plane) -> tuple[web.RouteDef, ...]:
    paths = _Paths(plane)
    return (
        web.get("/v1/traces", paths.traces),
        web.get("/v1/traces/{id}", paths.trace),
    )


class _Paths:
    """What each path answers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def traces(self, request: web.Request) -> web.Response:
        return answer(_TRACES, Traces(traces=await self._plane.traces(_search(request))))

    async def trace(self, request: web.Request) -> web.Response:
        prefix = request.match_info["id"].lower()
        found = await self._plane.trace(prefix) if _ID.fullmatch(prefix) else None
        if found is None:
            raise NotFound(f"no trace begins with {prefix[:40]}: it may be too old, or was not sampled")
        return answer(_TRACE, found)


def _search(request: web.Request) -> Search:
    """What is looked for, by the names that `plait trace` has for it; `min_duration` in seconds, times since the epoch."""
    known = {"service", "workload", "tag", "status", "min_duration", "since", "until", "limit"}
    if unknown := sorted(request.query.keys() - known):
        raise ValueError(f"traces are not looked for by {unknown[0]}")
    tags = [tuple(one.split("=", 1)) for one in request.query.getall("tag", ())]
    if any(len(one) != 2 for one in tags):
        raise ValueError("a tag is NAME=VALUE")
    status = request.query.get("status", "")
    if status not in _FAILED:
        raise ValueError(f"status must be ok or error, not {status!r}")
    return Search(
        service=request.query.get("service", ""),
        workload=request.query.get("workload", ""),
        tags=tuple((name, value) for name, value in tags),
        failed=_FAILED[status],
        least=seconds(request, "min_duration") or 0.0,
        since=seconds(request, "since"),
        until=seconds(request, "until"),
        limit=min(number(request, "limit", default=20), _MOST_TRACES),
    )
