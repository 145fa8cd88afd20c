"""The words of the data plane's records that the report knows: contenders, metrics, and settings."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bench.records import Record

PLAIT, ISTIO = "Plait's pair", "Istio's default shape"
UNOBSERVED = f"{PLAIT}, without metrics and traces"
CPU, RATE, P99 = "CPU a request", "rps", "p99"

CONNECTIONS = 32
"""At so many, contenders are compared."""

_SETTING = re.compile(r"(.+), (\d+) connections?")


def load(setting: str) -> tuple[str, int] | None:
    """The protocol and the connections that a setting says; None when it says something else."""
    found = _SETTING.fullmatch(setting)
    return (found[1], int(found[2])) if found else None


def compared(records: Iterable[Record], metric: str) -> dict[str, dict[str, Record]]:
    """This metric of each contender, by protocol, where contenders are compared."""
    found: dict[str, dict[str, Record]] = {}
    for record in records:
        at = load(record.setting)
        if at is not None and at[1] == CONNECTIONS and record.metric == metric:
            found.setdefault(at[0], {})[record.case] = record
    return found


def ratios(one: Record, other: Record) -> tuple[float, ...]:
    """What the one is of the other: round by round when both took part in all, else of the medians."""
    if len(one.values) == len(other.values):
        pairs = list(zip(one.values, other.values, strict=True))
    else:
        pairs = [(one.median, other.median)]
    return tuple(mine / theirs for mine, theirs in pairs if theirs)
