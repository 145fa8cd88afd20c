"""The corsPolicy of a VirtualService: which other origins may read what a rule answers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plait.dialects.checks import seconds
from plait.dialects.istio.matches import string_match
from plait.model.document import Cursor
from plait.model.routing import Cors, MatchKind, StringMatch

_SHOWN = 80
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~A-Za-z0-9]+\Z")


def cors(cursor: Cursor) -> Cors | None:
    """The policy; None when there is none, or it can't be read whole: it would let in too many."""
    if not cursor.present:
        return None
    origins = (*_origins(cursor.at("allowOrigins")), *_plain_origins(cursor.at("allowOrigin")))
    methods, headers, exposed = (
        tuple(_tokens(cursor.at(name))) for name in ("allowMethods", "allowHeaders", "exposeHeaders")
    )
    max_age = seconds(cursor.at("maxAge"))
    credentials = cursor.at("allowCredentials").boolean()
    unmatched = cursor.at("unmatchedPreflights")
    if unmatched.text() not in ("", "UNSPECIFIED", "FORWARD", "IGNORE"):
        unmatched.error("field.choice", f"{unmatched.text()[:_SHOWN]!r} is neither FORWARD nor IGNORE")
    if not origins and not cursor.error_count():
        cursor.warn("cors.no-origins", "without allowOrigins no other origin may read anything")
    if cursor.error_count() or cursor.unread():
        cursor.error(
            "cors.left-out", "this policy is left out: it can't be read whole and would allow too much"
        )
        return None
    return Cors(
        origins=origins,
        methods=methods,
        headers=headers,
        exposed=exposed,
        max_age=max_age,
        credentials=credentials,
        forward_unmatched=unmatched.text() != "IGNORE",
    )


def _origins(cursor: Cursor) -> Iterator[StringMatch]:
    for item in cursor.each():
        match = string_match(item)
        if match is not None and match.kind is MatchKind.PRESENT:
            item.error("match.empty", "an empty match: name an origin, or * for any")
        elif match is not None:
            yield _any() if match == StringMatch(MatchKind.EXACT, "*") else match


def _plain_origins(cursor: Cursor) -> Iterator[StringMatch]:
    for text in cursor.strings():
        yield _any() if text == "*" else StringMatch(MatchKind.EXACT, text)


def _any() -> StringMatch:
    return StringMatch(MatchKind.REGEX, ".*")


def _tokens(cursor: Cursor) -> Iterator[str]:
    for item in cursor.each():
        if item.is_text() and _TOKEN.match(item.value):
            yield item.value
        elif isinstance(item.value, str):
            item.error("cors.token", f"{item.value[:_SHOWN]!r} is no name of a method or a header")
