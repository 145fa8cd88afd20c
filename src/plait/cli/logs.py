"""`plait logs`: what a workload or its Envoy has written."""

from __future__ import annotations

from typing import Annotated

import typer

from plait.api.client import Client
from plait.api.views import LogLine
from plait.cli.online import UNWELL, ask
from plait.cli.options import Output, OutputFormat, StateDir, TargetName
from plait.cli.output import write_out
from plait.codec import Codec
from plait.explain import flags

_LINE: Codec[LogLine] = Codec(LogLine)


def logs(  # noqa: PLR0913, PLR0917 - a command's options are its arguments
    target: TargetName,
    state_dir: StateDir,
    envoy: Annotated[bool, typer.Option("--envoy", help="The log of its Envoy.")] = False,  # noqa: FBT002 - a flag
    tail: Annotated[
        int | None, typer.Option(min=0, help="Only the last so many lines.", metavar="LINES")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it is written.")] = False,  # noqa: FBT002 - a flag
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show the log of a replica, or of every replica of a workload, each line with the replica it is from.

    Replicas come one after the other, or, with --follow, as they write.  Of the access log in an Envoy's the flags are
    told in words too.  Exit code 1 when a log can't be read.
    """

    async def show(client: Client) -> int:
        named = await _several(client, target)
        code = 0
        async for item in client.logs(target, envoy=envoy, tail=tail, follow=follow):
            if output is OutputFormat.JSON:
                write_out(_LINE.encode(item) + b"\n")
            elif not item.error:
                line = flags.told(item.line) if envoy else item.line
                write_out(f"{item.replica} | {line}\n".encode() if named else line.encode() + b"\n")
            if item.error:
                typer.echo(f"plait: {item.replica}: {item.error}", err=True)
                code = UNWELL
        return code

    try:
        code = ask(state_dir, show)
    except BrokenPipeError:
        code = 0  # whoever read this has read enough
    raise typer.Exit(code)


async def _several(client: Client, target: str) -> bool:
    """Whether a target means more than one replica."""
    workloads = (await client.status()).workloads
    return sum(f"{workload.namespace}/{workload.name}" == target for workload in workloads) > 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(logs)
