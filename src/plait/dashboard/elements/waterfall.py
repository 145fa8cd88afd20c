"""The spans of a trace below each other, folded and opened in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from nicegui.element import Element


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A span as it is shown.  `left` and `width` are percent of the whole, `colour` is the number of a --series.

    `words`, `facts` and `links` (text, place) are what is seen when it is opened.
    """

    id: str
    depth: int
    below: int
    who: str
    what: str
    to: str
    colour: int
    left: float
    width: float
    took: str
    status: str
    failed: bool
    critical: bool
    message: str
    words: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]


class Waterfall(Element, component="waterfall.js"):
    """`ticks` are what stands above the bars, from the beginning to the end at equal distances."""

    def __init__(self, *, opened: str = "") -> None:
        super().__init__()
        self._lines: tuple[Line, ...] = ()
        self._props["lines"] = []
        self._props["ticks"] = []
        self._props["opened"] = opened

    def show(self, lines: Sequence[Line], ticks: Sequence[str]) -> None:
        """Nothing is sent when it is as it was: a trace is mostly whole when it is looked at."""
        if tuple(lines) == self._lines:
            return
        self._lines = tuple(lines)
        with self._props.suspend_updates():
            self._props["ticks"] = list(ticks)
            self._props["lines"] = [asdict(line) for line in lines]
        self.update()
