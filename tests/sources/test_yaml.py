"""YAML: values and lines, each document by itself, and nothing that a text may hold gets out of hand."""

from typing import Any

import pytest
import yaml as pyyaml

from plait.sources.files import yaml
from plait.sources.files.yaml import Parsed, Problem, documents


def parsed(text: str) -> Parsed:
    (document,) = documents(text)
    assert isinstance(document, Parsed), document
    return document


def problems(text: str) -> tuple[Problem, ...]:
    return tuple(
        problem for document in documents(text) if isinstance(document, tuple) for problem in document
    )


def test_every_field_knows_the_line_of_its_key() -> None:
    text = "# a comment\na:\n  b: 1\n  c:\n  - x\n  - d: 2\n\n    'e.f': 3\n"
    assert dict(parsed(text).lines) == {
        "a": 2,
        "a.b": 3,
        "a.c": 4,
        "a.c[0]": 5,
        "a.c[1]": 6,
        "a.c[1].d": 6,
        'a.c[1]["e.f"]': 8,
    }
    assert parsed(text).line == 2


def test_lines_are_looked_up_by_path_and_a_path_that_is_not_there_has_none() -> None:
    lines = parsed('a:\n  "x.y":\n  - 1\n').lines
    assert lines['a["x.y"][0]'] == 3
    assert "a.x" not in lines
    assert "" not in lines


def test_documents_are_split_where_a_line_says_so_and_nowhere_else() -> None:
    text = "%YAML 1.2\n---\na: |\n  --- not here\n--- {b: 2}\n---\n# nothing\n--- # c\nc: 3\n...\n---\n"
    found = [document for document in documents(text) if isinstance(document, Parsed)]
    assert [document.value for document in found] == [{"a": "--- not here\n"}, {"b": 2}, {"c": 3}]
    assert [document.line for document in found] == [3, 5, 9]


def test_a_broken_document_hides_nothing_in_the_others() -> None:
    text = "a: [1\n---\nb: 2\n---\nc: {\n---\nd:\n\te: 1\n"
    assert [(problem.line, problem.code) for problem in problems(text)] == [
        (1, "yaml.syntax"),
        (5, "yaml.syntax"),
        (8, "yaml.tab"),
    ]
    assert [document.value for document in documents(text) if isinstance(document, Parsed)] == [{"b": 2}]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: yes\nb: 'yes'\n", {"a": True, "b": "yes"}),
        ("8080: {mode: STRICT}\n", {"8080": {"mode": "STRICT"}}),
        ("a: !!str 5\nb: !!int '5'\nc: ! 5\nd: !!map {}\n", {"a": "5", "b": 5, "c": "5", "d": {}}),
        ("a: &x {k: 1}\nb: *x\nc: [*x]\n", {"a": {"k": 1}, "b": {"k": 1}, "c": [{"k": 1}]}),
        ("a: &x name\n*x : 2\n", {"a": "name", "name": 2}),
        ("a: &x {k: 1, l: 2}\nb:\n  l: 3\n  <<: *x\n", {"a": {"k": 1, "l": 2}, "b": {"l": 3, "k": 1}}),
        ("b:\n  <<: [{k: 1}, {k: 2, l: 3}]\n", {"b": {"k": 1, "l": 3}}),
        ("'<<': 1\n", {"<<": 1}),
        ('{"a":1,\n\t"b":[true,null,"\\u00e9"]}', {"a": 1, "b": [True, None, "é"]}),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert parsed(text).value == value


def test_what_an_alias_stands_for_has_the_lines_of_its_anchor() -> None:
    lines = parsed("a: &x\n  k: 1\nb: *x\nc:\n  <<: *x\n").lines
    assert (lines["b"], lines["b.k"], lines["c.k"]) == (3, 2, 2)


@pytest.mark.parametrize(
    ("text", "line", "code"),
    [
        ("a: 1\n b: 2\n", 2, "yaml.syntax"),
        ("a: 1\nb: 'x\nc: 3\n", 2, "yaml.syntax"),
        ("a: 1\nb: 2\na: 3\n", 3, "yaml.duplicate-key"),
        ("a:\n\tb: 1\n", 2, "yaml.tab"),
        ("a:\n  - &x [*x]\n", 2, "yaml.cycle"),
        ("a: 1\nb: *none\n", 2, "yaml.alias"),
        ("a: !!python/object/apply:os.system ['true']\n", 1, "yaml.tag"),
        ("a: !mine 1\n", 1, "yaml.tag"),
        ("a: !!int x\n", 1, "yaml.tag"),
        ("? [a]\n: 1\n", 1, "yaml.key"),
        ("on: push\n", 1, "yaml.key"),
        ("a:\n  null: 1\n", 2, "yaml.key"),
        ("1.5: x\n", 1, "yaml.key"),
        ("? " + "k" * 2000 + "\n: 1\n", 1, "yaml.key"),
        ("a:\n  <<: 1\n", 2, "yaml.merge"),
        ("a: 1\nb: .inf\n", 2, "yaml.number"),
        ("a: 1\nb: \0\n", 2, "yaml.character"),
        ("a: 1\nb: \x07\n", 2, "yaml.character"),
        ('a: "\\0"\n', 1, "yaml.character"),
        ("[" * 100 + "]" * 100, 1, "yaml.depth"),
        ("a: 1\u2028---\u2028b: 2\n", 2, "yaml.syntax"),
    ],
)
def test_what_is_no_yaml_of_ours_is_told_with_its_line(text: str, line: int, code: str) -> None:
    assert [(problem.line, problem.code) for problem in problems(text)] == [(line, code)]


def test_every_duplicate_key_is_told_but_not_without_end() -> None:
    assert len(problems("a: 1\n" * 3)) == 2
    assert len(problems("a: 1\n" * 5000)) == 100


def test_a_bomb_is_refused_before_it_is_built() -> None:
    text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    for before, name in zip("abcdefghijklmnop", "bcdefghijklmnopq", strict=True):
        text += f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
    assert [(problem.code) for problem in problems(text)] == ["yaml.bomb"]


def test_long_texts_can_be_no_bomb_either() -> None:
    text = f"a: &a {'x' * 100_000}\n" + "b: [" + ",".join(["*a"] * 1000) + "]\n"
    assert [(problem.line, problem.code) for problem in problems(text)] == [(2, "yaml.bomb")]


def test_depth_is_bounded_through_aliases_too() -> None:
    text = "a0: &a0 [1]\n" + "".join(f"a{i + 1}: &a{i + 1} [*a{i}]\n" for i in range(200))
    assert [problem.code for problem in problems(text)] == ["yaml.depth"]


def test_one_document_may_have_a_mebibyte_and_no_more() -> None:
    fits = "a: " + "x" * (yaml.MOST_CHARACTERS - 4) + "\n"
    assert len(parsed(fits).value["a"]) == yaml.MOST_CHARACTERS - 4
    assert [problem.code for problem in problems(f"b: 1\n---\nx{fits}")] == ["document.too-large"]
    wide = "a: " + "é" * (yaml.MOST_CHARACTERS // 2) + "\n"
    assert [problem.code for problem in problems(wide)] == ["document.too-large"]


def test_long_keys_far_down_cost_no_more_than_their_text() -> None:
    """Paths are never built for the lines of a document: 60 KB of them for each of 100,000 fields would be 6 GB."""
    text = (
        "".join(" " * depth + "k" * 1000 + ":\n" for depth in range(60))
        + " " * 60
        + "["
        + "1," * 100_000
        + "]\n"
    )
    document = parsed(text)
    path = ".".join(["k" * 1000] * 60)
    assert document.lines[f"{path}[99999]"] == 61


def test_the_slow_parser_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &x {k: yes}\nb: *x\nc:\n- 1\n---\nd: [\n---\ne: 1\ne: 2\n"
    fast = list(documents(text))
    monkeypatch.setattr(yaml, "_Loader", pyyaml.SafeLoader)
    slow = list(documents(text))
    assert fast[0] == slow[0]
    assert [document[0].code for document in slow[1:] if isinstance(document, tuple)] == [
        "yaml.syntax",
        "yaml.duplicate-key",
    ]
