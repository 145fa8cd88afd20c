"""How long it is until something, as time passes."""

from __future__ import annotations

from nicegui.element import Element


class Countdown(Element, component="countdown.js"):
    """A number of a row of `stats`, counted down in the browser."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self._props["label"] = label
        self._props["due"] = 0
        self._props["note"] = ""

    def tell(self, due: float | None, note: str) -> None:
        """When it is (seconds since the epoch); None: there is nothing to wait for."""
        now = {"due": round(due * 1000) if due else 0, "note": note}
        for name, value in now.items():
            if self._props[name] != value:
                self._props[name] = value
