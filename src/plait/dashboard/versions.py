"""The version that serves and the one that is tried, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from nicegui import ui

from plait.api import figures
from plait.api.client import Client
from plait.api.rollouts import CanaryView
from plait.api.views import Traffic, TrafficGroup
from plait.dashboard import parts
from plait.dashboard.elements.chart import Chart, Line
from plait.telemetry.queries import By, Signals, Where

WINDOW, STEP, HISTORY = 60.0, 10.0, 600.0
"""Seconds: what the numbers are of, and what the lines are."""

REVISION = 8
"""So many characters of a revision are shown."""

SERVES, TRIED = "serves", "is tried"
_ROWS = ("Requests", "Errors", "p50", "p90", "p99")
_ALIKE = 0.2
"""Durations that differ by less than this part, or by less than a millisecond, are alike."""
_ALIKE_SHARES = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two: its version by its traffic ("" when nobody called it), and how it went."""

    version: str = ""
    signals: Signals = field(default_factory=Signals)


async def both(client: Client, canary: CanaryView, **how: float) -> tuple[Traffic, Traffic]:
    """What each of the two was asked, as GET /v1/traffic says."""
    names = (canary.target, f"{canary.target}-canary")
    serves, tried = [
        await client.traffic(
            By.VERSION,
            Where(destination_namespace=canary.namespace, destination_workload=name),
            window=how["window"],
            step=how.get("step", 0),
        )
        for name in names
    ]
    return serves, tried


def busiest(traffic: Traffic) -> TrafficGroup | None:
    """Of what was called by several names the one that was called most."""
    return max(traffic.groups, key=lambda group: group.signals.requests, default=None)


def side(traffic: Traffic) -> Side:
    found = busiest(traffic)
    return Side() if found is None else Side(version=found.group.destination_version, signals=found.signals)


def cells(signals: Signals) -> tuple[str, ...]:
    """The numbers of a side, in the order of its rows."""
    return (
        figures.rate(signals.rate) or "0/s",
        figures.share(signals.error_share),
        figures.duration(signals.p50_ms),
        figures.duration(signals.p90_ms),
        figures.duration(signals.p99_ms),
    )


def tones(serves: Signals, tried: Signals) -> tuple[str, ...]:
    """Where what is tried is worse, and where it is better, than what serves; more requests are neither."""
    shares = _tone(serves.error_share, tried.error_share, _ALIKE_SHARES)
    durations = (
        (serves.p50_ms, tried.p50_ms),
        (serves.p90_ms, tried.p90_ms),
        (serves.p99_ms, tried.p99_ms),
    )
    return (
        parts.PLAIN,
        shares,
        *(_tone(one, other, max(1.0, _ALIKE * (one or 0))) for one, other in durations),
    )


def _tone(serves: float | None, tried: float | None, alike: float) -> str:
    if serves is None or tried is None or abs(tried - serves) < alike:
        return parts.PLAIN
    return parts.GOOD if tried < serves else parts.BAD


class Versions:
    """A table of both, and lines of how they went."""

    def __init__(self) -> None:
        with ui.element("div").classes("columns"):
            with parts.panel("Both versions, last minute", classes="span-4", flush=True):
                self._table = ui.html("", sanitize=False)
            with parts.panel("Errors", classes="span-4"):
                self._errors = Chart(label="Share of requests that failed", write=figures.share, height=196)
            with parts.panel("p99", classes="span-4"):
                self._p99 = Chart(label="99th percentile of the duration", write=figures.duration, height=196)

    async def look(self, client: Client, canary: CanaryView) -> None:
        serves, tried = map(side, await both(client, canary, window=WINDOW))
        self._table.set_content(_table(canary, serves, tried))
        history = await both(client, canary, window=HISTORY, step=STEP)
        until = datetime.fromisoformat(history[0].until).timestamp() // STEP * STEP
        found = [
            (name, colour, busiest(one))
            for name, colour, one in zip((SERVES, TRIED), ("--series-1", "--series-2"), history, strict=True)
        ]
        self._errors.show(
            until, STEP, [_line(name, colour, _shares(one.points)) for name, colour, one in found if one]
        )
        self._p99.show(
            until, STEP, [_line(name, colour, _p99(one.points)) for name, colour, one in found if one]
        )


def _line(name: str, colour: str, points: tuple[float | None, ...]) -> Line:
    return Line(name=name, points=points, colour=colour)


def _shares(points: Sequence[Signals | None]) -> tuple[float | None, ...]:
    return tuple(None if one is None else one.error_share for one in points)


def _p99(points: Sequence[Signals | None]) -> tuple[float | None, ...]:
    return tuple(None if one is None else one.p99_ms for one in points)


def _table(canary: CanaryView, serves: Side, tried: Side) -> str:
    heads = "".join(
        f'<th scope="col" class="end"><i class="canary-key {word}"></i>{title}'
        f'<span class="sub">{parts.escaped(said)}</span></th>'
        for word, title, said in (
            ("serves", "Serves", _sub(serves, canary.promoted)),
            ("tried", "Is tried" if canary.runs else "Was tried", _sub(tried, canary.applied)),
        )
    )
    rows = "".join(
        f'<tr><th scope="row">{name}</th><td class="end">{parts.escaped(one)}</td>'
        f'<td class="end {tone}">{parts.escaped(other)}</td></tr>'
        for name, one, other, tone in zip(
            _ROWS,
            cells(serves.signals),
            cells(tried.signals),
            tones(serves.signals, tried.signals),
            strict=True,
        )
    )
    return f'<table class="grid canary-both"><thead><tr><th></th>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _sub(one: Side, revision: str) -> str:
    """Which version it is, as far as it was called."""
    return (
        ", ".join(part for part in (one.version, revision[:REVISION]) if part)
        if one.signals.requests
        else "no traffic"
    )
