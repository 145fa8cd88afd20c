"""Looking at what a replica does, again and again, and telling what came since the look before."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from math import floor
from pathlib import Path

from plait.agent import counted, ejected
from plait.agent.asking import ask
from plait.agent.usage import Meter
from plait.model.names import ReplicaKey
from plait.telemetry.reports import ProxyReport

_log = logging.getLogger(__name__)

EVERY = 5.0
"""Seconds between two looks.  They come at multiples of it since the epoch, and a little later."""
_WITHIN = 2.0

Pids = Callable[[], tuple[int | None, int | None]]
"""The processes of a replica's Envoy and of its application, as they are now."""


class Observer:
    """What one replica did, from one look at it to the next."""

    def __init__(self, key: ReplicaKey, admin: Path, pids: Pids) -> None:
        """`admin`: the socket of its Envoy.  What runs already has counted what others may have told before."""
        self._key = key
        self._admin = admin
        self._pids = pids
        self._envoy, _ = pids()
        """Whose counts `_counted` are; None as long as they are not known of the one that ran already."""
        self._counted: counted.Counted | None = counted.NOTHING if self._envoy is None else None
        self._looked = time.monotonic()
        self._sidecar, self._application = Meter(), Meter()
        self._hurried = asyncio.Event()

    async def look(self) -> ProxyReport | None:
        """What came since the last look that was answered; None when nobody answers, or nothing is known before."""
        envoy, application = self._pids()
        if envoy is None:
            return None
        answer = await ask(self._admin, counted.PAGE, within=_WITHIN)
        if answer.status != 200 or self._pids()[0] != envoy:
            return None
        before = self._counted if envoy == self._envoy else counted.NOTHING
        after = counted.read(answer.body)
        at, now, looked = time.time(), time.monotonic(), self._looked
        self._envoy, self._counted, self._looked = envoy, after, now
        sidecar, used = self._sidecar.read(envoy), self._application.read(application)
        if before is None:
            return None
        return ProxyReport(
            node=self._key,
            at=at,
            seconds=now - looked,
            traffic=counted.traffic(before, after),
            pools=counted.pools(before, after),
            sidecar=sidecar,
            application=used,
            ejected=await self._ejected(after),
        )

    async def _ejected(self, found: counted.Counted) -> tuple[str, ...] | None:
        """The endpoints that it leaves alone; None when it does not say."""
        if not (clusters := ejected.clusters(found)):
            return ()
        answer = await ask(self._admin, ejected.page(clusters), within=_WITHIN)
        try:
            return ejected.read(answer.body) if answer.status == 200 else None
        except ValueError as error:
            _log.warning("whom the Envoy of %s leaves alone can't be read: %s", self._key, error)
            return None

    def hurry(self) -> None:
        """Look at once: it is about to end."""
        self._hurried.set()

    async def run(self, tell: Callable[[ProxyReport], None], spread: float) -> None:
        """Look at it for ever; `spread`: the part of a second that its looks come later than others'."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurried.wait(), until_next(time.time(), spread))
            self._hurried.clear()
            try:
                report = await self.look()
            except ValueError as error:  # an Envoy may tell anything, and is asked again
                _log.warning("what the Envoy of %s has counted can't be read: %s", self._key, error)
            else:
                if report is not None:
                    tell(report)


def until_next(now: float, spread: float) -> float:
    """Seconds until the next look; whoever comes a moment too early has had it already."""
    had = floor((now - spread) / EVERY + 0.5)
    return (had + 1) * EVERY + spread - now
