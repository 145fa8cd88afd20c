"""Somebody who listens on a free port of this machine, and plans that speak of him."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from plait.model.names import ObjectRef, Origin, WorkloadKey
from plait.model.rollout import Analysis, Canary
from plait.rollout.status import Phase, Status

ORIGIN = Origin(ObjectRef("flagger.app", "Canary", "bistro", "reservations"))
STATUS = Status(phase=Phase.PROGRESSING, weight=20, applied="9d31b2")

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


def canary(analysis: Analysis) -> Canary:
    return Canary(
        namespace="bistro",
        name="reservations",
        target=WorkloadKey("bistro", "reservations-app"),
        service="reservations",
        port=8080,
        analysis=analysis,
        origin=ORIGIN,
    )


@dataclass
class Listener:
    """What was heard, and where: the path and query, and the JSON."""

    url: str = ""
    heard: list[tuple[str, Any]] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Whether somebody has left before he was answered."""


@asynccontextmanager
async def listening(*answers: web.Response | Answering) -> AsyncIterator[Listener]:
    """Answers with each in turn, and with the last again and again."""
    listener = Listener()

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.method == "POST"
        assert request.content_type == "application/json"
        listener.heard.append((request.path_qs, await request.json()))
        found = answers[min(len(listener.heard), len(answers)) - 1]
        if isinstance(found, web.Response):
            return web.Response(status=found.status, text=found.text, headers=_more(found))
        try:
            return await found(request)
        except asyncio.CancelledError:
            listener.gone.set()
            raise

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)
    server = TestServer(app)
    await server.start_server(access_log=None)
    try:
        listener.url = str(server.make_url("/"))
        yield listener
    finally:
        await server.close()


def _more(response: web.Response) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name == "Location"}
