"""How commands ask a running mesh, and how they end when none answers.

Exit codes: 0 all is well; 1 what was asked about is not well, or is not there; 2 the command was used wrongly;
3 no mesh runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import typer

from plait.api.client import ApiError, Client, NoMesh
from plait.run.state_directory import StateDirectory

T = TypeVar("T")

UNWELL = 1
USAGE = 2
NO_MESH = 3
INTERRUPTED = 130


def ask(state_dir: Path, question: Callable[[Client], Awaitable[T]]) -> T:
    """Put a question to the mesh of a state directory; ends the command when there is no answer."""
    socket = StateDirectory(state_dir.resolve()).api_socket

    async def asked() -> T:
        async with Client(socket) as client:
            return await question(client)

    try:
        return asyncio.run(asked())
    except NoMesh as error:
        typer.echo(f"plait: {error}", err=True)
        raise typer.Exit(NO_MESH) from error
    except ApiError as error:
        typer.echo(f"plait: {error}", err=True)
        raise typer.Exit(USAGE if error.code == "bad_request" else UNWELL) from error
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
