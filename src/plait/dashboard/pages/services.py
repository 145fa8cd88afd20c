"""The services of the mesh, and one of them."""

from __future__ import annotations

from functools import partial

from nicegui import ui

from plait.dashboard.feed import Feed
from plait.dashboard.frame import frame
from plait.dashboard.service.listed import DRAWN_EVERY, ServiceList
from plait.dashboard.service.looked import Choice
from plait.dashboard.service.page import ServicePage


def register(feed: Feed) -> None:
    """Serve the pages."""

    @ui.page("/services")
    async def several(namespace: str = "", text: str = "", window: str = "") -> None:
        with frame(feed, "Services", "/services") as shown:
            page = ServiceList(feed, shown, namespace, text, window)
            await shown.live(page.refresh)
            ui.timer(
                0, partial(shown.live, page.draw, DRAWN_EVERY), once=True
            )  # the table waits for none of it

    @ui.page("/services/{namespace}/{name}")
    async def one(namespace: str, name: str, window: str = "", tab: str = "", open: str = "") -> None:  # noqa: A002
        with frame(feed, f"{namespace}/{name}", "/services") as shown:
            page = ServicePage(feed, shown, namespace, name, Choice.of(window, tab, open))
            await shown.live(page.refresh)
