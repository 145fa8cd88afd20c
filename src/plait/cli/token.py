"""`plait token`: by what an agent joins the mesh, once."""

from __future__ import annotations

from typing import Annotated

import typer

from plait.api.client import Client
from plait.api.views import TokenList
from plait.cli.online import ask
from plait.cli.options import Output, OutputFormat, StateDir
from plait.cli.output import print_json, print_line, print_table
from plait.codec import Codec

_TOKENS: Codec[TokenList] = Codec(TokenList)
_COLUMNS = ("ID", "AGENT", "EXPIRES")

app = typer.Typer(help="Join tokens: an agent's first proof, for one agent, for a short time, once.")


@app.command()
def create(
    agent: Annotated[str, typer.Argument(help="The agent that may join with it.", metavar="AGENT")],
    state_dir: StateDir,
    lifetime: Annotated[
        float, typer.Option(help="How long it may be used, in seconds; a day at most.", metavar="SECONDS")
    ] = 600.0,
) -> None:
    """Make a join token and print it, this one time; its id and its end are told on stderr."""
    created = ask(state_dir, lambda client: client.create_token(agent, lifetime))
    typer.echo(f"token {created.id} for agent {created.agent}, until {created.expires}", err=True)
    typer.echo(created.token)


@app.command("list")
def list_(state_dir: StateDir, output: Output = OutputFormat.TEXT) -> None:
    """Show every join token that may still be used, but not the tokens themselves: nobody has them."""
    found = ask(state_dir, Client.tokens)
    if output is OutputFormat.JSON:
        print_json(_TOKENS.to_json(TokenList(tokens=found)))
    elif found:
        print_table(_COLUMNS, ((one.id, one.agent, one.expires) for one in found))
    else:
        print_line("no tokens")


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="As `plait token list` shows it.", metavar="ID")],
    state_dir: StateDir,
) -> None:
    """Make a join token worthless.  Exit code 1 when there is none of this id; agents that have joined stay."""
    ask(state_dir, lambda client: client.revoke_token(token_id))


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app, name="token", no_args_is_help=True)
