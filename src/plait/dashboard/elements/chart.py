"""How something went, step by step: lines over time, by ECharts, which is sent the points that are new."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nicegui
from nicegui.element import Element

Write = Callable[[float], str]
_ECHARTS = Path(nicegui.__file__).parent / "elements" / "echart" / "dist"
_DIGITS = 4
"""Of a number that are sent: finer than any screen shows."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line and its points, one a step; None: nothing is known.  `colour` is a variable of dashboard.css.

    `stacked`: it stands on the stacked ones before it.
    """

    name: str
    points: tuple[float | None, ...]
    colour: str = "--series-1"
    area: bool = False
    dashed: bool = False
    stacked: bool = False


Point = tuple[float, str]
"""A number, and how people read it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What a chart shows: the points of each line by the number of their step, and the marks of its axis."""

    step: float
    phase: float
    """Seconds since the epoch at which a step ended; the steps are counted from there."""
    first: int
    last: int
    styles: tuple[Mapping[str, object], ...] = ()
    marks: tuple[Point, ...] = ()
    points: Mapping[str, Mapping[int, Point]] = field(default_factory=dict)


class Chart(Element, component="chart.js", esm={"nicegui-echart": str(_ECHARTS)}):
    """Lines over time in one picture, with `label` for who does not see it.

    Numbers are written by `write`.  `most`: where the axis ends, if not by
    what is shown.  What is shown already stays in the browser.
    """

    def __init__(
        self,
        *,
        label: str,
        write: Write,
        height: int = 160,
        most: float | None = None,
    ) -> None:
        super().__init__()
        self._write = write
        self._most = most
        self._shown: Picture | None = None
        self._told = False
        self._props["label"] = label
        self._props["height"] = height

    def show(self, until: float, step: float, lines: Sequence[Line]) -> None:
        """The points of all lines are `step` seconds each, and the last one ends at `until` (since the epoch)."""
        before = self._shown
        phase = before.phase if before and before.step == step else until
        now = picture(until, step, lines, write=self._write, most=self._most, phase=phase)
        if (change := changed(before, now)) is None:
            return
        self._shown = now
        if self._told:
            _ = self.run_method("apply", change)

    def _to_dict(self) -> dict[str, Any]:
        """The element as a browser begins with it, with the picture of that moment: no property, which is sent whole."""
        self._told = True
        said = super()._to_dict()
        begun = changed(None, self._shown) if self._shown else None
        return {**said, "props": {**said["props"], "picture": begun}}


def picture(  # noqa: PLR0913 - what a chart knows
    until: float,
    step: float,
    lines: Sequence[Line],
    *,
    write: Write,
    most: float | None = None,
    phase: float = 0.0,
) -> Picture:
    """What is to be seen of lines whose last point ends at a time."""
    last = round((until - phase) / step)
    longest = max((len(line.points) for line in lines), default=0)
    marks = ticks(most if most is not None else _highest(lines))
    return Picture(
        step=step,
        phase=phase,
        first=last - max(longest, 1) + 1,
        last=last,
        styles=tuple(_style(line) for line in lines),
        marks=tuple((mark, write(mark)) for mark in marks),
        points={
            line.name: {
                last - len(line.points) + 1 + number: (float(f"{point:.{_DIGITS}g}"), write(point))
                for number, point in enumerate(line.points)
                if point is not None
            }
            for line in lines
        },
    )


def changed(before: Picture | None, now: Picture) -> dict[str, object] | None:
    """What a browser has to be told that shows another picture, or none; None: nothing.

    Points are told by their distance from the first step; without a number they are gone.
    """
    if before is None or (before.step, before.phase) != (now.step, now.phase):
        before = Picture(step=now.step, phase=now.phase, first=0, last=0)
        told: dict[str, object] = {"step": now.step, "phase": now.phase}
    else:
        told = {}
    if (before.first, before.last) != (now.first, now.last) or "step" in told:
        told["first"], told["last"] = now.first, now.last
    if before.styles != now.styles:
        told["lines"] = now.styles
    if before.marks != now.marks:
        told["marks"] = now.marks
    points = {
        name: found
        for name, some in now.points.items()
        if (found := _new_points(before.points.get(name, {}), some, now.first))
    }
    if points:
        told["points"] = points
    return told or None


def _new_points(
    before: Mapping[int, Point], now: Mapping[int, Point], first: int
) -> list[tuple[int, float, str] | tuple[int]]:
    new = [(step - first, *point) for step, point in now.items() if before.get(step) != point]
    gone = [(step - first,) for step in before if step >= first and step not in now]
    return [*new, *gone]


def ticks(most: float, count: int = 3) -> tuple[float, ...]:
    """Round numbers from 0 on, some `count` steps of them, of which the last is not below `most`."""
    if most <= 0:
        return (0.0, 1.0)
    rough = most / count
    power = 10.0 ** math.floor(math.log10(rough))
    width = next(power * digit for digit in (1, 2, 2.5, 5, 10) if power * digit >= rough * 0.999)
    steps = math.ceil(most / width * 0.999)
    return tuple(float(f"{width * number:.6g}") for number in range(steps + 1))


def _highest(lines: Sequence[Line]) -> float:
    known = [point for line in lines for point in line.points if point is not None]
    return max(known, default=0.0)


def _style(line: Line) -> Mapping[str, object]:
    said = {
        "name": line.name, "colour": line.colour, "area": line.area, "dashed": line.dashed, "stacked": line.stacked,
    }  # fmt: skip
    return {name: value for name, value in said.items() if value}
