"""The time that is looked at: a slider over the past, with now at its right end."""

from __future__ import annotations

from nicegui.element import Element


class Moment(Element, component="moment.js"):
    """Tells `moment`: seconds since the epoch, or 0 for now.  `span` and `step` are in seconds."""

    def __init__(self, *, span: float, step: float, label: str) -> None:
        super().__init__()
        self._props["until"] = 0
        self._props["span"] = span
        self._props["step"] = step
        self._props["label"] = label

    def show(self, until: int) -> None:
        if self._props["until"] != until:
            self._props["until"] = until
