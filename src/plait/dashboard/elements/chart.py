"""How something went, step by step: lines over time, by ECharts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nicegui import ui

Write = Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Line:
    """A line and its points, one a step; None: nothing is known.  `colour` is a variable of dashboard.css."""

    name: str
    points: tuple[float | None, ...]
    colour: str = "--series-1"
    area: bool = False
    dashed: bool = False


class Chart:
    """Lines over time in one picture, with `label` for who does not see it; `unit` stands behind the axis' numbers."""

    def __init__(self, *, label: str, unit: str = "", height: int = 160) -> None:
        self._unit = unit
        self._element = ui.echart({}, renderer="svg").style(f"height: {height}px")
        self._element.props(f'role="img" aria-label="{label}"')

    def show(self, until: float, step: float, lines: Sequence[Line]) -> None:
        """The points of all lines are `step` seconds each, and the last one ends at `until` (since the epoch)."""
        self._element.options.clear()
        self._element.options.update(_options(until, step, lines, self._unit))
        self._element.update()


def _options(until: float, step: float, lines: Sequence[Line], unit: str) -> dict[str, object]:
    return {
        "animation": False,
        "grid": {"left": 48, "right": 12, "top": 12, "bottom": 24},
        "xAxis": {"type": "time"},
        "yAxis": {"type": "value", "axisLabel": {"formatter": f"{{value}}{unit}"}},
        "tooltip": {"trigger": "axis"},
        "series": [
            {
                "type": "line",
                "name": line.name,
                "showSymbol": False,
                "emphasis": {"disabled": True},
                "lineStyle": {
                    "color": f"var({line.colour})",
                    "width": 1.75,
                    "type": "dashed" if line.dashed else "solid",
                },
                "areaStyle": {"color": f"var({line.colour})", "opacity": 0.12} if line.area else None,
                "data": [
                    [round((until - step * (len(line.points) - 1 - number)) * 1000), point]
                    for number, point in enumerate(line.points)
                ],
            }
            for line in lines
        ],
    }
