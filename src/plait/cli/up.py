"""`plait up`: run a folder of YAML as a mesh on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Annotated

import typer

from plait.api.listening import loopback
from plait.cli.options import StateDir, seconds
from plait.dashboard import address
from plait.identity import given
from plait.identity.authority import (
    LONGEST_LIFETIME,
    SHORTEST_LIFETIME,
    AuthorityError,
    check_trust_domain,
)
from plait.local.network import rights
from plait.model.finding import Finding, Severity
from plait.model.settings import MeshSettings, Mode, OutboundTrafficPolicy
from plait.run import views
from plait.run.runner import Runner
from plait.run.state_directory import StateDirectory, StateDirectoryError
from plait.sources.files.folder import load
from plait.sources.store import Store
from plait.telemetry.promql import check_address


def up(  # noqa: PLR0913, PLR0917 - an option each
    paths: Annotated[
        list[Path], typer.Argument(help="Files, or folders of YAML; watched.", metavar="PATH...")
    ],
    state_dir: StateDir,
    trust_domain: Annotated[
        str, typer.Option(help="The trust domain of every identity.", metavar="NAME")
    ] = "cluster.local",
    trust_domain_alias: Annotated[
        list[str] | None,
        typer.Option(
            help="Another name of it: identities there are the same ones.  May be repeated.", metavar="NAME"
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            help="A certificate authority of your own: ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem.",
            metavar="FOLDER",
            file_okay=False,
            exists=True,
        ),
    ] = None,
    certificate_lifetime: Annotated[
        float,
        typer.Option(
            help="How long certificates hold; they are renewed at half of that.",
            metavar="DURATION",
            parser=seconds,
        ),
    ] = "24h",  # type: ignore[assignment]
    longest_connection: Annotated[
        float,
        typer.Option(
            help="How long a stream or a TCP connection may last at most.", metavar="DURATION", parser=seconds
        ),
    ] = "24h",  # type: ignore[assignment]
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="How traffic comes to the proxies: brought there by the kernel (transparent), or sent there by "
            "applications that are told to (explicit).",
            show_default="transparent where it can be had",
        ),
    ] = None,
    outbound_traffic_policy: Annotated[
        OutboundTrafficPolicy,
        typer.Option(help="Where workloads may call: services of the mesh alone, or anywhere."),
    ] = OutboundTrafficPolicy.REGISTRY_ONLY,
    listen: Annotated[
        str,
        typer.Option(help="Serve xDS on this TCP address too (with mutual TLS).", metavar="HOST:PORT"),
    ] = "",
    api: Annotated[
        str,
        typer.Option(
            help="Serve the API on this address of the machine itself too, to who has the token that lies in the "
            "state directory; port 0 for any.",
            metavar="HOST:PORT",
        ),
    ] = "",
    prometheus: Annotated[
        str,
        typer.Option(
            help="Ask this Prometheus, which scrapes the mesh, how traffic went, in place of what the mesh keeps itself.",
            metavar="URL",
        ),
    ] = "",
    *,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Serve the dashboard too, and print the link that opens it.")
    ] = False,
) -> None:
    """Run the workloads of a folder of YAML, each behind its own Envoy, until Ctrl-C."""
    _check_api(api)
    _check_prometheus(prometheus)
    _check_dashboard(wanted=dashboard)
    state = StateDirectory(state_dir.resolve())
    settings = MeshSettings(
        trust_domain=trust_domain,
        trust_domain_aliases=tuple(trust_domain_alias or ()),
        outbound_traffic_policy=outbound_traffic_policy,
        certificate_lifetime=certificate_lifetime,
        longest_connection=longest_connection,
    )
    try:
        _check(settings, ca)
        unreadable = _unreadable(paths)
        for finding in unreadable:
            typer.echo(f"{finding.severity}: {views.finding(finding).text}", err=True)
        if unreadable:
            typer.echo("plait up: nothing is started before every file can be read", err=True)
            raise typer.Exit(1)
        runner = Runner(
            state=state,
            paths=paths,
            settings=settings,
            authority=ca.resolve() if ca else None,
            mode=_mode(mode, outbound_traffic_policy),
            listen=listen,
            api=api,
            prometheus=prometheus,
            dashboard=dashboard,
            say=_say,
        )
        raise typer.Exit(asyncio.run(runner.run()))
    except (OSError, StateDirectoryError, AuthorityError) as error:
        typer.echo(f"plait up: {error}", err=True)
        raise typer.Exit(2) from error


def _check(settings: MeshSettings, ca: Path | None) -> None:
    """AuthorityError when there can be no such certificates."""
    for name in settings.trust_domains:
        check_trust_domain(name)
    if not SHORTEST_LIFETIME <= settings.certificate_lifetime <= LONGEST_LIFETIME:
        raise AuthorityError("certificates hold for 60s at least and 720h at most")
    if settings.longest_connection < SHORTEST_LIFETIME:
        raise AuthorityError("a connection may last for 60s at least")
    if ca is not None:
        given.read(ca, time.time())


def _check_api(address: str) -> None:
    """End the command when the API may not be served there."""
    try:
        if address:
            loopback(address)
    except ValueError as error:
        typer.echo(f"plait up: {error}", err=True)
        raise typer.Exit(2) from error


def _check_prometheus(address: str) -> None:
    """End the command when nothing can be asked there."""
    try:
        if address:
            check_address(address)
    except ValueError as error:
        typer.echo(f"plait up: {error}", err=True)
        raise typer.Exit(2) from error


def _check_dashboard(*, wanted: bool) -> None:
    """End the command when there can be none."""
    if wanted and not address.installed():
        typer.echo(f"plait up: the dashboard is not installed: {address.INSTALL}", err=True)
        raise typer.Exit(2)


def _mode(wanted: Mode | None, policy: OutboundTrafficPolicy) -> Mode:
    """The mode that was asked for, or the best that can be had; ends the command when what was asked for can't."""
    if wanted is Mode.EXPLICIT:
        if policy is OutboundTrafficPolicy.ALLOW_ANY:
            typer.echo("--outbound-traffic-policy says nothing to applications in explicit mode", err=True)
        return wanted
    missing = rights.missing(policy)
    if not missing:
        return Mode.TRANSPARENT
    for sentence in missing:
        typer.echo(f"no transparent mode here: {sentence}", err=True)
    if wanted is Mode.TRANSPARENT:
        raise typer.Exit(2)
    return Mode.EXPLICIT


def _unreadable(paths: list[Path]) -> tuple[Finding, ...]:
    """What keeps whole files from being read.  What stands in them is unknown: it might be a policy."""
    store = Store()
    for change in load(paths):
        store.apply(change)
    return tuple(finding for finding in store.findings() if finding.severity is Severity.ERROR)


def _say(line: str) -> None:
    typer.echo(line)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(up)
