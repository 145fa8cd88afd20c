"""`plait ca`: the certificate authority of a running mesh, and its rotations."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from plait.api.client import Client
from plait.api.views import AuthorityStatus, SignerView
from plait.cli.online import ask
from plait.cli.options import Output, OutputFormat, StateDir
from plait.cli.output import print_json, print_line, print_table
from plait.cli.status import left
from plait.codec import Codec
from plait.identity.authority import What

_AUTHORITY: Codec[AuthorityStatus] = Codec(AuthorityStatus)
_COLUMNS = ("", "SUBJECT", "UNTIL", "", "HOLDERS", "SHA-256")
_PHASES = {
    "steady": "no rotation is under way",
    "spreading": "a rotation is under way: the new root is handed out beside the old one",
    "renewing": "a rotation is under way: certificates are renewed by who signs now",
}

ca = typer.Typer(
    help="The certificate authority of a running mesh.", no_args_is_help=True, add_completion=False
)


@ca.command()
def status(state_dir: StateDir, output: Output = OutputFormat.TEXT) -> None:
    """Show what is trusted, who signs, who has certificates of whom, and what a rotation waits for.

    Exit code 3 when no mesh runs.
    """
    _show(ask(state_dir, Client.authority), output)


@ca.command()
def rotate(
    state_dir: StateDir,
    what: Annotated[
        What, typer.Argument(help="What to make anew, with all that stands under it.")
    ] = What.ROOT,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Make root, intermediate or leaves anew while the mesh runs; with an authority of your own, take its new files.

    The command returns once it has begun; `plait ca status` shows how far it is.
    """
    _show(ask(state_dir, lambda client: client.rotate(what)), output)


def _show(found: AuthorityStatus, output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        print_json(_AUTHORITY.to_json(found))
        return
    now = datetime.now(UTC)
    rows = [_row("root", one, now) for one in found.roots]
    rows += [_row("issuer", one, now) for one in found.issuers]
    print_table(_COLUMNS, rows)
    if found.others:
        print_line(f"{found.others} hold certificates of somebody who signs no more")
    print_line(f"{_PHASES.get(found.phase, found.phase)}, since {found.since}")
    for name in found.waits_for:
        print_line(f"  waits for {name}")


def _row(kind: str, one: SignerView, now: datetime) -> tuple[str, ...]:
    own = ", your own" if one.given else ""
    holders = "" if kind == "root" else str(one.holders)
    return (
        f"{kind}, {one.role}{own}",
        one.subject,
        one.not_after,
        left(one.not_after, now),
        holders,
        one.fingerprint[:16],
    )


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(ca, name="ca")
