"""The file that traffic is kept in: SQLite, written by one connection and read by another.

A slot is some seconds of everything; slots of 5 s become slots of a minute once the minute is over.  Points lie by
slot, so that writing adds to the end, forgetting cuts from the beginning, and a picture of the mesh is one walk; those
of one series are found by a seek in each slot.

Nothing here knows what a series is, or the time; every call blocks, and belongs into a thread.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from plait.telemetry.series import Total, Used

STEP, MINUTE = 5, 60
"""Seconds of a slot: as they come, and once they have become a minute."""
KEPT = {STEP: 3600, MINUTE: 86_400}
"""How many seconds slots are kept, by their own length."""

_VERSION = 1
_PRAGMAS = ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -8000", "busy_timeout = 5000")
_TABLES = """
CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, labels BLOB NOT NULL, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS slots (
    step INTEGER, start INTEGER, heard INTEGER NOT NULL, PRIMARY KEY (step, start)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS points (
    step INTEGER, start INTEGER, series INTEGER,
    count INTEGER NOT NULL, closed INTEGER NOT NULL, received INTEGER NOT NULL, sent INTEGER NOT NULL, bins BLOB NOT NULL,
    PRIMARY KEY (step, start, series)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage (
    step INTEGER, start INTEGER, replica TEXT, process TEXT,
    heard INTEGER NOT NULL, cpu REAL NOT NULL, memory INTEGER NOT NULL,
    PRIMARY KEY (step, start, replica, process)
) WITHOUT ROWID;
"""
_BETWEEN = "step = ? AND start >= ? AND start < ?"
_POINTS = f"SELECT series, count, closed, received, sent, bins FROM points WHERE {_BETWEEN}"  # noqa: S608
_FEW = 8
"""A series is looked up in each slot when it is one of so many or more; else whole slots are read."""

_Point = tuple[Any, ...]
"""A row of _POINTS."""
_NO_MORE: tuple[int, Iterator[_Point]] = (-1, iter(()))
Span = tuple[int, int, int]
"""(length of its slots, start, end): a piece of time, all in seconds."""


@dataclass(slots=True)
class Slot:
    """What was reported of one slot."""

    totals: dict[int, Total] = field(default_factory=dict)
    """By the number of the series."""
    usage: dict[tuple[str, str], Used] = field(default_factory=dict)
    """By replica, and by which process of it."""


@dataclass(slots=True)
class Batch:
    """What is to be written at once."""

    slots: dict[int, Slot] = field(default_factory=dict)
    """By their starts."""
    series: dict[int, bytes] = field(default_factory=dict)
    """The labels of those that are new."""
    last: dict[int, int] = field(default_factory=dict)
    """When series were last seen."""
    forgotten: tuple[int, ...] = ()
    """Series of which nothing is kept."""


class Writer:
    """The connection that writes.  sqlite3.Error when it can't; nothing of a batch is kept then."""

    def __init__(self, path: Path) -> None:
        _make_private(path)
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            for pragma in _PRAGMAS:
                self._db.execute(f"PRAGMA {pragma}")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version not in {0, _VERSION}:
                raise sqlite3.DatabaseError(f"its tables are of another version ({version})")
            self._db.executescript(f"{_TABLES}; PRAGMA user_version = {_VERSION}")
        except sqlite3.Error:
            self._db.close()
            raise
        self.minutes_until = self._end(MINUTE)
        self.slots_until = max(self._end(STEP), self.minutes_until)

    def known(self) -> Iterator[tuple[int, bytes, int]]:
        """Every series: number, labels, when it was last seen (up to a minute before it was, after a crash)."""
        yield from self._db.execute("SELECT id, labels, last FROM series")

    def write(self, batch: Batch, until: int) -> None:
        """Add slots that all end before `until`, make minutes of those that are over, forget what is too old."""
        with self._transaction():
            new = ((number, labels, until) for number, labels in batch.series.items())
            self._db.executemany("INSERT INTO series VALUES (?, ?, ?)", new)
            for start, slot in batch.slots.items():
                self._add(STEP, start, STEP, slot.totals)
                rows = (
                    (STEP, start, *who, one.heard, one.cpu, one.memory) for who, one in slot.usage.items()
                )
                self._db.executemany("INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            minute = until // MINUTE * MINUTE
            if minute > self.minutes_until:
                self._make_minutes(minute)
            last = ((when, number) for number, when in batch.last.items())
            self._db.executemany("UPDATE series SET last = ? WHERE id = ?", last)
            self._db.executemany("DELETE FROM series WHERE id = ?", ((one,) for one in batch.forgotten))
        self.slots_until = max(until, self.slots_until)
        self.minutes_until = max(minute, self.minutes_until)

    def close(self) -> None:
        self._db.close()

    def _add(self, step: int, start: int, heard: int, totals: Mapping[int, Total]) -> None:
        self._db.execute("INSERT INTO slots VALUES (?, ?, ?)", (step, start, heard))
        self._db.executemany(
            "INSERT INTO points VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (step, start, number, one.count, one.closed, one.received, one.sent, packed(one.bins))
                for number, one in sorted(totals.items())
            ),
        )

    def _make_minutes(self, until: int) -> None:
        """Minutes of what was written since the last was made, whoever wrote it."""
        since = (STEP, self.minutes_until, until)
        heard: Counter[int] = Counter()
        for start, seconds in self._db.execute(f"SELECT start, heard FROM slots WHERE {_BETWEEN}", since):  # noqa: S608
            heard[start // MINUTE * MINUTE] += seconds
        for minute, seconds in heard.items():
            span = (STEP, minute, minute + MINUTE)
            self._add(MINUTE, minute, seconds, _added_up(self._db.execute(_POINTS, span)))
            self._db.execute(
                "INSERT INTO usage SELECT ?, ?, replica, process, sum(heard), sum(cpu), max(memory)"  # noqa: S608
                f" FROM usage WHERE {_BETWEEN} GROUP BY replica, process",
                (MINUTE, minute, *span),
            )
        for step, kept in KEPT.items():
            for table in ("slots", "points", "usage"):
                self._db.execute(f"DELETE FROM {table} WHERE step = ? AND start < ?", (step, until - kept))  # noqa: S608

    def _end(self, step: int) -> int:
        (last,) = self._db.execute("SELECT max(start) FROM slots WHERE step = ?", (step,)).fetchone()
        return 0 if last is None else int(last) + step

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


class Reader:
    """The connection that reads.  sqlite3.Error when it can't."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False)
        for pragma in _PRAGMAS[2:]:
            self._db.execute(f"PRAGMA {pragma}")

    def heard(self, spans: Iterable[Span]) -> int:
        """For how many seconds anybody reported."""
        asked = f"SELECT total(heard) FROM slots WHERE {_BETWEEN}"  # noqa: S608
        return sum(int(self._db.execute(asked, span).fetchone()[0]) for span in spans)

    def series(self, spans: Iterable[Span]) -> set[int]:
        """The series of which there was anything in several pieces of time."""
        asked = f"SELECT DISTINCT series FROM points WHERE {_BETWEEN}"  # noqa: S608
        return {int(number) for span in spans for (number,) in self._db.execute(asked, span)}

    def totals(self, spans: Sequence[Span]) -> dict[int, Total]:
        """What there was in several pieces of time together, by series."""
        return _added_up(row for span in spans for row in self._db.execute(_POINTS, span))

    def steps(
        self, span: Span, step: int, series: Collection[int], known: int
    ) -> Iterator[tuple[int, dict[int, Total]]]:
        """For each `step` seconds: for how many of them anybody reported, and what there was of some series.

        `known` is how many series there are.  Only one step is in memory at a time.
        """
        _, start, end = span
        heard: Counter[int] = Counter()
        for at, seconds in self._db.execute(f"SELECT start, heard FROM slots WHERE {_BETWEEN}", span):  # noqa: S608
            heard[(at - start) // step] += seconds
        steps = groupby(self._of(span, series, known), lambda point: (point[0] - start) // step)
        number, points = next(steps, _NO_MORE)
        for wanted in range(-((start - end) // step)):
            if number == wanted:
                yield heard[wanted], _added_up(point[1:] for point in points)
                number, points = next(steps, _NO_MORE)
            else:
                yield heard[wanted], {}

    def usage(self, spans: Sequence[Span]) -> dict[tuple[str, str], Used]:
        """What processes used in several pieces of time together, by replica and process."""
        found: dict[tuple[str, str], Used] = {}
        asked = (
            "SELECT replica, process, sum(heard), sum(cpu), max(memory)"  # noqa: S608
            f" FROM usage WHERE {_BETWEEN} GROUP BY replica, process"
        )
        for span in spans:
            for replica, process, heard, cpu, memory in self._db.execute(asked, span):
                before = found.get((replica, process), Used(0, 0.0, 0))
                found[replica, process] = Used(
                    before.heard + heard, before.cpu + cpu, max(before.memory, memory)
                )
        return found

    def close(self) -> None:
        self._db.close()

    def _of(self, span: Span, series: Collection[int], known: int) -> Iterator[_Point]:
        """When, and the point, in order of time."""
        columns = "points.start, series, count, closed, received, sent, bins"
        if len(series) * _FEW > known:
            wanted = frozenset(series)
            asked = f"SELECT {columns} FROM points WHERE {_BETWEEN}"  # noqa: S608
            return (row for row in self._db.execute(asked, span) if row[1] in wanted)
        numbers = ", ".join(f"({number:d})" for number in series)
        asked = (
            f"WITH wanted (number) AS (VALUES {numbers or '(0)'})"  # noqa: S608
            f" SELECT {columns} FROM slots CROSS JOIN wanted CROSS JOIN points"
            " ON points.step = slots.step AND points.start = slots.start AND series = number"
            " WHERE slots.step = ? AND slots.start >= ? AND slots.start < ?"
        )
        return self._db.execute(asked, span)


_BIN_BITS = 10
"""Bins have numbers up to 1023: about a day and a half.  What took longer is there too."""
_MOST = (1 << (32 - _BIN_BITS)) - 1
_LAST_BIN = (1 << _BIN_BITS) - 1


def packed(bins: Mapping[int, int]) -> bytes:
    """A histogram as numbers of four bytes, each a count and its bin; what is packed one after the other adds up."""
    numbers = array("I")
    for number, count in bins.items():
        while count > 0:
            part = min(count, _MOST)
            numbers.append(part << _BIN_BITS | min(max(number, 0), _LAST_BIN))
            count -= part  # noqa: PLW2901
    return numbers.tobytes()


def unpacked(data: bytes) -> dict[int, int]:
    """The histogram that was packed, or all that were, one after the other."""
    bins: dict[int, int] = {}
    # Small counts are frequent: to have equal numbers counted first is four times as fast.
    for packed_one, times in Counter(array("I", data)).items():
        number = packed_one & _LAST_BIN
        bins[number] = bins.get(number, 0) + (packed_one >> _BIN_BITS) * times
    return bins


def _added_up(rows: Iterable[_Point]) -> dict[int, Total]:
    """Points by series; their histograms are unpacked once for all."""
    found: dict[int, Total] = {}
    bins: dict[int, list[bytes]] = {}
    for series, count, closed, received, sent, data in rows:
        one = found.get(series)
        if one is None:
            found[series] = Total(count, closed, received, sent)
            bins[series] = [data]
        else:
            one.count += count
            one.closed += closed
            one.received += received
            one.sent += sent
            bins[series].append(data)
    for series, one in found.items():
        one.bins = unpacked(b"".join(bins[series]))
    return found


def _make_private(path: Path) -> None:
    """The file, for us alone from its first moment; SQLite gives those beside it the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
