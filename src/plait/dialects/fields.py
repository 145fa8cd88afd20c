"""Nothing is ignored silently: every field that no reader asked for becomes a Finding, the same way for all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache

from plait.dialects.kind import Kind
from plait.model.document import Cursor
from plait.model.finding import Finding, Severity
from plait.model.names import ObjectRef

MOST_UNREAD = 100
"""Of one object: more than these are counted, not named."""

_SHOWN = 80


def unread(root: Cursor, kind: Kind, ref: ObjectRef) -> Iterator[Finding]:
    """A Finding for each field that was left unread: unsupported when the API has it, else unknown."""
    fields = root.unread()
    for path in fields[:MOST_UNREAD]:
        if _is_unsupported(kind, path):
            message = f"Plait does not honour {path} yet"
            yield Finding(Severity.WARNING, "field.unsupported", message, ref, path)
        else:
            yield Finding(Severity.ERROR, "field.unknown", _unknown(root, kind, path), ref, path)
    rest = fields[MOST_UNREAD:]
    if rest:
        severity = Severity.WARNING if all(_is_unsupported(kind, path) for path in rest) else Severity.ERROR
        yield Finding(severity, "field.more", f"and {len(rest)} more fields unknown or not honoured", ref)


def has_strangers(cursor: Cursor) -> bool:
    """Whether this mapping itself has keys that no reader asked for so far."""
    return isinstance(cursor.value, Mapping) and not set(cursor.value) <= set(cursor.asked(cursor.path))


def has_unknown(cursor: Cursor, kind: Kind) -> bool:
    """Whether a field stands from here down that the API does not have; asked once all has been read."""
    return any(not _is_unsupported(kind, path) for path in cursor.unread())


def _is_unsupported(kind: Kind, path: str) -> bool:
    return any(pattern.match(path) for pattern in _patterns(kind.unsupported))


def _unknown(root: Cursor, kind: Kind, path: str) -> str:
    around, key = _split(path)
    known = {*root.asked(around), *_unsupported_below(kind, around)}
    message = f"{kind.name} has no field {key[:_SHOWN]!r} here"
    close = get_close_matches(key[:_SHOWN], sorted(known), n=1)
    return f"{message}; did you mean {close[0]!r}?" if close else message


def _unsupported_below(kind: Kind, path: str) -> Iterator[str]:
    generic = re.sub(r"\[\d+\]", "[]", path)
    for pattern in kind.unsupported:
        around, _, key = pattern.rpartition(".")
        if around == generic:
            yield key


def _split(path: str) -> tuple[str, str]:
    if path.endswith('"]'):
        start = path.rindex('["')
        return path[:start], path[start + 2 : -2]
    if path.endswith("]"):
        start = path.rindex("[")
        return path[:start], path[start + 1 : -1]
    around, _, key = path.rpartition(".")
    return around, key


@lru_cache(maxsize=256)
def _patterns(unsupported: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(
        re.compile(
            re.escape(pattern).replace(r"\[\]", r"\[\d+\]").replace(r"\.\*", r'(?:\.[^.\[]+|\["[^"]*"\])')
            + r"\Z"
        )
        for pattern in unsupported
    )
