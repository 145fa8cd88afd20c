"""objects: what is shown of an object stands in its file, or is what was read from there."""

from pathlib import Path

import pytest

from plait.api.targets import NotFound
from plait.model.change import Stated
from plait.run.objects import shown
from plait.sources.files.folder import load
from plait.sources.files.yaml import documents
from plait.sources.store import Store
from tests.run.written import service

MENU = f"# What there is to eat.\n{service('menu')}"


def store(folder: Path) -> Store:
    """What is written in a folder."""
    found = Store()
    for change in load([folder]):
        assert isinstance(change, Stated)
        found.apply(change)
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "menu.yaml"
    path.write_text(MENU)
    return path


def test_an_object_is_shown_as_it_stands_with_its_first_line(file: Path) -> None:
    found = shown(store(file.parent), "Service", "bistro", "menu")
    text, _, rest = MENU.partition("---\n")
    assert (found.text, found.written.file, found.written.line) == (text, str(file), 1)
    workload = shown(store(file.parent), "Workload", "bistro", "menu")
    assert workload.text == rest
    assert workload.written.line == text.count("\n") + 2
    assert workload.written.object == "Workload bistro/menu"


@pytest.mark.parametrize("gone", ["removed", "changed", "moved", "broken", "bytes", "folder"])
def test_what_was_read_is_shown_where_the_file_says_something_else(file: Path, gone: str) -> None:
    known = store(file.parent)
    match gone:
        case "removed":
            file.unlink()
        case "changed":
            file.write_text(MENU.replace("8080", "9090"))
        case "moved":
            file.write_text(f"---\n# nothing yet\n---\n{MENU}")
        case "broken":
            file.write_text("a: [")
        case "bytes":
            file.write_bytes(b"\xff\xfe\x00")
        case _:
            file.unlink()
            file.mkdir()
    found = shown(known, "Service", "bistro", "menu")
    assert (found.written.file, found.written.line) == (str(file), 2)
    (value,) = documents(found.text)
    assert not isinstance(value, tuple)
    assert value.value["spec"]["ports"] == [{"name": "http", "port": 8080}]


def test_a_secret_is_shown_to_nobody_and_what_is_not_written_is_not_there(file: Path) -> None:
    secret = (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: key, namespace: bistro}\nstringData: {key: hidden}\n"
    )
    (file.parent / "secret.yaml").write_text(secret)
    known = store(file.parent)
    with pytest.raises(ValueError, match="not shown"):
        shown(known, "Secret", "bistro", "key")
    with pytest.raises(NotFound, match=r"no Service bistro/nemu written here; there are bistro/menu\Z"):
        shown(known, "Service", "bistro", "nemu")
    with pytest.raises(NotFound, match=r"no Sidecar bistro/menu written here; no Sidecar is\Z"):
        shown(known, "Sidecar", "bistro", "menu")
    with pytest.raises(NotFound):
        shown(known, "", "", str(file))
