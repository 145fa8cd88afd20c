"""Headers that only our filters may write: what a caller sends by their names is taken away before they do.

Those are the headers that tell the application what a token says, and those that an authorizer may set, unless it
is shown what the caller wrote there.
"""

from __future__ import annotations

import re
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


def _nothing() -> Any:
    return api.message(f"{_MESSAGES}.HeaderMutation")()


def _on_inbound(port: InboundPort) -> Any | None:
    told = sorted({name for rule in port.tokens for name in rule.told})
    removed = [_removed(name) for name in told]
    if port.authorizer is not None and asks(port):
        removed += _set_by(port.authorizer, port)
    if not removed:
        return None
    return api.message(f"{_MESSAGES}.HeaderMutationPerRoute")(mutations={"request_mutations": removed})


def _removed(name: str) -> dict[str, Any]:
    """A header, and those which are the same to an application of CGI's kind, which writes `_` for `-`."""
    if "-" not in name and "_" not in name:
        return {"remove": name}
    alike = "[-_]".join(map(re.escape, re.split("[-_]", name)))
    return {"remove_on_match": {"key_matcher": {"safe_regex": {"regex": alike}}}}


def _set_by(authorizer: Authorizer, port: InboundPort) -> Iterator[dict[str, Any]]:
    tokens = {place.name for rule in port.tokens for place in rule.places if place.kind is PlaceKind.HEADER}
    for one in authorizer.to_application:
        if _is_shown(one, authorizer):
            continue
        if one.kind is not MatchKind.EXACT:
            yield {"remove_on_match": {"key_matcher": build.string_match(one)}}
        elif one.value not in _CALLERS | tokens:
            yield _removed(one.value)


def _is_shown(one: StringMatch, authorizer: Authorizer) -> bool:
    """Whether the authorizer is shown what the caller writes there, and may leave it."""
    if one in authorizer.shown:
        return True
    return one.kind is MatchKind.EXACT and any(_names(shown, one.value) for shown in authorizer.shown)


def _names(match: StringMatch, name: str) -> bool:
    if match.kind is MatchKind.PREFIX:
        return name.startswith(match.value)
    return match.kind is MatchKind.REGEX and re.fullmatch(match.value, name) is not None


OWN_HEADERS = HttpFilter(
    name="envoy.filters.http.header_mutation",
    on_listener=_nothing,
    outbound=False,
    inbound=True,
    waits=True,
    on_inbound=_on_inbound,
)
