"""How edges run between the places of a layout, and where on them a few letters can be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from plait.dashboard.map.layout import Box, Layout, Passing

LABEL_WIDTH, SHORT_WIDTH, LABEL_HEIGHT = 84.0, 48.0, 14.0
"""Of what stands on an edge, in full and in short, in pixels."""
_ARROW = 3.0
_LEVEL = 22.0
"""A curve that rises less than this is level: what is on it is written beside it, so that it can be seen."""
_BESIDE = tuple((part, beside) for beside in (-9.0, 9.0) for part in (0.5, 0.58, 0.42))
_ON = tuple((part, beside) for beside in (0.0, -8.0, 8.0) for part in (0.5, 0.6, 0.4, 0.66, 0.34))
"""Where on a curve, from 0 to 1, and how far below it something is written; the best first."""


@dataclass(frozen=True, slots=True)
class Point:
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A cubic one that begins and ends level; `bow` bends both ends to one side instead."""

    start: Point
    end: Point
    bow: float = 0.0

    @property
    def controls(self) -> tuple[Point, Point]:
        if self.bow:
            return Point(self.start.x + self.bow, self.start.y), Point(self.end.x + self.bow, self.end.y)
        half = (self.end.x - self.start.x) / 2
        return Point(self.start.x + half, self.start.y), Point(self.end.x - half, self.end.y)

    def at(self, part: float) -> Point:
        """What is so far along it, from 0 to 1."""
        one, two = self.controls
        a, b, c, d = (1 - part) ** 3, 3 * part * (1 - part) ** 2, 3 * part**2 * (1 - part), part**3
        return Point(
            a * self.start.x + b * one.x + c * two.x + d * self.end.x,
            a * self.start.y + b * one.y + c * two.y + d * self.end.y,
        )

    @property
    def written(self) -> str:
        one, two = self.controls
        return f"C{one.x:.0f} {one.y:.0f} {two.x:.0f} {two.y:.0f} {self.end.x:.0f} {self.end.y:.0f}"


@dataclass(frozen=True, slots=True)
class Run:
    """One edge from end to end."""

    curves: tuple[Curve, ...]

    @property
    def written(self) -> str:
        """As SVG wants it: curves between columns, and level lines through them."""
        start = self.curves[0].start
        parts = [f"M{start.x:.0f} {start.y:.0f}"]
        for number, curve in enumerate(self.curves):
            if number:
                parts.append(f"H{curve.start.x:.0f}")
            parts.append(curve.written)
        return "".join(parts)


def run(source: Box, target: Box, leaves: float, arrives: float, passes: Sequence[Passing] = ()) -> Run:
    """From one node, at a height, to another: rightwards, leftwards, or around to who stands in the same column."""
    if source.x < target.right and target.x < source.right:
        start, end = Point(source.right, leaves), Point(target.right + _ARROW, arrives)
        return Run((Curve(start, end, bow=46.0),))
    right = source.right <= target.x
    start = Point(source.right if right else source.x, leaves)
    end = Point(target.x - _ARROW, arrives) if right else Point(target.right + _ARROW, arrives)
    curves: list[Curve] = []
    for one in passes:
        into, out = (one.left, one.right) if right else (one.right, one.left)
        curves.append(Curve(start, Point(into, one.y)))
        start = Point(out, one.y)
    return Run((*curves, Curve(start, end)))


@dataclass(frozen=True, slots=True)
class Label:
    """Where the middle of what is written is; `short`: there is room for the rate alone."""

    at: Point
    short: bool = False


def labels(runs: Mapping[str, Run], order: Sequence[str], layout: Layout) -> dict[str, Label]:
    """Where what is written on each edge is: over no node and over nothing else that is written.

    Who comes first in `order` is served first, and all in full before any in short; where there is no room even for
    that, nothing is written.
    """
    taken = _Taken()
    for box in layout.boxes.values():
        taken.add(box.grown(2.0))
    placed: dict[str, Label] = {}
    for width in (LABEL_WIDTH, SHORT_WIDTH):
        for key in order:
            if key not in placed and (found := _room(runs[key], width, taken)):
                placed[key] = Label(found, short=width == SHORT_WIDTH)
    return placed


def _room(one: Run, width: float, taken: _Taken) -> Point | None:
    for curve in dict.fromkeys((one.curves[0], one.curves[-1])):
        level = abs(curve.end.y - curve.start.y) < _LEVEL
        for part, beside in _BESIDE if level else _ON:
            point = curve.at(part)
            box = Box(point.x - width / 2, point.y + beside - LABEL_HEIGHT / 2, width, LABEL_HEIGHT)
            if not taken.meets(box):
                taken.add(box.grown(0.5))
                return Point(round(point.x), round(point.y + beside))
    return None


_CELL = 128.0


class _Taken:
    """Boxes, found by where they are."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], list[Box]] = {}

    def add(self, box: Box) -> None:
        for cell in _cells(box):
            self._cells.setdefault(cell, []).append(box)

    def meets(self, box: Box) -> bool:
        return any(box.meets(other) for cell in _cells(box) for other in self._cells.get(cell, ()))


def _cells(box: Box) -> Iterable[tuple[int, int]]:
    for column in range(int(box.x // _CELL), int(box.right // _CELL) + 1):
        for row in range(int(box.y // _CELL), int(box.bottom // _CELL) + 1):
            yield column, row
