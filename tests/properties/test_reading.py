"""Valid documents are read without an error; a mutation of one is told, or changes what is meant."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait import dialects
from plait.model.change import Stated
from plait.model.document import child
from plait.model.finding import Severity
from plait.model.reading import Reading
from plait.sources.files.parse import parse
from tests.properties.runs import PATIENT, SECONDS, examples, tried
from tests.properties.sets import Value, objects, sets
from tests.properties.telling import located, written
from tests.properties.values import Strategy, one_of

pytestmark = PATIENT

Path = tuple[str | int, ...]
Mutated = tuple[Value, Value, str]
"""A document, another one that was made of it, and where it differs."""

FOR_PEOPLE = re.compile(
    r"(apiVersion|kind|metadata\.(name|namespace|annotations|labels)|Namespace:spec)\b"
    r"|spec\.((http\[\d+\]|service|analysis)\.match|limits)\[\d+\]\.name\Z"
)
"""What names an object, and what rightly means nothing to a mesh."""


_ANYTHING: Strategy = one_of(
    (
        *(True, False, None, 0, -1, 7, 2**63, 1.5, 1e300),
        *("", "a", "*", "~", "1s", "é🙂", "a.b/c", "9" * 400),
        *([], [{}], [[]], [None], ["a"], {}, {"a": 1}, {"exact": 1}, {"": ""}),
    )
)


@st.composite
def otherwise(draw: st.DrawFn) -> Mutated:
    """A document, the same with another value somewhere, and where."""
    before: Value = draw(objects())
    places = [place for place in paths(before) if not FOR_PEOPLE.match(named(before, place))]
    place = draw(st.sampled_from(places)) if places else ("spec",)
    after = copy.deepcopy(before)
    around(after, place)[place[-1]] = draw(_ANYTHING)
    return before, after, named(before, place)


@st.composite
def with_more(draw: st.DrawFn) -> Mutated:
    """A document, the same with a field that no API has, and where."""
    before: Value = draw(objects())
    places = [
        place
        for place in paths(before)
        if isinstance(around(before, place)[place[-1]], dict) and not FOR_PEOPLE.match(named(before, place))
    ]
    place = draw(st.sampled_from(places)) if places else ("metadata",)
    after = copy.deepcopy(before)
    around(after, place)[place[-1]]["unheardOf"] = draw(_ANYTHING)
    return before, after, named(before, (*place, "unheardOf"))


@st.composite
def with_less(draw: st.DrawFn) -> Value:
    """A document of which something is left away."""
    document: Value = copy.deepcopy(draw(objects()))
    place = draw(st.sampled_from(list(paths(document))))
    del around(document, place)[place[-1]]
    return document


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where anything stands in a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths(inner, (*path, key))


def around(value: Any, path: Path) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value


def named(document: Value, path: Path) -> str:
    text = ""
    for key in path:
        text = child(text, key)
    return f"Namespace:{text}" if document["kind"] == "Namespace" and path[0] == "spec" else text


def read(document: Value) -> Reading | None:
    """What is read of a document; None when its file says what keeps it from being read."""
    change = parse("in.yaml", written([document]))
    if isinstance(change, Stated):
        (one,) = change.documents
        return dialects.read(one.document)
    assert change.findings
    return None


def _other_type(before: Any, after: Any) -> bool:
    """Whether what differs is of another type, and is not nothing."""
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        return any(_other_type(before[key], after[key]) for key in before)
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return any(_other_type(one, other) for one, other in zip(before, after, strict=True))
    return bool(before) and bool(after) and type(before) is not type(after)


def no_error(documents: list[Value]) -> None:
    found = [finding for one in located(documents) for finding in dialects.read(one.document).findings]
    assert [one for one in found if one.severity is Severity.ERROR] == []


def other_value_is_told(mutated: Mutated) -> None:
    before, after, place = mutated
    was, now = read(before), read(after)
    assert now != was or not _other_type(before, after), place


def stranger_is_told(mutated: Mutated) -> None:
    before, after, place = mutated
    assert read(after) != read(before), place


@examples(50)
@given(sets())
def test_valid_documents_are_read_without_an_error(documents: list[Value]) -> None:
    no_error(documents)


@examples(100)
@given(otherwise())
def test_a_value_of_another_type_is_told_or_changes_what_is_meant(mutated: Mutated) -> None:
    other_value_is_told(mutated)


@examples(100)
@given(with_more())
def test_a_field_that_no_api_has_is_told_or_changes_what_is_meant(mutated: Mutated) -> None:
    stranger_is_told(mutated)


@examples(100)
@given(with_less())
def test_what_is_left_away_keeps_nothing_from_being_read(document: Value) -> None:
    read(document)


@pytest.mark.prove
@pytest.mark.timeout(SECONDS)
def test_thousands_of_mutations_are_told(record_property: Callable[[str, object], None]) -> None:
    record_property("values of other types", tried(other_value_is_told, 5000, otherwise()))
    record_property("fields that no API has", tried(stranger_is_told, 5000, with_more()))
    record_property("fields left away", tried(_is_read, 5000, with_less()))


def _is_read(document: Value) -> None:
    read(document)
