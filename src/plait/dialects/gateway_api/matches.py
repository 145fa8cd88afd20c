"""What the matches of all routes share.  A match that can't be read whole matches nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TypeVar

from plait.dialects.gateway_api.bounds import bounded, items
from plait.dialects.gateway_api.headers import header_name
from plait.dialects.regexes import refusal
from plait.model.document import Cursor
from plait.model.routing import MatchKind, StringMatch

T = TypeVar("T")

_MOST_NAMED = 16


class TextKind(StrEnum):
    EXACT = "Exact"
    REGEX = "RegularExpression"


def matches(cursor: Cursor, read: Callable[[Cursor], T], most: int) -> tuple[T, ...] | None:
    """The alternatives that can be read; () when none are written, None when none is left of them."""
    found: list[T] = []
    written = False
    for item in items(cursor, most):
        written = True
        match = read(item)
        if not item.present:
            item.error("field.type", "expected an object: a match")
        if item.error_count() or item.unread():
            message = "this match is left out: it can't be read whole and would match too much"
            item.error("match.left-out", message)
        else:
            found.append(match)
    return None if (written or cursor.error_count()) and not found else tuple(found)


def named(cursor: Cursor, longest: int, *, any_case: bool) -> Iterator[tuple[str, StringMatch]]:
    """Tests of headers (whose names are the same in any case) or query parameters; of two for one name the first."""
    seen: set[str] = set()
    for item in items(cursor, _MOST_NAMED):
        name, test = header_name(item.at("name")), _test(item, longest)
        if any_case:
            name = name.lower()
        if not name or test is None:
            continue
        if name in seen:
            item.warn("match.twice", f"{name} stands before in this list, and the first holds")
            continue
        seen.add(name)
        yield name, test


def _test(item: Cursor, longest: int) -> StringMatch | None:
    kind = item.at("type").choice(TextKind, TextKind.EXACT)
    value = item.at("value")
    text = bounded(value, longest)
    if not text and not value.error_count():
        value.error("field.required", "a value is missing")
    if kind is TextKind.REGEX:
        return regex(value, text)
    return StringMatch(MatchKind.EXACT, text) if text else None


def regex(cursor: Cursor, text: str) -> StringMatch | None:
    """A regular expression that stands at a cursor; None when there is none, or an error when RE2 refuses it."""
    reason = refusal(text)
    if reason:
        cursor.error("regex.invalid", reason)
    return StringMatch(MatchKind.REGEX, text) if text and not reason else None
