"""What a rule of a VirtualService does besides choosing a destination: answers at once, and another path."""

from __future__ import annotations

import base64
import binascii
import re

from plait.dialects.checks import port_number
from plait.dialects.regexes import refusal
from plait.model.document import Cursor
from plait.model.routing import DirectResponse, PathChange, PathPart, Redirect, RedirectPort

_SHOWN = 80
_REDIRECTS = (301, 302, 303, 307, 308)
_LARGEST_BODY = 1024 * 1024
"""Bytes; every proxy keeps all of them in memory."""
_AUTHORITY = re.compile(r"[^\s/?#@\0]+\Z")
_PATH = re.compile(r"[^\s#\0]*\Z")
_GROUP = re.compile(r"\\(.?)")
_PERCENT = 10_000
"""Millionths of one percent."""


def redirect(cursor: Cursor) -> Redirect | None:
    """Where else what is asked for is; None and an error when that can't be read."""
    uri, authority, scheme = cursor.at("uri"), cursor.at("authority"), cursor.at("scheme")
    port = _redirect_port(cursor)
    status = cursor.at("redirectCode").integer(301)
    if status not in _REDIRECTS:
        cursor.at("redirectCode").error(
            "redirect.status", f"{status} is none of {', '.join(map(str, _REDIRECTS))}"
        )
    if scheme.text() not in ("", "http", "https"):
        scheme.error("redirect.scheme", f"{scheme.text()[:_SHOWN]!r} is neither http nor https")
    host = _host(authority)
    path = _path(uri)
    if port is RedirectPort.KEPT and not (path or host or scheme.text()) and not cursor.error_count():
        cursor.error(
            "redirect.empty",
            "it leads to where the request was: name a uri, an authority, a scheme or a port",
        )
    if cursor.error_count() or cursor.unread():
        return None
    return Redirect(
        scheme=scheme.text(),
        host=host,
        port=port,
        path=PathChange(part=PathPart.WHOLE, text=path) if path else None,
        status=status,
    )


def _redirect_port(cursor: Cursor) -> int | RedirectPort:
    number, derived = cursor.at("port"), cursor.at("derivePort")
    if number.present and derived.present:
        derived.error("redirect.port", "only one of port and derivePort can be given")
    if number.present:
        return port_number(number)
    match derived.text():
        case "" | "FROM_PROTOCOL_DEFAULT":
            return RedirectPort.KEPT
        case "FROM_REQUEST_PORT":
            return RedirectPort.CALLED
        case other:
            message = f"{other[:_SHOWN]!r} is neither FROM_PROTOCOL_DEFAULT nor FROM_REQUEST_PORT"
            derived.error("field.choice", message)
            return RedirectPort.KEPT


def direct_response(cursor: Cursor) -> DirectResponse | None:
    """The answer itself; None and an error when it can't be read."""
    if not cursor.at("status").present:
        cursor.error("field.required", "a status is missing")
    status = cursor.at("status").integer(0, least=200, most=599)
    body = _body(cursor.at("body"))
    if cursor.error_count() or cursor.unread():
        return None
    return DirectResponse(status=status, body=body)


def _body(cursor: Cursor) -> bytes:
    text, encoded = cursor.at("string"), cursor.at("bytes")
    if text.present and encoded.present:
        encoded.error("response.body", "only one of string and bytes can be given")
    body = text.text().encode()
    if encoded.present and encoded.is_text():
        try:
            body = base64.b64decode(encoded.value, validate=True)
        except (binascii.Error, ValueError):
            encoded.error("response.body", "this is not base64")
    if len(body) > _LARGEST_BODY:
        cursor.error("response.body", f"{len(body)} bytes are too many: {_LARGEST_BODY} at most")
    return body


def rewrite(cursor: Cursor) -> tuple[PathChange | None, str]:
    """Another path, and another authority ("": none); errors for what can't be read."""
    uri, pattern = cursor.at("uri"), cursor.at("uriRegexRewrite")
    authority = _host(cursor.at("authority"))
    if uri.present and pattern.present:
        pattern.error("rewrite.twice", "only one of uri and uriRegexRewrite can be given")
    if cursor.present and not (uri.present or pattern.present or authority or cursor.error_count()):
        cursor.error("rewrite.empty", "it rewrites nothing: name a uri, a uriRegexRewrite or an authority")
    if pattern.present:
        return _pattern(pattern), authority
    text = _path(uri)
    return PathChange(part=PathPart.PREFIX, text=text) if text else None, authority


def _pattern(cursor: Cursor) -> PathChange | None:
    match, text = cursor.at("match").text(), cursor.at("rewrite").text()
    if not match:
        if not cursor.error_count():
            cursor.at("match").error("field.required", "a pattern is missing")
        return None
    reason = refusal(match)
    if reason:
        cursor.at("match").error("regex.invalid", reason)
        return None
    groups = _groups(match)
    for name in _GROUP.findall(text):
        if name != "\\" and not (name.isdecimal() and int(name) <= groups):
            message = f"\\{name} names no group: the pattern has {groups}, and a backslash is written \\\\"
            cursor.at("rewrite").error("rewrite.group", message)
            return None
    return PathChange(part=PathPart.PATTERN, text=text, pattern=match)


def _groups(pattern: str) -> int:
    """How many groups a pattern has that RE2 may take: each ( but those that are escaped, in a class or (?:."""
    plain = re.sub(r"\\Q.*?(?:\\E|\Z)|\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]])*\]", "", pattern, flags=re.DOTALL)
    return len(re.findall(r"\((?!\?)|\(\?P?<", plain))


def millionths(cursor: Cursor, default: int) -> int:
    """A percentage, `{value: 12.5}`, as millionths."""
    value = cursor.at("value")
    if not cursor.present:
        return default
    if value.value is None:
        return 0  # protobuf's default
    return percent(value)


def percent(cursor: Cursor) -> int:
    """A number from 0 to 100, as millionths; 0 and an error when it is none."""
    value = cursor.value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        cursor.error("field.type", "expected a number")
        return 0
    if not 0 <= value <= 100:
        cursor.error("field.range", f"{str(value)[:_SHOWN]} is outside 0 to 100")
        return 0
    return round(value * _PERCENT)


def percent_of(cursor: Cursor, default: float) -> float:
    """A number from 0 to 100; the default when there is none, and an error when it is no such number."""
    return percent(cursor) / _PERCENT if cursor.present else default


def _host(cursor: Cursor) -> str:
    text = cursor.text()
    if text and not _AUTHORITY.match(text):
        cursor.error("host.invalid", f"{text[:_SHOWN]!r} is no authority: a host, and perhaps a port")
        return ""
    return text


def _path(cursor: Cursor) -> str:
    text = cursor.text()
    if text and not (text.startswith("/") and _PATH.match(text)):
        cursor.error("path.invalid", f"{text[:_SHOWN]!r} is no path: it begins with / and has no blanks")
        return ""
    return text
