"""The map in a line, and the trace that is followed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from nicegui.element import Element

from plait.dashboard.map.summary import Summary


class Headline(Element, component="headline.js"):
    """Tells `leave`: nobody wants to follow the trace any more."""

    def __init__(self) -> None:
        super().__init__()
        self._props.update(said={}, chip={}, past=False)

    def show(self, now: Summary, chip: Mapping[str, str], *, past: bool) -> None:
        """Have this; `chip` is the trace (text, and href), `past` whether another time than now is shown."""
        said = {"said": asdict(now), "chip": dict(chip), "past": past}
        if any(self._props[name] != value for name, value in said.items()):
            self._props.update(said)
