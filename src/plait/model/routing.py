"""How requests to a host are routed, in words that belong to no dialect."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from plait.model.catalog import Labels
from plait.model.names import Origin


class MatchKind(StrEnum):
    EXACT = "exact"
    PREFIX = "prefix"
    REGEX = "regex"
    PRESENT = "present"


@dataclass(frozen=True, slots=True, order=True)
class StringMatch:
    """A test of one string; `regex` is RE2 and must match the whole of it."""

    kind: MatchKind
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMatch:
    """A request passes when every part given here holds; names of headers are lower case."""

    path: StringMatch | None = None
    ignore_path_case: bool = False
    method: StringMatch | None = None
    headers: tuple[tuple[str, StringMatch], ...] = ()
    without_headers: tuple[tuple[str, StringMatch], ...] = ()
    query: tuple[tuple[str, StringMatch], ...] = ()
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A destination with its share; `host` is fully qualified, `subset` may be empty, `port` 0: the caller's."""

    host: str
    subset: str = ""
    port: int = 0
    weight: int = 1
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """Retries asked for by the user, for every method; times in seconds.  `on` is Envoy's list of conditions."""

    attempts: int
    per_try_timeout: float | None = None
    on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRule:
    """One rule: any of the matches (none: every request) sends to the backends by weight."""

    name: str = ""
    matches: tuple[RequestMatch, ...] = ()
    backends: tuple[Backend, ...] = ()
    timeout: float | None = None
    retries: Retries | None = None
    """None: the safe default.  Attempts 0: the user wants none."""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRoutes:
    """The ordered rules for requests to some hosts (fully qualified); no rule that matches: 404."""

    hosts: tuple[str, ...]
    rules: tuple[RouteRule, ...]
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """A named part of a service's workloads, by labels."""

    name: str
    labels: Labels
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationSettings:
    """What holds for calls to one host, after routing chose it."""

    host: str
    subsets: tuple[Subset, ...] = ()
    origin: Origin
