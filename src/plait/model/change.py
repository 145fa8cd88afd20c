"""What a source says has changed, a unit (a file, an object of an API server) at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from plait.model.document import Document
from plait.model.finding import Finding, Place


@dataclass(frozen=True, slots=True)
class Located:
    """A document and where its fields were written: kept apart, so that moving lines changes nothing."""

    document: Document
    file: str
    line: int
    lines: Mapping[str, int] = field(compare=False, repr=False)
    """Field path -> line of its key, counted from one in the file."""

    def place(self, path: str) -> Place:
        """Where a field was written; for a field that is absent, where the nearest one around it was."""
        while path:
            if path in self.lines:
                return Place(self.file, self.lines[path])
            path = _parent(path)
        return Place(self.file, self.line)


@dataclass(frozen=True, slots=True)
class Stated:
    """Everything that one unit says now."""

    unit: str
    documents: tuple[Located, ...]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A unit can't be read (as a whole); what it said before stays in force."""

    unit: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class Gone:
    """A unit is no more, and with it all that it said."""

    unit: str


Change = Stated | Unreadable | Gone


def _parent(path: str) -> str:
    """The path around a field: up to its last key or index."""
    if path.endswith('"]'):
        return path[: path.rindex('["')]
    if path.endswith("]"):
        return path[: path.rindex("[")]
    return path.rpartition(".")[0]
