"""Which traces are looked for: as a person types it, as a place in the dashboard, and as the API is asked."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from plait.dashboard import parts

MOST = 200
"""So many traces are shown, the newest."""
WINDOWS = (
    ("", "any time"),
    ("300", "5 minutes"),
    ("900", "15 minutes"),
    ("3600", "1 hour"),
    ("86400", "24 hours"),
)
"""Seconds, and how they are called."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "": 1.0}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|)\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is asked of traces, as it was typed; "" asks nothing.

    `tag` has any number of NAME=VALUE with blanks between them, quoted where a value has some itself.  `window` is
    seconds up to `until` (since the epoch; "" is now).
    """

    service: str = ""
    workload: str = ""
    status: str = ""
    min_duration: str = ""
    tag: str = ""
    window: str = ""
    until: str = ""

    @property
    def narrow(self) -> bool:
        """Whether anything is asked."""
        return self != Search()

    def place(self) -> str:
        """The page that shows what is found."""
        return parts.to(
            "/traces",
            service=self.service,
            workload=self.workload,
            status=self.status,
            min_duration=self.min_duration,
            tag=self.tag,
            window=self.window,
            until=self.until,
        )

    def query(self, now: float) -> dict[str, str | Sequence[str]]:
        """What GET /v1/traces is asked; ValueError: something typed can't be understood."""
        said: dict[str, str | Sequence[str]] = {
            name: value
            for name, value in (
                ("service", self.service),
                ("workload", self.workload),
                ("status", self.status),
                ("until", self.until),
            )
            if value
        }
        if self.min_duration:
            said["min_duration"] = f"{seconds(self.min_duration):g}"
        if self.tag:
            said["tag"] = shlex.split(self.tag)
        if self.window:
            until = _number(self.until, "until") if self.until else now
            said["since"] = f"{until - _number(self.window, 'window'):.3f}"
        return {**said, "limit": str(MOST)}


def seconds(text: str) -> float:
    """A duration as people write it: `200ms`, `1.5s`, `2m`, or seconds; ValueError when it is none."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration such as 200ms or 1.5s")
    return float(found[1]) * _UNITS[found[2]]


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{name} must be seconds, not {text!r}") from error
