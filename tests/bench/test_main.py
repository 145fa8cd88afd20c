"""The command keeps what was measured when a part fails, and leaves the repository's results alone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import rebuild, sidecars
from bench.meshes import files, write
from bench.records import Record
from bench.results import Results

Say = Callable[[str], None]
FOUND = Record(part="rebuild", case="c", setting="s", metric="m", unit="ms", values=(1.0, 2.0))


def measured(quick: bool, say: Say) -> Iterator[Record]:  # noqa: FBT001 - the form of every part
    say(f"quick: {quick}")
    yield FOUND


def failing(quick: bool, say: Say) -> Iterator[Record]:  # noqa: FBT001 - the form of every part
    yield from measured(quick, say)
    raise RuntimeError("no such luck")


@pytest.fixture(autouse=True)
def without_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_drawn", lambda _results, _folder: ())


def test_what_was_found_is_kept_and_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rebuild, "measure", measured)
    assert command.main(["--quick", "--only", "rebuild", "--output", str(tmp_path)]) == 0
    kept = Results.load(tmp_path)
    assert kept.records == (FOUND,)
    assert kept.failures == ()
    assert "1.50 (1 to 2)" in (tmp_path / "RESULTS.md").read_text()
    said = capsys.readouterr()
    assert "part 1 of 1, rebuild: quick: True" in said.err
    assert "not measured in this run" in said.out


def test_a_part_that_fails_costs_the_others_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sidecars, "measure", failing)
    monkeypatch.setattr(rebuild, "measure", measured)
    assert command.main(["--only", "sidecars", "rebuild", "--output", str(tmp_path)]) == 1
    kept = Results.load(tmp_path)
    assert kept.records == (FOUND, FOUND)
    assert kept.failures == (("sidecars", "RuntimeError: no such luck"),)
    assert "**The part sidecars has failed**" in (tmp_path / "RESULTS.md").read_text()


def test_sigterm_ends_in_order_what_a_part_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = []

    def terminated(_quick: bool, _say: Say) -> Iterator[Record]:  # noqa: FBT001 - the form of every part
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            yield FOUND
        finally:
            ended.append("what was started")

    monkeypatch.setattr(rebuild, "measure", terminated)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit, match="143"):
        command.main(["--only", "rebuild", "--output", str(tmp_path)])
    assert ended == ["what was started"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_only_a_full_run_of_all_parts_writes_the_results_of_the_repository() -> None:
    folders = {
        (quick, whole): command._folder(quick=quick, whole=whole)
        for quick in (False, True)
        for whole in (False, True)
    }
    assert {key for key, folder in folders.items() if folder.name == "bench"} == {(False, True)}


def test_a_mesh_is_written_as_it_is_measured(tmp_path: Path) -> None:
    write(tmp_path / "mesh", 12)
    assert {path.name: path.read_text() for path in (tmp_path / "mesh").iterdir()} == dict(files(12))
