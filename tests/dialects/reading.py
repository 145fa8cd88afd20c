"""Readings of documents written as YAML."""

from typing import TypeVar

from plait import dialects
from plait.model.change import Stated
from plait.model.reading import Reading
from plait.sources.files.parse import parse

T = TypeVar("T")


def reading(text: str) -> Reading:
    """What one document says."""
    change = parse("in.yaml", text.encode())
    assert isinstance(change, Stated), change
    (located,) = change.documents
    return dialects.read(located.document)


def document(api_version: str, kind: str, spec: str, name: str = "it", namespace: str = "shop") -> str:
    """The text of an object; `spec` is YAML in flow style, or lines without indentation."""
    head = f"apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
    if "\n" not in spec:
        return f"{head}spec: {spec}\n"
    return head + "spec:\n" + "".join(f"  {line}\n" for line in spec.strip("\n").splitlines())


def fact(read: Reading, kind: type[T]) -> T:
    """The one fact that was read."""
    (found,) = read.facts
    assert isinstance(found, kind)
    return found


def codes(read: Reading) -> list[tuple[str, str]]:
    """Field and code of every finding, in order."""
    return [(finding.field, finding.code) for finding in read.findings]
