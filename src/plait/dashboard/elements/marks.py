"""What happened when, and how much it was: marks over time, on a stepped line where there is one, by ECharts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import nicegui
from nicegui.element import Element

_ECHARTS = Path(nicegui.__file__).parent / "elements" / "echart" / "dist"
_GRAIN = 1.0
"""Seconds: an axis that moves by less is not sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something at a time (seconds since the epoch); `key` tells it from others.

    `kind` is one of those that Marks knows, `text` the lines that are read of it, `href` where a click leads.
    """

    key: str
    at: float
    value: float
    kind: str
    text: tuple[str, ...]
    href: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """`colour` is a variable of dashboard.css, `shape` one of ECharts' symbols."""

    name: str
    label: str
    colour: str
    shape: str = "circle"


Step = tuple[float, float]
"""From when on, and how much."""


class Marks(Element, component="marks.js", esm={"nicegui-echart": str(_ECHARTS)}):
    """Marks of some kinds, which a legend names.  `log`: each mark of the axis is ten times the one before it.

    `write` says how people read a number; `most` is where the axis ends if not by what is shown.
    """

    def __init__(  # noqa: PLR0913 - what a chart knows
        self,
        *,
        label: str,
        kinds: Sequence[Kind],
        write: Callable[[float], str],
        height: int = 180,
        log: bool = False,
        most: float = 100.0,
    ) -> None:
        super().__init__()
        self._write, self._log, self._most = write, log, most
        self._marks: dict[str, Mark] = {}
        self._steps: tuple[Step, ...] = ()
        self._axes: dict[str, object] = {}
        self._span = (0.0, 0.0)
        self._props["label"] = label
        self._props["height"] = height
        self._props["log"] = log
        self._props["kinds"] = [asdict(kind) for kind in kinds]
        self._props["whole"] = None

    def show(self, since: float, until: float, marks: Sequence[Mark], steps: Sequence[Step] = ()) -> int:
        """What there is between two times; how many marks had to be sent."""
        now = {mark.key: mark for mark in marks}
        added = [_sent(mark) for key, mark in now.items() if self._marks.get(key) != mark]
        change: dict[str, object] = {}
        if added:
            change["added"] = added
        if gone := [key for key in self._marks if key not in now]:
            change["gone"] = gone
        if tuple(steps) != self._steps:
            change["steps"] = [(at * 1000, value) for at, value in steps]
        if max(abs(since - self._span[0]), abs(until - self._span[1])) >= _GRAIN:
            self._span = (since, until)
            change["since"], change["until"] = since * 1000, until * 1000
        if (axis := self._axis(marks)) != self._axes:
            self._axes = axis
            change["axis"] = axis
        self._marks, self._steps = now, tuple(steps)
        if change:
            self._tell(change)
        return len(added)

    def _tell(self, change: dict[str, object]) -> None:
        whole = {
            "added": [_sent(mark) for mark in self._marks.values()],
            "steps": [(at * 1000, value) for at, value in self._steps],
            "since": self._span[0] * 1000,
            "until": self._span[1] * 1000,
            "axis": self._axes,
        }
        if not self.client.has_socket_connection:
            self._props["whole"] = whole
            return
        with self._props.suspend_updates():
            self._props["whole"] = whole  # what a browser begins with
        _ = self.run_method("apply", change)

    def _axis(self, marks: Sequence[Mark]) -> dict[str, object]:
        values = decades([mark.value for mark in marks]) if self._log else quarters(self._most)
        return {"values": values, "texts": [self._write(value) for value in values]}


def decades(values: Sequence[float]) -> list[float]:
    """Powers of ten around some values, two at least."""
    known = [max(value, 0.1) for value in values] or [1.0, 100.0]
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    return [float(10.0**power) for power in range(low, max(high, low + 1) + 1)]


def quarters(most: float) -> list[float]:
    return [most * part / 4 for part in range(5)]


def _sent(mark: Mark) -> dict[str, object]:
    return {
        "key": mark.key, "at": round(mark.at * 1000), "value": mark.value, "kind": mark.kind,
        "text": mark.text, "href": mark.href,
    }  # fmt: skip
