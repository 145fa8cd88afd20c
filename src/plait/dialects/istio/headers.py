"""Changes of headers in a VirtualService, of a rule or of one destination."""

from __future__ import annotations

import re
from collections.abc import Iterator

from plait.model.document import Cursor
from plait.model.routing import Changes, HeaderChanges

_SHOWN = 80
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~A-Za-z0-9]+\Z")
_VALUE = re.compile(r"[^\0\r\n]*\Z")
_LONGEST_VALUE = 16 * 1024
"""Bytes; Envoy takes no longer one."""
_COMMAND = re.compile(r"%(?:%|[A-Z_]+(?:\([^()%]*\))?(?::\d+)?%)")
"""A percent sign, or the name of something that Envoy knows of a request."""
_AUTHORITY = ("host", ":authority")


def changes(cursor: Cursor, authority: str = "") -> Changes:
    """What `headers` says; `authority` is what comes before a header named host."""
    request, response = cursor.at("request"), cursor.at("response")
    hosts = [
        item.text()
        for where in (request.at("set"), request.at("add"))
        for key, item in where.entries()
        if key.lower() in _AUTHORITY and item.is_text() and _is_authority(item)
    ]
    return Changes(
        authority=authority or next(iter(hosts), ""),
        request=_headers(request, but=_AUTHORITY),
        response=_headers(response),
    )


def _headers(cursor: Cursor, but: tuple[str, ...] = ()) -> HeaderChanges:
    return HeaderChanges(
        set=tuple(_values(cursor.at("set"), but)),
        add=tuple(_values(cursor.at("add"), but)),
        remove=tuple(_names(cursor.at("remove"))),
    )


def _values(cursor: Cursor, but: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for key, item in sorted(cursor.entries(), key=lambda entry: entry[0]):
        name = key.lower()
        if name in but:
            continue
        if name in seen:
            item.error("header.twice", f"{name!r} stands here twice: names of headers have no case")
        elif _is_name(item, key) and item.is_text() and _is_value(item):
            seen.add(name)
            yield name, item.value


def _names(cursor: Cursor) -> Iterator[str]:
    for item in cursor.each():
        if item.is_text() and _is_name(item, item.value):
            yield item.value.lower()


def is_header_name(cursor: Cursor) -> bool:
    """Whether a name of a header or a cookie stands here; an error when something else does, or nothing."""
    if not cursor.present:
        cursor.error("field.required", "a name is missing")
        return False
    if not cursor.is_text():
        return False
    if not _NAME.match(cursor.value):
        cursor.error("header.name", f"{cursor.value[:_SHOWN]!r} is no name of a header or a cookie")
        return False
    return True


def _is_name(cursor: Cursor, text: str) -> bool:
    if text.startswith(":") or text.lower() == "host":
        cursor.error("header.reserved", f"{text[:_SHOWN]!r} can't be changed here")
    elif not _NAME.match(text):
        cursor.error("header.name", f"{text[:_SHOWN]!r} is no name of a header")
    else:
        return True
    return False


def _is_value(cursor: Cursor) -> bool:
    if not _VALUE.match(cursor.value):
        cursor.error("header.value", "a value of a header is one line")
    elif len(cursor.value.encode()) > _LONGEST_VALUE:
        cursor.error("header.value", f"a value of a header has {_LONGEST_VALUE} bytes at most")
    elif "%" in _COMMAND.sub("", cursor.value):
        message = "a % begins the name of something, such as %REQ(x-user)%, and ends it; write %% for one that does not"
        cursor.error("header.value", message)
    else:
        return True
    return False


def _is_authority(cursor: Cursor) -> bool:
    if cursor.value and not re.search(r"[\s/?#%\0]", cursor.value):
        return True
    cursor.error("header.value", f"{cursor.value[:_SHOWN]!r} is no authority: a host, and perhaps a port")
    return False
