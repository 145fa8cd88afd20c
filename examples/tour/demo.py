"""The demo: opens the bistro in a mesh, tells the tour, and leaves nothing behind.

    python demo.py                    until Ctrl-C
    python demo.py --check            walks its own tour, step by step, and says with its exit code how it went
    python demo.py --mode explicit    in another mode than `plait up` would choose here

It works on a copy of examples/bistro in a folder of its own, so that the tour can edit files, and uses
`plait` as anybody would: as a program.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, ProxyHandler, build_opener

from steps import TOUR, WORKLOADS, Seen, Step

HERE = Path(__file__).resolve().parent
PATIENCE = 15.0  # seconds for a step to show what it should
DASHBOARD = find_spec("nicegui") is not None  # Plait's extra of this name is installed


class DemoError(Exception):
    """The demo can't go on; the message says why."""


def say(text: str = "") -> None:
    print(text, flush=True)


def _processes() -> Iterator[tuple[int, str, list[bytes]]]:
    """All processes that may be looked at: id, command line and (on Linux) environment."""
    if not Path("/proc/self/environ").exists():
        shown = subprocess.run(
            ["/bin/ps", "-axo", "pid=,command="], capture_output=True, text=True, check=True
        )
        for line in shown.stdout.splitlines():
            pid, _, command = line.strip().partition(" ")
            yield int(pid), command.strip(), []
        return
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            environment = (place / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended, or is another user's
        if command:
            yield int(place.name), command, environment


class Mesh:
    """`plait up` in a folder of its own, and what can be asked about it."""

    def __init__(self, folder: Path, options: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.options = options
        self.state = folder / "state"
        self.bin = Path(sys.executable).parent
        self.environment = {
            **os.environ,
            "PATH": f"{self.bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PLAIT_STATE_DIR": str(self.state),
            "COLUMNS": "200",  # tables whole, when nobody's terminal is asked for its width
        }
        self.lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    def prepare(self) -> None:
        """The copy of the bistro, what the tour adds to it, and the file that another terminal begins with."""
        shutil.copytree(
            HERE.parent / "bistro", self.folder / "bistro", ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copytree(HERE / "more", self.folder / "more")
        (self.folder / "tour").write_text(
            f'export PATH={shlex.quote(str(self.bin))}:"$PATH"\n'
            f"export PLAIT_STATE_DIR={shlex.quote(str(self.state))}\n"
            f"cd {shlex.quote(str(self.folder))}\n"
        )

    def start(self) -> None:
        command = (self.bin / "plait", "up", self.folder / "bistro", "--state-dir", self.state, *self.options)
        if DASHBOARD:
            command = (*command, "--dashboard")
        self._process = subprocess.Popen(
            tuple(map(str, command)),
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # so that a Ctrl-C reaches it through us, once
        )
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        with process.stdout:
            for line in process.stdout:
                self.lines.append(line.rstrip())
                say(f"  | {line.rstrip()}")

    @property
    def dashboard(self) -> str:
        """The link that opens the dashboard; "" as long as there is none."""
        said = (line.removeprefix("dashboard: ") for line in self.lines if line.startswith("dashboard: "))
        return next(said, "")

    @property
    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def interrupt(self, seconds: float = 60.0) -> int | None:
        """What Ctrl-C does in a terminal: the exit code, or None when it does not end within so many seconds."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def type(self, command: str, seconds: float = 30.0) -> tuple[str, int]:
        """Run a line as if typed in the demo's folder: what it showed, and its exit code."""
        shell = shutil.which("bash") or "/bin/sh"
        try:
            done = subprocess.run(
                [shell, "-c", command],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            return (error.output or b"").decode(errors="replace") + f"\n(no end after {seconds:g} s)", 124
        return done.stdout.decode(errors="replace"), done.returncode

    def not_ready(self) -> list[str]:
        """The workloads that are not ready yet."""
        output, code = self.type("plait status --output json")
        if code != 0:
            return list(WORKLOADS)
        ready = {
            entry["name"]
            for entry in json.loads(output)["workloads"]
            if entry["namespace"] == "bistro" and entry["state"] == "ready"
        }
        return [name for name in WORKLOADS if name not in ready]

    def first_answer(self) -> float | None:
        """When the diner had its first answer through the mesh, in seconds since the epoch."""
        output, _ = self.type("plait logs bistro/diner")
        found = re.search(r"first answer at (\S+)", output)
        return datetime.fromisoformat(found[1]).timestamp() if found else None

    def processes(self) -> dict[int, str]:
        """Every process of this mesh that is left: its id and its command line."""
        mine = f"PLAIT_MESH={self.state}".encode()
        return {
            pid: command
            for pid, command, environment in _processes()
            if mine in environment or f"{self.state}/" in command
        }

    def envoys(self) -> frozenset[int]:
        return frozenset(
            pid for pid, command in self.processes().items() if Path(command.split()[0]).name == "envoy"
        )

    def left_behind(self) -> list[str]:
        """What should be gone once the mesh has ended: processes, sockets and files."""
        left = [f"process {pid}: {command}" for pid, command in self.processes().items()]
        sockets = Path("/proc/net/unix")
        if sockets.exists():
            left += [line for line in sockets.read_text().splitlines() if str(self.state) in line]
        if self.state.exists():
            left += [str(path) for path in (self.state, *sorted(self.state.rglob("*")))]
        return left


def wait_until_open(mesh: Mesh, began: float, stop: threading.Event) -> float:
    """Waits for the first answer and for every workload: the seconds from `began` to the first answer."""
    deadline = time.monotonic() + 90
    while not any("ready" in line for line in mesh.lines) or mesh.not_ready():
        if mesh.ended:
            raise DemoError("plait up ended before the bistro was open")
        if time.monotonic() > deadline:
            raise DemoError(f"not ready after 90 s: {', '.join(mesh.not_ready())}")
        if stop.wait(0.1):
            raise DemoError("interrupted")
    while (first := mesh.first_answer()) is None:
        if mesh.ended or time.monotonic() > deadline or stop.wait(0.1):
            raise DemoError("no request came through the mesh; see `plait logs bistro/diner`")
    return first - began


def tell(mesh: Mesh, first: float) -> None:
    """Prints the tour."""
    say(f"\nThe bistro is open: the first request through the mesh was answered after {first:.1f} s.\n")
    if mesh.dashboard:
        say(f"To look at it in a browser, open\n\n    {mesh.dashboard}\n")
    say("In another terminal, type first")
    say(f"\n    . {shlex.quote(str(mesh.folder / 'tour'))}\n")
    say("which enters the demo's folder, puts plait on the PATH and names this mesh; then, one by one:\n")
    for number, step in enumerate(TOUR, 1):
        say(f"{number:2}. {step.title}\n")
        for command in step.commands:
            say(f"    {command}")
        say()
        say(textwrap.fill(step.told, 100, initial_indent="    ", subsequent_indent="    "))
        absent = [program for program in step.needs if not shutil.which(program)]
        if absent:
            say(f"    (This step needs {', '.join(absent)}, which is not installed here.)")
        say()
    say("Ctrl-C here closes the bistro and removes all of it.\n")


def walk(mesh: Mesh, step: Step) -> tuple[str, str]:
    """Do one step as told: what is missing of what should be seen ("": nothing), and what was seen."""
    absent = [program for program in step.needs if not shutil.which(program)]
    if absent:
        return f"{', '.join(absent)}: not installed", ""
    before = mesh.envoys()
    for command in step.commands[:-1]:
        output, code = mesh.type(command, step.seconds)
        if code != 0:
            return f"`{command}` ends with {code}", output
    deadline = time.monotonic() + PATIENCE
    while True:
        output, code = mesh.type(step.commands[-1], step.seconds)
        missing = step.missing(Seen(output=output, exit_code=code, before=before, now=mesh.envoys()))
        if not missing or time.monotonic() > deadline:
            return missing, output


def dashboard_missing(link: str) -> str:
    """What is not as it should be of the dashboard; "" for nothing."""
    answers = []
    for address in (link.partition("?")[0], link):
        browser = build_opener(ProxyHandler({}), HTTPCookieProcessor())
        try:
            with browser.open(address, timeout=PATIENCE) as answer:
                answers.append(answer.status)
        except HTTPError as error:
            answers.append(error.code)
            error.close()
        except (OSError, ValueError) as error:
            return f"no answer from {address!r}: {error}"
    return "" if answers == [401, 200] else f"{answers} without and with its token, instead of 401 and 200"


def check(mesh: Mesh, first: float, within: float, stop: threading.Event) -> list[str]:
    """Walks the tour: the titles of the steps that failed."""
    say()
    failed = []
    verdict = "ok    " if first <= within else "FAILED"
    say(f"{verdict}  0. First request through the mesh after {first:.1f} s (at most {within:g} s)")
    if first > within:
        failed.append("First request through the mesh")
    if DASHBOARD:
        missing = dashboard_missing(mesh.dashboard)
        say(
            f"{'FAILED' if missing else 'ok    '}  0. The dashboard opens by its link alone {missing}".rstrip()
        )
        failed += ["The dashboard"] if missing else []
    for number, step in enumerate(TOUR, 1):
        if stop.is_set():
            raise DemoError("interrupted")
        began = time.monotonic()
        missing, output = walk(mesh, step)
        say(
            f"{'FAILED' if missing else 'ok    '} {number:2}. {step.title} ({time.monotonic() - began:.1f} s)"
        )
        if missing:
            failed.append(step.title)
            say(f"           missing: {missing}")
        for line in output.splitlines()[: 20 if missing else 3]:
            say(f"           {line[:160]}")
    return failed


def stay(mesh: Mesh, stop: threading.Event) -> None:
    """Waits for Ctrl-C."""
    while not stop.wait(0.5):
        if mesh.ended:
            raise DemoError("plait up has ended")


def close(mesh: Mesh) -> list[str]:
    """Ends the mesh as Ctrl-C does: what went wrong in doing so, and what it left behind."""
    say("\nClosing the bistro ...")
    code = mesh.interrupt()
    wrong = (
        [] if code == 0 else [f"plait up ended with {code}" if code is not None else "plait up did not end"]
    )
    left = mesh.left_behind()
    wrong += [f"left behind: {what}" for what in left]
    if wrong:
        mesh.type("plait down", seconds=60)
    return wrong


def run(mesh: Mesh, arguments: argparse.Namespace, stop: threading.Event) -> list[str]:
    began = time.time()
    failed: list[str] = []
    try:
        mesh.prepare()
        mesh.start()
        first = wait_until_open(mesh, began, stop)
        if arguments.check:
            failed = check(mesh, first, arguments.within, stop)
        else:
            tell(mesh, first)
            stay(mesh, stop)
    except DemoError as error:
        if not stop.is_set() or arguments.check:
            failed.append(str(error))
    wrong = close(mesh)
    for line in wrong:
        say(f"FAILED  {line}")
    if not wrong:
        say("ok      Nothing is left of it." if arguments.check else "Nothing is left of it.")
    return failed + wrong


def main() -> int:
    parser = argparse.ArgumentParser(description="The bistro in a mesh, and a guided tour of it.")
    parser.add_argument("--check", action="store_true", help="walk the tour and end with an exit code")
    parser.add_argument(
        "--within",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="with --check: how soon the first request must be answered (default: 10)",
    )
    parser.add_argument("--mode", help="transparent or explicit; default: as `plait up` chooses")
    arguments = parser.parse_args()
    options = ("--mode", arguments.mode) if arguments.mode else ()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryDirectory(prefix="plait-demo-") as folder:
        failed = run(Mesh(Path(folder).resolve(), options), arguments, stop)
    if failed:
        say(f"\nFAILED: {'; '.join(failed)}")
    elif arguments.check:
        say(f"\nAll {len(TOUR)} steps of the tour hold.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
