"""The command line's entry; each command is a module of its own."""

from __future__ import annotations

import signal
import sys
from importlib import import_module
from importlib.metadata import version
from typing import Annotated

import typer

COMMANDS = (
    "up",
    "down",
    "status",
    "proxies",
    "canary",
    "map",
    "top",
    "dashboard",
    "check",
    "compile",
    "can",
    "exec",
    "logs",
    "trace",
    "tap",
    "token",
    "ca",
)

app = typer.Typer(
    name="plait",
    help="A service mesh that you can pip-install.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:  # noqa: FBT001 - typer's callback
    if value:
        typer.echo(f"plait {version('plait')}")
        raise typer.Exit


@app.callback()
def root(
    *,
    _show_version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """A service mesh that you can pip-install."""


def main() -> None:
    """Run the command line, loading only the command that is asked for: some stand on much."""
    asked = sys.argv[1:2]
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing is made while modules load: Ctrl-C just ends it
    for name in asked if asked and asked[0] in COMMANDS else COMMANDS:
        import_module(f"plait.cli.{name}").register(app)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    app()


if __name__ == "__main__":
    main()
