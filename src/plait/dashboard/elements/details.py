"""What is known of the one thing that is chosen on the map."""

from __future__ import annotations

from nicegui.element import Element

from plait.dashboard.map.details import Details


class DetailsPanel(Element, component="details.js"):
    """Tells `choose`: the key of something else, or "" of nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._props["said"] = {}
        self.set_visibility(False)

    def show(self, details: Details | None) -> None:
        """Have this, or nothing."""
        said = details.said if details else {}
        if said != self._props["said"]:
            self._props["said"] = said
        self.set_visibility(details is not None)
