"""`plait trace`: the traces that were seen, and one of them from its first call to its last."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Literal

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from plait.api.views import SpanView, Traces, TraceSummary, TraceView
from plait.cli.online import ask
from plait.cli.options import Output, OutputFormat, StateDir, seconds
from plait.cli.output import print_json, print_line, print_table
from plait.codec import Codec
from plait.explain import flags

_TRACES: Codec[Traces] = Codec(Traces)
_TRACE: Codec[TraceView] = Codec(TraceView)
_COLUMNS = ("TRACE", "STARTED", "TOOK", "SPANS", "FAILED", "BEGINS WITH")

_LEAST_BAR, _MOST_BAR = 12, 48
"""Cells of the picture of when a call was."""
_DURATION = 9
_LONGEST_LABEL = 60
"""Cells."""
_DEEPEST = 50
"""Calls below each other; what is deeper stands at the top again."""


def trace(  # noqa: PLR0913, PLR0917 - a command's options are its arguments
    state_dir: StateDir,
    trace_id: Annotated[
        str, typer.Argument(help="A trace, or how its id begins; without it, the newest.", metavar="[ID]")
    ] = "",
    service: Annotated[str, typer.Option(help="Of this service.", metavar="NAME")] = "",
    workload: Annotated[str, typer.Option(help="Of this workload.", metavar="NAMESPACE/WORKLOAD")] = "",
    min_duration: Annotated[
        str, typer.Option(help="That took as long or longer: 200ms, 1.5s.", metavar="DURATION")
    ] = "",
    status: Annotated[
        Literal["ok", "error"] | None,
        typer.Option(help="In which something has failed, or nothing has."),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(help="With this tag on a span; may be given again.", metavar="NAME=VALUE"),
    ] = None,
    since: Annotated[
        str, typer.Option(help="That began so long ago at most: 5m, 1h.", metavar="DURATION")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many at most.", metavar="N")] = 20,
    output: Output = OutputFormat.TEXT,
) -> None:
    """Show the newest traces, or one: who called whom, when, for how long, and how it went.

    Exit code 1 when there is no such trace; 3 when no mesh runs.
    """
    if trace_id:
        found = ask(state_dir, lambda client: client.trace(trace_id))
        if output is OutputFormat.JSON:
            print_json(_TRACE.to_json(found))
        else:
            _show(found)
        return
    query: dict[str, str | Sequence[str]] = {"limit": str(limit)}
    named = {"service": service, "workload": workload, "status": status, "tag": tag}
    query |= {name: value for name, value in named.items() if value}
    if min_duration:
        query["min_duration"] = str(_duration(min_duration))
    if since:
        query["since"] = str(time.time() - seconds(since))

    several = ask(state_dir, lambda client: client.traces(query))
    if output is OutputFormat.JSON:
        print_json(_TRACES.to_json(Traces(traces=several)))
    elif several:
        print_table(_COLUMNS, map(_row, several))
    else:
        print_line("no traces" if len(query) == 1 else "no such traces")


def _row(one: TraceSummary) -> tuple[str, ...]:
    others = [service for service in one.services if service != one.service]
    path = " > ".join((one.service, *others[:3])) + (" ..." if others[3:] else "")
    failed = str(one.failed) if one.failed else ""
    when = one.started[11:23]
    return one.trace[:12], when, took(one.duration_ms), str(one.spans), failed, f"{one.name}  {path}"


# One trace


@dataclass(slots=True)
class Hop:
    """A call, told by one end or by both, or what an application says that it did; and what came of it."""

    first: SpanView
    """The caller's, where it is told."""
    served: SpanView | None = None
    """The same call as who was called tells it."""
    below: list[Hop] = field(default_factory=list)

    @property
    def spans(self) -> tuple[SpanView, ...]:
        return (self.first,) if self.served is None else (self.first, self.served)


def hops(spans: Sequence[SpanView]) -> list[Hop]:
    """The calls of a trace below each other; those whose caller is not known stand at the top.

    A call that both ends tell is one; one that was tried several times has its tries below it.
    """
    known = {one.id for one in spans}
    below: dict[str, list[SpanView]] = {}
    for one in spans:
        below.setdefault(one.parent if one.parent in known and one.parent != one.id else "", []).append(one)
    seen: set[str] = set()

    def hop(one: SpanView, depth: int = 0) -> Hop:
        seen.add(one.id)
        found = Hop(one)
        under = [child for child in below.get(one.id, ()) if child.id not in seen]
        if one.kind == "client" and len(under) == 1 and under[0].kind == "server":
            found.served = under[0]
            seen.add(under[0].id)
            under = [child for child in below.get(under[0].id, ()) if child.id not in seen]
        found.below = [hop(child, depth + 1) for child in under if depth < _DEEPEST]
        return found

    top = [hop(one) for one in below.get("", ())]
    top += [hop(one) for one in spans if one.id not in seen]  # in a circle, or too deep
    return sorted(top, key=lambda found: found.first.start_ms)


def _show(found: TraceView) -> None:
    top = hops(found.spans)
    services = list(dict.fromkeys(one.service for one in found.spans))
    failed = sum(one.failed for one in found.spans)
    print_line(
        f"{found.trace}  {found.started}  {took(found.duration_ms)}, {_many(len(found.spans), 'span')}, "
        f"{_many(len(services), 'service')}" + (f", {failed} failed" if failed else "")
    )
    rows = [row for hop in top for row in _rows(hop, 0)]
    width = Console().width
    said = min(_LONGEST_LABEL, max((cell_len(label) for label, _, _ in rows), default=0))
    outcome = max((cell_len(words) for _, _, words in rows), default=0)
    bar = min(_MOST_BAR, max(_LEAST_BAR, width - said - _DURATION - outcome - 6))
    for label, hop, words in rows:
        failed_here = any(one.failed for one in hop.spans)
        line = Text(set_cell_size(label, said) + "  ")
        line.append(_bar(hop, found.duration_ms, bar), "red" if failed_here else "cyan")
        line.append(took(hop.first.duration_ms).rjust(_DURATION) + "  ")
        line.append(words, "red" if failed_here else "")
        line.rstrip()
        Console(highlight=False).print(line, soft_wrap=True)
    ended = dict.fromkeys(one.attribute("response_flags") for one in found.spans)
    for flag in flags.words(",".join(ended)):
        print_line(f"{flag.short}: {flag.words}")


def _rows(hop: Hop, depth: int) -> Iterator[tuple[str, Hop, str]]:
    yield "  " * depth + _label(hop), hop, _outcome(hop)
    for one in hop.below:
        yield from _rows(one, depth + 1)


def _label(hop: Hop) -> str:
    """Who was called, and for what."""
    if hop.served is not None:
        return f"{hop.served.service} {hop.served.name}"
    if hop.first.kind == "client" and hop.first.by == "sidecar":
        return f"{hop.first.service} > {hop.first.called or '?'} {hop.first.name}"
    return f"{hop.first.service} {hop.first.name}"


def _bar(hop: Hop, whole: float, width: int) -> str:
    """When the call was, thin where it was on its way, thick where it was served."""
    line = [" "] * width
    for span, mark in zip(hop.spans, "─━" if hop.served is not None else "━", strict=True):
        begin = min(width - 1, int(span.start_ms / whole * width)) if whole else 0
        end = max(begin + 1, round((span.start_ms + span.duration_ms) / whole * width)) if whole else 1
        line[begin:end] = mark * (min(end, width) - begin)
    return "".join(line[:width])


def _outcome(hop: Hop) -> str:
    """How it went, in words where it went wrong."""
    last = hop.spans[-1]
    status, ended, grpc = (
        hop.first.attribute(name) or last.attribute(name)
        for name in ("http.status_code", "response_flags", "grpc.status_code")
    )
    said = [status if status not in ("", "0") else ""]
    if status.isdecimal() and int(status) >= 400:
        said.append(_phrase(int(status)))
    if status == "0":
        said.append("no answer")
    if grpc not in ("", "0"):
        said.append(f"gRPC status {grpc}")
    said += [f"({ended})" if ended else "", last.message or hop.first.message]
    if not any(said) and any(one.failed for one in hop.spans):
        said = ["failed"]
    return " ".join(part for part in said if part)


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase.lower()
    except ValueError:
        return ""


def took(milliseconds: float) -> str:
    """A duration in few digits."""
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.2f} s"
    return f"{milliseconds:.1f} ms"


def _duration(text: str) -> float:
    """Seconds; as elsewhere, and in milliseconds too."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)ms", text)
    return float(found[1]) / 1000 if found else seconds(text)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(trace)
