"""`plait canary`: how new versions take over, and what to say to them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import typer

from plait.api.client import ApiError, Client, NoMesh
from plait.api.events import CanaryChanged, ConfigChanged, Event
from plait.api.rollouts import Canaries, CanaryEvent, CanaryHistory, CanaryView
from plait.cli.online import UNWELL, ask
from plait.cli.options import Output, OutputFormat, StateDir
from plait.cli.output import plain_letters, print_json, print_line, print_table, printable, write_out
from plait.codec import Codec
from plait.model.names import WorkloadKey
from plait.rollout.status import Command, Phase

_CANARIES: Codec[Canaries] = Codec(Canaries)
_CANARY: Codec[CanaryView] = Codec(CanaryView)
_HISTORY: Codec[CanaryHistory] = Codec(CanaryHistory)

_COLUMNS = ("CANARY", "STRATEGY", "PHASE", "TRAFFIC", "", "FAILED", "")
_CHECKS = ("CHECK", "SAYS", "")
_EVENTS = ("TIME", "", "PHASE", "WEIGHT", "FAILED", "")
_OF_REPLICAS = re.compile(r"(?<= are ready): [^;]*")
_BAR = 20
"""Cells of the bar that shows a weight."""
_ENDS = (Phase.SUCCEEDED, Phase.FAILED, Phase.TERMINATED)
_PATIENCE = 40
"""So often, every quarter of a second, a control plane that was killed is looked for again."""
_COLOURS: Mapping[str, str] = {Phase.SUCCEEDED: "green", Phase.FAILED: "bold red"}
_DONE = {
    Command.APPROVE: "the gate is opened",
    Command.PROMOTE: "what is left of the analysis is left out",
    Command.ABORT: "it is rolled back",
    Command.PAUSE: "it is held where it stands",
    Command.RESUME: "it goes on",
}

Name = Annotated[str, typer.Argument(help="The Canary.", metavar="[NAMESPACE/]NAME")]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="Of Canaries in this one alone.", metavar="NAME")
]

app = typer.Typer(help="How new versions take over: where each stands, and what is said to it.")


@app.command("list")
def list_(state_dir: StateDir, namespace: Namespace = "", output: Output = OutputFormat.TEXT) -> None:
    """Show every Canary, a line each."""
    found = tuple(
        one for one in ask(state_dir, Client.canaries) if not namespace or one.namespace == namespace
    )
    if output is OutputFormat.JSON:
        print_json(_CANARIES.to_json(Canaries(canaries=found)))
    elif found:
        print_table(_COLUMNS, map(_row, found))
    else:
        print_line("no Canaries")


@app.command()
def status(
    name: Name, state_dir: StateDir, namespace: Namespace = "", output: Output = OutputFormat.TEXT
) -> None:
    """Show where a rollout stands, what each check says, what it waits for, and what to type next."""

    async def asked(client: Client) -> CanaryView:
        return await client.canary(await _key(client, name, namespace))

    found = ask(state_dir, asked)
    if output is OutputFormat.JSON:
        print_json(_CANARY.to_json(found))
    else:
        _show(found)


@app.command()
def history(
    name: Name, state_dir: StateDir, namespace: Namespace = "", output: Output = OutputFormat.TEXT
) -> None:
    """Show what happened to the rollouts of a Canary, the oldest first."""

    async def asked(client: Client) -> tuple[CanaryEvent, ...]:
        return await client.canary_history(await _key(client, name, namespace))

    found = ask(state_dir, asked)
    if output is OutputFormat.JSON:
        print_json(_HISTORY.to_json(CanaryHistory(events=found)))
    elif found:
        print_table(_EVENTS, map(_event, found))
    else:
        print_line("nothing has happened yet")


@app.command()
def watch(
    name: Name, state_dir: StateDir, namespace: Namespace = "", output: Output = OutputFormat.TEXT
) -> None:
    """Follow a rollout to its end, a line a change; where none runs, wait for the next.

    Exit code 0: Succeeded; 1: Failed, or the Canary is gone.
    """

    async def followed(client: Client) -> str:
        return await _follow(client, await _key(client, name, namespace), output)

    with suppress(BrokenPipeError):  # whoever read this has read enough
        phase = ask(state_dir, followed)
        raise typer.Exit(0 if phase == Phase.SUCCEEDED else UNWELL)


@app.command()
def approve(name: Name, state_dir: StateDir, namespace: Namespace = "") -> None:
    """Open the gate that a rollout waits at, this once."""
    _say(Command.APPROVE, name, state_dir, namespace)


@app.command()
def promote(name: Name, state_dir: StateDir, namespace: Namespace = "") -> None:
    """Leave out what is left of the analysis: the new version takes over as soon as it is ready."""
    _say(Command.PROMOTE, name, state_dir, namespace)


@app.command()
def abort(name: Name, state_dir: StateDir, namespace: Namespace = "") -> None:
    """Give a new version up: all traffic goes to the one that serves, at once."""
    _say(Command.ABORT, name, state_dir, namespace)


@app.command()
def pause(name: Name, state_dir: StateDir, namespace: Namespace = "") -> None:
    """Hold a rollout where it stands."""
    _say(Command.PAUSE, name, state_dir, namespace)


@app.command()
def resume(name: Name, state_dir: StateDir, namespace: Namespace = "") -> None:
    """Let a rollout that was paused go on."""
    _say(Command.RESUME, name, state_dir, namespace)


def _say(command: Command, name: str, state_dir: StateDir, namespace: str) -> None:
    async def said(client: Client) -> WorkloadKey:
        key = await _key(client, name, namespace)
        await client.canary_command(key, command)
        return key

    print_line(f"{ask(state_dir, said)}: {_DONE[command]}")


async def _key(client: Client, name: str, namespace: str) -> WorkloadKey:
    """Which Canary is meant: without a namespace the only one of this name.  ApiError when there is not just one."""
    given, slash, own = name.rpartition("/")
    if slash and namespace not in {"", given}:
        raise ApiError(400, "bad_request", f"{name} is not in namespace {namespace}")
    if given or namespace:
        return WorkloadKey(given or namespace, own)
    known = await client.canaries()
    found = [WorkloadKey(one.namespace, one.name) for one in known if one.name == own]
    if len(found) > 1:
        raise ApiError(400, "bad_request", f"there are {' and '.join(map(str, found))}: say which")
    if not found:
        names = ", ".join(one.key for one in known) or "none"
        raise ApiError(404, "not_found", f"there is no Canary {own}; known: {names}")
    return found[0]


async def _follow(client: Client, key: WorkloadKey, output: OutputFormat) -> str:
    """Write a line for each change, up to the end of the run that is on or comes next; the phase then."""
    shown = ""
    over = None
    """When the run before was over, where there was one and nothing has begun since."""
    async for now in _views(client, key):
        ended = now.phase in _ENDS
        if over is None:
            over = now.since if ended else ""
            if ended:
                typer.echo(f"plait: nothing runs; waits for the next run of {key}, Ctrl-C ends it", err=True)
        line = _CANARY.encode(now).decode() if output is OutputFormat.JSON else _line(now)
        gist = line if output is OutputFormat.JSON else _gist(line)
        if gist != shown:
            shown = gist
            time = "" if output is OutputFormat.JSON else f"{datetime.now(UTC):%H:%M:%S}  "
            write_out(f"{time}{line}\n".encode())
        if not ended:
            over = ""
        elif now.since != over:
            return now.phase
    raise NoMesh("the control plane has gone away")


async def _views(client: Client, key: WorkloadKey) -> AsyncIterator[CanaryView]:
    """A Canary as it is, then whenever it changes; ApiError when there is none."""
    found = False
    async for event in _events(client):
        match event:
            case CanaryChanged(canary) if canary.key == str(key):
                found = True
                yield canary
            case ConfigChanged() if not found:
                raise ApiError(404, "not_found", f"there is no Canary {key}")


async def _events(client: Client) -> AsyncIterator[Event]:
    """What happens, past the death of a control plane: it begins anew with the next one.  NoMesh when none comes."""
    left = 0
    while True:
        try:
            async for event in client.events():
                left = _PATIENCE
                yield event
        except NoMesh:
            if not left:
                raise
        if not left:
            return
        left -= 1
        await asyncio.sleep(0.25)


def rollout_line(one: CanaryView) -> str:
    """A rollout in one line: how far it is, what fails, what it waits for, and what to type next."""
    return f"{one.key}: {_line(one)}"


def _line(one: CanaryView) -> str:
    failed = f"{one.failed_checks} of {one.threshold} failed checks"
    told = one.runs and one.failed_checks and failed not in one.message
    parts = (one.progress, failed if told else "", one.message, _next(one))
    return printable("; ".join(part for part in parts if part))


def _gist(line: str) -> str:
    """A line without what is told of single replicas, which comes and goes while they start."""
    return _OF_REPLICAS.sub("", line)


def _next(one: CanaryView) -> str:
    """What it waits for that a user can do, and how."""
    if one.paused:
        return f"to go on: plait canary resume {one.key}"
    if one.gate:
        return f"to open {one.gate}: plait canary approve {one.key}"
    return "to go on: take spec.suspend away" if one.suspended else ""


def _row(one: CanaryView) -> tuple[str, ...]:
    return (
        one.key,
        one.strategy,
        one.phase,
        one.share if one.runs else "",
        one.goal if one.runs else "",
        f"{one.failed_checks}/{one.threshold}" if one.runs else "",
        printable("; ".join(part for part in (one.message, _next(one)) if part)),
    )


def _show(one: CanaryView) -> None:
    print_line(f"{one.key}: {one.strategy} of {one.target}, called as {one.host}")
    held = ", paused" * one.paused + ", suspended" * one.suspended
    print_line(f"  phase      {one.phase}{held}, since {one.since}", _COLOURS.get(one.phase, ""))
    if one.runs:
        goal = one.goal and f", {one.goal}"
        print_line(f"  traffic    {_bar(one.weight)} {one.share} to the new version{goal}")
        print_line(
            f"  failed     {one.failed_checks} of the {one.threshold} checks at which it is rolled back"
        )
        print_line(f"  revisions  {one.promoted} serves, {one.applied} is tried")
    for title, text in (("message", one.message), ("looks at", one.due), ("next", _next(one))):
        if text:
            print_line(f"  {title:<10} {printable(text)}")
    if one.checks:
        print_table(_CHECKS, ((check.metric, check.finding, printable(check.text)) for check in one.checks))


def _bar(weight: int) -> str:
    full, empty = ("#", ".") if plain_letters() else ("█", "░")
    cells = round(weight * _BAR / 100)
    return full * cells + empty * (_BAR - cells)


def _event(one: CanaryEvent) -> tuple[str, ...]:
    return (
        one.at,
        one.severity,
        one.phase,
        f"{one.weight} %",
        str(one.failed_checks or ""),
        printable(one.text),
    )


def register(parent: typer.Typer) -> None:
    """Add the commands."""
    parent.add_typer(app, name="canary", no_args_is_help=True)
