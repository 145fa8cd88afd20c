"""Canaries: how each new version takes over."""

from __future__ import annotations

from nicegui import ui

from plait.api.client import ApiError
from plait.api.rollouts import CanaryEvent, CanaryView
from plait.dashboard import canary, parts, rollouts
from plait.dashboard.elements.grid import Cell, Column, Grid, Row
from plait.dashboard.feed import Feed
from plait.dashboard.frame import frame
from plait.model.names import WorkloadKey

_COLUMNS = (
    Column("canary", "Canary", tight=True),
    Column("phase", "Phase", tight=True),
    Column("share", "To the new version", end=True, tight=True),
    Column("failed", "Failed checks", end=True),
    Column("waits", "What it waits for, or how it ended"),
)
_EVENTS = (
    Column("at", "Time", tight=True),
    Column("phase", "Phase", tight=True),
    Column("weight", "Weight", end=True, tight=True),
    Column("failed", "Failed checks", end=True),
    Column("what", "What happened"),
)
_SEVERITIES = {"warn": parts.WARN, "error": parts.BAD}


def register(feed: Feed) -> None:
    """Serve the pages."""

    @ui.page("/canaries")
    async def page() -> None:
        with frame(feed, "Canaries", "/canaries") as shown:
            with parts.panel("Rollouts", flush=True, classes="canary-list"):
                grid = Grid(
                    _COLUMNS,
                    label="Canaries",
                    empty="There is no Canary. One (flagger.app/v1beta1) says how new versions of a workload take over.",
                )

            async def refresh() -> None:
                found = await feed.client.canaries()
                grid.show([row(one) for one in sorted(found, key=lambda one: (not one.runs, one.key))])

            await shown.live(refresh)

    @ui.page("/canaries/{namespace}/{name}")
    async def one(namespace: str, name: str) -> None:
        key = WorkloadKey(namespace, name)
        with frame(feed, f"{namespace}/{name}", "/canaries") as shown:
            await canary.section(shown, feed, key)
            with parts.panel("What happened", flush=True, classes="canary-events"):
                grid = Grid(_EVENTS, label="Events", empty="Nothing has happened yet.")

            async def refresh() -> None:
                try:
                    target = (await feed.client.canary(key)).target
                    events = await feed.client.canary_history(key)
                except ApiError as error:
                    if error.code != "not_found":
                        raise
                    grid.show([])
                    return
                numbered = list(enumerate(events))
                grid.show([event_row(number, event, target) for number, event in reversed(numbered)])

            await shown.live(refresh)


def row(one: CanaryView) -> Row:
    """A Canary in the list: those that run come first."""
    held = ", ".join(word for word, holds in (("paused", one.paused), ("suspended", one.suspended)) if holds)
    failed = one.failed_checks if one.runs else 0
    return Row(
        key=one.key,
        cells=(
            Cell(one.key, href=rollouts.where(one), sub=f"{one.strategy} of {one.target}"),
            Cell(one.phase, tone=rollouts.PHASES.get(one.phase, parts.PLAIN), badge=True, sub=held),
            Cell(one.share, sub=one.goal, sort=one.weight, bar=max(one.weight, one.mirrored) / 100)
            if one.runs
            else Cell("", sort=-1),
            Cell(
                f"{failed} of {one.threshold}" if one.runs else "",
                tone=parts.WARN if failed else parts.PLAIN,
                sort=failed,
            ),
            Cell(rollouts.state(one).text),
        ),
    )


def event_row(number: int, event: CanaryEvent, target: str) -> Row:
    """Something that happened; the number is its place in the history."""
    return Row(
        key=f"{event.at} {number}",
        cells=(
            Cell(parts.clock(event.at), title=event.at, sort=rollouts.moment(event.at)),
            Cell(event.phase, tone=rollouts.PHASES.get(event.phase, parts.PLAIN), badge=True),
            Cell(f"{event.weight} %", sort=event.weight),
            Cell(str(event.failed_checks or ""), sort=event.failed_checks),
            Cell(rollouts.plain(event, target), tone=_SEVERITIES.get(event.severity, parts.PLAIN)),
        ),
    )
