"""The CORS filter: which other origins may read what a rule answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

from plait.dialects.gateway_api.bounds import items
from plait.dialects.gateway_api.headers import header_name
from plait.model.document import Cursor
from plait.model.routing import Cors, MatchKind, StringMatch

_MOST = 64
_SHOWN = 80
_DEFAULT_AGE = 5
_ORIGIN = re.compile(r"(https?)://((?:\*|[a-z0-9_-])[a-z0-9._-]*)(?::([0-9]{1,5}))?\Z")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class Method(StrEnum):
    GET = "GET"
    HEAD = "HEAD"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"
    CONNECT = "CONNECT"
    OPTIONS = "OPTIONS"
    TRACE = "TRACE"
    PATCH = "PATCH"


def cors(cursor: Cursor) -> Cors:
    """The policy, as far as it can be read; errors at the cursor say how far that is."""
    credentials = cursor.at("allowCredentials").boolean()
    origins = tuple(_origins(cursor.at("allowOrigins")))
    methods = tuple(_methods(cursor.at("allowMethods"), credentials=credentials))
    headers, exposed = (
        tuple(_names(cursor.at(name), credentials=credentials)) for name in ("allowHeaders", "exposeHeaders")
    )
    max_age = cursor.at("maxAge").integer(_DEFAULT_AGE, least=1, most=2**31 - 1)
    if not origins and not cursor.error_count():
        cursor.warn("cors.no-origins", "without allowOrigins no other origin may read anything")
    return Cors(
        origins=origins,
        methods=methods,
        headers=headers,
        exposed=exposed,
        max_age=float(max_age),
        credentials=credentials,
        forward_unmatched=False,
    )


def _origins(cursor: Cursor) -> Iterator[StringMatch]:
    for item in items(cursor, _MOST):
        origin = _origin(item.value) if item.is_text() else None
        if origin is not None:
            yield origin
        elif isinstance(item.value, str):
            message = (
                f"{item.value[:_SHOWN]!r} is no origin such as https://shop.example or https://*.example:8443"
            )
            item.error("cors.origin", message)
    if isinstance(cursor.value, list) and "*" in cursor.value and len(cursor.value) > 1:
        cursor.error("cors.origin", "* is every origin: it stands alone")


def _origin(text: str) -> StringMatch | None:
    """The test of an origin; the port that a scheme has anyway is never sent."""
    if text == "*":
        return StringMatch(MatchKind.REGEX, ".*")
    found = _ORIGIN.match(text.lower())
    if found is None:
        return None
    scheme, host, port = found.groups()
    end = f":{port}" if port and port != _DEFAULT_PORTS[scheme] else ""
    if not host.startswith("*"):
        return StringMatch(MatchKind.EXACT, f"{scheme}://{host}{end}")
    return StringMatch(MatchKind.REGEX, f"{scheme}://[^/:]+{re.escape(host[1:])}{end}")


def _methods(cursor: Cursor, *, credentials: bool) -> Iterator[str]:
    """The methods; all of them by name for *, which means nothing to a browser that sends credentials."""
    for item in items(cursor, len(Method)):
        if item.value == "*":
            yield from Method if credentials else ("*",)
            if len(cursor.value) > 1:
                cursor.error("cors.token", "* is every method: it stands alone")
        elif item.present:
            yield item.choice(Method, Method.GET).value
        else:
            item.is_text()


def _names(cursor: Cursor, *, credentials: bool) -> Iterator[str]:
    for item in items(cursor, _MOST):
        name = header_name(item)
        if name == "*" and credentials:
            message = "has no effect: to browsers that send credentials * is no wildcard; name the headers"
            item.warn("cors.wildcard", message)
        elif name:
            yield name
