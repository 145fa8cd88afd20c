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
_MOST_SPOTS = 4
"""Tokens in several spots at once are checked each; where more spots are known than these, only one may stand."""
_NOBODY = "nobody"
"""A provider whose tokens nobody has: what needs it is refused."""
_KEEP_SECONDS = 300.0
"""So long keys that were fetched are used before they are fetched again (Istio's time)."""
_AGAIN_SECONDS = 10.0
"""After a fetch that failed; a token that comes meanwhile has one of its own."""
_FETCHES = 2
"""Tries of one fetch after the first."""

_Message = dict[str, Any]
_Spot = tuple[PlaceKind, str]
"""A header, a parameter or a cookie, by its name."""
_Spots = dict[_Spot, tuple[TokenPlace, ...]]


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
    spots = _spots(place for rule in tokens for place in rule.places)
    providers = {name: _provider(rule, rule.places) for name, rule in rules.items()}
    if 1 < len(spots) <= _MOST_SPOTS:
        providers |= {
            _alone(name, spot): _provider(rule, places, eager=False)
            for name, rule in rules.items()
            for spot, places in _spots(rule.places).items()
        }
    return api.message("envoy.config.core.v3.TypedExtensionConfig")(
        **build.extension(
            names.of_port(JWT.name, number),
            _CONFIG,
            providers=providers | {_NOBODY: _nobody()},
            rules=[*_given_twice(spots), *_together(spots, rules), *_one_by_one(spots, rules)],
        )
    )


def _spots(places: Iterable[TokenPlace]) -> _Spots:
    """Places by the header, parameter or cookie that they are in, which has one token, after whatever prefix."""
    found: dict[_Spot, list[TokenPlace]] = {}
    for place in sorted(set(places)):
        found.setdefault((place.kind, place.name), []).append(place)
    return {spot: tuple(inside) for spot, inside in found.items()}


def _alone(name: str, spot: _Spot) -> str:
    """The provider that looks at one spot of a rule: others would miss what this one has taken away."""
    return " ".join((name, *spot))


def _of_spot(spot: _Spot, rules: dict[str, TokenRule]) -> list[str]:
    """The rules by which a token may stand there."""
    return [name for name, rule in rules.items() if any((one.kind, one.name) == spot for one in rule.places)]


def _together(spots: _Spots, rules: dict[str, TokenRule]) -> Iterator[_Message]:
    """What must hold of requests in which something stands in several spots, the most of them first."""
    most = len(spots) if len(spots) <= _MOST_SPOTS else 2
    for number in range(most, 1, -1):
        for some in combinations(spots, number):
            each = [_any_of([_alone(name, spot) for name in _of_spot(spot, rules)]) for spot in some]
            all_of = {"requires_all": {"requirements": each}} if most == len(spots) else _refused()
            yield {"match": _match([_stands(spots[spot]) for spot in some]), "requires": all_of}


def _one_by_one(spots: _Spots, rules: dict[str, TokenRule]) -> Iterator[_Message]:
    """What must hold of requests in which something stands in one spot."""
    for spot, places in spots.items():
        yield {"match": _match([_stands(places)]), "requires": _any_of(_of_spot(spot, rules))}


def _any_of(providers: list[str]) -> _Message:
    """One of the issuers whose tokens may stand in a place."""
    found = [{"provider_name": name} for name in providers]
    if len(found) <= 1:
        return found[0] if found else _refused()
    return {"requires_any": {"requirements": found}}


def _refused() -> _Message:
    return {"provider_name": _NOBODY}


def _given_twice(spots: _Spots) -> Iterator[_Message]:
    """Whoever writes two tokens into one spot is refused: Envoy and the application might take another one."""
    for spot, places in spots.items():
        yield {"match": _match([_stands(places), _twice(*spot)]), "requires": _refused()}


def _match(tests: Iterable[_Message]) -> _Message:
    """A RouteMatch of requests for whose headers all tests hold."""
    return {"prefix": "/", "headers": list(tests)}


def _stands(places: tuple[TokenPlace, ...]) -> _Message:
    """Whether something stands in a spot, be a prefix in other letters or blanks: that is no token, and refused."""
    kind, name = places[0].kind, places[0].name
    match kind:
        case PlaceKind.HEADER:
            prefixes = sorted({place.prefix.strip() for place in places})
            if not prefixes[0]:
                return {"name": name, "present_match": True}
            any_of = "|".join(re.escape(prefix) for prefix in prefixes)
            return _header(name, rf"(?i)\C*(?:{any_of})\C*")
        case PlaceKind.PARAM:
            return _header(":path", rf"\C*{_param(name)}(?:[=&]\C*)?")
        case PlaceKind.COOKIE:
            return _header("cookie", rf"(?:\C*;)?{_cookie(name)}\C*")


def _twice(kind: PlaceKind, name: str) -> _Message:
    match kind:
        case PlaceKind.HEADER:  # Envoy shows several lines of one header as one, with commas
            return {"name": name, "string_match": {"contains": ","}}
        case PlaceKind.PARAM:
            once = _param(name)
            return _header(":path", rf"\C*{once}(?:=\C*)?{once}(?:[=&]\C*)?")
        case PlaceKind.COOKIE:
            once = _cookie(name)
            return _header("cookie", rf"(?:\C*;)?{once}\C*;{once}\C*")


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
