"""Files: what they state, and the identity of what they state."""

from typing import Any

import pytest

from plait.model.change import Stated, Unreadable
from plait.model.names import ObjectRef
from plait.sources.files.parse import MOST_BYTES, parse

THING = "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  namespace: shop\nspec:\n  x: 1\n"


def stated(text: str) -> Stated:
    change = parse("a.yaml", text.encode())
    assert isinstance(change, Stated), change
    return change


def digests(text: str) -> list[str]:
    return [located.document.digest for located in stated(text).documents]


def told(data: bytes) -> list[tuple[str, str]]:
    change = parse("a.yaml", data)
    assert isinstance(change, Unreadable)
    return [(str(finding.place), finding.code) for finding in change.findings]


def test_a_document_has_its_identity_value_and_place() -> None:
    (located,) = stated(f"# hello\n---\n{THING}").documents
    assert located.document.ref == ObjectRef("", "Service", "shop", "a")
    assert located.document.api_version == "v1"
    assert located.document.value["spec"] == {"x": 1}
    assert str(located.place("spec.x")) == "a.yaml:9"
    assert str(located.place("spec.y")) == "a.yaml:8"
    assert (located.file, located.line) == ("a.yaml", 3)


def test_the_group_is_what_stands_before_the_version_and_the_namespace_is_default() -> None:
    (located,) = stated("apiVersion: a.b/v1\nkind: K\nmetadata: {name: me}\n").documents
    assert located.document.ref == ObjectRef("a.b", "K", "default", "me")


def test_a_namespace_is_in_no_namespace() -> None:
    (located,) = stated("apiVersion: v1\nkind: Namespace\nmetadata: {name: me}\n").documents
    assert located.document.ref == ObjectRef("", "Namespace", "", "me")


@pytest.mark.parametrize(
    "other",
    [
        f"# a comment\n{THING}# and one more\n",
        "metadata: {namespace: shop, name: a}\nspec: {x: 1}\nkind: 'Service'\napiVersion: v1\n",
        THING + "status: {ready: true}\n",
        THING.replace("  name: a\n", "  name: a\n  resourceVersion: '5'\n  uid: u\n  generation: 3\n"),
        THING.replace("  name: a\n", "  name: a\n  managedFields: []\n"),
        '{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","namespace":"shop"},"spec":{"x":1}}',
    ],
)
def test_the_digest_is_of_the_meaning(other: str) -> None:
    assert digests(other) == digests(THING)


@pytest.mark.parametrize(
    "other",
    [
        THING.replace("x: 1", "x: '1'"),
        THING.replace("x: 1", "x: 2"),
        THING.replace("shop", "shed"),
        THING.replace("  name: a\n", '  name: a\n  creationTimestamp: "2026-01-31T12:00:00Z"\n'),
    ],
)
def test_another_meaning_is_another_digest(other: str) -> None:
    assert digests(other) != digests(THING)


def test_the_items_of_a_list_are_documents_with_their_own_lines() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: A\n  metadata:\n    name: a\n"
    text += "- apiVersion: v1\n  kind: BList\n  items:\n  - apiVersion: v1\n    kind: B\n    metadata: {name: b}\n"
    found = stated(text).documents
    assert [(one.document.ref.kind, one.line) for one in found] == [("A", 4), ("B", 11)]
    assert str(found[0].place("metadata.name")) == "a.yaml:7"


def test_a_broken_item_is_told_with_its_line() -> None:
    assert told(b"apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: A\n- 5\n") == [
        ("a.yaml:4", "document.required"),
        ("a.yaml:6", "document.type"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("just text\n", [("a.yaml:1", "document.type")]),
        ("- 1\n", [("a.yaml:1", "document.type")]),
        ("a: 1\n", [("a.yaml:1", "document.required")] * 3),
        (
            "apiVersion: 1\nkind: [x]\nmetadata: {name: 5}\n",
            [(f"a.yaml:{n}", "document.type") for n in (1, 2, 3)],
        ),
        ("apiVersion: v1\nkind: A\nmetadata: x\n", [("a.yaml:3", "document.type")]),
        ("apiVersion: v1\nkind: A\nmetadata:\n  generateName: x-\n", [("a.yaml:3", "document.required")]),
        ("apiVersion: /v1\nkind: A\nmetadata: {name: a}\n", [("a.yaml:1", "document.name")]),
        ("apiVersion: a/b/v1\nkind: A\nmetadata: {name: a}\n", [("a.yaml:1", "document.name")]),
        ("apiVersion: v1\nkind: A B\nmetadata: {name: a}\n", [("a.yaml:2", "document.name")]),
        ("apiVersion: v1\nkind: A\nmetadata:\n  name: A_b\n", [("a.yaml:4", "document.name")]),
        (
            "apiVersion: v1\nkind: A\nmetadata:\n  name: a\n  namespace: a.b\n",
            [("a.yaml:5", "document.name")],
        ),
        ("apiVersion: v1\nkind: A\nmetadata:\n  name: a\n  namespace: 7\n", [("a.yaml:5", "document.type")]),
        (f"apiVersion: v1\nkind: A\nmetadata: {{name: {'a' * 300}}}\n", [("a.yaml:3", "document.name")]),
    ],
)
def test_what_is_no_object_is_an_error_of_the_text(text: str, expected: list[Any]) -> None:
    assert told(text.encode()) == expected


def test_one_error_makes_the_file_unreadable_and_all_errors_are_told() -> None:
    text = f"{THING}---\na: [\n---\nkind: A\n---\nb: 1\nb: 2\n"
    assert [code for _, code in told(text.encode())] == [
        "yaml.syntax",
        "document.required",
        "document.required",
        "yaml.duplicate-key",
    ]


def test_names_of_rbac_objects_may_hold_colons() -> None:
    text = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: 'system:x'}\n"
    (located,) = stated(text).documents
    assert located.document.ref.namespace == ""


@pytest.mark.parametrize("text", ["", "\n", "---\n---\n", "# only a comment\n", "null\n"])
def test_a_file_without_documents_states_nothing(text: str) -> None:
    assert stated(text).documents == ()


def test_a_byte_order_mark_is_no_content() -> None:
    change = parse("a.yaml", b"\xef\xbb\xbf" + THING.encode())
    assert isinstance(change, Stated)
    assert change.documents[0].document.ref.name == "a"


def test_what_is_not_utf_8_is_told_with_its_line() -> None:
    assert told(THING.encode() + b"a: \xe9\n") == [("a.yaml:8", "file.encoding")]
    assert told(THING.encode("utf-16")) == [("a.yaml:1", "file.encoding")]


def test_a_file_may_have_32_mebibytes() -> None:
    assert told(b"#" * (MOST_BYTES + 1)) == [("a.yaml:1", "file.too-large")]
    assert isinstance(parse("a.yaml", b"#" * (2 * 1024 * 1024) + b"\n"), (Stated, Unreadable))


def test_a_thousand_documents_are_a_thousand_documents() -> None:
    text = "---\n".join(THING.replace("name: a", f"name: a{number}") for number in range(1000))
    found = stated(text).documents
    assert len({located.document.ref for located in found}) == 1000
    assert str(found[-1].place("spec.x")) == f"a.yaml:{1000 * 8 - 1}"
