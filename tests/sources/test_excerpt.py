"""excerpt: the lines of an object, with its comments, and never those of another one."""

import json

import pytest

from plait.model.change import Located, Stated
from plait.sources.files.excerpt import Excerpt, excerpt, rendered
from plait.sources.files.parse import parse

FIRST = """\
# Who sits where.

apiVersion: v1
kind: Service
metadata: {name: rooms, namespace: bistro}   # the blue one
spec:
  # and one more comment
  selector: {app: rooms}
"""
SECOND = FIRST.replace("rooms", "menu")
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: key, namespace: bistro}\nstringData: {key: hidden}\n"
ITEM = """\
- apiVersion: v1
  kind: %s
  metadata: {name: %s, namespace: bistro}
  data: {text: %s}
"""


def located(text: str) -> dict[str, Located]:
    """The objects of a file by name."""
    change = parse("mesh.yaml", text.encode())
    assert isinstance(change, Stated), change
    return {one.document.ref.name: one for one in change.documents}


def of(text: str, name: str) -> Excerpt | None:
    return excerpt(located(text)[name], text)


@pytest.mark.parametrize("between", ["---\n", "\n\n---   # next\n", "...\n---\n", "--- \n\n"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_an_object_is_shown_from_its_first_comment_to_before_the_next(between: str, newline: str) -> None:
    text = f"{FIRST}{between}{SECOND}\n\n"
    whole = text.replace("\n", newline)
    assert of(whole, "rooms") == Excerpt(1, FIRST)
    second = of(whole, "menu")
    assert second is not None
    lines = text.splitlines()
    assert second.text.splitlines() == lines[second.line - 1 :][: len(second.text.splitlines())]
    assert second.text.endswith(SECOND)
    assert second.text.removesuffix(SECOND) in {"", "---   # next\n"}


def test_what_stands_on_the_line_of_its_marker_belongs_to_it() -> None:
    text = f"{SECRET}--- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}}}\n---\n{FIRST}"
    assert of(text, "a") == Excerpt(5, "--- {apiVersion: v1, kind: ConfigMap, metadata: {name: a}}\n")


@pytest.mark.parametrize(
    "changed",
    ["", FIRST.replace("app: rooms", "app: menu"), f"---\n{SECOND}", f"# one line more\n{FIRST}", "a: [", "\0", FIRST[:40]],
)  # fmt: skip
def test_a_file_that_says_something_else_by_now_says_nothing_of_it(changed: str) -> None:
    assert excerpt(located(FIRST)["rooms"], changed) is None


def test_comments_may_change() -> None:
    changed = FIRST.replace("the blue one", "the red one")
    assert excerpt(located(FIRST)["rooms"], changed) == Excerpt(1, changed)


def test_of_a_list_the_item_is_shown_and_nothing_beside_a_secret() -> None:
    items = ITEM % ("ConfigMap", "a", "one") + ITEM % ("ConfigMap", "b", "two")
    text = f"kind: List\napiVersion: v1\nitems:\n{items}"
    assert of(text, "a") == Excerpt(4, ITEM % ("ConfigMap", "a", "one"))
    assert of(text, "b") == Excerpt(8, ITEM % ("ConfigMap", "b", "two"))
    for text in (
        f"kind: List\napiVersion: v1\nitems:\n{ITEM % ('Secret', 'a', 'hidden')}{ITEM % ('ConfigMap', 'b', 'two')}",
        f"kind: List\napiVersion: v1\nitems:\n{ITEM % ('Secret', 'a', 'hidden')}{ITEM % ('ConfigMap', 'b', 'two')}".replace("- api", "-\n  api"),
        json.dumps({"kind": "List", "apiVersion": "v1", "items": [json_object("Secret", "a"), json_object("ConfigMap", "b")]}),
        json.dumps({"kind": "List", "apiVersion": "v1", "items": [json_object("ConfigMap", "b"), json_object("ConfigMap", "c")]}),
    ):  # fmt: skip
        assert of(text, "b") is None


def json_object(kind: str, name: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "bistro"}}


def test_one_object_of_json_is_shown_as_it_stands() -> None:
    text = json.dumps(json_object("ConfigMap", "a"), indent=2) + "\n"
    assert of(text, "a") == Excerpt(1, text)


def test_an_object_as_yaml_reads_as_the_same_and_keeps_its_order() -> None:
    text = "kind: ConfigMap\napiVersion: v1\nmetadata: &m {name: a, namespace: bistro}\ndata: {'on': 'yes', no1: '1', é: 'a\n\n  b'}\nagain: *m\n"
    document = located(text)["a"].document
    again = rendered(document.value)
    assert located(again)["a"].document == document
    keys = [line.partition(":")[0] for line in again.splitlines() if line[:1].isalpha()]
    assert keys == ["kind", "apiVersion", "metadata", "data", "again"]
    assert "&" not in again
