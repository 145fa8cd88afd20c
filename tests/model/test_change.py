"""Places: a field's own line, or that of the nearest field around it."""

from plait.model.change import Located
from plait.model.document import Document
from plait.model.names import ObjectRef


def test_an_absent_field_is_placed_at_the_nearest_one_around_it() -> None:
    document = Document(ObjectRef("", "Thing", "ns", "name"), "v1", "digest", {})
    located = Located(document, "a.yaml", 3, {"spec": 5, "spec.http[0]": 7, 'metadata.labels["a.b"]': 4})
    assert str(located.place("spec.http[0].match[1].uri")) == "a.yaml:7"
    assert str(located.place("spec.tcp")) == "a.yaml:5"
    assert str(located.place('metadata.labels["a.b"]')) == "a.yaml:4"
    assert str(located.place("kind")) == "a.yaml:3"
