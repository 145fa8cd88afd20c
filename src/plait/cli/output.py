"""How answers are shown: tables with colours in a terminal, plain ones elsewhere, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from plait.api.views import Findings, FindingView, ReplicaState
from plait.cli.options import OutputFormat
from plait.codec import Codec

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


def print_line(text: str, style: str = "") -> None:
    """Print one line, which a terminal may wrap where it likes."""
    _console().print(Text(text, style=style), soft_wrap=True)


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
