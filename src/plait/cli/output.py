"""How answers are shown: tables with colours in a terminal, plain ones elsewhere, JSON for programs."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from rich.cells import cell_len
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from plait.api.views import Findings, FindingView, ReplicaState
from plait.cli.options import OutputFormat
from plait.codec import Codec

_GAP = 2
"""Cells between two columns."""
_NAME, _REMARK = 8, 16
"""Cells that a line's beginning has at least, and that are kept for its end, where there are few."""
_REDRAWN = 2.0
"""Seconds after which a picture is drawn anew."""

_FINDINGS: Codec[Findings] = Codec(Findings)

_COLOURS: Mapping[str, str] = {
    ReplicaState.STARTING: "yellow",
    ReplicaState.READY: "green",
    ReplicaState.DRAINING: "magenta",
    ReplicaState.FAILED: "bold red",
    ReplicaState.ENDED: "dim",
    "error": "bold red",
    "warning": "yellow",
    "info": "dim",
    "warn": "yellow",
    "Progressing": "yellow",
    "Succeeded": "green",
    "Failed": "bold red",
    "passed": "green",
    "waiting": "yellow",
    "stopped": "bold red",
}


def print_json(value: Any) -> None:
    """Print a value for a program to read."""
    write_out((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their headings.  A row too long for the terminal is wrapped by it, and nothing is left out."""
    lines = [tuple(columns), *(tuple(row) for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        text = Text(style="bold" if line is lines[0] else "")
        for cell, width in zip(line, widths, strict=True):
            text.append(cell, _COLOURS.get(cell))
            text.append(" " * (width - cell_len(cell) + 2))
        text.rstrip()
        _console().print(text, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Row:
    """Cells, the first and last of which are text and the others figures, and how the line is written."""

    cells: tuple[str, ...]
    style: str = ""


def grid(columns: Sequence[str], rows: Sequence[Row], width: int | None = None) -> list[Text]:
    """Lines under their headings, figures to the right.

    In a terminal of `width` cells columns come nearer to each other when there is no room, and what is too long at the
    beginning or the end of a line is cut off there; None: there is room for all.
    """
    lines = [Row(tuple(columns), "bold"), *rows]
    widths = [max(map(cell_len, column)) for column in zip(*(row.cells for row in lines), strict=True)]
    gap = _GAP
    if width is not None:
        needed = sum(widths[1:-1]) + min(widths[-1], _REMARK)
        gap = _GAP if widths[0] + needed + _GAP * len(widths) <= width else 1
        widths[0] = max(_NAME, min(widths[0], width - needed - gap * (len(widths) - 1)))
    made = []
    for row in lines:
        text = Text(row.cells[0], row.style)
        text.truncate(widths[0], overflow="ellipsis", pad=True)
        for cell, room in zip(row.cells[1:-1], widths[1:-1], strict=True):
            text.append(" " * (gap + room - cell_len(cell)) + cell)
        text.append(" " * gap + row.cells[-1])
        text.rstrip()
        if width is not None:
            text.truncate(width, overflow="ellipsis")
        made.append(text)
    return made


def print_lines(lines: Iterable[Text]) -> None:
    """Print lines as they are."""
    console = _console()
    for line in lines:
        console.print(line, soft_wrap=True)


def terminal_width() -> int | None:
    """How many cells a line of the terminal has; None: what is printed goes to no terminal."""
    console = _console()
    return console.width if console.is_terminal else None


def plain_letters() -> bool:
    """Whether nothing but ASCII can be written."""
    return not _console().encoding.lower().startswith("utf")


async def redraw(picture: Callable[[], Awaitable[Sequence[Text]]]) -> NoReturn:
    """Draw a picture over and over in the whole terminal, until somebody ends it."""
    with Live(console=_console(), screen=True, auto_refresh=False) as live:
        while True:
            live.update(Group(*await picture()), refresh=True)
            await asyncio.sleep(_REDRAWN)


def print_line(text: str, style: str = "") -> None:
    """Print one line, which a terminal may wrap where it likes."""
    _console().print(Text(text, style=style), soft_wrap=True)


def printable(text: str) -> str:
    """A text from elsewhere, without what a terminal obeys."""
    return "".join(one if one.isprintable() else "?" for one in text)


def print_findings(findings: Iterable[FindingView]) -> None:
    """Print one line a finding, severity first, then the place as editors take it."""
    for finding in findings:
        severity = (finding.severity, _COLOURS.get(finding.severity, ""))
        _console().print(Text.assemble(severity, ": ", finding.text), soft_wrap=True)


def findings_json(findings: Sequence[FindingView]) -> Any:
    """Findings as they stand in JSON: under the key "findings"."""
    return _FINDINGS.to_json(Findings(findings=tuple(findings)))


def show_findings(findings: Sequence[FindingView], output: OutputFormat) -> None:
    """Print findings in the form asked for."""
    if output is OutputFormat.JSON:
        print_json(findings_json(findings))
    elif findings:
        print_findings(findings)
    else:
        print_line("nothing found", "green")


def write_out(data: bytes, stream: int = 1) -> None:
    """Write bytes to stdout (1) or stderr (2) at once; BrokenPipeError when nobody reads on."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        descriptor = (sys.stdout if stream == 1 else sys.stderr).fileno()
    except (OSError, ValueError):  # no file: something that collects what is printed
        (sys.stdout if stream == 1 else sys.stderr).write(data.decode(errors="replace"))
        return
    while data:
        data = data[os.write(descriptor, data) :]


def _console() -> Console:
    # Made anew for each use: what stands in stdout's place may change.
    return Console(highlight=False)
