"""`python -m bench [--quick] [--only PART ...] [--output FOLDER]`: measures part after part and writes the report.

`python -m bench --again FOLDER` writes the report of what was measured before, and measures nothing.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table as RichTable

from bench.machine import machine
from bench.records import Record
from bench.report import RATIOS, Plot, Table, page, relatives, targets
from bench.results import PARTS, Results

_HERE = Path(__file__).parent
_QUICK, _PARTIAL = _HERE / "quick", _HERE / "partial"
_PAGE, _PLOTS = "RESULTS.md", "plots"

Say = Callable[[str], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """1 when a part has failed; the report is written all the same."""
    chosen = _parser().parse_args(arguments)
    if chosen.again:
        render(Results.load(chosen.again), chosen.again)
        return 0
    parts = [part for part in PARTS if not chosen.only or _option(part) in chosen.only]
    results = run(parts, quick=chosen.quick)
    write(results, chosen.output or _folder(quick=chosen.quick, whole=len(parts) == len(PARTS)))
    return 1 if results.failures else 0


def run(parts: Sequence[str], *, quick: bool) -> Results:
    """Measure one part after the other; what one has found until it failed is kept."""
    command = f"make bench{'-quick' if quick else ''}"
    if len(parts) < len(PARTS):
        command += f" ARGS='--only {' '.join(map(_option, parts))}'"
    records: list[Record] = []
    failures = []
    on = machine()
    began = time.monotonic()
    for number, part in enumerate(parts, 1):
        say = _saying(f"part {number} of {len(parts)}, {part}", began)
        say("begins")
        try:
            records.extend(_measured(part, quick, say))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other parts are measured
            traceback.print_exc()
            say("has failed")
            failures.append((part, f"{type(error).__name__}: {error}"))
    took = f"{(time.monotonic() - began) / 60:.1f} minutes"
    return Results(
        command=command,
        machine=(*on, ("the whole run took", took)),
        failures=tuple(failures),
        records=tuple(records),
    )


def write(results: Results, folder: Path) -> None:
    """The records, the pictures and the page; and what matters most, to the terminal."""
    results.save(folder)
    render(results, folder)
    console = Console()
    console.print(_shown("Targets", targets(results)))
    if (relative := relatives(results)).rows:
        console.print(_shown(RATIOS, relative))
    for part, reason in results.failures:
        console.print(f"The part {part} has failed: {reason}", style="bold red", markup=False)
    console.print(f"All of it: {_named(folder / _PAGE)}", markup=False, soft_wrap=True)


def render(results: Results, folder: Path) -> None:
    """The pictures and the page."""
    plots = _drawn(results, folder / _PLOTS)
    (folder / _PAGE).write_text(page(results, plots))


def _measured(part: str, quick: bool, say: Say) -> Iterator[Record]:  # noqa: FBT001 - as the parts have it
    """What the part's own module measures."""
    module = importlib.import_module(f"bench.{part.replace(' ', '_')}")
    with _ended_in_order():
        yield from module.measure(quick, say)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM is taken as Ctrl-C is: nothing is left of what a part has started."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _drawn(results: Results, folder: Path) -> Sequence[Plot]:
    """The pictures; none, and a word about it, where matplotlib is missing."""
    try:
        plots = importlib.import_module("bench.plots")
    except ModuleNotFoundError as error:
        print(f"No plots: there is no {error.name}; `make bench` installs it.", file=sys.stderr)
        return ()
    drawn: list[Plot] = plots.draw(results, folder)
    return drawn


def _saying(what: str, began: float) -> Say:
    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:5.0f} s] {what}: {line}", file=sys.stderr, flush=True)

    return say


def _shown(title: str, table: Table) -> RichTable:
    shown = RichTable(title=title, title_justify="left")
    for place, name in enumerate(table.head):
        shown.add_column(name, justify="right" if place else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def _named(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _folder(*, quick: bool, whole: bool) -> Path:
    """Only a full run of all parts may take the place of the results that are in the repository."""
    if quick:
        return _QUICK
    return _HERE if whole else _PARTIAL


def _option(part: str) -> str:
    return part.replace(" ", "-")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="What the mesh costs.")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer, in three minutes")
    parser.add_argument(
        "--only", nargs="+", action="extend", choices=[_option(part) for part in PARTS], help="these parts"
    )
    parser.add_argument("--output", type=Path, help="the folder of RESULTS.md, the plots and the records")
    parser.add_argument("--again", metavar="FOLDER", type=Path, help="write this folder's report anew")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
