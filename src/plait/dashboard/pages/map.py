"""Map."""

from __future__ import annotations

from nicegui import ui

from plait.dashboard import parts
from plait.dashboard.feed import Feed
from plait.dashboard.frame import frame


def register(feed: Feed) -> None:
    """Serve the page."""

    @ui.page("/")
    async def page() -> None:
        with frame(feed, "Map", "/") as shown:
            parts.empty("Nothing is shown here yet.")

            async def refresh() -> None:
                await feed.client.status()

            await shown.live(refresh)
