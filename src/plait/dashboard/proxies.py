"""How proxies stand, for their pages: what of them is behind, what they refuse, when their certificates end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from plait.api import figures
from plait.api.proxies import PushView
from plait.api.views import Nack, ProxyStatus, ProxyTypeStatus, Status
from plait.dashboard import parts
from plait.dashboard.elements.grid import Cell, Column, Row

SOON = 3_600.0
"""Seconds before its end from which on a certificate is worth a look: it should have been renewed long ago."""


class State(StrEnum):
    """How the configuration of a proxy stands; the worst first."""

    REJECTS = "rejects"
    AWAY = "away"
    BEHIND = "behind"
    SYNCED = "synced"


NAMES: dict[str, str] = {
    State.REJECTS: "Rejecting",
    State.AWAY: "Not connected",
    State.BEHIND: "Behind",
    State.SYNCED: "In sync",
}
TONES = {
    State.REJECTS: parts.BAD,
    State.AWAY: parts.WARN,
    State.BEHIND: parts.WARN,
    State.SYNCED: parts.GOOD,
}
_ORDER = list(State)

COLUMNS = (
    Column("proxy", "Proxy"),
    Column("state", "State", tight=True),
    Column("behind", "Behind with"),
    Column("resources", "Resources", end=True),
    Column("latency", "Slowest answer", end=True),
    Column("connected", "Connected since", tight=True),
    Column("certificate", "Certificate ends", tight=True),
)
TYPES = (
    Column("type", "Type"),
    Column("state", "State", tight=True),
    Column("wanted", "Wanted", end=True),
    Column("acknowledged", "Acknowledged", end=True),
    Column("sent", "Sent", end=True),
    Column("latency", "Latency", end=True),
)
PUSHES = (
    Column("at", "Sent at", tight=True),
    Column("type", "Type"),
    Column("resources", "Resources", end=True),
    Column("removed", "Removed", end=True),
    Column("bytes", "Size", end=True),
    Column("outcome", "Answer", tight=True),
    Column("latency", "After", end=True),
    Column("reason", "Why not"),
)
_OUTCOMES = {"acknowledged": parts.GOOD, "rejected": parts.BAD}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which proxies are to be shown; what is "" leaves out none."""

    state: str = ""
    namespace: str = ""
    text: str = ""

    def fits(self, one: ProxyStatus) -> bool:
        """Whatever its state."""
        return self.namespace in {"", one.namespace} and self.text.strip().lower() in one.node.lower()


def state_of(one: ProxyStatus) -> State:
    if any(each.nack for each in one.types):
        return State.REJECTS
    if one.connected is None:
        return State.AWAY
    return State.SYNCED if one.synced else State.BEHIND


def behind(one: ProxyStatus) -> tuple[str, ...]:
    """The types that it has not all of."""
    return tuple(each.type for each in one.types if each.acknowledged < each.wanted)


def refusals(one: ProxyStatus) -> tuple[tuple[str, Nack], ...]:
    """What it refuses, by type."""
    return tuple((each.type, each.nack) for each in one.types if each.nack)


def certificates(status: Status) -> dict[str, str]:
    """When the certificate of each replica ends."""
    return {one.node: one.certificate_expires for one in status.workloads if one.certificate_expires}


def counts(some: Iterable[ProxyStatus]) -> Counter[str]:
    """How many there are in each state; of all, by ""."""
    found = Counter[str](state_of(one) for one in some)
    found[""] = found.total()
    return found


def rows(some: Iterable[ProxyStatus], ends: Mapping[str, str], wanted: Wanted, now: float) -> list[Row]:
    """The worst first."""
    shown = [one for one in some if wanted.fits(one) and wanted.state in {"", state_of(one)}]
    shown.sort(key=lambda one: (_ORDER.index(state_of(one)), one.namespace, one.name, one.replica))
    return [_row(one, ends.get(one.node), now) for one in shown]


def _row(one: ProxyStatus, ends: str | None, now: float) -> Row:
    state = state_of(one)
    wanted, has = totals(one)
    slowest = max((each.latency_ms for each in one.types if each.latency_ms is not None), default=None)
    reasons = [nack.reason for _, nack in refusals(one)]
    return Row(
        one.node,
        (
            Cell(one.node, href=to_proxy(one)),
            Cell(NAMES[state], tone=TONES[state], badge=True, sort=_ORDER.index(state)),
            Cell(", ".join(behind(one)) or figures.NOTHING, sub="; ".join(reasons)),
            Cell(f"{has:,} of {wanted:,}", sort=wanted),
            Cell(figures.duration(slowest), sort=slowest if slowest is not None else -1.0),
            Cell(parts.clock(one.connected) or figures.NOTHING, sort=one.connected or ""),
            certificate(ends, now),
        ),
    )


def certificate(ends: str | None, now: float) -> Cell:
    """In how long it ends, and when."""
    if not ends:
        return Cell(figures.NOTHING)
    at = datetime.fromisoformat(ends).timestamp()
    left = at - now
    tone = parts.PLAIN if left > SOON else parts.BAD if left <= 0 else parts.WARN
    return Cell(_in(left), tone=tone, sub=parts.clock(ends), sort=at)


def _in(left: float) -> str:
    """In words; in whole hours what is far away, so that they change as rarely as it matters."""
    if left <= 0:
        return "it has ended"
    return f"in {parts.lasting(left // 3_600 * 3_600 if left > SOON else left // 60 * 60)}"


def totals(one: ProxyStatus) -> tuple[int, int]:
    """How many resources it is to have, and how many of them it has."""
    return sum(each.wanted for each in one.types), sum(each.acknowledged for each in one.types)


def to_proxy(one: ProxyStatus) -> str:
    return parts.to(f"/proxies/{one.node}")


def type_rows(one: ProxyStatus) -> list[Row]:
    return [
        Row(
            each.type,
            (
                Cell(each.type),
                _type_state(each),
                Cell(f"{each.wanted:,}", sort=each.wanted),
                Cell(f"{each.acknowledged:,}", sort=each.acknowledged),
                Cell(f"{each.sent:,}", sort=each.sent),
                Cell(figures.duration(each.latency_ms), sort=each.latency_ms),
            ),
        )
        for each in one.types
    ]


def _type_state(each: ProxyTypeStatus) -> Cell:
    if each.nack:
        return Cell("Rejected", tone=parts.BAD, badge=True)
    if each.acknowledged < each.wanted:
        return Cell("Behind", tone=parts.WARN, badge=True)
    return Cell("In sync", tone=parts.GOOD, badge=True)


def push_rows(pushes: Iterable[PushView]) -> list[Row]:
    return [
        Row(
            f"{one.at} {one.type} {number}",
            (
                Cell(parts.clock(one.at), sort=one.at),
                Cell(one.type),
                Cell(f"{one.resources:,}", sort=one.resources),
                Cell(f"{one.removed:,}" if one.removed else figures.NOTHING, sort=one.removed),
                Cell(figures.size(one.bytes), sort=one.bytes),
                Cell(one.outcome.capitalize(), tone=_OUTCOMES.get(one.outcome, parts.WARN), badge=True),
                Cell(figures.duration(one.latency_ms), sort=one.latency_ms),
                Cell(one.reason),
            ),
        )
        for number, one in enumerate(pushes)
    ]
