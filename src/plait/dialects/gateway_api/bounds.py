"""How long a text and how many items Kubernetes takes."""

from __future__ import annotations

from collections.abc import Iterator

from plait.model.document import Cursor


def bounded(cursor: Cursor, most: int, default: str = "") -> str:
    """A text of at most so many characters; the default, and an error, when it is longer."""
    text = cursor.text(default)
    if len(text) <= most:
        return text
    cursor.error("field.range", f"{len(text)} characters: at most {most} are taken")
    return default


def items(cursor: Cursor, most: int) -> Iterator[Cursor]:
    """The items of a list; a warning when Kubernetes would not take so many."""
    if isinstance(cursor.value, list) and len(cursor.value) > most:
        cursor.warn("field.items", f"{len(cursor.value)} items: Kubernetes takes {most} at most")
    yield from cursor.each()
