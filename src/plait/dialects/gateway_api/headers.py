"""RequestHeaderModifier and ResponseHeaderModifier."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plait.dialects.checks import is_token
from plait.dialects.gateway_api.bounds import bounded, items
from plait.model.document import Cursor
from plait.model.routing import HeaderChanges

MOST_HEADERS = 16
LONGEST_NAME = 256
LONGEST_VALUE = 4096
_SHOWN = 80
_ONE_LINE = re.compile(r"[^\0\r\n]*\Z")


def header_changes(cursor: Cursor) -> HeaderChanges:
    """What is set, added and removed; of a name that a list has twice the first entry holds."""
    changes = HeaderChanges(
        set=tuple(_values(cursor.at("set"))),
        add=tuple(_values(cursor.at("add"))),
        remove=tuple(_names(cursor.at("remove"))),
    )
    names = [*dict(changes.set), *dict(changes.add), *dict.fromkeys(changes.remove)]
    for name in sorted({name for name in names if names.count(name) > 1}):
        cursor.error("header.twice", f"{name} is changed in two ways: only one is taken for each header")
    return changes


def _values(cursor: Cursor) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for item in items(cursor, MOST_HEADERS):
        name, value = _changed_name(item.at("name")), header_value(item.at("value"))
        if not name or not value:
            continue
        if name in seen:
            item.warn("header.twice", f"{name} stands before in this list, and the first holds")
            continue
        seen.add(name)
        yield name, value.replace("%", "%%")


def _names(cursor: Cursor) -> Iterator[str]:
    for item in items(cursor, MOST_HEADERS):
        name = _changed_name(item)
        if name:
            yield name


def _changed_name(cursor: Cursor) -> str:
    name = header_name(cursor).lower()
    if name != "host":
        return name
    cursor.error("header.reserved", "for another Host use the hostname of a URLRewrite")
    return ""


def header_name(cursor: Cursor) -> str:
    """The name of a header or a query parameter, as it is written; "" and an error when it is none."""
    text = bounded(cursor, LONGEST_NAME)
    if text and is_token(text):
        return text
    if text:
        cursor.error("header.name", f"{text[:_SHOWN]!r} is no name: letters, digits, - and a few signs")
    elif not cursor.error_count():
        cursor.error("field.required", "a name is missing")
    return ""


def header_value(cursor: Cursor) -> str:
    """A value on one line; "" and an error when it is none."""
    text = bounded(cursor, LONGEST_VALUE)
    if not _ONE_LINE.match(text):
        cursor.error("header.value", "a value of a header is one line")
        return ""
    if not text and not cursor.error_count():
        cursor.error("field.required", "a value is missing")
    return text
