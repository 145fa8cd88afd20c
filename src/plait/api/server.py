"""The API itself, as HTTP; where it is served, and to whom, is told in `listening`.

Every answer is JSON with lists under a named key; every error is {"error": {"code", "message"}} with the
status that fits.  What it says is the Plane's to know; here it is only asked and written down.
"""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Middleware

from plait.api.answers import errors
from plait.api.plane import Plane
from plait.api.routes import access, mesh, metrics, replicas, rollouts, services, traces, traffic

_SUBJECTS = (
    mesh.routes,
    metrics.routes,
    traffic.routes,
    services.routes,
    traces.routes,
    replicas.routes,
    rollouts.routes,
    access.routes,
)
_LARGEST_BODY = 65_536


def application(plane: Plane, guard: Middleware | None = None) -> web.Application:
    """The API as an aiohttp application; `guard` sees every request before anything else does."""
    middlewares: list[Middleware] = [guard, errors] if guard is not None else [errors]
    app = web.Application(middlewares=middlewares, client_max_size=_LARGEST_BODY)
    for routes in _SUBJECTS:
        app.add_routes(routes(plane))
    return app
