"""The demo as a newcomer meets it: the tour holds, Ctrl-C leaves nothing, and the README's own example runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.pages import README, blocks

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "tour" / "demo.py"
PLAIT = Path(sys.executable).with_name("plait")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Nothing of the caller's own mesh, and a place for temporary files that can be looked at afterwards."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PLAIT_")}
    return {**kept, "TMPDIR": str(tmp_path_factory.mktemp("d"))}


@contextmanager
def running(
    command: list[str], environment: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A program and the lines that it has written so far; whatever happens, it is told to stop."""
    lines: list[str] = []
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout
        stdout = process.stdout
        reader = threading.Thread(target=lambda: lines.extend(stdout))
        reader.start()
        try:
            yield process, lines
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(90)
            reader.join()


def until_told(process: subprocess.Popen[str], lines: list[str], pattern: str, seconds: float = 90.0) -> None:
    """Wait for a line; fails when the program ends, or falls silent, before it."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.1)):
        if any(re.search(pattern, line) for line in lines):
            return
        assert process.poll() is None, "".join(lines)
        pause.wait(0.1)
    pytest.fail(f"no line with {pattern!r} in\n{''.join(lines)}")


def test_every_step_of_the_tour_holds_and_nothing_is_left(environment: dict[str, str]) -> None:
    # Other tests run beside this one, so that the ten seconds to the first answer are asked for elsewhere.
    command = [sys.executable, str(DEMO), "--check", "--within", "60"]
    with running(command, environment) as (process, lines):
        process.wait(280)
    assert process.returncode == 0, "".join(lines)
    assert list(Path(environment["TMPDIR"]).iterdir()) == []


@pytest.mark.prove
def test_the_first_request_through_the_mesh_is_answered_within_ten_seconds(
    environment: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    with running([sys.executable, str(DEMO)], environment) as (process, lines):
        until_told(process, lines, "The bistro is open")
    told = re.search(r"answered after ([\d.]+) s", "".join(lines))
    assert told
    record_property("seconds to the first answer", told[1])
    assert float(told[1]) <= 10


def test_ctrl_c_closes_the_bistro_and_leaves_no_file(environment: dict[str, str]) -> None:
    with running([sys.executable, str(DEMO)], environment) as (process, lines):
        until_told(process, lines, "Ctrl-C here closes the bistro")
        process.send_signal(signal.SIGINT)
        assert process.wait(90) == 0, "".join(lines)
    assert "Nothing is left of it.\n" in lines
    assert list(Path(environment["TMPDIR"]).iterdir()) == []


def test_the_example_of_the_readme_runs_as_written(environment: dict[str, str], tmp_path: Path) -> None:
    (example,) = blocks(README, "yaml")
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "hello.yaml").write_text(example)
    environment["PLAIT_STATE_DIR"] = str(tmp_path / "s")
    command = next(
        line for block in blocks(README, "sh") for line in block.splitlines() if "http://hello" in line
    )
    with running([str(PLAIT), "up", str(folder)], environment) as (process, lines):
        until_told(process, lines, "^ready: ")
        asked = subprocess.run(
            ["/bin/sh", "-c", command],
            env={**environment, "PATH": f"{PLAIT.parent}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert "HTTP/1.1 200 OK" in asked.stdout, asked.stdout + asked.stderr + "".join(lines)
