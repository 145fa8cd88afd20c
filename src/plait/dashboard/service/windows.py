"""How long back is looked: buttons for one of WINDOWS."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from plait.dashboard.service.looked import WINDOWS


class Windows:
    """`choose` is told the seconds that somebody has chosen."""

    def __init__(self, chosen: int, choose: Callable[[int], Awaitable[None]]) -> None:
        self._choose = choose
        with ui.element("div").classes("svc-windows right") as group:
            group.props["role"], group.props["aria-label"] = "group", "How long back"
            self._buttons = {seconds: self._button(seconds, name) for seconds, (name, _) in WINDOWS.items()}
        self._mark(chosen)

    def _button(self, seconds: int, name: str) -> ui.element:
        async def chosen() -> None:
            self._mark(seconds)
            await self._choose(seconds)

        with ui.element("button").on("click", chosen) as button:
            button.props["type"] = "button"
            ui.label(name)
        return button

    def _mark(self, chosen: int) -> None:
        for seconds, button in self._buttons.items():
            button.props["aria-pressed"] = "true" if seconds == chosen else "false"
