"""`plait down`: stop the mesh of a state directory, whatever is left of it, and clean up."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import typer

from plait.cli.options import StateDir
from plait.local.sweep import sweep
from plait.run.runner import drain, ending
from plait.run.state_directory import StateDirectory

_ORDERLY = 90.0
"""Seconds that a running `plait up` gets to stop everything in order."""


def down(state_dir: StateDir) -> None:
    """Stop everything that runs from the state directory and remove it, after any crash."""
    state = StateDirectory(state_dir.resolve())
    if not state.root.exists():
        typer.echo(f"nothing runs from {state.root}")
        return
    owner = state.owner()
    if owner is not None:
        os.kill(owner, signal.SIGTERM)
        deadline = time.monotonic() + _ORDERLY
        while state.owner() == owner and time.monotonic() < deadline:
            time.sleep(0.05)
        if state.owner() == owner:
            os.kill(owner, signal.SIGKILL)
    elif state.api_socket.exists():
        asyncio.run(drain(state, patience=2.0))
    swept = sweep(state.root)
    typer.echo(ending(swept, state.root))
    raise typer.Exit(0 if swept.clean else 1)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(down)
