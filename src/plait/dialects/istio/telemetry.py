"""Telemetry: what is told of requests, and to whom.

What can't be read is left out: one rule, or the whole object when it is not clear whom it is for.

Source: https://istio.io/latest/docs/reference/config/telemetry/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import TypeVar

from plait.dialects import cel
from plait.dialects.checks import is_token
from plait.dialects.fields import has_strangers
from plait.dialects.istio import log_formats
from plait.dialects.istio.answers import percent_of
from plait.dialects.istio.policy_targets import targets
from plait.dialects.istio.shared import selector
from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.reading import Fact
from plait.model.telemetry import (
    BOTH_SIDES,
    SAMPLED,
    LogRule,
    MetricsRule,
    Side,
    Tag,
    TagSource,
    Telemetry,
    TracingRule,
)

_SHOWN = 80
_MOST_TAGS = 50
R = TypeVar("R", TracingRule, LogRule, tuple[MetricsRule, ...])


class _Mode(StrEnum):
    CLIENT_AND_SERVER = "CLIENT_AND_SERVER"
    CLIENT = "CLIENT"
    SERVER = "SERVER"


class _Metric(StrEnum):
    ALL_METRICS = "ALL_METRICS"
    REQUEST_COUNT = "REQUEST_COUNT"
    REQUEST_DURATION = "REQUEST_DURATION"
    REQUEST_SIZE = "REQUEST_SIZE"
    RESPONSE_SIZE = "RESPONSE_SIZE"
    TCP_OPENED_CONNECTIONS = "TCP_OPENED_CONNECTIONS"
    TCP_CLOSED_CONNECTIONS = "TCP_CLOSED_CONNECTIONS"
    TCP_SENT_BYTES = "TCP_SENT_BYTES"
    TCP_RECEIVED_BYTES = "TCP_RECEIVED_BYTES"
    GRPC_REQUEST_MESSAGES = "GRPC_REQUEST_MESSAGES"
    GRPC_RESPONSE_MESSAGES = "GRPC_RESPONSE_MESSAGES"


_SIDES: Mapping[_Mode, tuple[Side, ...]] = {
    _Mode.CLIENT_AND_SERVER: BOTH_SIDES,
    _Mode.CLIENT: (Side.CLIENT,),
    _Mode.SERVER: (Side.SERVER,),
}


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    selected, targeted = selector(spec), targets(spec, subject)
    tracing = tuple(_rules(spec.at("tracing"), subject, _tracing))
    logs = tuple(_rules(spec.at("accessLogging"), subject, _logs))
    metrics = tuple(_rules(spec.at("metrics"), subject, _metrics))
    if selected is None or targeted is None or has_strangers(spec):
        spec.error("telemetry.left-out", "it can't be read whole whom it is for, so it is for nobody")
        return ()
    return (
        Telemetry(
            namespace=subject.namespace,
            name=subject.name,
            selector=selected,
            targets=targeted,
            created=subject.created,
            tracing=tracing,
            logs=logs,
            metrics=tuple(one for several in metrics for one in several),
            origin=subject.origin(root),
        ),
    )


def _rules(cursor: Cursor, subject: Subject, read_one: Callable[[Cursor, Subject], R]) -> Iterator[R]:
    for item in cursor.each():
        if not isinstance(item.value, Mapping):
            item.error("field.type", "expected an object")
            continue
        found = read_one(item, subject)
        if item.error_count() or item.unread():
            item.error("telemetry.left-out", "it can't be read whole, so it has no effect")
        else:
            yield found


def _sides(match: Cursor) -> tuple[Side, ...]:
    return _SIDES[match.at("mode").choice(_Mode, _Mode.CLIENT_AND_SERVER)]


def _providers(cursor: Cursor) -> tuple[str, ...]:
    names = []
    for item in cursor.each():
        name = item.at("name").text()
        if not name and not item.error_count():
            item.at("name").error("field.required", "a name is missing: of a provider in the meshConfig")
        names.append(name)
    return tuple(dict.fromkeys(names))


def _tracing(item: Cursor, subject: Subject) -> TracingRule:
    providers = _providers(item.at("providers"))
    if len(providers) > 1:
        message = f"spans are told to one provider: {providers[0]} is taken"
        item.at("providers").warn("telemetry.one-provider", message)
    sampled, silent, tags = (
        item.at(field) for field in ("randomSamplingPercentage", "disableSpanReporting", "customTags")
    )
    if item.at("enableIstioTags").boolean():
        message = "spans carry none of Istio's own tags: their resource says which workload told them"
        item.at("enableIstioTags").warn("telemetry.no-effect", message)
    if not item.at("useRequestIdForTraceSampling").boolean(default=True):
        message = "whether a request is traced is decided by its trace context alone, whatever its id is"
        item.at("useRequestIdForTraceSampling").warn("telemetry.no-effect", message)
    return TracingRule(
        sides=_sides(item.at("match")),
        provider=providers[0] if providers else "",
        sampled=percent_of(sampled, SAMPLED) if sampled.present else None,
        reported=not silent.boolean() if silent.present else None,
        tags=tuple(_tags(tags)) if tags.present else None,
        origin=subject.origin(item),
    )


def _tags(cursor: Cursor) -> Iterator[Tag]:
    """In the order of their names."""
    found = sorted(cursor.entries(), key=lambda entry: entry[0])
    if len(found) > _MOST_TAGS:
        cursor.error("field.range", f"at most {_MOST_TAGS} tags are put on a span")
    for name, item in found:
        tag = _tag(name, item)
        if tag is not None:
            yield tag


def _tag(name: str, item: Cursor) -> Tag | None:
    said = [field for field in ("literal", "environment", "header", "formatter") if item.has(field)]
    if len(said) != 1 or not name:
        for field in said:
            item.at(field).ignore()
        item.error("telemetry.tag", "one of literal, environment, header and formatter says what the tag is")
        return None
    where = item.at(said[0])
    if said[0] == "literal":
        return Tag(name=name, source=TagSource.LITERAL, value=_required(where.at("value")))
    if said[0] == "formatter":
        written = where.at("value")
        return Tag(name=name, source=TagSource.FORMAT, value=_required(written) and log_formats.text(written))
    called = _required(where.at("name"))
    if said[0] == "header" and called:
        problem = log_formats.header_problem(called) if is_token(called) else "no name of a header"
        if problem:
            where.at("name").error("telemetry.tag", f"{called[:_SHOWN]!r}: {problem}")
    source = TagSource.HEADER if said[0] == "header" else TagSource.ENVIRONMENT
    value = called.lower() if said[0] == "header" else called
    return Tag(name=name, source=source, value=value, default=where.at("defaultValue").text())


def _required(cursor: Cursor) -> str:
    text = cursor.text()
    if not text and not cursor.error_count():
        cursor.error("field.required", "a value is missing")
    return text


def _logs(item: Cursor, subject: Subject) -> LogRule:
    expression = item.at("filter").at("expression")
    condition = expression.text()
    problem = cel.refusal(condition) if condition else ""
    if problem:
        expression.error("telemetry.expression", f"no condition that a proxy takes: {problem}")
    return LogRule(
        sides=_sides(item.at("match")),
        providers=_providers(item.at("providers")),
        disabled=item.at("disabled").boolean(),
        condition="" if problem else condition,
        origin=subject.origin(item),
    )


def _metrics(item: Cursor, subject: Subject) -> tuple[MetricsRule, ...]:
    """Whether metrics are counted at all; that is all that can be said of them."""
    providers = _providers(item.at("providers"))
    if item.at("reportingInterval").seconds():
        message = "bytes of connections are counted when these end"
        item.at("reportingInterval").warn("telemetry.no-effect", message)
    said = [_override(one, providers, subject) for one in item.at("overrides").each()]
    rules = tuple(rule for rule in said if rule is not None)
    return rules or (MetricsRule(providers=providers, origin=subject.origin(item)),)


def _override(item: Cursor, providers: tuple[str, ...], subject: Subject) -> MetricsRule | None:
    match = item.at("match")
    sides = _sides(match)
    custom = match.at("customMetric")
    metric = match.at("metric").choice(_Metric, _Metric.ALL_METRICS)
    some = custom.text() or (metric if metric is not _Metric.ALL_METRICS else "")
    labels = item.at("tagOverrides")
    if labels.value:
        labels.ignore()
        labels.warn(
            "telemetry.metrics", "metrics keep the labels that Istio gives them: these stay as they are"
        )
    if not item.has("disabled"):
        return None
    disabled = item.at("disabled").boolean()
    if some:
        message = f"all metrics of a side are counted or none is: {some[:_SHOWN]} stays as it is"
        (custom if custom.value else match.at("metric")).warn("telemetry.metrics", message)
        return None
    return MetricsRule(sides=sides, providers=providers, disabled=disabled, origin=subject.origin(item))


TELEMETRY = Kind(
    group="telemetry.istio.io",
    name="Telemetry",
    versions=("v1", "v1alpha1"),
    read=read,
)
