"""Headers that only our filters may write: what a caller sends by their names is taken away before they do.

Those are the headers that tell the application what a token says, and those that an authorizer may set, unless it
is shown what the caller wrote there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from plait.envoy import api, build
from plait.envoy.filters.ext_authz import asks
from plait.envoy.filters.kind import HttpFilter
from plait.model.authentication import PlaceKind
from plait.model.authorizer import Authorizer
from plait.model.mesh import InboundPort
from plait.model.routing import MatchKind, StringMatch

_MESSAGES = "envoy.extensions.filters.http.header_mutation.v3"
_CALLERS = frozenset(
    {"accept", "authorization", "content-length", "content-type", "cookie", "host", "path", "user-agent"}
)
"""What callers say themselves, and no authorizer alone."""


def _on_inbound(port: InboundPort) -> Any | None:
    removed: list[dict[str, Any]] = []
    for name in sorted({name for rule in port.tokens for name in rule.told}):
        removed.append({"remove": name})
    if port.authorizer is not None and asks(port):
        removed += _set_by(port.authorizer, port)
    if not removed:
        return None
    return api.message(f"{_MESSAGES}.HeaderMutationPerRoute")(mutations={"request_mutations": removed})


def _set_by(authorizer: Authorizer, port: InboundPort) -> Iterator[dict[str, Any]]:
    tokens = {
        place.name for rule in port.tokens for place in rule.places if place.kind is PlaceKind.HEADER
    }
    for one in authorizer.to_application:
        if one.kind is MatchKind.EXACT and one.value not in _CALLERS | tokens and one not in authorizer.shown:
            yield {"remove": one.value}
        elif one.kind is not MatchKind.EXACT and one not in authorizer.shown:
            yield {"remove_on_match": {"key_matcher": _pattern(one)}}


def _pattern(match: StringMatch) -> dict[str, Any]:
    return build.string_match(match)


OWN_HEADERS = HttpFilter(
    name="envoy.filters.http.header_mutation",
    on_listener=lambda: api.message(f"{_MESSAGES}.HeaderMutation")(),
    outbound=False,
    inbound=True,
    waits=True,
    on_inbound=_on_inbound,
)
