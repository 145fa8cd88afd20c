"""Faults that a rule injects: a delay, or an answer that no application gives."""

from __future__ import annotations

from typing import Any

from plait.envoy import api, build
from plait.envoy.filters.kind import HttpFilter
from plait.model.routing import RouteRule

_FAULT = "envoy.extensions.filters.http.fault.v3.HTTPFault"


def _nowhere() -> Any:
    return api.message(_FAULT)()


def _on_rule(rule: RouteRule) -> Any | None:
    fault = rule.fault
    if fault is None:
        return None
    found: dict[str, Any] = {}
    if fault.delay is not None:
        share = build.share(fault.delay.millionths)
        found["delay"] = {"fixed_delay": build.seconds(fault.delay.seconds), "percentage": share}
    if fault.abort is not None:
        name = "grpc_status" if fault.abort.grpc else "http_status"
        found["abort"] = {name: fault.abort.status, "percentage": build.share(fault.abort.millionths)}
    return api.message(_FAULT)(**found)


FAULT = HttpFilter(
    name="envoy.filters.http.fault",
    on_listener=_nowhere,
    outbound=True,
    inbound=False,
    waits=True,
    on_rule=_on_rule,
)
"""At the client, so that a request which is ended never reaches anybody."""
