"""One provider of a meshConfig that is asked whether a request may pass."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from plait.dialects.checks import is_token, seconds
from plait.dialects.istio.callees import service
from plait.dialects.kind import Subject
from plait.model.authorizer import Authorizer, CheckedBody
from plait.model.document import Cursor
from plait.model.routing import MatchKind, StringMatch

_SHOWN = 80
_LONGEST = 256
"""Letters of a header's name that is looked for by a regular expression."""
_DENIED = 403
_STATUSES = frozenset((*range(400, 418), 421, 422, 423, 424, 426, 428, 429, 431, *range(500, 509), 510, 511))
"""Those of errors that Envoy knows."""
_MOST_BODY = 2**32 - 1
_VALUE = re.compile(r"[^\0\r\n]*\Z")


def authorizer(cursor: Cursor, name: str, subject: Subject, *, grpc: bool, port: int) -> Authorizer:
    """What stands there; errors say what of it can't be read."""
    wait = seconds(cursor.at("timeout"), 600.0, least=0.001) or 600.0
    open_ = cursor.at("failOpen").boolean()
    if open_:
        message = "whoever this is asked for gets in when there is no answer"
        cursor.at("failOpen").warn("provider.fail-open", message)
    if cursor.at("clearRouteCache").boolean():
        message = "a request that comes in has one way, whatever is answered"
        cursor.at("clearRouteCache").warn("provider.no-effect", message)
    common = Authorizer(
        name=name,
        grpc=grpc,
        host=service(cursor.at("service"), subject),
        port=port,
        timeout=wait,
        fail_open=open_,
        status_on_error=_status(cursor.at("statusOnError")),
        body=_body(cursor.at("includeRequestBodyInCheck"), grpc=grpc),
        origin=subject.origin(cursor),
    )
    return common if grpc else _over_http(cursor, common)


def _over_http(cursor: Cursor, common: Authorizer) -> Authorizer:
    fields = ("includeRequestHeadersInCheck", "includeHeadersInCheck")
    shown = [one for field in fields for one in _headers(cursor.at(field))]
    return replace(
        common,
        path_prefix=_path_prefix(cursor.at("pathPrefix")),
        shown=tuple(dict.fromkeys(shown)),
        added=tuple(sorted(_added(cursor.at("includeAdditionalHeadersInCheck")))),
        to_application=tuple(_headers(cursor.at("headersToUpstreamOnAllow"))),
        to_caller=tuple(_headers(cursor.at("headersToDownstreamOnAllow"))),
        to_denied=tuple(_headers(cursor.at("headersToDownstreamOnDeny"))),
    )


def _status(cursor: Cursor) -> int:
    """A status of HTTP, which is written as a text."""
    text = cursor.text()
    if not text:
        return _DENIED
    if text.isascii() and text.isdecimal() and len(text) == 3 and int(text) in _STATUSES:
        return int(text)
    cursor.error("provider.status", f"{text[:_SHOWN]!r} is no status of an error, such as 503")
    return _DENIED


def _body(cursor: Cursor, *, grpc: bool) -> CheckedBody | None:
    if not cursor.present:
        return None
    if not cursor.has("maxRequestBytes"):
        cursor.at("maxRequestBytes").error("field.required", "how many bytes of it are shown at most?")
    raw = cursor.at("packAsBytes").boolean()
    if raw and not grpc:
        cursor.at("packAsBytes").warn("provider.no-effect", "over HTTP a body is bytes in any case")
    return CheckedBody(
        most=cursor.at("maxRequestBytes").integer(1, least=1, most=_MOST_BODY),
        partial=cursor.at("allowPartialMessage").boolean(),
        raw=raw and grpc,
    )


def _path_prefix(cursor: Cursor) -> str:
    text = cursor.text()
    if text and (not text.startswith("/") or re.search(r"[\s?#\0]", text)):
        cursor.error("path.invalid", f"{text[:_SHOWN]!r} is no path: it begins with / and has no blanks")
        return ""
    return text


def _headers(cursor: Cursor) -> Iterator[StringMatch]:
    """Names of headers, with a * at the start or the end."""
    for item in cursor.each():
        text = item.text().lower()
        name = text.removesuffix("*") if text.endswith("*") else text.removeprefix("*")
        if not is_token(name) or "*" in name or len(name) > _LONGEST:
            if not item.error_count():
                message = f"{text[:_SHOWN]!r} is no name of a header; a * may stand at its start or its end"
                item.error("header.name", message)
        elif text.endswith("*"):
            yield StringMatch(MatchKind.PREFIX, name)
        elif text.startswith("*"):
            yield StringMatch(MatchKind.REGEX, f".*{re.escape(name)}")
        else:
            yield StringMatch(MatchKind.EXACT, name)


def _added(cursor: Cursor) -> Iterator[tuple[str, str]]:
    for key, item in cursor.entries():
        value = item.text()
        if not is_token(key):
            item.error("header.name", f"{key[:_SHOWN]!r} is no name of a header")
        elif not _VALUE.match(value) or "%" in value:
            item.error("header.value", "a value of a header is one line, without percent signs")
        else:
            yield key.lower(), value
