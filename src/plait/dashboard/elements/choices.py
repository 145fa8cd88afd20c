"""What one chooses by: words to look for, one of several with how many there are of each, one of a list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement
from nicegui.events import GenericEventArguments

Choose = Callable[[str], Awaitable[None]]

_VALUE = "(event) => emit(event.target.value)"
_QUIET = 0.2
"""Seconds that somebody who types has to pause before what they typed is looked for."""


def search(label: str, value: str, choose: Choose) -> None:
    """A field for words; `choose` is told them as they are typed."""

    async def typed(event: GenericEventArguments) -> None:
        await choose(str(event.args))

    field = ui.element("input").classes("field search")
    field.props["type"], field.props["value"] = "search", value
    field.props["placeholder"] = field.props["aria-label"] = label
    field.on("input", typed, js_handler=_VALUE, throttle=_QUIET, leading_events=False)


class Chips:
    """Buttons for one of several (by its key, "" for all), each with its name and how many there are."""

    def __init__(self, label: str, names: Mapping[str, str], chosen: str, choose: Choose) -> None:
        self._choose = choose
        self._buttons: dict[str, ui.element] = {}
        self._counts: dict[str, ui.label] = {}
        with ui.element("div").classes("chips") as group:
            group.props["role"], group.props["aria-label"] = "group", label
            for key, name in names.items():
                with ui.element("button").classes("chip").on("click", self._chooser(key)) as button:
                    button.props["type"] = "button"
                    ui.label(name)
                    self._counts[key] = ui.label().classes("n")
                self._buttons[key] = button
        self._mark(chosen)

    def tell(self, counts: Mapping[str, int]) -> None:
        """How many there are now; of what is not among them there is none."""
        for key, label in self._counts.items():
            label.set_text(f"{counts.get(key, 0):,}")

    def _chooser(self, key: str) -> Callable[[], Awaitable[None]]:
        async def chosen() -> None:
            self._mark(key)
            await self._choose(key)

        return chosen

    def _mark(self, chosen: str) -> None:
        for key, button in self._buttons.items():
            button.props["aria-pressed"] = "true" if key == chosen else "false"


class Select:
    """One of a list that changes, or ("") all; what is chosen stays in it."""

    def __init__(self, label: str, everything: str, chosen: str, choose: Choose) -> None:
        self._everything, self._chosen, self._choose = everything, chosen, choose
        self._known: list[str] | None = None
        self._element = ui.element("select").classes("field")
        self._element.props["aria-label"] = label
        self._element.on("change", self._changed, js_handler=_VALUE)
        self.tell(())

    def tell(self, options: Iterable[str]) -> None:
        """What there is now."""
        known = sorted({*options, *([self._chosen] if self._chosen else [])})
        if known == self._known:
            return
        self._known = known
        self._element.clear()
        with self._element:
            for value in ("", *known):
                option = TextElement(tag="option", text=value or self._everything)
                option.props["value"] = value
                option.props.set_bool("selected", value == self._chosen)

    async def _changed(self, event: GenericEventArguments) -> None:
        self._chosen = str(event.args)
        await self._choose(self._chosen)
