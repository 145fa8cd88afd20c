"""Nothing that a user writes is ignored silently, in any kind, at any depth."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from plait.dialects import DIALECTS
from plait.model.document import child
from plait.model.finding import Severity
from tests.dialects.reading import reading
from tests.dialects.whole import WHOLE

FREE = ("metadata.annotations", "metadata.labels", "spec.env", "spec.selector", "spec.selector.matchLabels")
"""Mappings whose keys are the user's own."""


def mappings(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from mappings(inner, child(path, key))


def put(value: Any, path: str, where: str, inner: Any) -> bool:
    """Put a field into the mapping at `where`."""
    if path == where:
        value["unheardOf"] = inner
        return True
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return any(put(below, child(path, key), where, inner) for key, below in items)


def test_every_kind_has_its_whole_document() -> None:
    assert {kind for _, kind in DIALECTS} == set(WHOLE)


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_document_has_no_findings(kind: str) -> None:
    assert reading(json.dumps(WHOLE[kind])).findings == ()


@pytest.mark.parametrize(
    ("kind", "where"), [(kind, where) for kind, document in WHOLE.items() for where in mappings(document)]
)
def test_a_field_that_is_unheard_of_is_an_error_wherever_it_stands(kind: str, where: str) -> None:
    document = copy.deepcopy(WHOLE[kind])
    assert put(document, "", where, {"a": 1})
    found = [finding for finding in reading(json.dumps(document)).findings if "unheardOf" in finding.field]
    assert any(finding.severity is Severity.ERROR for finding in found)
    if where not in FREE and not where.endswith(
        (
            "abels",
            "].headers",
            "Headers",
            "HeadersInCheck",
            "queryParams",
            "portLevelMtls",
            ".set",
            ".add",
            ".to",
            "customTags",
            "].metadata",
            "templateVariables",
        )
    ):
        assert found[0].code == "field.unknown"


@pytest.mark.parametrize(
    ("kind", "pattern"), [(kind.name, pattern) for kind in DIALECTS.values() for pattern in kind.unsupported]
)
def test_a_field_that_is_not_honoured_is_a_warning(kind: str, pattern: str) -> None:
    document = copy.deepcopy(WHOLE[kind])
    around = document
    *steps, last = pattern.split(".")
    for step in steps:
        around = around[step.removesuffix("[]")]
        if step.endswith("[]"):
            around = around[0]
    around[last] = {"anything": 1}
    found = {finding.code: finding for finding in reading(json.dumps(document)).findings}
    assert found["field.unsupported"].severity is Severity.WARNING
    assert found["field.unsupported"].field == pattern.replace("[]", "[0]")
    assert "field.unknown" not in found
