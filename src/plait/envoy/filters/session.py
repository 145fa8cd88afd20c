"""Sessions: who was answered once is led back to the same replica, by a cookie or a header that names it.

Envoy looks for the replica in the one cluster that a route has chosen, by weight where there are several.  So each
of several backends has a cookie of its own, and requests that carry one go to its backend, whatever it weighs.  A
header is known to clients by its name, which can't be another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from plait.envoy import api, build
from plait.envoy.filters.kind import HttpFilter
from plait.model.routing import (
    Backend,
    MatchKind,
    RequestMatch,
    RouteRule,
    Session,
    SessionKind,
    StringMatch,
)

_FILTER = "envoy.extensions.filters.http.stateful_session.v3"
_STATE = "envoy.extensions.http.stateful_session"
_PATHS = (MatchKind.EXACT, MatchKind.SEGMENTS, MatchKind.PREFIX)


def apart(rule: RouteRule) -> Iterator[RouteRule]:
    """A rule for the sessions of each of its backends, and itself for whoever has none yet."""
    session = rule.session
    if not _is_cut_up(rule) or session is None:
        yield rule
        return
    for backend in rule.backends:
        if backend.host:
            own = _own(session, backend)
            match = rule.match or RequestMatch(origin=rule.origin)
            carried = replace(match, headers=(*match.headers, ("cookie", _carried(own))))
            yield replace(rule, match=carried, backends=(replace(backend, weight=1),), session=own)
    shares = [backend for backend in rule.backends if backend.weight]
    yield replace(rule, session=_own(session, shares[0])) if len(shares) == 1 else rule


def of_share(rule: RouteRule, backend: Backend) -> dict[str, Any]:
    """The configuration of filters for one of several backends of a rule."""
    if not _is_cut_up(rule) or rule.session is None:
        return {}
    said = _on_rule(replace(rule, session=_own(rule.session, backend)))
    return {"typed_per_filter_config": {SESSION.name: api.pack(said)}}


def _is_cut_up(rule: RouteRule) -> bool:
    """Whether each backend of a rule has a session of its own."""
    return rule.session is not None and rule.session.kind is SessionKind.COOKIE and len(rule.backends) > 1


def _own(session: Session, backend: Backend) -> Session:
    """The session of one of several backends, which stays the same whatever stands beside it."""
    place = f"{backend.host} {backend.port} {backend.subset}"
    return replace(session, name=f"{session.name}-{blake2b(place.encode(), digest_size=4).hexdigest()}")


def _carried(cookie: Session) -> StringMatch:
    """A test of whether there is such a cookie among others."""
    return StringMatch(MatchKind.REGEX, rf"(?:.*;\s*)?{re.escape(cookie.name)}=.*")


def _nobody() -> Any:
    return api.message(f"{_FILTER}.StatefulSession")()


def _on_rule(rule: RouteRule) -> Any | None:
    session = rule.session
    if session is None:
        return None
    if session.kind is SessionKind.HEADER:
        state = _state("header", "HeaderBasedSessionState", name=session.name)
    else:
        state = _state("cookie", "CookieBasedSessionState", cookie=_cookie(session, rule.match))
    return api.message(f"{_FILTER}.StatefulSessionPerRoute")(stateful_session={"session_state": state})


def _state(kept_by: str, message: str, **fields: Any) -> dict[str, Any]:
    config = api.message(f"{_STATE}.{kept_by}.v3.{message}")(**fields)
    return {"name": f"envoy.http.stateful_session.{kept_by}", "typed_config": api.pack(config)}


def _cookie(session: Session, match: RequestMatch | None) -> dict[str, Any]:
    """A cookie for the paths that are matched; it is not marked as Secure, for applications call by http."""
    path = match.path if match is not None else None
    said = path is not None and path.kind in _PATHS and ";" not in path.value
    found: dict[str, Any] = {
        "name": session.name,
        "path": path.value if path is not None and said else "/",
        "attributes": [{"name": "SameSite", "value": "Strict"}],
    }
    if session.lifetime is not None:
        found["ttl"] = build.seconds(session.lifetime)
    return found


SESSION = HttpFilter(
    name="envoy.filters.http.stateful_session",
    on_listener=_nobody,
    outbound=True,
    inbound=False,
    waits=True,
    on_rule=_on_rule,
)
"""At the client, whose proxy chooses the replica."""
