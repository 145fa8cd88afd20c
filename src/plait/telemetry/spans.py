"""Spans as they are kept: who told them is certain, and what nobody should read is gone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from plait.model.names import WorkloadKey

MOST_ATTRIBUTES = 64
LONGEST = 1024
"""So many attributes of a span are kept, and so many characters of each."""

_CREDENTIALS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "password",
        "passwd",
        "secret",
        "token",
        "access-token",
        "api-key",
        "x-api-key",
    }
)
"""Last words of names of attributes: whatever stands there is kept from everybody."""
_QUERIES = frozenset({"url.query", "url.fragment"})
_USER = re.compile(r"(?<=//)[^/@]*@")


class Kind(StrEnum):
    """What a span is about, in OpenTelemetry's words."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


class Teller(StrEnum):
    """Who of a workload has told a span."""

    SIDECAR = "sidecar"
    APPLICATION = "application"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span.  Ids are in hex; `start` and `end` are in nanoseconds since the epoch.

    `workload` is whose certificate it came with; `service`, `replica` and `attributes` are what the teller says.
    """

    trace: str
    id: str
    parent: str = ""
    """"": it is a root."""
    name: str
    kind: Kind
    start: int
    end: int
    workload: WorkloadKey
    replica: int | None = None
    teller: Teller = Teller.SIDECAR
    service: str = ""
    failed: bool = False
    message: str = ""
    """Why it failed, in the teller's words."""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which traces are looked for; what is empty or None asks nothing.

    One and the same span of a trace has to be of `service` and of `workload`, have all `tags`, and have failed
    (`failed` True); with `failed` False no span of the trace has.  `least` is the duration of the whole trace in
    seconds, `since` and `until` are when it began, in seconds since the epoch.
    """

    service: str = ""
    workload: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    failed: bool | None = None
    least: float = 0.0
    since: float | None = None
    until: float | None = None
    limit: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One trace in a list: when it began and how long it took (nanoseconds), and how it begins."""

    trace: str
    start: int
    duration: int
    spans: int
    failed: int
    """So many spans have."""
    services: tuple[str, ...]
    root: Span


def kept(attributes: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What is kept of what a teller says: no credentials, no queries, no more than the bounds, and nothing empty."""
    found: dict[str, str] = {}
    for name, value in attributes:
        if len(found) == MOST_ATTRIBUTES:
            break
        if value not in ("", "-") and not _is_secret(name):
            text = without_query(value) if _is_url(name) else value
            found[printable(name[:LONGEST])] = printable(text[:LONGEST])
    return found


def printable(text: str) -> str:
    """A text that moves nobody's cursor: what a program claims is shown in terminals."""
    return (
        text
        if text.isprintable()
        else "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
    )


def without_query(url: str) -> str:
    """A URL or a path without query and fragment, and without anybody's name and password."""
    return _USER.sub("", re.split("[?#]", url, maxsplit=1)[0])


def _is_secret(name: str) -> bool:
    last = name.lower().rpartition(".")[2].replace("_", "-")
    return last in _CREDENTIALS or name in _QUERIES


def _is_url(name: str) -> bool:
    return name.startswith("url.") or name.endswith((".url", ".target", ".uri", ".path", ".route"))
