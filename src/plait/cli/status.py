"""`plait status`: what runs, how it is, and what is wrong with what was written."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import typer

from plait.api.client import Client
from plait.api.rollouts import Canaries, CanaryView
from plait.api.views import FindingView, ReplicaState, RouteStatus, Status, WorkloadStatus
from plait.cli.canary import rollout_line
from plait.cli.online import UNWELL, ask
from plait.cli.options import Output, OutputFormat, StateDir
from plait.cli.output import findings_json, print_findings, print_json, print_line, print_table
from plait.codec import Codec
from plait.rollout.status import Phase

_STATUS: Codec[Status] = Codec(Status)
_CANARIES: Codec[Canaries] = Codec(Canaries)
_COLUMNS = ("WORKLOAD", "STATE", "RESTARTS", "ADDRESS", "CERTIFICATE", "IDENTITY")
_ROUTE_COLUMNS = ("ROUTE", "PARENT", "ACCEPTED", "RESOLVED REFS", "PROGRAMMED")


def status(state_dir: StateDir, output: Output = OutputFormat.TEXT) -> None:
    """Show every replica of every workload, the rollouts that run or have failed, and the findings.

    Exit code 1 when a replica has failed, a finding is an error, or no agent is connected; 3 when no mesh runs.
    """
    answer, canaries, findings = ask(state_dir, _asked)
    if output is OutputFormat.JSON:
        rollouts = _CANARIES.to_json(Canaries(canaries=canaries))
        print_json({**_STATUS.to_json(answer), **rollouts, **findings_json(findings)})
    else:
        _show(answer, canaries, findings)
    failed = any(workload.state is ReplicaState.FAILED for workload in answer.workloads)
    errors = any(finding.severity == "error" for finding in findings)
    raise typer.Exit(UNWELL if failed or errors or not answer.mesh.agents else 0)


async def _asked(client: Client) -> tuple[Status, tuple[CanaryView, ...], tuple[FindingView, ...]]:
    return await client.status(), await client.canaries(), await client.findings()


def _show(answer: Status, canaries: tuple[CanaryView, ...], findings: tuple[FindingView, ...]) -> None:
    mesh = answer.mesh
    print_line(f"{mesh.ready} of {mesh.wanted} replicas ready; {mesh.trust_domain}, up since {mesh.started}")
    if not mesh.agents:
        print_line("no agent is connected: what runs goes on, but nothing is started or stopped", "bold red")
    now = datetime.now(UTC)
    if answer.workloads:
        print_table(
            _COLUMNS,
            (
                (
                    workload.node,
                    str(workload.state),
                    str(workload.restarts),
                    workload.address,
                    left(workload.certificate_expires, now),
                    workload.identity,
                )
                for workload in answer.workloads
            ),
        )
    if answer.routes:
        print_table(_ROUTE_COLUMNS, (row for route in answer.routes for row in _route(route)))
    for workload in answer.workloads:
        if workload.message or workload.exit_code is not None:
            print_line(f"{workload.node}: {_remark(workload)}")
    for canary in canaries:
        failed = canary.phase == Phase.FAILED
        if canary.runs or failed:
            print_line(f"rollout {rollout_line(canary)}", "bold red" if failed else "")
    print_findings(findings)


def _route(route: RouteStatus) -> Iterator[tuple[str, ...]]:
    """A row for each parent; of a condition that does not hold, the reason."""
    for parent in route.parents:
        place = parent.section or str(parent.port or "")
        yield (
            f"{route.kind} {route.namespace}/{route.name}",
            f"{parent.parent}:{place}" if place else parent.parent,
            *(one.status if one.status == "True" else one.reason for one in parent.conditions),
        )


def left(expires: str | None, now: datetime) -> str:
    """How long a certificate still holds, in words; `expires` in ISO 8601."""
    if expires is None:
        return "none"
    seconds = (datetime.fromisoformat(expires) - now).total_seconds()
    if seconds <= 0:
        return "expired"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit} left"
    return f"{seconds:.0f} s left"


def _remark(workload: WorkloadStatus) -> str:
    code = "" if workload.exit_code is None else f"exit code {workload.exit_code}"
    return ": ".join(part for part in (code, workload.message) if part)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(status)
