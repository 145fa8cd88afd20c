"""Valid documents are read without an error; a mutation of one is told, or changes what is meant."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plait import dialects
from plait.model.change import Stated
from plait.model.document import child
from plait.model.finding import Severity
from plait.model.reading import Reading
from plait.run.compilation import Compilation
from plait.sources.files.parse import parse
from tests.properties.runs import examples
from tests.properties.sets import Value, objects, sets
from tests.properties.telling import SETTINGS, located, running, views, written
from tests.properties.values import Strategy, one_of

Path = tuple[str | int, ...]

FOR_PEOPLE = re.compile(
    r"(apiVersion|kind|metadata\.(name|namespace|annotations|labels)|Namespace:spec)\b"
    r"|spec\.http\[\d+\]\.match\[\d+\]\.name\Z"
)
"""What names an object, and what rightly means nothing to a mesh."""


@examples(100)
@given(sets())
def test_valid_documents_are_read_without_an_error_and_told_to_whom_they_are_for(
    documents: list[Value],
) -> None:
    stated = located(documents)
    found = [finding for one in stated for finding in dialects.read(one.document).findings]
    assert [one for one in found if one.severity is Severity.ERROR] == []
    mesh = Compilation(SETTINGS).compile(stated).mesh
    for seen in views(mesh, running(mesh)):
        matches = [rule.match for one in seen.outbound.routes for rule in one.rules]
        assert all(match is None or match.clients is None for match in matches)


_ANYTHING = one_of(
    (
        True,
        False,
        0,
        -1,
        7,
        2**63,
        1.5,
        1e300,
        "",
        "a",
        "*",
        "~",
        "1s",
        "é🙂",
        "a.b/c",
        "9" * 400,
        [],
        {},
        [{}],
        [[]],
    )
    + ({"a": 1}, [None], ["a"], {"exact": 1}, {"": ""}, None)
)


@st.composite
def _otherwise(draw: st.DrawFn, kinds: Strategy) -> tuple[Value, Value, str]:
    """A document, the same with another value somewhere, and where."""
    before: Value = draw(kinds)
    places = [place for place in paths(before) if not FOR_PEOPLE.match(named(before, place))]
    place = draw(st.sampled_from(places)) if places else ("spec",)
    after = copy.deepcopy(before)
    around(after, place)[place[-1]] = draw(_ANYTHING)
    return before, after, named(before, place)


@st.composite
def _with_more(draw: st.DrawFn, kinds: Strategy) -> tuple[Value, Value, str]:
    """A document, the same with a field that no API has, and where."""
    before: Value = draw(kinds)
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
def _with_less(draw: st.DrawFn, kinds: Strategy) -> Value:
    """A document of which something is left away."""
    document: Value = copy.deepcopy(draw(kinds))
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


@examples(200)
@given(_otherwise(objects()))
def test_a_value_of_another_type_is_told_or_changes_what_is_meant(mutated: tuple[Value, Value, str]) -> None:
    before, after, place = mutated
    was, now = read(before), read(after)
    if _other_type(before, after):
        assert now != was, place


@examples(200)
@given(_with_more(objects()))
def test_a_field_that_no_api_has_is_told_or_changes_what_is_meant(mutated: tuple[Value, Value, str]) -> None:
    before, after, place = mutated
    assert read(after) != read(before), place


@examples(200)
@given(_with_less(objects()))
def test_what_is_left_away_keeps_nothing_from_being_read(document: Value) -> None:
    read(document)


def _other_type(before: Any, after: Any) -> bool:
    """Whether what differs is of another type, and is not nothing."""
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() == after.keys():
        return any(_other_type(before[key], after[key]) for key in before)
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return any(_other_type(one, other) for one, other in zip(before, after, strict=True))
    return bool(before) and bool(after) and type(before) is not type(after)
