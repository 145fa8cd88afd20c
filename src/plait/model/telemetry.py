"""What is told of requests, and to whom: spans, and lines of access logs.

Neutral words for what Istio's Telemetry API says.  `Telemetry` is one object, as written; `Observed` is what holds
for one workload once mesh, namespace and workload have been laid over each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from plait.model.names import Origin

SAMPLED = 1.0
"""Percent of the requests that are traced where nobody says how many (Istio's own default)."""


class Side(StrEnum):
    """Which end of a request tells: the proxy of who calls, or of who is called."""

    CLIENT = "client"
    SERVER = "server"


class TagSource(StrEnum):
    """Where the value of a tag on a span comes from."""

    LITERAL = "literal"
    ENVIRONMENT = "environment"
    """A variable of the proxy's own environment."""
    HEADER = "header"
    """Of the request."""
    FORMAT = "format"
    """Envoy's operators, as in a line of an access log; `default` means nothing here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """One more tag on each span.  `value`: the literal, the name of a variable or header, or the format."""

    name: str
    source: TagSource
    value: str
    default: str = ""
    """What it is where the variable or header is missing; "": then there is no tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collector:
    """A service of the mesh that takes OTLP, over gRPC or (with a path) over HTTP."""

    name: str
    host: str
    port: int
    path: str = ""
    timeout: float = 10.0
    """Seconds."""
    headers: tuple[tuple[str, str], ...] = ()
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSink:
    """Lines to a file of the proxy, or to its standard output; `text` or `fields` is an own format.

    Both hold Envoy's operators (`%RESPONSE_CODE%`); with neither the lines have Plait's own fields.  `json` chooses
    the form of those.
    """

    name: str
    path: str = "/dev/stdout"
    text: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    json: bool = True
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpSink:
    """Records to a collector; `text` is their body and `fields` are their attributes, as of FileSink."""

    collector: Collector
    text: str = ""
    fields: tuple[tuple[str, str], ...] = ()


Sink = FileSink | OtlpSink


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLog:
    """One access log.  `condition` is an expression in CEL over Envoy's attributes; "": every request."""

    sink: Sink
    condition: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """How requests are traced at one end.

    `collector` None: they are told to the mesh's own.  `sampled` is in percent, of requests that nobody has decided
    about before.  Without `reported` context is passed on, and no span is told.
    """

    collector: Collector | None = None
    sampled: float = SAMPLED
    reported: bool = True
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What one end of a workload's requests tells."""

    tracing: Tracing = Tracing()
    logs: tuple[AccessLog, ...] = ()
    metrics: bool = True


NOTHING_SAID = Observed()
