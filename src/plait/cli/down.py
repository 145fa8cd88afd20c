"""`plait down`: stop the mesh of a state directory, whatever is left of it, and clean up."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress

import typer

from plait.cli.options import StateDir
from plait.local import journal
from plait.local.sweep import sweep
from plait.run.runner import drain, ending, patience
from plait.run.state_directory import StateDirectory, StateDirectoryError

_BEYOND = 20.0
"""Seconds that a running `plait up`, or another `plait down`, gets beyond what its workloads may take to stop."""
_ABANDONED = 1.0
"""Seconds without a control plane or an agent, which nobody starts again now, until all is ended at once."""


def down(state_dir: StateDir) -> None:
    """Stop everything that runs from the state directory and remove it, after any crash."""
    state = StateDirectory(state_dir.resolve())
    try:
        code = _down(state)
    except (OSError, StateDirectoryError) as error:
        typer.echo(f"plait down: {error}", err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(code)


def _down(state: StateDirectory) -> int:
    """The exit code: 0 when nothing is left."""
    was_there = state.root.exists()
    if was_there and not state.root.is_dir():
        raise StateDirectoryError(f"{state.root} is no directory")
    within = patience(state) + _BEYOND
    _end_owner(state, within)
    if not (state.root.is_dir() and journal.is_mesh(state.root)):
        return _swept(state, was_there=was_there)
    with state.held(within):
        if state.api_socket.exists():
            asyncio.run(drain(state, _ABANDONED))
        return _swept(state, was_there=True)


def _end_owner(state: StateDirectory, within: float) -> None:
    """Has a running `plait up` stop everything in order, and kills it when it takes too long."""
    owner = state.owner()
    if owner is None:
        return
    with suppress(ProcessLookupError):
        os.kill(owner, signal.SIGTERM)
        deadline = time.monotonic() + within
        while state.owner() == owner:
            if time.monotonic() > deadline:
                os.kill(owner, signal.SIGKILL)
                return
            time.sleep(0.05)


def _swept(state: StateDirectory, *, was_there: bool) -> int:
    """Removes whatever is left, and tells so; the exit code."""
    swept = sweep(state.root)
    if was_there or swept.killed or swept.surviving:
        typer.echo(ending(swept, state.root))
    else:
        typer.echo(f"nothing runs from {state.root}")
    return 0 if swept.clean else 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(down)
