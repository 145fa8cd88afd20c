"""The state directory: private, one mesh at a time, and never somebody else's."""

import shutil
import threading
from pathlib import Path

import pytest

from plait.local.sweep import sweep
from plait.run.state_directory import StateDirectory, StateDirectoryError


def test_it_is_made_private(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "s")
    state.create()
    assert {path.stat().st_mode & 0o777 for path in (state.root, state.authority, state.agent)} == {0o700}


def test_a_directory_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StateDirectoryError, match=r"thesis\.tex"):
        StateDirectory(tmp_path).create()


def test_a_path_too_long_for_sockets_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(StateDirectoryError, match="--state-dir"):
        StateDirectory(tmp_path / ("x" * 120)).create()


def test_two_meshes_cannot_run_from_one_directory(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "s")
    assert state.owner() is None
    with (
        state.locked(),
        pytest.raises(StateDirectoryError, match="plait down"),
        StateDirectory(tmp_path / "s").locked(),
    ):
        pass
    assert state.owner() is None


def test_a_link_in_the_place_of_a_part_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s" / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateDirectoryError, match="not Plait's"):
        StateDirectory(tmp_path / "s").create()


def test_a_directory_that_is_half_made_is_known_and_removed(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "s")
    state.create()
    for part in (state.authority, state.agent, state.control_plane):
        part.rmdir()
    assert sweep(state.root).clean
    state.root.mkdir()
    state.lock.write_text("123\n")
    assert sweep(state.root).clean
    assert not state.root.exists()


def test_whoever_waits_for_a_directory_gets_it_when_the_other_has_removed_it(tmp_path: Path) -> None:
    first, second = StateDirectory(tmp_path / "s"), StateDirectory(tmp_path / "s")
    with first.locked():
        had: list[bool] = []

        def wait() -> None:
            try:
                with second.held(patience=30):
                    had.append(True)
            except StateDirectoryError:  # there was nothing left to hold
                had.append(False)

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not had
        assert sweep(first.root).clean
    waiting.join()
    assert had == [False]


def test_a_directory_that_was_removed_or_taken_by_another_is_not_ours_any_more(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "s")
    with state.locked():
        assert state.mine()
        shutil.rmtree(state.root)
        assert not state.mine()
