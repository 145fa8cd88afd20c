"""Private files: private from birth, whole or not at all, and never through somebody's link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from plait.identity.files import Insecure, private_directory, read_private, write_private


def test_a_file_is_replaced_whole_and_private_whatever_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old and readable")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        write_private(path, b"new")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_private(path) == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "secret"
    victim.write_text("precious")
    path.symlink_to(victim)
    with pytest.raises(Insecure, match="symbolic link"):
        read_private(path)
    write_private(path, b"new")
    assert not path.is_symlink()
    assert (victim.read_text(), path.read_bytes()) == ("precious", b"new")


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()  # can't be replaced by a file
    with pytest.raises(OSError, match="directory"):
        write_private(tmp_path / "secret", b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_what_is_no_plain_private_file_is_not_read(tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    wide.write_text("x")
    wide.chmod(0o604)
    with pytest.raises(Insecure, match="chmod 600"):
        read_private(wide)
    os.mkfifo(tmp_path / "fifo", 0o600)  # which would hold up whoever opened it to read
    with pytest.raises(Insecure, match="no plain file"):
        read_private(tmp_path / "fifo")
    with pytest.raises(FileNotFoundError):
        read_private(tmp_path / "absent")


def test_a_directory_is_made_private_and_an_open_one_refused(tmp_path: Path) -> None:
    private_directory(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    private_directory(tmp_path / "a" / "b")
    (tmp_path / "a" / "b").chmod(0o770)
    with pytest.raises(Insecure, match="chmod 700"):
        private_directory(tmp_path / "a" / "b")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(Insecure, match="symbolic link"):
        private_directory(tmp_path / "link")
