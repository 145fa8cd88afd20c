"""What is said somewhere in YAML, opened in place: a button that names the file and line, and the text below it."""

from __future__ import annotations

from collections.abc import Callable

from nicegui import ui

from plait.api.client import ApiError, NoMesh
from plait.api.views import Written
from plait.dashboard import parts, yaml
from plait.dashboard.feed import Feed
from plait.dashboard.service.looked import Choice

_TO_THE_LINE = """
const marked = document.querySelector("#{id} .marked"), box = marked?.parentElement;
if (box) box.scrollTop += marked.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientHeight / 3;
"""


def key_of(written: Written) -> str:
    """What tells a place from others, in an address."""
    return f"{written.object}:{written.line}"


def short(place: str) -> str:
    """A place by the end of its path, which is what tells it from others."""
    return "/".join(place.split("/")[-2:])


class Opener:
    """Opens one place at a time; which one stands in the choice, and `chosen` is called when it has changed."""

    def __init__(self, feed: Feed, choice: Choice, chosen: Callable[[], None]) -> None:
        self.feed = feed
        self.choice = choice
        self.chosen = chosen
        self._open: Place | None = None

    def place(self, written: Written | None) -> Place:
        """A button, here; its text goes where `Place.text` is called."""
        return Place(self, written)

    async def toggle(self, place: Place, key: str) -> None:
        """Open it, and close what was open; or close it."""
        before, self._open = self._open, None
        self.choice.opened = "" if place is before else key
        self.chosen()
        if before is not None and not before.gone:
            before.close()
        if place is not before:
            await self.open(place)

    @property
    def shows(self) -> bool:
        """Whether something is open: the same may be said at several places, and one text is enough."""
        return self._open is not None and not self._open.gone

    async def open(self, place: Place) -> None:
        self._open = place
        await place.open(self.feed)


class Place:
    """One place where something is written."""

    def __init__(self, opener: Opener, written: Written | None) -> None:
        self._opener = opener
        self._written = written
        self._box: ui.element | None = None
        self._button: ui.element | None = None
        if written is None:
            return
        with ui.element("button").classes("svc-place").props('type="button" aria-expanded="false"') as button:
            button.props["title"] = (
                f"{written.object} in {written.place}" if written.place else written.object
            )
            ui.icon("code")
            ui.label(short(written.place) or written.object)
        self._button = button
        button.on("click", self._clicked)

    @property
    def gone(self) -> bool:
        """Whether what it stood in was made anew."""
        return self._box is None or self._box.is_deleted

    async def text(self) -> None:
        """Where the text goes; it is shown when its place is the chosen one."""
        if self._written is None:
            return
        self._box = ui.element("div").classes("svc-yaml")
        self._box.set_visibility(False)
        if self._opener.choice.opened == key_of(self._written) and not self._opener.shows:
            await self._opener.open(self)

    async def _clicked(self) -> None:
        if self._written is not None:
            await self._opener.toggle(self, key_of(self._written))

    def close(self) -> None:
        if self._box is not None and self._button is not None:
            self._box.set_visibility(False)
            self._button.props["aria-expanded"] = "false"

    async def open(self, feed: Feed) -> None:
        if self._box is None or self._button is None or self._written is None:
            return
        one = self._written
        self._box.clear()
        with self._box:
            with ui.element("div").classes("svc-yaml-head"):
                ui.label(one.object).classes("mono")
                if one.field:
                    ui.label(one.field).classes("mono muted")
                ui.link("Open as a page", parts.to_object(one))
            try:
                found = await feed.client.object(one.kind, one.namespace, one.name)
            except (ApiError, NoMesh) as error:
                parts.empty(str(error))
            else:
                ui.html(yaml.shown(found.text, found.written.line or 1, one.line), sanitize=False)
        self._box.set_visibility(True)
        _ = ui.run_javascript(_TO_THE_LINE.format(id=self._box.html_id))
        self._button.props["aria-expanded"] = "true"
