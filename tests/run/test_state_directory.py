"""The state directory: private, one mesh at a time, and never somebody else's."""

from pathlib import Path

import pytest

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
