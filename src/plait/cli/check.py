"""`plait check`: everything wrong with a folder of YAML, without a running mesh."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plait.cli.options import Output, OutputFormat
from plait.cli.output import show_findings
from plait.model.settings import MeshSettings
from plait.run import offline, views


def check(
    paths: Annotated[list[Path], typer.Argument(help="Files, or folders of YAML.", metavar="PATH...")],
    output: Output = OutputFormat.TEXT,
) -> None:
    """Report what is wrong; exit code 1 when there is an error, 2 when a path can't be read."""
    try:
        read = offline.read(paths, MeshSettings())
    except OSError as error:
        typer.echo(f"plait check: {error}", err=True)
        raise typer.Exit(2) from error
    findings = tuple(views.finding(finding) for finding in read.findings)
    show_findings(findings, output)
    raise typer.Exit(1 if any(finding.severity == "error" for finding in findings) else 0)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(check)
