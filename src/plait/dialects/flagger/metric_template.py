"""MetricTemplate: a query for the value of a metric.

One that can't be read whole is left out; what names it then finds nothing, and shifts nothing.
"""

from __future__ import annotations

import re

from plait.dialects import fields
from plait.dialects.flagger.shared import GROUP, VERSIONS, address, no_secret
from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.reading import Fact
from plait.model.rollout import MetricTemplate

PROMETHEUS = "prometheus"
OWN = "plait"
"""The mesh's own store."""

_SHOWN = 80
_WORD = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_WORDS = ("name", "namespace", "target", "service", "ingress", "interval")
_VARIABLE = re.compile(r"variables\.\w+\Z")


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    provider = spec.at("provider")
    where = provider.at("address")
    kind = _kind(provider.at("type"))
    no_secret(provider, "name an address that asks for no credentials")
    if kind == OWN and where.present:
        where.error("template.address", "the mesh's own store needs no address: leave it away")
    found = MetricTemplate(
        namespace=subject.namespace,
        name=subject.name,
        provider=kind,
        address=address(where) if kind == PROMETHEUS else where.text(),
        query=_query(spec.at("query")),
        insecure=provider.at("insecureSkipVerify").boolean(),
        origin=subject.origin(root),
    )
    if spec.error_count() or fields.has_unknown(spec, METRIC_TEMPLATE):
        spec.error("template.left-out", "it can't be read whole, so it answers nothing")
        return ()
    return (found,)


def _kind(cursor: Cursor) -> str:
    text = cursor.text()
    if not text and not cursor.error_count():
        cursor.error("field.required", f"a type is missing: {PROMETHEUS}, or {OWN} for the mesh's own store")
    elif text not in (PROMETHEUS, OWN, ""):
        message = f"{text[:_SHOWN]!r} can't be asked: {PROMETHEUS} can, and {OWN}, the mesh's own store"
        cursor.error("template.provider", message)
    return text


def _query(cursor: Cursor) -> str:
    text = cursor.text()
    if not text.strip() and not cursor.error_count():
        cursor.error("field.required", "a query is missing")
    for word in _WORD.findall(text):
        if word not in _WORDS and not _VARIABLE.match(word):
            message = (
                f"{word[:_SHOWN]!r} stands for nothing: there are {', '.join(_WORDS)} and variables.NAME"
            )
            cursor.error("template.word", message)
    return text


METRIC_TEMPLATE = Kind(
    group=GROUP,
    name="MetricTemplate",
    versions=VERSIONS,
    read=read,
    unsupported=("spec.provider.headers", "spec.provider.region"),
)
