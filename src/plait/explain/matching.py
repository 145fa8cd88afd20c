"""Envoy's matchers over one request, as far as we render them; an unknown one is an UnknownError.

They are those of envoy/config/rbac/v3/rbac.proto, envoy/type/matcher/v3 and route.v3.HeaderMatcher.  Regular
expressions are RE2's; those that we write mean the same in Python, and others of whole strings nearly always do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from plait.explain.paths import normalised, without_query
from plait.explain.request import Request, UnknownError

_JWT = "envoy.filters.http.jwt_authn"
_PAYLOAD = "payload"
"""What one * of a template takes of a segment; ** takes slashes as well."""
_RE2_ALONE = re.compile(r"\(\?[A-Za-z]*U|\\[pPCQEzAZK]|\[\[:")
"""What RE2 understands otherwise than Python, or not alike."""

_OF_ENVOY = ("x-envoy-", "x-forwarded-", "x-request-id")
"""How headers begin that have another value, or none, when policies look at them than when they were sent."""

_Test = Callable[[Any, Request], bool]


def permission(one: Any, request: Request) -> bool:
    """Whether a Permission holds for a request."""
    return _one_of(one, "rule", _PERMISSIONS, request)


def principal(one: Any, request: Request) -> bool:
    """Whether a Principal holds for a request."""
    return _one_of(one, "identifier", _PRINCIPALS, request)


def string(matcher: Any, text: str) -> bool:
    """A StringMatcher over a text."""
    kind = matcher.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return regex(matcher.safe_regex.regex, text)
    if kind not in _STRINGS:
        raise UnknownError(f"a string is matched by {kind}, which is not known")
    wanted = getattr(matcher, kind)
    if matcher.ignore_case:
        wanted, text = _lower(wanted), _lower(text)
    return _STRINGS[kind](text, wanted)


def regex(pattern: str, text: str) -> bool:
    """Whether a regular expression matches the whole of a text."""
    if _RE2_ALONE.search(pattern):
        raise UnknownError(f"RE2 and Python may read the regular expression {pattern!r} differently")
    try:
        return re.fullmatch(pattern, text, re.ASCII) is not None
    except re.error as error:
        raise UnknownError(f"the regular expression {pattern!r} can't be read: {error}") from error


_STRINGS: Mapping[str, Callable[[str, str], bool]] = {
    "exact": lambda text, wanted: text == wanted,
    "prefix": str.startswith,
    "suffix": str.endswith,
    "contains": str.__contains__,
}


def _lower(text: str) -> str:
    """As Envoy does it: of ASCII letters alone."""
    return "".join(chr(ord(letter) + 32) if "A" <= letter <= "Z" else letter for letter in text)


def _one_of(one: Any, group: str, tests: Mapping[str, _Test], request: Request) -> bool:
    kind = one.WhichOneof(group)
    test = tests.get(kind)
    if test is None:
        raise UnknownError(f"a policy asks for {kind}, which is not known")
    return test(getattr(one, kind), request)


def _header(matcher: Any, request: Request) -> bool:
    """A header that is not there matches nothing, not even when turned round, unless its absence is asked for."""
    value = _value(matcher.name.lower(), request)
    kind = matcher.WhichOneof("header_match_specifier")
    if kind == "present_match":
        return bool(((value is not None) == matcher.present_match) != matcher.invert_match)
    if kind not in {"string_match", None}:
        raise UnknownError(f"a header is matched by {kind}, which is not known")
    if value is None:
        if not matcher.treat_missing_header_as_empty:
            return False
        value = ""
    held = kind is None or string(matcher.string_match, value)
    return held is not bool(matcher.invert_match)


def _value(name: str, request: Request) -> str | None:
    if name == ":method":
        return request.method
    if name in {":authority", "host"}:
        return request.host
    if name == ":path":
        path = without_query(request.path)
        return normalised(path) + request.path[len(path) :]
    if name.startswith(_OF_ENVOY):
        raise UnknownError(f"a policy asks for the header {name}, which Envoy writes itself")
    if name.startswith(":"):
        raise UnknownError(f"a policy asks for the header {name}, which is not known")
    return request.headers.get(name)


def _path(matcher: Any, request: Request) -> bool:
    return string(matcher.path, normalised(without_query(request.path)))


def _within(address: str, what: str) -> _Test:
    def test(block: Any, request: Request) -> bool:
        found = getattr(request, address)
        if not found:
            raise UnknownError(f"a policy asks for {what}, which is not known here")
        network = ip_network(f"{block.address_prefix}/{block.prefix_len.value}", strict=False)
        return ip_address(found) in network

    return test


def _server_name(matcher: Any, request: Request) -> bool:
    if request.sni is None:
        raise UnknownError("a policy asks for the server name, which is not known here")
    return string(matcher, request.sni)


def _authenticated(matcher: Any, request: Request) -> bool:
    """Of what a certificate says Envoy tries the URI first, and then the subject, which no policy should ask for."""
    if not request.caller:
        return False
    return not matcher.HasField("principal_name") or string(matcher.principal_name, request.caller)


def _metadata(matcher: Any, request: Request) -> bool:
    if matcher.filter != _JWT:
        raise UnknownError(f"a policy asks for metadata of {matcher.filter}, which is not known")
    found: Any = {} if request.claims is None else {_PAYLOAD: request.claims}
    for step in matcher.path:
        found = found.get(step.key) if isinstance(found, Mapping) else None
    return bool(value(matcher.value, found) != matcher.invert)


def value(matcher: Any, found: Any) -> bool:
    """A ValueMatcher over a value of JSON; None: there is no such value."""
    kind = matcher.WhichOneof("match_pattern")
    if kind == "string_match":
        return isinstance(found, str) and string(matcher.string_match, found)
    if kind == "list_match":
        return isinstance(found, list) and any(value(matcher.list_match.one_of, one) for one in found)
    if kind == "or_match":
        return any(value(one, found) for one in matcher.or_match.value_matchers)
    raise UnknownError(f"a value is matched by {kind}, which is not known")


def _sourced(matcher: Any, request: Request) -> bool:
    if matcher.metadata_source:
        raise UnknownError("a policy asks for metadata of the route, which is not known")
    return _metadata(matcher.metadata_matcher, request)


def _always(asked: bool, _: Request) -> bool:  # noqa: FBT001 - Envoy's own shape
    if not asked:
        raise UnknownError("a rule for anything that says no is not known")
    return True


_COMMON: Mapping[str, _Test] = {
    "any": _always,
    "header": _header,
    "url_path": _path,
    "sourced_metadata": _sourced,
}
_PERMISSIONS: Mapping[str, _Test] = {
    **_COMMON,
    "and_rules": lambda them, request: all(permission(one, request) for one in them.rules),
    "or_rules": lambda them, request: any(permission(one, request) for one in them.rules),
    "not_rule": lambda one, request: not permission(one, request),
    "destination_ip": _within("destination", "the address that was called"),
    "requested_server_name": _server_name,
}
_PRINCIPALS: Mapping[str, _Test] = {
    **_COMMON,
    "and_ids": lambda them, request: all(principal(one, request) for one in them.ids),
    "or_ids": lambda them, request: any(principal(one, request) for one in them.ids),
    "not_id": lambda one, request: not principal(one, request),
    "authenticated": _authenticated,
    "direct_remote_ip": _within("address", "the address of the connection"),
}
