"""`plait up`: run a folder of YAML as a mesh on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from plait.cli.options import StateDir
from plait.model.finding import Finding, Severity
from plait.run import views
from plait.run.runner import Runner
from plait.run.state_directory import StateDirectory, StateDirectoryError
from plait.sources.files.folder import load
from plait.sources.store import Store


def up(
    paths: Annotated[
        list[Path], typer.Argument(help="Files, or folders of YAML; watched.", metavar="PATH...")
    ],
    state_dir: StateDir,
    trust_domain: Annotated[
        str, typer.Option(help="The trust domain of every identity.", metavar="NAME")
    ] = "cluster.local",
    listen: Annotated[
        str,
        typer.Option(help="Serve xDS on this TCP address too (with mutual TLS).", metavar="HOST:PORT"),
    ] = "",
) -> None:
    """Run the workloads of a folder of YAML, each behind its own Envoy, until Ctrl-C."""
    state = StateDirectory(state_dir.resolve())
    try:
        unreadable = _unreadable(paths)
        for finding in unreadable:
            typer.echo(f"{finding.severity}: {views.finding(finding).text}", err=True)
        if unreadable:
            typer.echo("plait up: nothing is started before every file can be read", err=True)
            raise typer.Exit(1)
        runner = Runner(state=state, paths=paths, trust_domain=trust_domain, listen=listen, say=_say)
        raise typer.Exit(asyncio.run(runner.run()))
    except (OSError, StateDirectoryError) as error:
        typer.echo(f"plait up: {error}", err=True)
        raise typer.Exit(2) from error


def _unreadable(paths: list[Path]) -> tuple[Finding, ...]:
    """What keeps whole files from being read.  What stands in them is unknown: it might be a policy."""
    store = Store()
    for change in load(paths):
        store.apply(change)
    return tuple(finding for finding in store.findings() if finding.severity is Severity.ERROR)


def _say(line: str) -> None:
    typer.echo(line)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(up)
