"""What a person may say to a rollout: buttons, each of which asks once, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nicegui import ui

from plait.api.client import ApiError, NoMesh
from plait.api.rollouts import CanaryView
from plait.dashboard import parts, rollouts
from plait.dashboard.feed import Feed
from plait.model.names import WorkloadKey
from plait.rollout.status import Command


@dataclass(frozen=True, slots=True)
class _Words:
    """On the button, in its look, and what is said once it is told."""

    label: str
    icon: str
    looks: str
    done: str


_WORDS = {
    Command.APPROVE: _Words("Approve", "check", "main", "The gate is opened."),
    Command.PAUSE: _Words("Pause", "pause", "", "It is held where it stands."),
    Command.RESUME: _Words("Resume", "play_arrow", "main", "It goes on."),
    Command.PROMOTE: _Words("Promote", "fast_forward", "", "What is left of the analysis is left out."),
    Command.ABORT: _Words("Abort", "undo", "danger", "It is rolled back."),
}
_LASTS = 10.0
"""Seconds for which it is said what came of a word."""
_OPEN = "getHtmlElement({}).showModal()"
_CLOSE = "(event) => {{ event.target.closest('dialog').close(); {} }}"
_OUTSIDE = "(event) => { if (event.target === event.currentTarget) event.target.close(); }"


class Commands:
    """The buttons of one Canary; where nothing makes sense there are none."""

    def __init__(self, feed: Feed, key: WorkloadKey) -> None:
        self._feed, self._key = feed, key
        self._view: CanaryView | None = None
        self._asked: Command | None = None
        """What the dialog asks about."""
        self._said = 0.0
        self._buttons: dict[Command, ui.html] = {}
        with ui.element("div").classes("canary-commands") as self._row:
            for command, words in _WORDS.items():
                self._buttons[command] = _button(
                    words.label, words.icon, f"button {words.looks}", self._asking(command)
                ).props(f'data-command="{command}"')
        self._came = ui.label("").classes("canary-came").props('role="status"')
        with ui.element("dialog").classes("ask").props('aria-labelledby="canary-ask"') as self._dialog:
            self._dialog.on("click", js_handler=_OUTSIDE)
            with ui.element("div").classes("ask-body"):
                self._title = ui.html("", tag="h2", sanitize=False).props('id="canary-ask"')
                self._what = ui.label("")
                with ui.element("div").classes("row ask-row"):
                    ui.html("No", tag="button", sanitize=False).classes("button").props(
                        'type="button" data-no'
                    ).on("click", js_handler=_CLOSE.format(""))
                    self._yes = ui.html("", tag="button", sanitize=False).classes("button main")
                    self._yes.props('type="button" data-yes autofocus').on(
                        "click", self._say, js_handler=_CLOSE.format("emit()")
                    )

    def show(self, view: CanaryView) -> None:
        """Which of them make sense now."""
        self._view = view
        if time.monotonic() - self._said > _LASTS:
            self._came.set_text("")
        self._row.set_visibility(view.runs)
        for command, button in self._buttons.items():
            refusal = rollouts.refusal(view, command)
            state = (bool(refusal), refusal or rollouts.consequence(view, command))
            if (button.props.get("disabled"), button.props.get("title")) != state:
                button.props["disabled"], button.props["title"] = state
        self._buttons[Command.PAUSE].set_visibility(not view.paused)
        self._buttons[Command.RESUME].set_visibility(view.paused)
        self._buttons[Command.APPROVE].set_visibility(bool(view.gate))

    def _asking(self, command: Command) -> Callable[[], Awaitable[None]]:
        async def ask() -> None:
            if self._view is None or rollouts.refusal(self._view, command):
                return
            self._asked = command
            words = _WORDS[command]
            self._came.set_text("")
            self._title.set_content(parts.escaped(f"{words.label} {self._key}?"))
            self._what.set_text(rollouts.consequence(self._view, command))
            self._yes.set_content(words.label)
            self._yes.classes(replace=f"button {'danger' if command is Command.ABORT else 'main'}")
            _ = ui.run_javascript(_OPEN.format(self._dialog.id))

        return ask

    async def _say(self) -> None:
        command, self._asked = self._asked, None
        if command is None:
            return
        self._said = time.monotonic()
        try:
            await self._feed.client.canary_command(self._key, command)
        except (ApiError, NoMesh) as error:
            self._came.classes(replace="canary-came bad")
            self._came.set_text(f"{_WORDS[command].label} was not done: {error}")
        else:
            self._came.classes(replace="canary-came good")
            self._came.set_text(_WORDS[command].done)


def _button(label: str, icon: str, classes: str, then: Callable[[], Awaitable[None]]) -> ui.html:
    return (
        ui.html(
            f'<i class="material-icons" aria-hidden="true">{icon}</i>{label}', tag="button", sanitize=False
        )
        .classes(classes)
        .props('type="button"')
        .on("click", then, js_handler="() => emit()")
    )
