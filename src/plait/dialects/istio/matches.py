"""Matches of a VirtualService: which requests a rule is for.  A match that can't be read whole matches nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from plait.dialects.checks import dns_label, labels, port_number
from plait.dialects.istio.gateways import reaches_mesh
from plait.dialects.kind import Subject
from plait.dialects.regexes import refusal
from plait.model.document import Cursor
from plait.model.routing import Clients, MatchKind, RequestMatch, StringMatch

_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~A-Za-z0-9]+\Z")
LONGEST_PARAMETER = 1024
"""Bytes of a name; Envoy takes no longer one."""
_PSEUDO_HEADERS = ("uri", "scheme", "method", "authority")


def matches(cursor: Cursor, subject: Subject) -> tuple[RequestMatch, ...] | None:
    """The alternatives that can be read; () when none are written (every request), None when none is left."""
    found: list[RequestMatch] = []
    written = False
    for item in cursor.each():
        written = True
        match = _match(item, subject)
        if match is not None:
            found.append(match)
    if cursor.present and cursor.error_count() and not written:
        return None
    return None if written and not found else tuple(found)


def _match(item: Cursor, subject: Subject) -> RequestMatch | None:
    if not isinstance(item.value, Mapping):
        item.error("field.type", "expected an object: a match")
        return None
    item.at("name").ignore()  # a name for people
    path = part(item.at("uri"))
    method, scheme, authority = (part(item.at(name)) for name in ("method", "scheme", "authority"))
    port = port_number(item.at("port")) if item.has("port") else 0
    headers = tuple(header_tests(item.at("headers")))
    without = tuple(header_tests(item.at("withoutHeaders")))
    query = tuple(_named(item.at("queryParams"), _query_name))
    ignore_case = item.at("ignoreUriCase").boolean()
    if ignore_case and path is not None and path.kind is MatchKind.REGEX:
        item.at("ignoreUriCase").warn("match.ignore-case", "has no effect on a regex: write (?i) into it")
        ignore_case = False
    here = reaches_mesh(item.at("gateways"))
    clients = _clients(item)
    if item.error_count() or item.unread():
        message = "this match is left out: it can't be read whole and would match too much"
        item.error("match.left-out", message)
        return None
    if not here:
        return None
    return RequestMatch(
        path=path,
        ignore_path_case=ignore_case,
        method=method,
        scheme=scheme,
        authority=authority,
        port=port,
        headers=headers,
        without_headers=without,
        query=query,
        clients=clients,
        origin=subject.origin(item),
    )


def _clients(item: Cursor) -> Clients | None:
    """Whose requests match, None for everybody's."""
    namespace, carried = item.at("sourceNamespace"), labels(item.at("sourceLabels"))
    name = dns_label(namespace, "name of a namespace") if namespace.present else ""
    return Clients(namespace=name, labels=carried) if name or carried else None


def part(cursor: Cursor) -> StringMatch | None:
    """The test of a part that every request has."""
    match = string_match(cursor) if cursor.present else None
    if match is not None and (match.kind is MatchKind.PRESENT or not match.value):
        cursor.error("match.empty", "an empty match: leave it away to match everything")
        return None
    return match


def header_tests(cursor: Cursor) -> Iterator[tuple[str, StringMatch]]:
    """Tests of headers by their names in lower case; an empty value asks only that there is one."""
    return _named(cursor, _header_name)


def _named(cursor: Cursor, name_of: Callable[[Cursor, str], str]) -> Iterator[tuple[str, StringMatch]]:
    """Tests of headers or query parameters; an empty value asks only that there is one, as with Istio."""
    for key, item in cursor.entries():
        match = string_match(item)
        name = name_of(item, key)
        if match is None or not name:
            continue
        if not match.value or (match.kind is MatchKind.REGEX and match.value == "*"):
            match = StringMatch(MatchKind.PRESENT)
        yield name, match


def _header_name(cursor: Cursor, key: str) -> str:
    if not _HEADER_NAME.match(key):
        cursor.error("match.name", f"{key[:80]!r} is no name of a header")
        return ""
    if key in _PSEUDO_HEADERS:
        cursor.error("match.name", f"{key!r} is no header: it is matched by the field of that name")
        return ""
    return key.lower()


def _query_name(cursor: Cursor, key: str) -> str:
    if not key:
        cursor.error("match.name", "the name of a query parameter is missing")
    elif len(key.encode()) > LONGEST_PARAMETER:
        cursor.error("match.name", f"the name of a query parameter has {LONGEST_PARAMETER} bytes at most")
        return ""
    return key


def string_match(cursor: Cursor) -> StringMatch | None:
    """exact, prefix or regex; an empty object is a test for presence."""
    if not isinstance(cursor.value, Mapping):
        cursor.error("field.type", "expected an object with exact, prefix or regex")
        return None
    found = [
        StringMatch(kind, cursor.at(kind.value).text())
        for kind in (MatchKind.EXACT, MatchKind.PREFIX, MatchKind.REGEX)
        if cursor.at(kind.value).present
    ]
    if len(found) > 1:
        cursor.error("match.one-kind", "only one of exact, prefix and regex can be given")
    if cursor.error_count():
        return None
    if not found:
        return StringMatch(MatchKind.PRESENT)
    if found[0].kind is MatchKind.REGEX and found[0].value != "*":
        reason = refusal(found[0].value)
        if reason:
            cursor.at("regex").error("regex.invalid", reason)
            return None
    return found[0]
