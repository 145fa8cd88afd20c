"""What somebody has chosen to see of the map: all that stands in its URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from plait.dashboard import parts

ALL, FAILING, REFUSED, ACTIVE = "", "failing", "refused", "active"
HEALTHS: Final = {ALL: "All", FAILING: "Failing", REFUSED: "Refused", ACTIVE: "Idle hidden"}
WINDOWS: Final = {15: "15 s", 60: "1 min", 300: "5 min", 3600: "1 h"}
"""In seconds."""
USUAL: Final = 60
STORED: Final = 3600.0
"""Seconds for which counts of a few seconds each are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """`until` is in seconds since the epoch, 0 now; `at` the node or edge that is looked at, by its key."""

    namespace: str = ""
    service: str = ""
    health: str = ALL
    window: int = USUAL
    until: int = 0
    at: str = ""
    trace: str = ""
    opened: frozenset[str] = frozenset()

    @property
    def moment(self) -> float | None:
        """As the API takes it."""
        return float(self.until) if self.until else None

    @property
    def place(self) -> str:
        """Its URL."""
        return parts.to(
            "/",
            namespace=self.namespace,
            service=self.service,
            health=self.health,
            window=self.window if self.window != USUAL else "",
            until=self.until or "",
            at=self.at,
            trace=self.trace,
            open=",".join(sorted(self.opened)),
        )


def chosen(query: Mapping[str, str]) -> Choice:
    """What a URL says; what nobody can mean is left out."""
    health = query.get("health", ALL)
    window, until = _number(query.get("window")), _number(query.get("until"))
    return Choice(
        namespace=query.get("namespace", ""),
        service=query.get("service", ""),
        health=health if health in HEALTHS else ALL,
        window=window if window in WINDOWS else USUAL,
        until=until,
        at=query.get("at", ""),
        trace=query.get("trace", ""),
        opened=frozenset(one for one in query.get("open", "").split(",") if one),
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 12 else 0
