"""What proxies reported, kept for a while: an hour in slots of 5 s, and a day in minutes.

Reports are taken on the control plane's loop, which only adds them up; a slot is written once it is over, in a thread,
and read in another.  Replicas of one workload are added up; what their processes use is kept apart.  A slot of which
nobody reported anything is a gap, and never zero.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import ceil, inf
from pathlib import Path
from typing import TypeVar

from plait.codec import Codec, CodecError
from plait.model.names import ReplicaKey
from plait.telemetry.database import KEPT, MINUTE, STEP, Batch, Reader, Slot, Span, Writer
from plait.telemetry.reports import Pool, ProxyReport, Traffic
from plait.telemetry.series import OTHER, Labels, Total, Used, Window, of_packed, of_unreached

log = logging.getLogger(__name__)

T = TypeVar("T")
Own = Callable[[ReplicaKey], Mapping[str, str]]
"""What the labels say of a replica's own workload: its workload, namespace, app and version."""

MOST_SERIES = 5000
"""More than this at a time are one series together."""
LONG = 300
"""Windows of so many seconds or more begin with a full minute: then they are read in minutes."""

_LATE = 2
"""Seconds after the end of a slot in which reports of it still come in."""
_REMEMBERED = 4 * MOST_SERIES
"""How many texts it is known of which series they are."""
_USAGES = ("sidecar", "application")
_LABELS: Codec[Labels] = Codec(Labels, lenient=True)


class Store:
    """`own` is asked about who reports; `clock` gives seconds since the epoch."""

    def __init__(self, path: Path, own: Own, *, clock: Callable[[], float] = time.time) -> None:
        self._own, self._clock = own, clock
        self._writer = _opened(path)
        self._reader = Reader(path)
        self._writes = ThreadPoolExecutor(1, "telemetry-writer")
        self._reads = ThreadPoolExecutor(1, "telemetry-reader")
        self._labels: dict[int, Labels] = {}
        self._ids: dict[Labels, int] = {}
        self._last: dict[int, int] = {}
        self._new: dict[int, Labels] = {}
        self._next = 1
        self._load()
        self._packed: dict[tuple[str, tuple[str, ...]], int] = {}
        self._open: dict[int, Slot] = {}
        self._sealed = max(self._writer.slots_until, _start(clock()))
        self._readable = self._sealed
        self._minutes = self._writer.minutes_until
        self._pools: dict[ReplicaKey, tuple[float, tuple[Pool, ...]]] = {}

    # What comes in ------------------------------------------------------------------------------------------

    def take(self, report: ProxyReport) -> None:
        """Add a report up.  One that comes too late, or from a clock ahead of ours, counts for the nearest open slot."""
        last = _start(report.at - STEP / 2)
        steps = max(1, round(report.seconds / STEP))
        start = min(last, _start(self._clock()))
        for at in range(start - (steps - 1) * STEP, start, STEP):
            if at >= self._sealed:
                self._open.setdefault(at, Slot())  # it covers this one as well
        start = max(start, self._sealed)
        slot = self._open.setdefault(start, Slot())
        own = self._own(report.node)
        for one in report.traffic:
            number = self._series(one.packed, own)
            if number:
                self._add(number, start, one)
        for pool in report.pools:
            if pool.unreached and (labels := of_unreached(pool.cluster, own)):
                self._add(self._number(labels), start, Total(count=pool.unreached))
        node = str(report.node)
        for process, usage in zip(_USAGES, (report.sidecar, report.application), strict=True):
            if usage is not None:
                before = slot.usage.get((node, process), Used(0, 0.0, 0))
                slot.usage[node, process] = Used(
                    before.heard + steps * STEP, before.cpu + usage.cpu, max(before.memory, usage.memory)
                )
        self._pools[report.node] = (start, report.pools)

    def _add(self, number: int, start: int, what: Traffic | Total) -> None:
        """Count something of a series in an open slot."""
        self._last[number] = start
        self._open[start].totals.setdefault(number, Total()).add(what)

    def _series(self, packed: str, own: Mapping[str, str]) -> int:
        """The number of a series; 0: it is none that is kept."""
        key = (packed, tuple(own.values()))
        number = self._packed.get(key)
        if number is None:
            try:
                number = self._number(of_packed(packed, own))
            except ValueError:
                number = 0
            if len(self._packed) >= _REMEMBERED:
                self._packed.clear()
            self._packed[key] = number
        return number

    def _number(self, labels: Labels) -> int:
        number = self._ids.get(labels)
        if number is None:
            if len(self._ids) >= MOST_SERIES and labels != OTHER:
                if OTHER not in self._ids:
                    log.warning(
                        "there are %d series of traffic: those that are new are not told apart", MOST_SERIES
                    )
                return self._number(OTHER)
            number, self._next = self._next, self._next + 1
            self._ids[labels], self._labels[number] = number, labels
            self._new[number] = labels
        return number

    # What is kept -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Write each slot once it is over, until cancelled."""
        while True:
            await asyncio.sleep(STEP - (self._clock() - _LATE) % STEP)
            await self.write(self._clock() - _LATE)

    async def write(self, until: float) -> None:
        """Write all slots that are over at a time; those of the hour and of the day before are forgotten."""
        end = max(_start(until), self._sealed)
        new, self._new = self._new, {}
        batch = self._batch(end)
        self._sealed = end

        def write() -> None:
            batch.series = {number: _LABELS.encode(labels) for number, labels in new.items()}
            self._writer.write(batch, end)

        try:
            await asyncio.get_running_loop().run_in_executor(self._writes, write)
        except (sqlite3.Error, OverflowError) as error:
            log.error("what was seen before now is lost: %s", error)  # noqa: TRY400 - no bug of ours: a full disk
            self._new = new | self._new
        self._readable, self._minutes = end, self._writer.minutes_until

    def _batch(self, end: int) -> Batch:
        slots = {start: self._open.pop(start) for start in sorted(self._open) if start < end}
        batch = Batch(slots=slots)
        minute = end // MINUTE * MINUTE
        if minute > self._minutes:
            batch.last = {number: at for number, at in self._last.items() if at >= self._minutes - MINUTE}
            batch.forgotten = tuple(
                number for number in self._labels if self._last.get(number, 0) < end - KEPT[MINUTE]
            )
            for number in batch.forgotten:
                del self._ids[self._labels.pop(number)]
                self._last.pop(number, None)
            if batch.forgotten:
                self._packed.clear()
        return batch

    async def close(self) -> None:
        """Write what there is, and close the file."""
        await self.write(self._clock() + STEP)
        for threads in (self._writes, self._reads):
            await asyncio.to_thread(threads.shutdown)
        self._reader.close()
        self._writer.close()

    def _load(self) -> None:
        for number, data, last in self._writer.known():
            self._next = max(self._next, number + 1)
            try:
                labels = _LABELS.decode(data)
            except CodecError:
                continue  # of another version of ours
            self._labels[number], self._ids[labels], self._last[number] = labels, number, last

    # What is asked for --------------------------------------------------------------------------------------

    @property
    def until(self) -> int:
        """The end of what can be asked for, in seconds since the epoch."""
        return self._readable

    async def seen(self, since: float, until: float | None = None) -> tuple[Labels, ...]:
        """All that there was anything of between two times (`until` None: now, with what is not written yet)."""
        if until is None:
            return tuple(self._labels[number] for number, last in self._last.items() if last >= since)
        _, _, spans = self._spans(until - since, until)
        found = await self._read(lambda: self._reader.series(spans))
        known = (self._labels.get(number) for number in found)
        return tuple(labels for labels in known if labels is not None)

    async def window(self, seconds: float, end: float | None = None) -> Window:
        """What there was in so many seconds up to a time (None: now)."""
        start, until, spans = self._spans(seconds, end)

        def read() -> tuple[int, dict[int, Total]]:
            return self._reader.heard(spans), self._reader.totals(spans)

        heard, found = await self._read(read)
        return Window(start=start, end=until, heard=heard, totals=self._named(found))

    async def since(self, at: float, until: float = inf, *, last: float = inf) -> Window:
        """What there was in the slots that lie between two times, but no more than the last so many seconds of it.

        Slots alone are read, so that two questions of which the one begins where the other ended count nothing twice.
        What is older than an hour is left out: `start` says where it begins.
        """
        end = min(self._readable, _start(min(until, self._readable)))
        kept = self._minutes - KEPT[STEP]
        slots = max(1, ceil(min(last, KEPT[STEP]) / STEP))
        start = min(max(ceil(at / STEP) * STEP, kept, end - slots * STEP), end)
        spans: list[Span] = [(STEP, start, end)]

        def read() -> tuple[int, dict[int, Total]]:
            return self._reader.heard(spans), self._reader.totals(spans)

        heard, found = await self._read(read)
        return Window(start=start, end=end, heard=heard, totals=self._named(found))

    async def steps(
        self,
        seconds: float,
        step: float,
        chosen: Callable[[Labels], bool],
        made: Callable[[Window], T],
        end: float | None = None,
    ) -> tuple[int, int, list[T]]:
        """What is made of the series that are chosen, a step of seconds at a time; the first's start, and the step.

        A step is as many slots as are needed for so long: of 5 s, or whole minutes for a minute or more, and for what is
        older than an hour.  `made` is called in another thread, so that a long history need not be in memory.
        """
        until = self._until(end)
        own = MINUTE if step >= MINUTE or until - seconds < self._minutes - KEPT[STEP] else STEP
        if own == MINUTE:
            until = min(until // MINUTE * MINUTE, self._minutes)
        width = max(1, ceil(step / own)) * own
        start = until - max(1, int(seconds // width)) * width
        numbers = [number for number, labels in self._labels.items() if chosen(labels)]
        known = len(self._labels)

        def read() -> list[T]:
            found = self._reader.steps((own, start, until), width, numbers, known)
            return [
                made(Window(start=at, end=at + width, heard=heard, totals=self._named(totals)))
                for at, (heard, totals) in zip(range(start, until, width), found, strict=True)
            ]

        return start, width, await self._read(read)

    async def usage(self, seconds: float, end: float | None = None) -> Mapping[tuple[str, str], Used]:
        """What processes used in so many seconds, by replica (`NS/WORKLOAD/NUMBER`) and process (sidecar, application)."""
        _, _, spans = self._spans(seconds, end)
        return await self._read(lambda: self._reader.usage(spans))

    def pools(self) -> Mapping[ReplicaKey, tuple[Pool, ...]]:
        """What goes on now between proxies and clusters: of those that reported within the past minute."""
        since = self._readable - MINUTE
        self._pools = {node: one for node, one in self._pools.items() if one[0] >= since}
        return {node: pools for node, (_, pools) in self._pools.items()}

    def _until(self, end: float | None) -> int:
        return self._readable if end is None else min(_start(end), self._readable)

    def _spans(self, seconds: float, end: float | None) -> tuple[int, int, list[Span]]:
        """From when to when is read, and in which slots."""
        until = self._until(end)
        start = until - max(1, ceil(seconds / STEP)) * STEP
        kept = self._minutes - KEPT[STEP]
        if seconds < LONG and start >= kept:
            return start, until, [(STEP, start, until)]
        start = start // MINUTE * MINUTE
        if until < kept:
            until = until // MINUTE * MINUTE
        minutes = min(until // MINUTE * MINUTE, self._minutes)
        return start, until, [(MINUTE, start, minutes), (STEP, max(start, minutes), until)]

    def _named(self, found: Mapping[int, Total]) -> Mapping[Labels, Total]:
        known = ((self._labels.get(number), total) for number, total in found.items())
        return {labels: total for labels, total in known if labels is not None}

    async def _read(self, question: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._reads, question)


def _start(at: float) -> int:
    """When the slot of a moment begins."""
    return int(at // STEP) * STEP


def _opened(path: Path) -> Writer:
    """The file; another when it is damaged: what was seen can be missed, a mesh can't wait for that."""
    try:
        return Writer(path)
    except sqlite3.DatabaseError as error:
        log.warning("what was seen is forgotten: %s: %s", path, error)
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        return Writer(path)
