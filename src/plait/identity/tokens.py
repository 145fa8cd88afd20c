"""Join tokens: an agent's first proof.  Each is for one agent, for a short time, and works once.

The token itself is shown once, to whoever asked for it, and kept nowhere: what is stored is its hash.
`Ledger` holds the rules and takes the clock as a number (seconds since the epoch); `Tokens` keeps it in a file.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from plait.codec import Codec
from plait.identity.files import read_private, write_private
from plait.identity.names import valid_agent_name

LIFETIME = 600.0
LONGEST_LIFETIME = 86_400.0


class TokenRefused(Exception):  # noqa: N818 - the answer to a token
    """The token does not let this agent in; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A new token, the only time that it is seen."""

    token: str = field(repr=False)
    id: str
    agent: str
    expires: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is kept of a token."""

    id: str
    digest: str
    agent: str
    expires: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """Every token that may still be used."""

    entries: tuple[Entry, ...] = ()

    def live(self, now: float) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.expires > now)

    def with_token(self, token: str, *, agent: str, now: float, lifetime: float) -> tuple[Ledger, Entry]:
        """Take in a token; what has expired is forgotten on the way."""
        digest = _digest(token)
        entry = Entry(id=digest[:12], digest=digest, agent=agent, expires=now + lifetime)
        return Ledger((*self.live(now), entry)), entry

    def redeemed(self, token: str, *, agent: str, now: float) -> Ledger:
        """The ledger after `agent` has used the token; TokenRefused when it may not."""
        digest = _digest(token)
        entry = next((entry for entry in self.entries if entry.digest == digest), None)
        if entry is None:
            raise TokenRefused("this join token is not known: it was used, revoked, or never made here")
        if entry.expires <= now:
            raise TokenRefused("this join token has expired")
        if entry.agent != agent:
            raise TokenRefused(f"this join token was made for another agent than {agent!r}")
        return Ledger(tuple(other for other in self.live(now) if other is not entry))

    def revoked(self, token_id: str) -> Ledger:
        """The ledger without the token of this id."""
        return Ledger(tuple(entry for entry in self.entries if entry.id != token_id))


_LEDGER: Codec[Ledger] = Codec(Ledger)


class Tokens:
    """The ledger, kept in a file of 0600: written before a token is shown or accepted."""

    __slots__ = ("_ledger", "_path")

    def __init__(self, path: Path) -> None:
        """Takes up what the file says; Insecure or CodecError when it can't be trusted."""
        self._path = path
        try:
            self._ledger = _LEDGER.decode(read_private(path))
        except FileNotFoundError:
            self._ledger = Ledger()

    def create(self, agent: str, *, now: float, lifetime: float = LIFETIME) -> Created:
        """A new token for the agent called `agent`; ValueError when there can be none for it."""
        if not valid_agent_name(agent):
            raise ValueError(f"{agent!r} can't be an agent's name: use letters a-z, digits and dashes")
        if not 0 < lifetime <= LONGEST_LIFETIME:
            raise ValueError(f"a token lives for more than 0 and at most {LONGEST_LIFETIME:.0f} seconds")
        token = secrets.token_urlsafe(32)
        ledger, entry = self._ledger.with_token(token, agent=agent, now=now, lifetime=lifetime)
        self._keep(ledger)
        return Created(token=token, id=entry.id, agent=agent, expires=entry.expires)

    def redeem(self, token: str, *, agent: str, now: float) -> None:
        """Use a token up; TokenRefused when it does not let `agent` in."""
        self._keep(self._ledger.redeemed(token, agent=agent, now=now))

    def revoke(self, token_id: str) -> bool:
        """Make a token worthless; False when there is none of this id."""
        ledger = self._ledger.revoked(token_id)
        known = ledger != self._ledger
        if known:
            self._keep(ledger)
        return known

    def live(self, now: float) -> tuple[Entry, ...]:
        """Every token that may still be used."""
        return self._ledger.live(now)

    def _keep(self, ledger: Ledger) -> None:
        write_private(self._path, _LEDGER.encode(ledger))
        self._ledger = ledger


def _digest(token: str) -> str:
    # A token has 256 random bits: a plain hash can't be guessed backwards, and comparing hashes tells nothing.
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
