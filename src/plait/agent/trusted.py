"""The latest word on whom to trust, for everything of one agent that goes by it."""

from __future__ import annotations

import asyncio

from plait.identity.trust import Trust


class Trusted:
    """What was heard last, by push or beside a certificate; None: nothing yet."""

    __slots__ = ("_news", "known")

    def __init__(self) -> None:
        self.known: Trust | None = None
        self._news = asyncio.Event()

    def take(self, trust: Trust | None) -> None:
        """Go by this from now on, unless something later is known."""
        if trust is not None and (self.known is None or trust.number > self.known.number):
            self.known = trust
            self._news.set()
            self._news = asyncio.Event()

    async def news(self, than: Trust | None, within: float) -> bool:
        """Whether something else than this is known, or comes to be within so many seconds."""
        news = self._news
        if self.known is not than:
            return True
        try:
            async with asyncio.timeout(within):
                await news.wait()
        except TimeoutError:
            return False
        return True
