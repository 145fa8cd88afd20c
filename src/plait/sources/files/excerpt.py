"""The lines of a file that an object is written in, comments and all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from plait.model.change import Located, Stated
from plait.sources.files.parse import parse

_MARKER = re.compile(r"(?:---|\.\.\.)(?:\s|\Z)")
_ITEM = re.compile(r"\s*-\s")
_WIDTH = 110


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some lines of a file, and the number of the first of them, counted from one."""

    line: int
    text: str


def excerpt(located: Located, text: str) -> Excerpt | None:
    """The lines in which `text`, the file as it is now, says an object; None when it does not say that any more.

    Of a List that is the item, if its lines are its own, and nothing at all when there is a Secret among the items.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not 0 < located.line <= len(lines):
        return None
    first, end = _around(lines, located.line - 1)
    said = parse(located.file, "\n".join(lines[first:end]).encode())
    documents = said.documents if isinstance(said, Stated) else ()
    places = {first + one.line - 1: one.document for one in documents}
    begin = located.line - 1
    if places.get(begin) != located.document:
        return None
    if len(documents) == 1 and begin == _content(lines, first, end):
        return _trimmed(lines, first, end)
    secret = any(one.document.ref.kind == "Secret" for one in documents)
    if secret or len(places) < len(documents) or not _ITEM.match(lines[begin]):
        return None
    return _trimmed(lines, begin, min((place for place in places if place > begin), default=end))


def rendered(value: Mapping[str, Any]) -> str:
    """An object as YAML, in the order in which it was written."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    return text


class _Dumper(yaml.SafeDumper):
    """Writes everything out where it stands."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def _around(lines: list[str], inside: int) -> tuple[int, int]:
    """Where the document begins and ends that has a line; it begins with its marker, if that is `---`."""
    first = next((number for number in range(inside, -1, -1) if _MARKER.match(lines[number])), 0)
    end = next(
        (number for number in range(inside + 1, len(lines)) if _MARKER.match(lines[number])), len(lines)
    )
    return first + lines[first].startswith("..."), end


def _content(lines: list[str], first: int, end: int) -> int:
    """The first line of a document that says anything."""
    said = (number for number in range(first, end) if _said(lines[number]))
    return next((number for number in said if not _said(lines[number]).startswith("#")), end)


def _said(line: str) -> str:
    """What a line has beside a marker."""
    return line.removeprefix("---").strip() if _MARKER.match(line) else line.strip()


def _trimmed(lines: list[str], first: int, end: int) -> Excerpt:
    """Without the lines at both ends that say nothing."""
    while first < end and not _said(lines[first]):
        first += 1
    while end > first and not lines[end - 1].strip():
        end -= 1
    return Excerpt(first + 1, "\n".join(lines[first:end]) + "\n")
