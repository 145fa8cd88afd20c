"""What is shown at an address where nothing stands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from plait.dashboard import parts
from plait.dashboard.feed import Feed
from plait.dashboard.frame import frame


def page(feed: Feed) -> Callable[[], Awaitable[None]]:
    """The page, to be served wherever there is no other."""

    async def shown() -> None:
        ui.context.client.status_code = 404
        with frame(feed, "Not here", "") as around:
            parts.empty("Nothing stands at this address.")
            await around.live(_nothing)

    return shown


async def _nothing() -> None:
    """There is nothing to look at again."""
