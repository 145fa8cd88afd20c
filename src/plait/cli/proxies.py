"""`plait proxies`: what each Envoy was sent, what it has taken, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from plait.api.client import Client
from plait.api.views import Proxies, ProxyStatus
from plait.cli.online import UNWELL, ask
from plait.cli.options import Output, OutputFormat, StateDir
from plait.cli.output import print_json, print_line, print_table
from plait.codec import Codec

_PROXIES: Codec[Proxies] = Codec(Proxies)
_COLUMNS = ("PROXY", "TYPE", "WANTED", "ACKNOWLEDGED", "SENT", "TOOK", "REFUSED")


def proxies(state_dir: StateDir, output: Output = OutputFormat.TEXT) -> None:
    """Show how every proxy's configuration stands, a type of resource at a time.

    Exit code 1 when a proxy refuses something; 3 when no mesh runs.
    """
    found = ask(state_dir, Client.proxies)
    if output is OutputFormat.JSON:
        print_json(_PROXIES.to_json(Proxies(proxies=found)))
    elif found:
        print_table(_COLUMNS, (row for proxy in found for row in _rows(proxy)))
    else:
        print_line("no proxies")
    refused = any(kind.nack for proxy in found for kind in proxy.types)
    raise typer.Exit(UNWELL if refused else 0)


def _rows(proxy: ProxyStatus) -> Iterator[tuple[str, ...]]:
    if proxy.connected is None:
        yield (proxy.node, "not connected", "", "", "", "", "")
    for kind in proxy.types:
        nack = kind.nack
        yield (
            proxy.node,
            kind.type,
            str(kind.wanted),
            str(kind.acknowledged),
            str(kind.sent),
            "" if kind.latency_ms is None else f"{kind.latency_ms:.1f} ms",
            f"{', '.join(nack.resources)}: {nack.reason}" if nack else "",
        )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(proxies)
