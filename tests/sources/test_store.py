"""The store: one document for each object, and an honest answer to whether anything changed."""

from plait.model.change import Change, Gone
from plait.model.names import ObjectRef
from plait.sources.files.parse import parse
from plait.sources.store import Store


def thing(name: str, value: int = 1) -> str:
    return f"---\napiVersion: v1\nkind: Thing\nmetadata: {{name: {name}}}\nspec:\n  value: {value}\n"


def says(file: str, *texts: str) -> Change:
    return parse(file, "".join(texts).encode())


def values(store: Store) -> dict[str, int]:
    return {one.document.ref.name: one.document.value["spec"]["value"] for one in store.documents()}


def ref(name: str) -> ObjectRef:
    return ObjectRef("", "Thing", "default", name)


def test_documents_are_sorted_by_object_whatever_order_they_came_in() -> None:
    store = Store()
    assert store.apply(says("z.yaml", thing("b"), thing("c")))
    assert store.apply(says("y.yaml", thing("a")))
    assert list(values(store)) == ["a", "b", "c"]


def test_saying_the_same_again_changes_nothing_but_lines_follow() -> None:
    store = Store()
    assert store.apply(says("a.yaml", thing("a")))
    assert not store.apply(says("a.yaml", "# a comment\n", "# and one more\n", thing("a")))
    assert str(store.place(ref("a"), "spec.value")) == "a.yaml:8"
    assert not store.apply(says("b.yaml"))
    assert store.apply(says("a.yaml", thing("a", 2)))


def test_an_unreadable_file_keeps_what_it_said_and_tells_why() -> None:
    store = Store()
    store.apply(says("a.yaml", thing("a")))
    assert store.apply(says("a.yaml", thing("a", 2), "---\n- x: [\n"))
    assert values(store) == {"a": 1}
    assert [(finding.code, str(finding.place)) for finding in store.findings()] == [
        ("yaml.syntax", "a.yaml:8")
    ]
    assert not store.apply(says("a.yaml", thing("a", 2), "---\n- x: [\n"))
    assert store.apply(says("a.yaml", thing("a", 2)))
    assert values(store) == {"a": 2}
    assert store.findings() == ()


def test_a_file_that_is_gone_takes_its_documents_along() -> None:
    store = Store()
    store.apply(says("a.yaml", thing("a"), thing("b")))
    assert store.apply(Gone("a.yaml"))
    assert store.documents() == ()
    assert store.place(ref("a"), "spec") is None
    assert not store.apply(Gone("a.yaml"))


def test_a_file_that_never_was_readable_leaves_with_its_findings() -> None:
    store = Store()
    assert store.apply(says("a.yaml", "- x: [\n"))
    assert store.apply(Gone("a.yaml"))
    assert store.findings() == ()


def test_of_an_object_written_twice_the_first_by_file_and_line_counts() -> None:
    store = Store()
    store.apply(says("b.yaml", thing("a", 1)))
    assert store.apply(says("a.yaml", thing("a", 2), thing("a", 3)))
    assert values(store) == {"a": 2}
    found = store.findings()
    assert [(finding.code, finding.ref, str(finding.place)) for finding in found] == [
        ("document.duplicate", ref("a"), "a.yaml:8"),
        ("document.duplicate", ref("a"), "b.yaml:2"),
    ]
    assert all("a.yaml:2" in finding.message for finding in found)
    assert str(store.place(ref("a"), "spec.value")) == "a.yaml:6"


def test_the_next_takes_the_place_of_one_that_is_gone() -> None:
    store = Store()
    store.apply(says("a.yaml", thing("a", 1)))
    store.apply(says("b.yaml", thing("a", 2)))
    assert store.apply(Gone("a.yaml"))
    assert values(store) == {"a": 2}
    assert store.findings() == ()


def test_a_duplicate_that_goes_changes_the_findings() -> None:
    store = Store()
    store.apply(says("a.yaml", thing("a", 1)))
    store.apply(says("b.yaml", thing("a", 1)))
    assert store.apply(says("b.yaml"))
    assert store.findings() == ()
    assert values(store) == {"a": 1}


def test_two_documents_that_change_places_change_what_counts() -> None:
    store = Store()
    store.apply(says("a.yaml", thing("a", 1), thing("a", 2)))
    assert store.apply(says("a.yaml", thing("a", 2), thing("a", 1)))
    assert values(store) == {"a": 2}
