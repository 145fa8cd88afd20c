"""A Finding: what is wrong with something a user wrote.  User mistakes are data, never exceptions."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from plait.model.names import ObjectRef


class Severity(StrEnum):
    """How bad: an error keeps (a part of) the object from taking effect, a warning tells what is not honoured."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something was written: a file and a line counted from one (0: the file as a whole)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark.

    `code` is dotted and stable (`field.unknown`, `route.missing-subset`); docs/findings.md lists them all.
    `ref` and `field` name the object and the path inside it.  `place` is filled when somebody asks, from the
    lines kept beside the documents; only findings about text that never became an object carry it from birth.
    """

    severity: Severity
    code: str
    message: str
    ref: ObjectRef | None = None
    field: str = ""
    place: Place | None = None
