"""`plait can`: whether somebody may call something, and which rule says so, without a running mesh."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from plait.cli.options import Output, OutputFormat
from plait.cli.output import print_json, print_line
from plait.explain.request import Decision, Explanation, Rule, UnknownError, Verdict
from plait.model.names import Origin
from plait.model.settings import MeshSettings, Mode
from plait.run import judging, offline
from plait.run.judging import Judged, Question, QuestionError

_ALLOWED, _DENIED, _UNTOLD = 0, 1, 2
_STYLES = {Verdict.ALLOWED: "green", Verdict.DENIED: "bold red"}


def can(  # noqa: PLR0913 - a command's options are its arguments
    caller: Annotated[
        str,
        typer.Argument(
            help="Who calls: a workload (NS/NAME), a principal (TRUST-DOMAIN/ns/NS/sa/NAME), or nobody.",
            metavar="CALLER",
        ),
    ],
    target: Annotated[
        str, typer.Argument(help="A service or workload, and its port.", metavar="NS/NAME[:PORT]")
    ],
    method: Annotated[str, typer.Argument(help="Of the request.", metavar="METHOD")] = "GET",
    path: Annotated[str, typer.Argument(help="As it is sent; a query may follow.", metavar="PATH")] = "/",
    *,
    files: Annotated[
        list[Path],
        typer.Option("--file", "-f", help="A file, or a folder of YAML; several times.", metavar="PATH"),
    ],
    header: Annotated[
        list[str] | None, typer.Option(help="A header of the request; several times.", metavar="NAME:VALUE")
    ] = None,
    token_claims: Annotated[
        str | None, typer.Option(help="What a token says that has been verified.", metavar="JSON")
    ] = None,
    address: Annotated[
        str,
        typer.Option(help="Whom the connection comes from; without it no rule about addresses is judged."),
    ] = "",
    mode: Annotated[Mode, typer.Option(help="How traffic comes to the proxies.")] = Mode.TRANSPARENT,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Say whether a request would be let through, and why: by what the callee's Envoy would be told.

    Exit code 0: ALLOWED, by every workload behind the target; 1: DENIED, by one at least; 2: it can't be told.
    """
    try:
        read = offline.read(files, MeshSettings())
        question = Question(
            caller=caller,
            target=target,
            method=method,
            path=path,
            headers=dict(_headers(header or ())),
            claims=None if token_claims is None else _claims(token_claims),
            address=address,
        )
        judged = judging.judge(read.mesh, question, mode)
    except (OSError, QuestionError, UnknownError) as error:
        typer.echo(f"plait can: {error}", err=True)
        raise typer.Exit(_UNTOLD) from error
    places = _Places(read)
    if output is OutputFormat.JSON:
        print_json({"verdicts": [_plain(one, places) for one in judged]})
    else:
        for one in judged:
            _show(one, places)
    denied = any(one.explanation.verdict is Verdict.DENIED for one in judged)
    raise typer.Exit(_DENIED if denied else _ALLOWED)


class _Places:
    """Where things are written."""

    def __init__(self, read: offline.Offline) -> None:
        self._store = read.store

    def of(self, origin: Origin) -> tuple[str, int]:
        place = self._store.place(origin.ref, origin.field)
        return (place.file, place.line) if place else ("", 0)

    def text(self, origin: Origin) -> str:
        file, line = self.of(origin)
        return (
            f"{origin.ref}{f' {origin.field}' if origin.field else ''}{f' ({file}:{line})' if file else ''}"
        )


def _headers(given: Sequence[str]) -> Iterator[tuple[str, str]]:
    for one in given:
        name, colon, value = one.partition(":")
        if not colon or not name:
            raise QuestionError(f"{one!r} is no header: NAME:VALUE")
        yield name.lower().strip(), value.strip()


def _claims(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise QuestionError(f"the claims of the token are no JSON: {error}") from error
    if not isinstance(found, dict):
        raise QuestionError("the claims of a token are an object")
    return found


def _show(one: Judged, places: _Places) -> None:
    found = one.explanation
    print_line(f"{found.verdict}: {one.asked}", _STYLES[found.verdict])
    if found.rule is not None:
        print_line(f"  by {_named(found.rule, places)}")
    elif found.decision is Decision.NO_ALLOW:
        print_line(f"  {found.decision}, of those in")
        for origin in one.allowing:
            print_line(f"    {places.text(origin)}")
    else:
        print_line(f"  {found.decision}")
    for watched in found.watched:
        if watched.rule is not None:
            print_line(f"  only watched: {_named(watched.rule, places)} holds")


def _named(rule: Rule, places: _Places) -> str:
    return places.text(rule.origin) if rule.origin else rule.name


def _plain(one: Judged, places: _Places) -> dict[str, Any]:
    found: Explanation = one.explanation
    return {
        "asked": one.asked,
        "workload": str(one.workload),
        "port": one.port,
        "verdict": found.verdict,
        "why": found.decision,
        "rule": _rule(found.rule, places),
        "watched": [_rule(watched.rule, places) for watched in found.watched if watched.rule is not None],
    }


def _rule(rule: Rule | None, places: _Places) -> dict[str, Any] | None:
    if rule is None:
        return None
    file, line = places.of(rule.origin) if rule.origin else ("", 0)
    return {
        "name": rule.name,
        "object": str(rule.origin.ref) if rule.origin else "",
        "field": rule.origin.field if rule.origin else "",
        "file": file,
        "line": line,
    }


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(can)
