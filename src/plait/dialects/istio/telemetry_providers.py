"""Providers of a meshConfig that are told of requests: files, and collectors that take OTLP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from plait.dialects.checks import is_token, port_number, seconds
from plait.dialects.istio import log_formats
from plait.dialects.istio.callees import service
from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.telemetry import OWN_FILE, STDERR, STDOUT, Collector, FileSink, OtlpSink, Sink

_SHOWN = 80
_TIMEOUT, _HTTP_TIMEOUT = 10.0, 3.0
"""Seconds, where nobody says how long; that over HTTP is Istio's."""

_WITHOUT_EFFECT = ("dynatraceSampler", "maxTagLength", "resourceDetectors")

INSTEAD: Mapping[str, str] = {
    "datadog": "write opentelemetry, for its agent takes OTLP",
    "envoyHttpAls": "write envoyOtelAls",
    "envoyTcpAls": "write envoyOtelAls, which is told of connections as well",
    "lightstep": "write opentelemetry",
    "opencensus": "write opentelemetry, for its collector takes OTLP",
    "sds": "proxies have their certificates from the control plane",
    "skywalking": "write opentelemetry, for its receiver takes OTLP",
    "stackdriver": "write opentelemetry and envoyOtelAls, with a collector that exports to Google Cloud",
    "zipkin": "write opentelemetry, with a collector that exports to Zipkin",
}
"""Providers that nobody is, by their fields, and what to do instead."""


def file_sink(cursor: Cursor, name: str, subject: Subject, usual: FileSink | None) -> FileSink:
    """`usual`: how lines look of which nothing is said here."""
    path = place(cursor.at("path"))
    text, fields = _format(cursor.at("logFormat"))
    return FileSink(
        name=name,
        path=path,
        text=text or (usual.text if usual and not fields else ""),
        fields=fields or (usual.fields if usual and not text else ()),
        json=usual.json if usual else True,
        omit_empty=cursor.at("omitEmptyValues").boolean(),
        origin=subject.origin(cursor),
    )


def place(cursor: Cursor) -> str:
    """Where lines are written to."""
    path = cursor.text(STDOUT)
    if path not in (STDOUT, STDERR, OWN_FILE):
        message = (
            f"proxies do not write to {path[:_SHOWN]!r}: write {STDOUT} or {STDERR}, which plait logs --envoy shows, "
            f"or {OWN_FILE}, a file in the directory of each replica"
        )
        cursor.error("provider.path", message)
        return STDOUT
    return path


def otlp_sink(cursor: Cursor, name: str, subject: Subject) -> OtlpSink:
    text, fields = _format(cursor.at("logFormat"), both=True)
    return OtlpSink(
        collector=Collector(
            name=name,
            host=service(cursor.at("service"), subject),
            port=port_number(cursor.at("port")),
            origin=subject.origin(cursor),
        ),
        log_name=cursor.at("logName").text(),
        text=text,
        fields=fields,
    )


def collector(cursor: Cursor, name: str, subject: Subject) -> Collector:
    """One that takes spans."""
    http, grpc = cursor.at("http"), cursor.at("grpc")
    if http.present and grpc.present:
        http.error("provider.kind", "either http or grpc says how it is told")
    over = http if http.present else grpc
    for field in _WITHOUT_EFFECT:
        if cursor.has(field):
            cursor.at(field).ignore()
            cursor.at(field).warn("provider.no-effect", "Plait's spans are what they are without it")
    return Collector(
        name=name,
        host=service(cursor.at("service"), subject),
        port=port_number(cursor.at("port")),
        path=_path(http),
        timeout=_wait(over, _HTTP_TIMEOUT if http.present else _TIMEOUT),
        headers=tuple(_headers(over.at("headers" if http.present else "initialMetadata"))),
        origin=subject.origin(cursor),
    )


def _path(http: Cursor) -> str:
    if not http.present:
        return ""
    path = http.at("path").text()
    if not path.startswith("/") or any(letter.isspace() or letter in "?#\0" for letter in path):
        message = f"{path[:_SHOWN]!r} is no path, such as /v1/traces" if path else "a path is missing"
        http.at("path").error("path.invalid", message)
    return path


def _wait(cursor: Cursor, usual: float) -> float:
    return seconds(cursor.at("timeout"), usual, least=0.001) or usual


def _headers(cursor: Cursor) -> Iterator[tuple[str, str]]:
    for item in cursor.each():
        name, value = item.at("name").text().lower(), item.at("value").text()
        if item.has("envName"):
            item.at("envName").error("header.value", "a value is written here, and not taken from elsewhere")
        elif not is_token(name):
            item.at("name").error("header.name", f"{name[:_SHOWN]!r} is no name of a header")
        elif not item.has("value") or any(letter in "\0\r\n" for letter in value):
            item.at("value").error("header.value", "a value of a header is one line")
        else:
            yield name, value


def _format(cursor: Cursor, *, both: bool = False) -> tuple[str, tuple[tuple[str, str], ...]]:
    """`both`: a text may stand beside an object."""
    if cursor.has("text") and cursor.has("labels") and not both:
        cursor.error("provider.kind", "either text or labels says how lines look")
    return log_formats.text(cursor.at("text")), log_formats.fields(cursor.at("labels"))


def sink_of(item: Cursor, name: str, subject: Subject, usual: FileSink | None) -> Sink | None:
    """The sink that a provider is; None when it is none."""
    if item.has("envoyFileAccessLog"):
        return file_sink(item.at("envoyFileAccessLog"), name, subject, usual)
    if item.has("envoyOtelAls"):
        return otlp_sink(item.at("envoyOtelAls"), name, subject)
    return None
