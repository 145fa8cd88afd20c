"""Whatever is written, reading it raises nothing: user mistakes are data."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait import dialects
from plait.model.change import Change, Stated, Unreadable
from plait.model.finding import Finding
from plait.sources.files.parse import parse
from plait.sources.store import Store
from tests.dialects.whole import WHOLE

QUICK = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(
        ["*", "**", "a*", "", "/", "1s", "-1s", "9" * 400 + "s", "(", "mesh", "a.b", "http", "80", "🙂"]
    )
)
WORDS = sorted(
    {
        "host",
        "exact",
        "prefix",
        "regex",
        "port",
        "number",
        "name",
        "source",
        "operation",
        "matchLabels",
        'a["b',
        "a.b",
        "]",
    }
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
YAML_LIKE = st.text(
    alphabet=st.sampled_from(list("ab1:-?#&*!|>'\"%@`{}[],~<=. \t\n\r\0\ufeff\u2028é🙂"))
    | st.characters(codec="utf-8"),
    max_size=200,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths(inner, (*path, key))


PLACES = [(kind, path) for kind, document in WHOLE.items() for path in paths(document)]


def read_all(change: Change) -> tuple[Finding, ...]:
    """Everything that is found when a file is taken in, each finding with a place."""
    store = Store()
    store.apply(change)
    readings = [dialects.read(located.document) for located in store.documents()]
    found = [finding for reading in readings for finding in reading.findings]
    for finding in found:
        assert finding.ref is not None
        place = store.place(finding.ref, finding.field)
        assert place is not None
        assert place.line > 0
    for finding in store.findings():
        assert finding.place is not None
        assert finding.place.line > 0
    for reading in readings:
        hash(reading)
    return (*found, *store.findings())


@QUICK
@given(st.sampled_from(PLACES), VALUES)
def test_any_value_at_any_field(place: tuple[str, tuple[Any, ...]], value: Any) -> None:
    kind, path = place
    document = copy.deepcopy(WHOLE[kind])
    around: Any = document
    for key in path[:-1]:
        around = around[key]
    around[path[-1]] = value
    read_all(parse("in.yaml", json.dumps(document, ensure_ascii=False).encode(errors="replace")))


@QUICK
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    assert isinstance(parse("in.yaml", data), (Stated, Unreadable))


@QUICK
@given(YAML_LIKE)
def test_any_text_with_the_signs_of_yaml(text: str) -> None:
    read_all(parse("in.yaml", text.encode()))


@QUICK
@given(
    st.sampled_from(sorted(WHOLE)), st.integers(min_value=0), st.integers(min_value=0, max_value=9), YAML_LIKE
)
def test_any_text_in_the_middle_of_a_document(kind: str, at: int, removed: int, text: str) -> None:
    whole = json.dumps(WHOLE[kind], indent=1)
    at %= len(whole)
    read_all(parse("in.yaml", (whole[:at] + text[:20] + whole[at + removed :]).encode()))


@pytest.mark.parametrize("size", [10_000, 500_000])
@pytest.mark.parametrize(
    "unit",
    [
        "[",
        "{",
        "- ",
        "? ",
        "a: ",
        "&a ",
        "*a ",
        "!",
        "'",
        '"',
        "|\n",
        "a\n",
        "{a,",
        "---\n",
        "\n",
        "#",
        "%",
        "a:\n ",
    ],
)
def test_long_repetitions(unit: str, size: int) -> None:
    read_all(parse("in.yaml", (unit * (size // len(unit))).encode()))
