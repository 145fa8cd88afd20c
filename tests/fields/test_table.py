"""docs/fields.md says what the tests prove; `PLAIT_GOLDEN=write` writes it."""

import copy
import json
import os
from typing import Any

import pytest

from plait.model.document import child
from tests.dialects.reading import codes, reading
from tests.dialects.whole import WHOLE
from tests.fields.table import ELSEWHERE, FILE, NAMES, ROOT, TOLD, generic, table


def test_the_page_of_fields_is_what_the_tests_prove() -> None:
    if os.environ.get("PLAIT_GOLDEN") == "write":
        FILE.write_text(table())
    assert FILE.read_text() == table()


@pytest.mark.parametrize(
    ("kind", "field", "value", "code"),
    [(kind, field, *told) for kind, fields in TOLD.items() for field, told in fields.items()],
)
def test_whoever_asks_for_what_has_no_effect_is_told(kind: str, field: str, value: object, code: str) -> None:
    document = copy.deepcopy(WHOLE[kind])
    (path,) = replaced(document, "", field, value)
    assert codes(reading(json.dumps(document))) == [(path, code)]


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_for_people_changes_nothing_but_itself(kind: str) -> None:
    document = copy.deepcopy(WHOLE[kind])
    for field in NAMES[kind]:
        assert replaced(document, "", field, "another")
    before, after = (repr(reading(json.dumps(one)).facts) for one in (WHOLE[kind], document))
    assert after.replace("name='another'", "name='testers'") == before


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_what_is_proven_elsewhere_is(kind: str) -> None:
    for file, test in ELSEWHERE[kind].values():
        assert f"def {test}(" in (ROOT / file).read_text()


def replaced(value: Any, path: str, field: str, other: object) -> list[str]:
    """Gives a field another value wherever it stands, and tells where that is."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for key, inner in list(items):
        below = child(path, key)
        if generic(below) == field:
            value[key] = other
            found.append(below)
        else:
            found += replaced(inner, below, field, other)
    return found
