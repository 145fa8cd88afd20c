"""The rollout of a service's workload, where there is one."""

from __future__ import annotations

from nicegui import ui

from plait.api.rollouts import CanaryView
from plait.dashboard import parts
from plait.dashboard.feed import Feed
from plait.dashboard.frame import Frame
from plait.dashboard.service.looked import Looked


class CanarySection:
    """Where it stands, and the way to all of it."""

    def __init__(self, feed: Feed, shown: Frame) -> None:
        self._feed = feed
        self._shown = shown
        self._none = parts.empty("No Canary is written for this service.")
        self._box = ui.element("div").classes("row")
        with self._box:
            self._phase = ui.label("").classes("badge info")
            self._progress = ui.label("")
            self._link = ui.link("All of it")

    async def show(self, looked: Looked) -> None:
        self._none.set_visibility(looked.canary is None)
        self._box.set_visibility(looked.canary is not None)
        if looked.canary is not None:
            self._phase.set_text(looked.canary.phase)
            self._progress.set_text(looked.canary.progress)
            self._link.props["href"] = to_canary(looked.canary)


def to_canary(canary: CanaryView) -> str:
    return parts.to(f"/canaries/{canary.key}")
