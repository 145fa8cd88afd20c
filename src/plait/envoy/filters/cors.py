"""Cross-origin requests of browsers: preflights are answered, and answers say who may read them."""

from __future__ import annotations

from typing import Any

from plait.envoy import api, build
from plait.envoy.filters.kind import HttpFilter
from plait.model.routing import RouteRule

_MESSAGES = "envoy.extensions.filters.http.cors.v3"


def _nobody() -> Any:
    return api.message(f"{_MESSAGES}.Cors")()


def _on_rule(rule: RouteRule) -> Any | None:
    cors = rule.cors
    if cors is None:
        return None
    found: dict[str, Any] = {
        "allow_origin_string_match": [build.string_match(origin) for origin in cors.origins],
        "allow_methods": ",".join(cors.methods),
        "allow_headers": ",".join(cors.headers),
        "expose_headers": ",".join(cors.exposed),
        "allow_credentials": {"value": cors.credentials},
        "forward_not_matching_preflights": {"value": cors.forward_unmatched},
        "filter_enabled": {"default_value": build.share(1_000_000)},
    }
    if cors.max_age is not None:
        found["max_age"] = f"{cors.max_age:.0f}"
    return api.message(f"{_MESSAGES}.CorsPolicy")(**found)


CORS = HttpFilter(
    name="envoy.filters.http.cors",
    on_listener=_nobody,
    outbound=True,
    inbound=False,
    waits=True,
    on_rule=_on_rule,
)
