"""The router: the last filter, sends the request on."""

from __future__ import annotations

from typing import Any

from plait.envoy import api
from plait.envoy.filters.kind import HttpFilter


def _router() -> Any:
    # What Envoy tells of its own work (x-envoy-upstream-service-time and the like) is nobody else's business.
    return api.message("envoy.extensions.filters.http.router.v3.Router")(suppress_envoy_headers=True)


ROUTER = HttpFilter(
    name="envoy.filters.http.router", on_listener=_router, outbound=True, inbound=True, waits=False
)
