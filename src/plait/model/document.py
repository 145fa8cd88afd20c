"""One raw API object, and the cursor through which dialects read it.

A cursor knows where it stands and remembers what was asked for, so that one mechanism finds every field
that no reader understood.  Errors of type become Findings; reading goes on with a default.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar

from plait.model.finding import Finding, Severity
from plait.model.names import ObjectRef

E = TypeVar("E", bound=StrEnum)

_SHOWN = 80
"""How much of a user's value a message repeats."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_\-/]+\Z")
_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?\Z"
)


@lru_cache(maxsize=4096)
def child(path: str, key: str | int) -> str:
    """The path of a field below `path`: `spec.http[0].match`, `metadata.labels["a.b"]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not _PLAIN_KEY.match(key):
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path else key


@dataclass(frozen=True, slots=True)
class Document:
    """One API object as it was written.

    `value` is made of dicts with string keys, lists, strings, ints, floats, booleans and None.  `digest` is a
    hash of its meaning: equal for texts that differ only in comments, layout or the order of keys.
    """

    ref: ObjectRef
    api_version: str
    digest: str
    value: Mapping[str, Any] = field(compare=False, repr=False)


@dataclass(slots=True)
class _Reading:
    """What readers asked for and found, kept so that every question about it is answered at once."""

    ref: ObjectRef
    asked: dict[str, set[str | int]] = field(default_factory=dict)
    """Path -> the keys and indexes that were asked for below it."""
    around: dict[str, str] = field(default_factory=dict)
    """Path of what was asked for -> the path that it was asked from."""
    ignored: set[str] = field(default_factory=set)
    findings: dict[Finding, None] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    """Path -> how many errors lie at it or below."""

    def ask(self, path: str, key: str | int) -> str:
        self.asked.setdefault(path, set()).add(key)
        below = child(path, key)
        self.around[below] = path
        return below

    def find(self, finding: Finding) -> None:
        if finding in self.findings:
            return
        self.findings[finding] = None
        if finding.severity is not Severity.ERROR:
            return
        path: str | None = finding.field
        while path is not None:
            self.errors[path] = self.errors.get(path, 0) + 1
            path = self.around.get(path)


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place inside a document.  Reading a field marks it as understood."""

    value: Any
    path: str
    reading: _Reading

    @staticmethod
    def of(document: Document) -> Cursor:
        return Cursor(document.value, "", _Reading(document.ref))

    @property
    def present(self) -> bool:
        return self.value is not None

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(self.reading.findings)

    def at(self, key: str) -> Cursor:
        """The field `key` of this mapping; absent fields give a cursor whose `present` is false."""
        path = self.reading.ask(self.path, key)
        if self.value is not None and not isinstance(self.value, dict):
            self._wrong("an object")
            return Cursor(None, path, self.reading)
        inner = self.value.get(key) if self.value is not None else None
        return Cursor(inner, path, self.reading)

    def has(self, key: str) -> bool:
        """Whether a field is there; to ask for that alone does not mark it as understood."""
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def each(self) -> Iterator[Cursor]:
        """The items of this list, none when absent."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            self._wrong("a list")
            return
        for index, item in enumerate(self.value):
            yield Cursor(item, self.reading.ask(self.path, index), self.reading)

    def entries(self) -> Iterator[tuple[str, Cursor]]:
        """The keys and values of this mapping, none when absent."""
        if self.value is None:
            return
        if not isinstance(self.value, dict):
            self._wrong("an object")
            return
        for key in self.value:
            yield key, self.at(key)

    def text(self, default: str = "") -> str:
        if self.value is None:
            return default
        if not isinstance(self.value, str):
            self._wrong("a string")
            return default
        return self.value

    def integer(self, default: int = 0, *, least: int | None = None, most: int | None = None) -> int:
        if self.value is None:
            return default
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            self._wrong("a whole number")
            return default
        if (least is not None and self.value < least) or (most is not None and self.value > most):
            bounds = f"outside {least} to {most}" if most is not None else f"less than {least}"
            self.error("field.range", f"{str(self.value)[:_SHOWN]} is {bounds}")
            return default
        return self.value

    def boolean(self, *, default: bool = False) -> bool:
        if self.value is None:
            return default
        if not isinstance(self.value, bool):
            self._wrong("true or false")
            return default
        return self.value

    def choice(self, kinds: type[E], default: E) -> E:
        """One of the values of an enumeration."""
        if self.value is None or not self.is_text():
            return default
        try:
            return kinds(self.value)
        except ValueError:
            self.error("field.choice", f"{self.value[:_SHOWN]!r} is not one of {', '.join(kinds)}")
            return default

    def seconds(self, default: float | None = None) -> float | None:
        """A duration as protobuf's JSON and Go write it: `1.5s`, `250ms`, `1h30m`; in seconds."""
        if self.value is None:
            return default
        text = self.text()
        found = _DURATION.match(text)
        if not text or found is None or not any(found.groups()):
            if isinstance(self.value, str):
                self.error("field.duration", f"{text[:_SHOWN]!r} is not a duration such as 1.5s or 250ms")
            return default
        hours, minutes, seconds, millis = (float(part or 0) for part in found.groups())
        return hours * 3600 + minutes * 60 + seconds + millis / 1000

    def strings(self) -> tuple[str, ...]:
        return tuple(item.text() for item in self.each() if item.is_text())

    def string_map(self) -> dict[str, str]:
        return {key: item.text() for key, item in self.entries() if item.is_text()}

    def is_text(self) -> bool:
        """Whether a string stands here; a Finding when something else does."""
        if isinstance(self.value, str):
            return True
        self._wrong("a string")
        return False

    def error(self, code: str, message: str) -> None:
        self._find(Severity.ERROR, code, message)

    def warn(self, code: str, message: str) -> None:
        self._find(Severity.WARNING, code, message)

    def ignore(self) -> None:
        """Mark everything from here down as understood: known, and rightly without effect on a mesh."""
        self.reading.ignored.add(self.path)

    def unread(self) -> tuple[str, ...]:
        """Paths from here down that are present in the document and that no reader asked for."""
        self.reading.asked.setdefault(self.path, set())
        return tuple(self._unread(self.value, self.path))

    def asked(self, path: str) -> tuple[str, ...]:
        """The keys that readers asked for below a path, whether they were there or not; sorted."""
        return tuple(sorted(key for key in self.reading.asked.get(path, ()) if isinstance(key, str)))

    def error_count(self) -> int:
        """How many errors were found from here down so far."""
        return self.reading.errors.get(self.path, 0)

    def _unread(self, value: Any, path: str) -> Iterator[str]:
        asked = self.reading.asked.get(path)
        if asked is None or path in self.reading.ignored:
            return
        for key, inner in _children(value):
            where = child(path, key)
            if key in asked:
                yield from self._unread(inner, where)
            else:
                yield where

    def _wrong(self, wanted: str) -> None:
        found = {str: "a string", bool: "a boolean", int: "a number", float: "a number", list: "a list"}
        kind = found.get(type(self.value), "nothing" if self.value is None else "an object")
        hint = (
            "; put it in quotes"
            if wanted == "a string" and isinstance(self.value, (bool, int, float))
            else ""
        )
        self.error("field.type", f"expected {wanted}, found {kind}{hint}")

    def _find(self, severity: Severity, code: str, message: str) -> None:
        self.reading.find(Finding(severity, code, message, self.reading.ref, self.path))


def _children(value: Any) -> list[tuple[str | int, Any]]:
    match value:
        case dict():
            return list(value.items())
        case list():
            return list(enumerate(value))
        case _:
            return []
