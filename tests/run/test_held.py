"""What is held survives a restart."""

from pathlib import Path

from plait.model.change import Stated
from plait.run.held import Held
from plait.sources.files.parse import parse


def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    text = b"{apiVersion: v1, kind: Namespace, metadata: {name: bistro}}"
    stated = parse("a.yaml", text)
    assert isinstance(stated, Stated)
    document = stated.documents[0].document
    path = tmp_path / "held.json"
    Held({"a.yaml": stated}, {document.ref: document}).save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    held = Held.load(path)
    assert held.objects == {document.ref: document}
    assert held.objects[document.ref].value == document.value
    assert [located.document for located in held.units["a.yaml"].documents] == [document]
    Held().save(path)
    assert not path.exists()
    assert Held.load(path) == Held()
