"""The commands that ask a running mesh, as a program of their own: `python -m tests.cli.online_app`."""

import typer

from plait.cli import ca, canary, logs, proxies, status, tap, token, top, trace
from plait.cli import exec as exec_command
from plait.cli import map as map_command

app = typer.Typer()
for command in (status, proxies, map_command, top, exec_command, logs, token, ca, canary, tap, trace):
    command.register(app)

if __name__ == "__main__":
    app()
