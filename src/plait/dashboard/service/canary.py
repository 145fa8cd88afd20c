"""The rollout of a service's workload, where there is one."""

from __future__ import annotations

from nicegui import ui

from plait.api.rollouts import CanaryView
from plait.dashboard import parts
from plait.dashboard.canary import section
from plait.dashboard.feed import Feed
from plait.dashboard.frame import Frame
from plait.dashboard.service.looked import Looked
from plait.model.names import WorkloadKey


class CanarySection:
    """What the page of the Canary shows, made when somebody looks for the first time."""

    def __init__(self, feed: Feed, shown: Frame) -> None:
        self._feed = feed
        self._shown = shown
        self._made = False
        self._none = parts.empty("No Canary is written for this service.")
        self._box = ui.element("div")

    async def show(self, looked: Looked) -> None:
        self._none.set_visibility(looked.canary is None and not self._made)
        if looked.canary is None or self._made:
            return
        self._made = True
        with self._box:
            await section(self._shown, self._feed, WorkloadKey(looked.canary.namespace, looked.canary.name))


def to_canary(canary: CanaryView) -> str:
    return parts.to(f"/canaries/{canary.key}")
