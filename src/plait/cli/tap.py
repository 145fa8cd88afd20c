"""`plait tap`: requests as they happen."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import Annotated

import typer

from plait.api.client import Client
from plait.api.views import TapFilter, TapLine, TappedRequest
from plait.cli.online import ask
from plait.cli.options import Output, OutputFormat, StateDir
from plait.cli.output import printable, write_out
from plait.codec import Codec

_REQUEST: Codec[TappedRequest] = Codec(TappedRequest)


def tap(  # noqa: PLR0913, PLR0917 - a command's options are its arguments
    state_dir: StateDir,
    source: Annotated[str, typer.Option("--from", help="Sent by this workload.", metavar="NS/WORKLOAD")] = "",
    destination: Annotated[str, typer.Option("--to", help="Sent to this one.", metavar="NS/WORKLOAD")] = "",
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Sent to this namespace.", metavar="NS")
    ] = "",
    method: Annotated[str, typer.Option(help="Of this method.")] = "",
    path: Annotated[
        str, typer.Option(help="Whose path begins like this; with a *, is like this.", metavar="PATH")
    ] = "",
    status: Annotated[str, typer.Option(help="Answered like this: 503, or 5xx.", metavar="STATUS")] = "",
    rate: Annotated[int, typer.Option(min=1, help="Show so many a second at most.")] = 100,
    limit: Annotated[int, typer.Option(min=0, help="End after so many; 0: at Ctrl-C.")] = 0,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show requests as they happen, one a line, when they are over.

    Each is told by the proxy of who sends it where --from is given, and of who serves it otherwise.
    """
    wanted = TapFilter(
        source=source, destination=destination, namespace=namespace, method=method, path=path, status=status
    )

    async def show(client: Client) -> None:
        seen = _Seen(output)
        looking = asyncio.ensure_future(_look(client, wanted, rate, limit, seen))
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, looking.cancel)
        try:
            with suppress(asyncio.CancelledError):  # Ctrl-C, by which this ends
                await looking
        finally:
            seen.end()

    with suppress(BrokenPipeError):  # whoever read this has read enough
        ask(state_dir, show)


class _Seen:
    """What was shown so far."""

    def __init__(self, output: OutputFormat) -> None:
        self._output = output
        self.shown = 0
        self._left_out = 0
        self._begun = False

    def take(self, line: TapLine) -> None:
        self._left_out = line.left_out
        if not self._begun:
            self._begun = True
            typer.echo(f"plait: {_proxies(line.proxies)} of every request; Ctrl-C ends it", err=True)
        if line.request is not None:
            self.shown += 1
            json = self._output is OutputFormat.JSON
            write_out(_REQUEST.encode(line.request) + b"\n" if json else (text(line.request) + "\n").encode())

    def end(self) -> None:
        """Say how much was seen."""
        if self._begun:
            left_out = f", about {self._left_out} left out" if self._left_out else ""
            typer.echo(f"plait: {self.shown} shown{left_out}", err=True)


async def _look(client: Client, wanted: TapFilter, rate: int, limit: int, seen: _Seen) -> None:
    async for line in client.tap(wanted, rate=rate):
        seen.take(line)
        if limit and seen.shown == limit:
            return


def text(one: TappedRequest) -> str:
    """A request in one line: when, from whom to whom, what, and what came of it."""
    time = one.time.partition("T")[2].partition("+")[0]
    source = one.source or one.source_principal or "unknown"
    destination = one.destination or one.service or "unknown"
    if one.protocol == "TCP":
        what, came = "TCP", f"{one.received_bytes} bytes in, {one.sent_bytes} out"
    else:
        what, came = f"{one.method or 'unknown'} {one.authority}{one.path}", str(one.status)
        if one.grpc_status is not None:
            came += f" grpc {one.grpc_status}"
    why = "" if one.details == "via_upstream" else one.details
    parts = [time, f"{source} -> {destination}", what, came, f"{one.duration_ms} ms", one.flags, why]
    line = "  ".join(part for part in parts if part)
    return printable(line)


def _proxies(number: int) -> str:
    return "1 proxy tells" if number == 1 else f"{number} proxies tell"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tap)
