"""The cursor: what was not asked for is found, and what has the wrong type is said."""

import pytest

from plait.model.document import Cursor, Document
from plait.model.names import ObjectRef


def cursor(value: dict[str, object]) -> Cursor:
    return Cursor.of(Document(ObjectRef("", "Thing", "ns", "name"), "v1", "digest", value))


def test_fields_that_nobody_asked_for_are_named_by_path() -> None:
    root = cursor({"spec": {"a": 1, "b": {"c": [{"d": 1, "e": 2}]}, "x.y": 3}})
    spec = root.at("spec")
    spec.at("a").integer()
    for item in spec.at("b").at("c").each():
        item.at("d").integer()
    assert root.unread() == ("spec.b.c[0].e", 'spec["x.y"]')


def test_asking_whether_a_field_is_there_is_not_reading_it() -> None:
    root = cursor({"spec": {"a": 1, "b": None}})
    spec = root.at("spec")
    assert (spec.has("a"), spec.has("b"), spec.has("c"), spec.at("a").has("x")) == (True, False, False, False)
    assert root.unread() == ("spec.b",)


def test_what_was_asked_for_is_known_for_guesses() -> None:
    root = cursor({"spec": {}})
    root.at("spec").at("ports")
    root.at("spec").at("command")
    assert root.asked("spec") == ("command", "ports")
    assert root.asked("") == ("spec",)


def test_errors_are_counted_at_every_field_around_them() -> None:
    root = cursor({"spec": {"a": [{"b": "x"}, {"b": 1}]}, "other": 1})
    first, second = root.at("spec").at("a").each()
    first.at("b").integer()
    second.at("b").integer()
    root.at("other").warn("x.y", "only a warning")
    counts = [part.error_count() for part in (root, root.at("spec"), first, second, root.at("other"))]
    assert counts == [1, 1, 1, 0, 0]


def test_the_same_finding_is_told_and_counted_once() -> None:
    root = cursor({"spec": {"a": "x"}})
    for _ in range(3):
        root.at("spec").at("a").integer()
    assert (len(root.findings), root.error_count()) == (1, 1)


def test_an_ignored_subtree_is_understood_whole() -> None:
    root = cursor({"status": {"conditions": [{"type": "Ready"}]}, "other": 1})
    root.at("status").ignore()
    assert root.unread() == ("other",)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1s", 1.0), ("250ms", 0.25), ("1.5s", 1.5), ("1h30m", 5400.0), ("2m", 120.0), ("1m5s", 65.0)],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert cursor({"t": text}).at("t").seconds() == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1 s", "1d"])
def test_what_is_no_duration_is_an_error(text: str) -> None:
    root = cursor({"t": text})
    assert root.at("t").seconds(9.0) == 9.0
    assert [finding.code for finding in root.findings] == ["field.duration"]


def test_a_value_of_the_wrong_type_is_an_error_with_its_path_and_reading_goes_on() -> None:
    root = cursor({"env": {"PORT": 80, "A": "b"}, "list": "x", "n": True})
    assert root.at("env").string_map() == {"A": "b"}
    assert list(root.at("list").each()) == []
    assert root.at("n").integer(7) == 7
    assert [(f.field, f.message) for f in root.findings] == [
        ("env.PORT", "expected a string, found a number; put it in quotes"),
        ("list", "expected a list, found a string"),
        ("n", "expected a whole number, found a boolean"),
    ]
