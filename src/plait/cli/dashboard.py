"""`plait dashboard`: the mesh in a browser."""

from __future__ import annotations

import asyncio
import os
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from html import escape
from typing import Annotated

import typer

from plait.cli.online import USAGE, ask
from plait.cli.options import StateDir
from plait.dashboard import address
from plait.identity.files import write_private
from plait.run.state_directory import StateDirectory


def dashboard(
    state_dir: StateDir,
    *,
    listen: Annotated[
        str,
        typer.Option(help="Where on this machine it is served; port 0 for any.", metavar="HOST:PORT"),
    ] = "127.0.0.1:0",
    open_: Annotated[bool, typer.Option("--open", help="Open it in a browser, too.")] = False,
) -> None:
    """Serve the dashboard of a running mesh, and print the link that opens it, until Ctrl-C.

    Whoever has the link may look, and decide about rollouts.  Exit code 3 when no mesh runs, 2 without its extra.
    """
    if not address.installed():
        typer.echo(f"plait dashboard: it is not installed: {address.INSTALL}", err=True)
        raise typer.Exit(USAGE)
    state = StateDirectory(state_dir.resolve())
    ask(state_dir, lambda client: client.status())
    try:
        listener = address.listen(listen)
    except (OSError, ValueError) as error:
        typer.echo(f"plait dashboard: {error}", err=True)
        raise typer.Exit(USAGE) from error
    from plait.dashboard.server import serve  # noqa: PLC0415 - it stands on the extra

    token = address.new_token()
    link = address.link(listener, token)
    with listener, _opened(state, link) if open_ else nullcontext():
        typer.echo(link)
        asyncio.run(serve(state.api_socket, listener, token))


@contextmanager
def _opened(state: StateDirectory, link: str) -> Iterator[None]:
    """Have a browser open the link, by a file of the user's own: a command line would tell everybody the token."""
    page = state.control_plane / f"dashboard-{os.getpid()}.html"
    target = escape(link)
    try:
        write_private(page, f'<!doctype html><meta http-equiv="refresh" content="0;url={target}">'.encode())
        webbrowser.open(page.as_uri())
        yield
    finally:
        page.unlink(missing_ok=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(dashboard)
