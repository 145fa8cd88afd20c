"""What pages read: the API's client, and word of what has changed."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from pathlib import Path

from plait.api.client import ApiError, Client, NoMesh
from plait.api.events import ConfigChanged

_RETRY = 0.5
"""Seconds between two attempts to hear of a control plane that does not answer."""


class Feed:
    """The one connection of all pages to the control plane.

    Pages ask `client` and treat NoMesh and ApiError as `Frame.live` does.  `news` is another number whenever
    something has happened that may change what they show.
    """

    def __init__(self, socket: Path) -> None:
        self._home = socket.parent
        self.client = Client(socket)
        self.news = 0
        self.lost: float | None = None
        """Since when no control plane answers (seconds since the epoch); None: one does."""

    def absence(self) -> str:
        """What is to be said while no control plane answers."""
        since = datetime.fromtimestamp(self.lost or time.time()).astimezone()
        if not self._home.is_dir():  # a mesh removes its directory when it ends
            return f"The mesh has ended ({since:%H:%M:%S})."
        return f"No control plane answers since {since:%H:%M:%S}; what runs goes on without it."

    async def run(self) -> None:
        """Hear of what happens; until cancelled."""
        while True:
            try:
                async for event in self.client.events():
                    if self.lost is not None and isinstance(event, ConfigChanged):
                        self.lost = None  # everything that there is was told before this
                    self.news += 1
            except (NoMesh, ApiError):
                pass
            if self.lost is None:
                self.lost = time.time()
            self.news += 1
            await asyncio.sleep(_RETRY)
