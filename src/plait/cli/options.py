"""Options that several commands share."""

from __future__ import annotations

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class OutputFormat(StrEnum):
    """For people, or for programs."""

    TEXT = "text"
    JSON = "json"


def default_state_dir() -> Path:
    """Where a mesh keeps its state when nothing else is said: below XDG_STATE_HOME."""
    # The specification has relative paths ignored.
    home = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (home if home.is_absolute() else Path.home() / ".local" / "state") / "plait"


StateDir = Annotated[
    Path,
    typer.Option(
        "--state-dir",
        envvar="PLAIT_STATE_DIR",
        default_factory=default_state_dir,
        show_default="$XDG_STATE_HOME/plait",
        help="Where the mesh keeps its state; one directory, one mesh.",
        metavar="DIR",
        file_okay=False,
    ),
]

Output = Annotated[
    OutputFormat, typer.Option("--output", "-o", help="For people (text) or for programs (json).")
]

TargetName = Annotated[
    str, typer.Argument(help="A workload, or one replica of it.", metavar="NAMESPACE/WORKLOAD[/REPLICA]")
]


def seconds(text: str) -> float:
    """A duration as people write it: `90s`, `1.5h`, `1h30m`; typer.BadParameter when it is none."""
    if not _DURATION.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is not a duration such as 90s, 12h or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smh])")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")

Window = Annotated[
    float,
    typer.Option("--window", help="Over how long: up to 24h.", metavar="DURATION", parser=seconds),
]

Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="Of this one, with whom it has to do.", metavar="NAME")
]
