"""The metrics of an analysis: what is looked at, over which time, and what passes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from plait.dialects.checks import seconds
from plait.dialects.flagger.shared import name_of, number, reference
from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.rollout import Baseline, Bounds, Builtin, Metric

SHORTEST_WINDOW = 1.0
"""Seconds."""
MOST_REQUESTS = 1_000_000_000
_SHOWN = 80
_BUILTINS = frozenset(Builtin)


def metrics(cursor: Cursor, subject: Subject) -> tuple[Metric, ...]:
    """All of them; errors for what can't be read."""
    taken: set[str] = set()
    return tuple(_metric(item, subject, taken) for item in _objects(cursor))


def _objects(cursor: Cursor) -> Iterator[Cursor]:
    for item in cursor.each():
        if isinstance(item.value, Mapping):
            yield item
        else:
            item.error("field.type", "expected an object: a metric")


def _metric(item: Cursor, subject: Subject, taken: set[str]) -> Metric:
    name = name_of(item, "metric", taken)
    builtin = Builtin(name) if name in _BUILTINS else None
    referred = item.at("templateRef")
    template = reference(referred, "MetricTemplate", subject) if referred.present else None
    variables = item.at("templateVariables").string_map()
    _check_source(item, name, builtin)
    if variables and template is None:
        item.at("templateVariables").error(
            "metric.template", "variables without a templateRef that asks for them"
        )
    baseline = _baseline(item, builtin)
    return Metric(
        name=name,
        window=seconds(item.at("interval"), 60.0, least=SHORTEST_WINDOW) or 60.0,
        bounds=_bounds(item, builtin, required=not item.at("comparison").present),
        builtin=builtin,
        template=template,
        variables=tuple(sorted(variables.items())),
        baseline=baseline,
        at_least=_at_least(item, builtin),
        origin=subject.origin(item),
    )


def _check_source(item: Cursor, name: str, builtin: Builtin | None) -> None:
    """Says what is wrong with where the value comes from."""
    query, referred = item.at("query"), item.at("templateRef")
    query.text()
    builtins = " and ".join(Builtin)
    if query.present:
        message = "Flagger has put this off: write the query into a MetricTemplate and name it as templateRef"
        query.error("metric.query", message)
    elif builtin is not None and referred.present:
        message = f"{name} is known without a template: give what the template asks another name"
        referred.error("metric.template", message)
    elif name and builtin is None and not referred.present:
        message = (
            f"nothing is known of {name[:_SHOWN]!r}: the builtins are {builtins}; others need a templateRef"
        )
        item.at("name").error("metric.unknown", message)


def _bounds(item: Cursor, builtin: Builtin | None, *, required: bool) -> Bounds:
    """Between what a value passes: thresholdRange, or threshold as it was before that."""
    span, older = item.at("thresholdRange"), item.at("threshold")
    least, most, old = number(span.at("min")), number(span.at("max")), number(older)
    if required:
        _check_that_bounds_are_said(span, older)
    else:
        for one in (span, older):
            if one.present:
                one.error("metric.bounds", "the comparison stands instead of numbers: keep one of the two")
    if old is not None:
        least, most = (old, None) if builtin is Builtin.SUCCESS_RATE else (None, old)
    said = [one for one in (least, most) if one is not None]
    at = span if span.present else older
    if least is not None and most is not None and least > most:
        span.error("metric.bounds", f"no value is at least {least:g} and at most {most:g}")
    if builtin is Builtin.SUCCESS_RATE and any(not 0 <= one <= 100 for one in said):
        at.error("field.range", "a success rate is 0 to 100 percent")
    elif builtin is Builtin.SUCCESS_RATE and any(0 < one < 1 for one in said):
        at.warn("metric.percent", "less than one percent: write 99 for 99 %, and not 0.99")
    return Bounds(least=least, most=most)


def _check_that_bounds_are_said(span: Cursor, older: Cursor) -> None:
    if span.present and older.present:
        older.error("metric.bounds", "only one of thresholdRange and threshold can be given")
    elif not span.present and not older.present:
        message = "a thresholdRange is missing: every value would pass; or write comparison: baseline"
        span.error("field.required", message)
    elif span.present and not (span.has("min") or span.has("max") or span.error_count()):
        span.error("field.required", "min, max or both are missing: every value would pass")


def _baseline(item: Cursor, builtin: Builtin | None) -> Baseline | None:
    """How it is compared with the version that serves; None: it is not."""
    comparison, terms = item.at("comparison"), item.at("baseline")
    text = comparison.text()
    alpha = number(terms.at("alpha"))
    horizon = terms.at("horizon").integer(Baseline().horizon, least=1, most=MOST_REQUESTS)
    if alpha is not None and not 0 < alpha < 1:
        terms.at("alpha").error("field.range", f"{alpha:g} is no probability between 0 and 1")
    if comparison.present and not comparison.error_count() and text != "baseline":
        comparison.error("field.choice", f"{text[:_SHOWN]!r} is not baseline, which is all there is")
    if terms.present and not comparison.present:
        terms.error("metric.baseline", "nothing is compared: write comparison: baseline beside it")
    if comparison.present and builtin is None:
        message = f"what a template gives can't be counted: only {' and '.join(Builtin)} are compared"
        comparison.error("metric.baseline", message)
    return Baseline(alpha=alpha or Baseline().alpha, horizon=horizon) if comparison.present else None


def _at_least(item: Cursor, builtin: Builtin | None) -> int:
    """How many requests say something: one, as with Flagger, where the first value counts."""
    cursor = item.at("minRequests")
    found = cursor.integer(1, least=1, most=MOST_REQUESTS)
    if cursor.present and builtin is None:
        cursor.error(
            "metric.min-requests", "only what the mesh counts itself has requests: let the query say it"
        )
    return found
