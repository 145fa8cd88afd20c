"""Who the user is: tokens (JWT) are checked where they come in, before any policy looks at who that is.

Envoy is told by what stands in a request which issuers' tokens must be there: of each place where something stands
one of its issuers must have signed that, so that no good token lets a bad one pass beside it.  The claims lie in
the dynamic metadata of this filter, under `payload`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from plait.envoy import api, build, names
from plait.envoy.filters.kind import HttpFilter, enabled
from plait.model.authentication import KeysAt, PlaceKind, TokenPlace, TokenRule
from plait.model.mesh import ClusterKey, InboundPort

_CONFIG = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
_PAYLOAD = "payload"
"""Where policies look for the claims."""
_MOST_PLACES = 4
"""Tokens in several places at once are checked each; where more places are known than these, only one may stand."""
_NOBODY = "nobody"
"""A provider whose tokens nobody has: what needs it is refused."""
_KEEP_SECONDS = 300.0
"""So long keys that were fetched are used before they are fetched again (Istio's time)."""
_AGAIN_SECONDS = 10.0
"""After a fetch that failed; a token that comes meanwhile has one of its own."""
_FETCHES = 2
"""Tries of one fetch after the first."""

_Message = dict[str, Any]


def _on_inbound(port: InboundPort) -> Any | None:
    return enabled() if port.tokens else None


JWT = HttpFilter(
    name="jwt",
    on_listener=lambda: None,
    outbound=False,
    inbound=True,
    waits=True,
    discovered=_CONFIG,
    on_inbound=_on_inbound,
)


def extension(number: int, tokens: tuple[TokenRule, ...]) -> Any:
    """Whose tokens are taken at a port, as a resource of its own: keys change without a change of the listener."""
    rules = {f"{index}": rule for index, rule in enumerate(tokens) if rule.keys is not None}
    places = tuple(sorted({place for rule in tokens for place in rule.places}))
    providers = {name: _provider(rule, rule.places) for name, rule in rules.items()}
    if 1 < len(places) <= _MOST_PLACES:
        providers |= {
            _alone(name, place): _provider(rule, (place,), eager=False)
            for name, rule in rules.items()
            for place in rule.places
        }
    return api.message("envoy.config.core.v3.TypedExtensionConfig")(
        **build.extension(
            names.of_port(JWT.name, number),
            _CONFIG,
            providers=providers | {_NOBODY: _nobody()},
            rules=[*_given_twice(places), *_together(places, rules), *_one_by_one(places, rules)],
        )
    )


def _alone(name: str, place: TokenPlace) -> str:
    """The provider that looks at one place of a rule: others would miss what this one has taken away."""
    return f"{name} {place.kind} {place.name} {place.prefix}"


def _together(places: tuple[TokenPlace, ...], rules: dict[str, TokenRule]) -> Iterator[_Message]:
    """What must hold of requests in which something stands in several places, the most of them first."""
    most = len(places) if len(places) <= _MOST_PLACES else 2
    for number in range(most, 1, -1):
        for some in combinations(places, number):
            each = [
                _any_of([_alone(name, place) for name, rule in rules.items() if place in rule.places])
                for place in some
            ]
            all_of = {"requires_all": {"requirements": each}} if most == len(places) else _refused()
            yield {"match": _match([_stands(place) for place in some]), "requires": all_of}


def _one_by_one(places: tuple[TokenPlace, ...], rules: dict[str, TokenRule]) -> Iterator[_Message]:
    """What must hold of requests in which something stands in one place."""
    for place in places:
        known = [name for name, rule in rules.items() if place in rule.places]
        yield {"match": _match([_stands(place)]), "requires": _any_of(known)}


def _any_of(providers: list[str]) -> _Message:
    """One of the issuers whose tokens may stand in a place."""
    found = [{"provider_name": name} for name in providers]
    if len(found) <= 1:
        return found[0] if found else _refused()
    return {"requires_any": {"requirements": found}}


def _refused() -> _Message:
    return {"provider_name": _NOBODY}


def _given_twice(places: Iterable[TokenPlace]) -> Iterator[_Message]:
    """Whoever writes two tokens into one place is refused: Envoy and the application might take another one."""
    for place in places:
        yield {"match": _match([_stands(place), _twice(place)]), "requires": _refused()}


def _match(tests: Iterable[_Message]) -> _Message:
    """A RouteMatch of requests for whose headers all tests hold."""
    return {"prefix": "/", "headers": list(tests)}


def _stands(place: TokenPlace) -> _Message:
    """Whether something stands there, be the prefix in other letters or blanks: that is no token, and refused."""
    match place.kind:
        case PlaceKind.HEADER if place.prefix.strip():
            text = {"contains": place.prefix.strip(), "ignore_case": True}
            return {"name": place.name, "string_match": text}
        case PlaceKind.HEADER:
            return {"name": place.name, "present_match": True}
        case PlaceKind.PARAM:
            return _header(":path", rf"\C*{_param(place.name)}(?:[=&]\C*)?")
        case PlaceKind.COOKIE:
            return _header("cookie", rf"(?:\C*;)?{_cookie(place.name)}\C*")


def _twice(place: TokenPlace) -> _Message:
    match place.kind:
        case PlaceKind.HEADER:  # Envoy shows several lines of one header as one, with commas
            return {"name": place.name, "string_match": {"contains": ","}}
        case PlaceKind.PARAM:
            name = _param(place.name)
            return _header(":path", rf"\C*{name}(?:=\C*)?{name}(?:[=&]\C*)?")
        case PlaceKind.COOKIE:
            name = _cookie(place.name)
            return _header("cookie", rf"(?:\C*;)?{name}\C*;{name}\C*")


def _param(name: str) -> str:
    """A parameter's name, and what stands before it; each of its letters may be written as a number."""
    return "[?&]" + "".join(f"(?:{re.escape(letter)}|(?i:%{ord(letter):02x}))" for letter in name)


def _cookie(name: str) -> str:
    return rf"[ \t]*{re.escape(name)}[ \t]*="


def _header(name: str, regex: str) -> _Message:
    r"""A test in which `\C`, any byte, stands for what is not looked at: what is no UTF-8 would get round a dot."""
    return {"name": name, "string_match": {"safe_regex": {"regex": regex}}}


def _provider(rule: TokenRule, places: tuple[TokenPlace, ...], *, eager: bool = True) -> _Message:
    found: _Message = {
        "issuer": rule.issuer,
        "audiences": list(rule.audiences),
        "forward": rule.forward,
        "from_headers": [
            {"name": one.name, "value_prefix": one.prefix} for one in _of(places, PlaceKind.HEADER)
        ],
        "from_params": [one.name for one in _of(places, PlaceKind.PARAM)],
        "from_cookies": [one.name for one in _of(places, PlaceKind.COOKIE)],
        "forward_payload_header": rule.payload_header,
        "claim_to_headers": [
            {"header_name": header, "claim_name": claim} for header, claim in rule.claim_headers
        ],
        "payload_in_metadata": _PAYLOAD,
        "normalize_payload_in_metadata": {"space_delimited_claims": list(rule.spaced_claims)},
    }
    if isinstance(rule.keys, KeysAt):
        return found | {"remote_jwks": _fetched(rule.keys, eager=eager)}
    return found | {"local_jwks": {"inline_string": rule.keys}}


def _of(places: Iterable[TokenPlace], kind: PlaceKind) -> list[TokenPlace]:
    return [place for place in places if place.kind is kind]


def _fetched(keys: KeysAt, *, eager: bool) -> _Message:
    """Keys that are fetched when a token asks for them.

    `eager`: as soon as they are known of, and kept when a later fetch fails.  No listener waits for them.
    """
    background = {"fast_listener": True, "failed_refetch_duration": build.seconds(_AGAIN_SECONDS)}
    found: _Message = {
        "http_uri": {
            "uri": f"http://{keys.host}:{keys.port}{keys.path}",
            "cluster": names.cluster(ClusterKey(keys.host, keys.port)),
            "timeout": build.seconds(keys.timeout),
        },
        "cache_duration": build.seconds(_KEEP_SECONDS),
        "retry_policy": {"num_retries": {"value": _FETCHES}},
    }
    return found | {"async_fetch": background} if eager else found


def _nobody() -> _Message:
    """Looks where nothing stands, and gets its keys from nowhere: Envoy takes no empty set of them."""
    nowhere = {"uri": "http://nobody/", "cluster": names.BLACK_HOLE_CLUSTER, "timeout": build.seconds(1.0)}
    return {"from_headers": [{"name": names.NOBODY_HEADER}], "remote_jwks": {"http_uri": nowhere}}
