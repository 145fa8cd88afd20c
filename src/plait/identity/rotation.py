"""How an authority changes while certificates of it are in use: a state machine over plain values.

Theory of operation
-------------------
    STEADY ──begin: another root──> SPREADING ──all trust it──> RENEWING ──all have renewed──> STEADY
       └─────begin: the root stays──────────────────────────────────^

While SPREADING old and new roots are handed out together and the old issuer still signs; once everybody trusts the
new root the new issuer signs, and everybody is told to renew (RENEWING); once all have, what nobody needs any more
is trusted no longer.  The holders say themselves what they have been given.

Nobody is waited for longer than the certificate holds that he has: from then on nobody takes it, so that what he
trusts no longer matters; he gets new roots with his next certificate.  So somebody who is away keeps the old root
in force for as long as he could come back with what he has, and never longer.

The clock is handed in.  A State is kept on disk by `authority`, whose keys it names and does not hold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from plait.identity.trust import Held, Trust, fingerprint


class Phase(StrEnum):
    """Where a rotation stands."""

    STEADY = "steady"
    SPREADING = "spreading"
    RENEWING = "renewing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Who signs: the name of its key, its certificate (PEM) with all between it and a root, and that root (PEM)."""

    name: str
    chain: str
    root: str
    given: bool = False
    """It is the user's own: its key lies elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """An authority without its keys.  `number` grows with all that others have to be told."""

    number: int
    roots: tuple[str, ...]
    """Those trusted now (PEM), the newest first."""
    issuer: Issuer
    following: Issuer | None = None
    """Who signs once everybody trusts its root."""
    keeping: tuple[str, ...] = ()
    """What is trusted once everybody has renewed."""
    renew_before: float = 0.0
    since: float = 0.0
    """When the phase began, in seconds since the epoch."""

    @property
    def phase(self) -> Phase:
        if self.following is not None:
            return Phase.SPREADING
        return Phase.RENEWING if self.keeping else Phase.STEADY

    @property
    def trust(self) -> Trust:
        """What everybody is to go by."""
        return Trust(
            number=self.number,
            roots="".join(self.roots),
            issuer=self.issuer.name,
            renew_before=self.renew_before,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Somebody who has a certificate; `present`: he is there to be told."""

    name: str
    held: Held
    present: bool = True


def first(issuer: Issuer, roots: tuple[str, ...], now: float) -> State:
    """The state of a new authority."""
    return State(number=1, roots=roots, issuer=issuer, since=now)


def begin(state: State, issuer: Issuer, roots: tuple[str, ...], now: float) -> State:
    """Let another issuer sign, whose roots are `roots`; the very same one: let everybody renew.

    Sound in every phase: what was under way is taken up by this, and all that was trusted stays so to its end.
    """
    number, together = state.number + 1, tuple(dict.fromkeys((*roots, *state.roots)))
    if issuer.root in state.roots and state.phase is not Phase.SPREADING:
        return replace(
            state, number=number, roots=together, issuer=issuer, keeping=roots, renew_before=now, since=now
        )
    return replace(state, number=number, roots=together, following=issuer, keeping=roots, since=now)


def awaited(
    state: State, holders: Iterable[Holder], now: float, *, only_present: bool = False
) -> tuple[str, ...]:
    """Whom the phase waits for."""
    return tuple(
        sorted(
            one.name
            for one in holders
            if one.held.expires > now and (one.present or not only_present) and _lags(state, one.held)
        )
    )


def step(state: State, holders: Iterable[Holder], now: float, *, only_present: bool = False) -> State:
    """The state after what the holders have by now: the next phase, or the very same.

    `only_present`: not to wait for who is away, since the issuer has lost its key and signs nothing more.
    """
    if state.phase is Phase.STEADY or awaited(state, holders, now, only_present=only_present):
        return state
    if state.following is not None:
        issuer, number = state.following, state.number + 1
        return replace(state, number=number, issuer=issuer, following=None, renew_before=now, since=now)
    return replace(state, number=state.number + 1, roots=state.keeping, keeping=(), since=now)


def _lags(state: State, held: Held) -> bool:
    if state.phase is Phase.SPREADING:
        return held.roots != fingerprint(state.trust.roots)
    return state.phase is Phase.RENEWING and held.outdated(state.trust)
