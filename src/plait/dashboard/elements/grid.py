"""A table that is sent the rows which have changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nicegui.element import Element


@dataclass(frozen=True, slots=True)
class Column:
    """`end`: numbers, which stand at its end.  `tight`: what is in it is never broken into lines."""

    key: str
    label: str
    end: bool = False
    tight: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a cell: a text, where it leads, its tone (as a badge or not), a second line, what it sorts by.

    `bar` is a share that is drawn beside the text, and `spark` how something went, in percent of its highest.
    """

    text: str
    href: str = ""
    tone: str = ""
    badge: bool = False
    sub: str = ""
    title: str = ""
    sort: float | str | None = None
    bar: float | None = None
    spark: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """`key` tells it from others, from one look to the next."""

    key: str
    cells: tuple[Cell, ...]


class Grid(Element, component="grid.js"):
    """A table.  Whoever looks sorts it by a click on a heading; `empty` stands where there are no rows."""

    def __init__(
        self, columns: Sequence[Column], *, empty: str = "There is nothing yet.", label: str = ""
    ) -> None:
        super().__init__()
        self._rows: dict[str, Row] = {}
        self._told = False
        self._props["columns"] = [
            {"key": one.key, "label": one.label, "end": one.end, "tight": one.tight} for one in columns
        ]
        self._props["empty"] = empty
        self._props["label"] = label

    def show(self, rows: Sequence[Row]) -> int:
        """Have these rows, in this order; how many had to be sent."""
        now = {row.key: row for row in rows}
        changed = [_sent(row) for key, row in now.items() if self._rows.get(key) != row]
        moved = tuple(now) != tuple(self._rows)
        self._rows = now
        if self._told and (changed or moved):
            _ = self.run_method("apply", changed, list(now) if moved else None)
        return len(changed)

    def _to_dict(self) -> dict[str, Any]:
        """The element as a browser begins with it, with the rows of that moment: no property, which is sent whole."""
        self._told = True
        said = super()._to_dict()
        return {**said, "props": {**said["props"], "rows": [_sent(row) for row in self._rows.values()]}}


def _sent(row: Row) -> dict[str, object]:
    return {"key": row.key, "cells": [_cell(cell) for cell in row.cells]}


def _cell(cell: Cell) -> dict[str, object]:
    said = {
        "text": cell.text, "href": cell.href, "tone": cell.tone, "badge": cell.badge, "sub": cell.sub,
        "title": cell.title, "sort": cell.sort, "bar": cell.bar, "spark": cell.spark,
    }  # fmt: skip
    return {name: value for name, value in said.items() if value is not False and value not in ("", None, ())}
