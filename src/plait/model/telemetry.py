"""What is told of requests, and to whom: spans, and lines of access logs.

Neutral words for what Istio's Telemetry API says.  `Telemetry` is one object, as written; `Observed` is what holds
for one workload once mesh, namespace and workload have been laid over each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from plait.model.catalog import Labels
from plait.model.names import Origin

STDOUT, STDERR = "/dev/stdout", "/dev/stderr"
OWN_FILE = "access.log"
"""The one file that a replica's access logs may be written to: in its own directory."""

ENVOY, PROMETHEUS = "envoy", "prometheus"
"""The names by which objects ask for lines on a proxy's standard output, and for metrics, without further ado."""

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
    """Lines to a standard stream of the proxy, or to a file of its replica; `text` or `fields` is an own format.

    Both hold Envoy's operators (`%RESPONSE_CODE%`); with neither the lines have Plait's own fields.  `json` chooses
    the form of those.
    """

    name: str
    path: str = STDOUT
    text: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    json: bool = True
    omit_empty: bool = False
    """Whether what a request has not is left away, and not written as `-` or null."""
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpSink:
    """Records to a collector; `text` is their body and `fields` are their attributes, as of FileSink."""

    collector: Collector
    log_name: str = ""
    text: str = ""
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        return self.collector.name


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

BOTH_SIDES = (Side.CLIENT, Side.SERVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingRule:
    """What one object says of the spans of some sides; None: nothing."""

    sides: tuple[Side, ...] = BOTH_SIDES
    provider: str = ""
    sampled: float | None = None
    reported: bool | None = None
    tags: tuple[Tag, ...] | None = None
    """In place of all that others say."""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRule:
    """To whom requests of some sides are told, or are not (`disabled`); no providers: those of whoever is wider."""

    sides: tuple[Side, ...] = BOTH_SIDES
    providers: tuple[str, ...] = ()
    disabled: bool = False
    condition: str = ""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsRule:
    """Whether requests of some sides are counted; the providers are those of the metrics, or there are none."""

    sides: tuple[Side, ...] = BOTH_SIDES
    providers: tuple[str, ...] = ()
    disabled: bool | None = None
    """None: nothing is said of that."""
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """What one object says of some workloads: those of a namespace, a selector or services (`targets`).

    In the root namespace, without selector and targets, it is about the whole mesh.
    """

    namespace: str
    name: str
    selector: Labels = ()
    targets: tuple[str, ...] = ()
    created: str = ""
    """When the object was made (RFC 3339), if anybody knows."""
    tracing: tuple[TracingRule, ...] = ()
    logs: tuple[LogRule, ...] = ()
    metrics: tuple[MetricsRule, ...] = ()
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryDefaults:
    """What the settings of the whole mesh say: who is told by which name, and what holds where no object says it.

    () and None: they say nothing of that.
    """

    sinks: tuple[Sink, ...] = ()
    collectors: tuple[Collector, ...] = ()
    """Of spans."""
    counting: tuple[str, ...] = ()
    """Names that stand for the metrics that are there in any case."""
    left_out: tuple[str, ...] = ()
    """Names of those that can't be read, or that are nobody's here: the one who wrote them has been told."""
    default_sinks: tuple[str, ...] = ()
    default_collectors: tuple[str, ...] = ()
    default_metrics: tuple[str, ...] = ()
    built_in: FileSink | None = None
    """What ENVOY stands for, where that is said."""
    written: FileSink | None = None
    """Where requests are written to of which nothing else is said."""
    traced: bool | None = None
    sampled: float | None = None


NO_DEFAULTS = TelemetryDefaults()
