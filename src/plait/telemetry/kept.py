"""What the store answers: queries, and what a picture is made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import inf

from plait.telemetry.graph import Seen
from plait.telemetry.queries import (
    ANYBODY,
    By,
    Callee,
    Counts,
    Group,
    History,
    Measured,
    Signals,
    Where,
    counts,
    group_of,
    signals,
)
from plait.telemetry.reporters import Pair, once, told_by_callees
from plait.telemetry.series import Family, Labels, Total, Window
from plait.telemetry.store import Store

AROUND = 60
"""Seconds before a window in which it counts who tells of traffic: the two ends do not report at the same moment."""
IDLE = 3600.0
"""Seconds for which an edge is shown on which nothing goes any more."""


class StoreQueries:
    """Queries of what the control plane itself has kept."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def measure(
        self, by: By, where: Where = ANYBODY, *, window: float, end: float | None = None, at_least: int = 1
    ) -> Measured:
        """How it went over a window."""
        found = await self._store.window(window, end)
        told = await self._told(by, where, found.start, None if end is None else found.end)
        groups = await asyncio.to_thread(told, found, at_least)
        return Measured(
            start=found.start, end=found.end, heard=found.heard, groups=groups, left_out=found.left_out
        )

    async def history(  # noqa: PLR0913 - see Queries
        self,
        by: By,
        where: Where = ANYBODY,
        *,
        window: float,
        step: float,
        end: float | None = None,
        at_least: int = 1,
    ) -> History:
        """How it went, step by step."""
        since = (self._store.until if end is None else end) - window
        told = await self._told(by, where, since, end)

        def made(one: Window) -> dict[Group, Signals] | None:
            return told(one, at_least) if one.heard else None

        start, width, steps = await self._store.steps(window, step, where.covers, made, end)
        known = sorted({group for one in steps if one for group in one})
        return History(
            start=start,
            step=width,
            groups={
                group: tuple(None if one is None else one.get(group, Signals()) for one in steps)
                for group in known
            },
        )

    async def count(
        self,
        callee: Callee,
        *,
        since: float,
        until: float = inf,
        last: float = inf,
        slower_than: float = inf,
    ) -> Counts:
        """All that a workload was asked between two times."""
        found = await self._store.since(since, until, last=last)
        callees = told_by_callees(await self._store.seen(found.start - AROUND))
        made = await asyncio.to_thread(_counted, found, callee, callees, slower_than)
        return replace(made, left_out=found.left_out)

    async def _told(
        self, by: By, where: Where, since: float, until: float | None
    ) -> Callable[[Window, int], dict[Group, Signals]]:
        """What is asked for, of the windows between two times (None: now)."""
        callees = told_by_callees(await self._store.seen(since - AROUND, until))

        def told(one: Window, at_least: int) -> dict[Group, Signals]:
            totals = {
                labels: total
                for labels, total in one.totals.items()
                if by.counts(labels) and where.covers(labels)
            }
            found: Iterable[tuple[Labels, Total]] = totals.items()
            if not where.reporter:
                found = once(totals, callees, callers=by is By.EDGE or where.callers)
            groups: dict[Group, list[tuple[Labels, Total]]] = {}
            for labels, total in found:
                groups.setdefault(group_of(labels, by), []).append((labels, total))
            return {group: signals(some, one.heard, at_least) for group, some in groups.items()}

        return told


def _counted(found: Window, callee: Callee, callees: frozenset[Pair], slower_than: float) -> Counts:
    where = Where(destination_namespace=callee.workload.namespace, destination_workload=callee.workload.name)
    told = {labels: total for labels, total in found.totals.items() if where.covers(labels)}
    unreached = sum(
        total.count
        for labels, total in found.totals.items()
        if labels.family is Family.UNREACHED
        and (labels.service, labels.subset) == (callee.host, callee.subset)
    )
    return counts(once(told, callees, callers=False), unreached, found, slower_than)


async def seen(store: Store, window: float, end: float | None = None) -> Seen:
    """What a picture of so many seconds up to a time (None: now) is made of; only now has open connections."""
    found = await store.window(window, end)
    until = None if end is None else found.end
    return Seen(
        window=found,
        lately=await store.seen(found.start - AROUND, until),
        before=await store.seen(found.end - IDLE, until),
        usage=await store.usage(window, end),
        pools=store.pools() if until in {None, store.until} else {},
    )
