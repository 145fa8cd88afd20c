"""`plait exec`: run a command in a workload's place in the mesh."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated

import typer

from plait.api.client import Client, NoMesh
from plait.cli.online import ask
from plait.cli.options import StateDir, TargetName
from plait.cli.output import write_out

_BROKEN_PIPE = 141
_CHUNK = 65_536


def exec_(
    target: TargetName,
    command: Annotated[list[str], typer.Argument(help="What to run; write -- before it.", metavar="COMMAND")],
    state_dir: StateDir,
) -> None:
    """Run a command where a workload runs: as its user, in its environment, behind its proxy.

    It runs in the replica named, or in the first that is ready.  Its input, output and exit code are those of
    this command; Ctrl-C ends it.  There is no terminal at its end.
    """

    async def run(client: Client) -> int:
        async with client.exec(target, command) as remote:
            typing = asyncio.create_task(_type(remote.write))
            try:
                async for stream, data in remote.output():
                    write_out(data, stream)
            except BrokenPipeError:
                return _BROKEN_PIPE
            finally:
                typing.cancel()
                await asyncio.gather(typing, return_exceptions=True)
        if remote.error:
            typer.echo(f"plait: {remote.error}", err=True)
        return remote.code

    raise typer.Exit(ask(state_dir, run))


async def _type(write: Callable[[bytes], Awaitable[None]]) -> None:
    """Pass our input on, to its end."""
    try:
        async for data in _stdin():
            await write(data)
        await write(b"")
    except (ConnectionError, NoMesh):
        pass  # the command has ended; what it said of that is read elsewhere


async def _stdin() -> AsyncIterator[bytes]:
    """What can be read from stdin, as it comes."""
    try:
        descriptor = sys.stdin.fileno()
    except (AttributeError, OSError, ValueError):
        return  # there is none
    while True:
        await _readable(descriptor)
        data = os.read(descriptor, _CHUNK)
        if not data:
            return
        yield data


async def _readable(descriptor: int) -> None:
    """Wait until a read would not wait."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    try:
        loop.add_reader(descriptor, readable.set)
    except PermissionError:
        await asyncio.sleep(0)  # a plain file, which always is
        return
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("exec")(exec_)
