"""What is shown of the map: of which namespace and service, how healthy, and over how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nicegui.element import Element

from plait.dashboard.map.choice import Choice


class Filters(Element, component="filters.js"):
    """Tells `filter`: {name, value} of a field of Choice.  The texts of `healths` and `windows` are by value."""

    def __init__(self, healths: Mapping[str, str], windows: Mapping[int, str]) -> None:
        super().__init__()
        self._props["healths"] = list(healths.items())
        self._props["windows"] = list(windows.items())
        self._props.update(namespaces=[], namespace="", service="", health="", window=0)

    def show(self, choice: Choice, namespaces: Sequence[str]) -> None:
        """Have this; nothing is sent of what is as it was."""
        said = {
            "namespaces": list(namespaces),
            "namespace": choice.namespace,
            "service": choice.service,
            "health": choice.health,
            "window": choice.window,
        }
        if any(self._props[name] != value for name, value in said.items()):
            self._props.update(said)
