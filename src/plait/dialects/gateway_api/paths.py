"""Paths of the Gateway API: what they are matched by, and what is put in their place."""

from __future__ import annotations

import re
from enum import StrEnum

from plait.dialects.gateway_api.bounds import bounded
from plait.dialects.gateway_api.matches import regex
from plait.model.document import Cursor
from plait.model.routing import MatchKind, PathChange, PathPart, StringMatch

_LONGEST = 1024
_SHOWN = 80
_PATH = re.compile(r"/(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*\Z")
_ODD = re.compile(r"//|/\.\.?(?:/|\Z)|%2[fF]")
_NEW_PATH = re.compile(r"[^\s#\0]*\Z")


class PathKind(StrEnum):
    EXACT = "Exact"
    PREFIX = "PathPrefix"
    REGEX = "RegularExpression"


class ChangeKind(StrEnum):
    FULL = "ReplaceFullPath"
    PREFIX = "ReplacePrefixMatch"


def path_match(cursor: Cursor) -> StringMatch | None:
    """The test of a path; None for every path, and after an error.  A prefix is whole segments: /a is that of /a/b."""
    kind = cursor.at("type").choice(PathKind, PathKind.PREFIX)
    value = cursor.at("value")
    text = bounded(value, _LONGEST, "/")
    if kind is PathKind.REGEX:
        if not text:
            value.error("match.empty", "an empty match: leave it away to match everything")
        return regex(value, text)
    if not _PATH.match(text) or _ODD.search(text):
        message = f"{text[:_SHOWN]!r} is no path: it begins with /, and has no //, no /./ or /../ and no %2f"
        value.error("path.invalid", message)
        return None
    if kind is PathKind.EXACT:
        return StringMatch(MatchKind.EXACT, text)
    prefix = text.rstrip("/")
    return StringMatch(MatchKind.SEGMENTS, prefix) if prefix else None


def path_change(cursor: Cursor, prefix: str | None) -> PathChange | None:
    """Another path; `prefix` is what the only match of the rule looks at, None when that is something else.

    The specification's table for ReplacePrefixMatch decides about slashes: one at the end does not count.
    """
    if not cursor.present:
        return None
    if not cursor.has("type"):
        cursor.at("type").error("field.required", "the type is missing")
    kind = cursor.at("type").choice(ChangeKind, ChangeKind.FULL)
    if cursor.error_count():
        return None
    field, other = "replaceFullPath", "replacePrefixMatch"
    if kind is ChangeKind.PREFIX:
        field, other = other, field
    if cursor.has(other):
        cursor.at(other).error("filter.type", f"the type is {kind}: {other} has no effect")
    value = cursor.at(field)
    if not value.present:
        value.error("field.required", f"the type is {kind}, and this is missing")
        return None
    text = bounded(value, _LONGEST)
    if not _NEW_PATH.match(text) or not (text.startswith("/") or (kind is ChangeKind.PREFIX and not text)):
        value.error("path.invalid", f"{text[:_SHOWN]!r} is no path: it begins with / and has no blanks")
        return None
    if kind is ChangeKind.FULL:
        return PathChange(part=PathPart.WHOLE, text=text)
    if prefix is None:
        message = "a prefix is replaced in a rule with one match, whose path is a PathPrefix"
        cursor.error("filter.prefix", message)
        return None
    text = text.rstrip("/")
    return PathChange(part=PathPart.PREFIX, text=f"{text}/" if prefix == "/" else text or "/")
