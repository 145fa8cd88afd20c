"""docs/fields.md says what the tests prove; `PLAIT_GOLDEN=write` writes it."""

import copy
import json
import os
from typing import Any

import pytest

from plait.model import document
from plait.model.document import child
from tests.dialects.reading import codes, reading
from tests.dialects.whole import WHOLE
from tests.fields.cases import API_VERSIONS, CASES
from tests.fields.table import (
    ALONE,
    ELSEWHERE,
    FILE,
    NAMES,
    OWN,
    ROOT,
    TOLD,
    UNPROVEN,
    generic,
    rows_of,
    table,
)


def test_the_page_of_fields_is_what_the_tests_prove() -> None:
    if os.environ.get("PLAIT_GOLDEN") == "write":
        FILE.write_text(table())
    assert FILE.read_text() == table()


@pytest.mark.parametrize("kind", API_VERSIONS)
def test_every_field_has_a_proof_or_a_reason(kind: str) -> None:
    assert [field for field, state, _ in rows_of(kind) if state == UNPROVEN] == []


@pytest.mark.parametrize("kind", API_VERSIONS)
def test_every_field_that_is_read_stands_in_the_page(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    readings: list[document._Reading] = []

    def noted(*parts: Any) -> document._Reading:
        readings.append(began(*parts))
        return readings[-1]

    began = document._Reading
    monkeypatch.setattr(document, "_Reading", noted)
    reading(json.dumps(WHOLE[kind]))
    for case in CASES:
        if case.kind == kind:
            reading(case.text().partition("---")[0])
    found = {
        generic(child(path, key)) for one in readings for path, keys in one.asked.items() for key in keys
    }
    fields = {field for field, _, _ in rows_of(kind)}
    assert {one for one in found if one.startswith("spec.") and not told(one, fields)} <= {
        "spec.rules[].filters[].extensionRef"  # an error by its type already
    }


def told(path: str, fields: set[str]) -> bool:
    """Whether a field, what is in it, or the user's own that it belongs to, stands in the page."""
    around = [path[:end] for end, letter in enumerate(path) if letter in ".["]
    own = any(OWN.search(one) and one in fields for one in around)
    return (
        own
        or path in fields
        or path.removesuffix("[]") in fields
        or any(field.startswith((f"{path}.", f"{path}[")) for field in fields)
    )


@pytest.mark.parametrize(
    ("kind", "field", "value", "code"),
    [(kind, field, *told) for kind, fields in TOLD.items() for field, told in fields.items()],
)
def test_whoever_asks_for_what_has_no_effect_is_told(kind: str, field: str, value: object, code: str) -> None:
    written = copy.deepcopy(WHOLE[kind])
    paths = put(written, "", field, value)
    assert paths
    assert codes(reading(json.dumps(written))) == [(path, code) for path in paths]


@pytest.mark.parametrize("field", ALONE["IstioOperator"])
def test_whoever_names_a_provider_that_is_nobody_is_told(field: str) -> None:
    written = copy.deepcopy(WHOLE["IstioOperator"])
    written["spec"]["meshConfig"]["extensionProviders"].append(
        {"name": "it", field.rpartition(".")[2]: {"port": 1}}
    )
    (found,) = codes(reading(json.dumps(written)))
    assert (generic(found[0]), found[1]) == (field, ALONE["IstioOperator"][field])


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_for_people_changes_nothing_but_itself(kind: str) -> None:
    written = copy.deepcopy(WHOLE[kind])
    for field in NAMES[kind]:
        assert put(written, "", field, "another")
    before, after = (repr(reading(json.dumps(one)).facts) for one in (WHOLE[kind], written))
    nameless = "name=''"
    assert after.replace("name='another'", nameless) == before.replace("name='testers'", nameless)


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_what_is_proven_elsewhere_is(kind: str) -> None:
    for file, test in ELSEWHERE[kind].values():
        assert f"def {test}(" in (ROOT / file).read_text()


def put(value: Any, path: str, field: str, other: object) -> list[str]:
    """Gives a field this value wherever it can stand, and tells where that is."""
    parent, _, name = field.rpartition(".")
    if generic(path) == parent and isinstance(value, dict):
        value[name] = other
        return [f"{path}.{name}"]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [one for key, inner in items for one in put(inner, child(path, key), field, other)]
