"""The authority at work in the control plane: its rotations go on, and everybody hears of them."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from plait.api.views import AuthorityStatus
from plait.codec import Codec, CodecError
from plait.identity.authority import Authority, AuthorityError, RequestRefused, RotationError, What
from plait.identity.files import Insecure, read_private, write_private
from plait.identity.keys import Keypair, validity
from plait.identity.renewal import renewal_delay
from plait.identity.rotation import Holder
from plait.identity.trust import Trust
from plait.link.messages import State
from plait.run import views
from plait.run.registry import Registry

log = logging.getLogger(__name__)

_KEYPAIR = Codec[Keypair](Keypair)
_LOOK = 0.5
"""Seconds between two looks at what everybody has."""
_AGAIN = 5.0
"""Seconds before our own certificate is asked for again when nothing can be signed."""


@dataclass(slots=True)
class Custody:
    """The authority, and the control plane's own key and certificate: made anew at half its life.

    They are in memory alone, unless a user's own authority signs: should its files be replaced while nobody is here,
    nothing could be signed until those are told who trust the old root alone.  Then they are kept at `path` (0600).
    """

    authority: Authority
    registry: Registry
    path: Path
    tell: Callable[[Trust], None]
    """Tells every agent whom to trust."""
    present: Callable[[], tuple[str, ...]]
    """The agents that are connected."""
    _keypair: Keypair = field(init=False)
    _renew_at: float = field(init=False, default=0.0)
    _trouble: str = field(init=False, default="")

    def __post_init__(self) -> None:
        """RequestRefused when there is nothing that could be shown."""
        try:
            self._renew(time.time())
        except RequestRefused:
            stored = self._stored()
            if stored is None:
                raise
            self._keypair = stored
            self._renew(time.time())

    def keypair(self) -> Keypair:
        """What the control plane shows, and the roots that it trusts."""
        return self._keypair

    async def run(self) -> None:
        """Go on with what is under way, and renew what is due; until cancelled."""
        self.tell(self.authority.trust)
        while True:
            await asyncio.sleep(_LOOK)
            self.step(time.time())

    def step(self, now: float) -> None:
        """One look at everything."""
        try:
            before = self.authority.state.phase
            if self.authority.step(self.holders(), now):
                log.info("certificates: %s, now %s", before, self.authority.state.phase)
                self._spread(now)
            self._trouble = ""
        except (AuthorityError, Insecure, OSError) as error:
            if self._trouble != str(error):  # it is tried again and again
                self._trouble = str(error)
                log.error("the authority can't go on: %s", error)  # noqa: TRY400 - the reason says it all
        if now >= self._renew_at:
            self._renew(now)

    def rotate(self, what: str) -> None:
        """Begin to make something anew; ValueError says why not."""
        now = time.time()
        try:
            self.authority.rotate(What(what), now)
        except (AuthorityError, RotationError, Insecure, OSError) as error:
            raise ValueError(str(error)) from error
        log.info("certificates: %s anew, as asked for", what)
        self._spread(now)

    def holders(self) -> Iterator[Holder]:
        """Everybody who has a certificate, with what he said last."""
        connected = frozenset(self.present())
        for agent, reports in self.registry.agents.items():
            for key, report in reports.items():
                if report.held is not None and report.state is not State.ENDED:
                    yield Holder(name=str(key), held=report.held, present=agent in connected)
        for agent, held in self.registry.held.items():
            yield Holder(name=f"agent {agent}", held=held, present=agent in connected)

    def status(self) -> AuthorityStatus:
        """How the authority stands."""
        return views.authority(self.authority, tuple(self.holders()), time.time())

    def _spread(self, now: float) -> None:
        self._renew(now)
        self.tell(self.authority.trust)

    def _renew(self, now: float) -> None:
        """A new key and certificate of our own; when nothing can be signed, what there is with the roots of now."""
        try:
            self._keypair = self.authority.control_plane(now=now)
        except RequestRefused as refusal:
            if not hasattr(self, "_keypair"):
                raise
            log.warning("the control plane's own certificate is not renewed: %s", refusal)
            self._keypair = replace(self._keypair, roots=self.authority.roots)
            self._renew_at = now + _AGAIN
            return
        issued, expires = validity(self._keypair.chain)
        jitter = random.random()  # noqa: S311 - spreads work, keeps no secret
        self._renew_at = now + renewal_delay(issued=issued, expires=expires, now=now, jitter=jitter)
        if self.authority.state.issuer.given:
            write_private(self.path, _KEYPAIR.encode(self._keypair))
        else:
            self.path.unlink(missing_ok=True)

    def _stored(self) -> Keypair | None:
        try:
            found = _KEYPAIR.decode(read_private(self.path))
        except (FileNotFoundError, Insecure, CodecError):
            return None
        return found if validity(found.chain)[1] > time.time() else None
