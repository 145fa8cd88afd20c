"""Spans on disk: a file of SQLite, bounded in age, number and bytes, from which whole traces are taken away.

To be used by one thread.  What the file holds is worth little: one that can't be read is begun anew.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from plait.model.names import WorkloadKey
from plait.telemetry.spans import Kind, Search, Span, Teller, Trace

log = logging.getLogger(__name__)

LONGEST_KEPT = 24 * 3600.0
"""Seconds from when a trace was last told of."""
MOST_SPANS = 200_000
MOST_BYTES = 128 * 1024 * 1024
MOST_OF_A_TRACE = 5_000
"""Spans; a trace that never ends is no trace."""

_AT_ONCE = 0.05
"""The part that is taken away when there is too much."""
_NANO = 1_000_000_000
_VERSION = 1

_SCHEMA = """
CREATE TABLE traces (
    trace TEXT PRIMARY KEY, start INTEGER NOT NULL, finish INTEGER NOT NULL,
    spans INTEGER NOT NULL, failed INTEGER NOT NULL, touched INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX traces_start ON traces (start);
CREATE INDEX traces_touched ON traces (touched);
CREATE TABLE spans (
    trace TEXT NOT NULL, id TEXT NOT NULL, parent TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
    start INTEGER NOT NULL, finish INTEGER NOT NULL, namespace TEXT NOT NULL, workload TEXT NOT NULL,
    replica INTEGER, teller TEXT NOT NULL, service TEXT NOT NULL, failed INTEGER NOT NULL, message TEXT NOT NULL,
    attributes TEXT NOT NULL
);
CREATE UNIQUE INDEX spans_trace ON spans (trace, id, kind);
"""
_ADD = "INSERT OR IGNORE INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_JOIN = """
INSERT INTO traces VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (trace) DO UPDATE SET
    start = min(start, excluded.start), finish = max(finish, excluded.finish), spans = spans + excluded.spans,
    failed = failed + excluded.failed, touched = max(touched, excluded.touched)
"""
_ROOT = "SELECT * FROM spans WHERE trace = ? ORDER BY parent <> '', start LIMIT 1"


class SpanStore:
    """What is kept of traces."""

    def __init__(self, path: Path, *, most_spans: int = MOST_SPANS, most_bytes: int = MOST_BYTES) -> None:
        """Opens the file, 0600, or begins it.  OSError or sqlite3.Error where that can't be done."""
        self._most_spans = most_spans
        self._most_bytes = most_bytes
        try:
            self._database = _opened(path)
        except sqlite3.DatabaseError as error:
            log.warning("all traces are forgotten: %s: %s", path, error)
            for left in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
                left.unlink(missing_ok=True)
            self._database = _opened(path)
        self._spans: int = self._one("SELECT coalesce(sum(spans), 0) FROM traces")

    def close(self) -> None:
        self._database.close()

    def add(self, spans: Iterable[Span], now: float) -> None:
        """Keep these, in one transaction; `now` in seconds since the epoch.  What is there already is the same."""
        joined: dict[str, list[Span]] = {}
        for span in spans:
            joined.setdefault(span.trace, []).append(span)
        with self._database as database:
            for trace, some in joined.items():
                known = database.execute("SELECT spans FROM traces WHERE trace = ?", (trace,)).fetchone()
                room = MOST_OF_A_TRACE - (known[0] if known else 0)
                added = [span for span in some[: max(0, room)] if self._add(span)]
                if added:
                    self._join(trace, added, now)
                    self._spans += len(added)
            self._bound(now)

    def search(self, search: Search) -> tuple[Trace, ...]:
        """The traces that fit, the newest first."""
        conditions, values = ["t.finish - t.start >= ?"], [round(search.least * _NANO)]
        if search.since is not None:
            conditions.append("t.start >= ?")
            values.append(round(search.since * _NANO))
        if search.until is not None:
            conditions.append("t.start <= ?")
            values.append(round(search.until * _NANO))
        if search.failed is False:
            conditions.append("t.failed = 0")
        of_span, of_values = _of_span(search)
        if of_span:
            some = " AND ".join(("s.trace = t.trace", *of_span))
            conditions.append(f"EXISTS (SELECT 1 FROM spans s WHERE {some})")  # noqa: S608 - nothing of it is anybody's
        where = " AND ".join(conditions)
        found = self._database.execute(
            f"SELECT trace, start, finish, spans, failed FROM traces t WHERE {where} ORDER BY start DESC LIMIT ?",  # noqa: S608
            (*values, *of_values, search.limit),
        ).fetchall()
        return tuple(self._trace(*row) for row in found)

    def named(self, prefix: str, most: int = 2) -> tuple[str, ...]:
        """The ids that begin so, so many at most."""
        rows = self._database.execute(
            "SELECT trace FROM traces WHERE trace >= ? AND trace < ? ORDER BY trace LIMIT ?",
            (prefix, prefix + "g", most),
        )
        return tuple(row[0] for row in rows)

    def trace(self, trace: str) -> tuple[Span, ...]:
        """All spans of a trace, in the order in which they began; () when there is none."""
        rows = self._database.execute("SELECT * FROM spans WHERE trace = ? ORDER BY start", (trace,))
        return tuple(map(_span, rows))

    def since(self, began: float) -> Iterator[Span]:
        """The spans of the traces that went on after a time (seconds since the epoch)."""
        rows = self._database.execute(
            "SELECT s.* FROM traces t JOIN spans s ON s.trace = t.trace WHERE t.touched >= ?", (int(began),)
        )
        return map(_span, rows)

    @property
    def spans(self) -> int:
        """How many there are."""
        return self._spans

    @property
    def bytes(self) -> int:
        """How much of the file is used."""
        used = self._one("PRAGMA page_count") - self._one("PRAGMA freelist_count")
        return int(used * self._one("PRAGMA page_size"))

    def _add(self, span: Span) -> bool:
        row = (
            *(span.trace, span.id, span.parent, span.name, span.kind, span.start, span.end),
            *(span.workload.namespace, span.workload.name, span.replica, span.teller, span.service),
            *(span.failed, span.message, json.dumps(dict(span.attributes), ensure_ascii=False)),
        )
        return self._database.execute(_ADD, row).rowcount > 0

    def _join(self, trace: str, added: list[Span], now: float) -> None:
        start, finish = min(one.start for one in added), max(one.end for one in added)
        failed = sum(one.failed for one in added)
        self._database.execute(_JOIN, (trace, start, finish, len(added), failed, int(now)))

    def _bound(self, now: float) -> None:
        """Take away what is too old, and the oldest of what is too much."""
        self._take_away("touched < ?", int(now - LONGEST_KEPT))
        while self._spans and (self._spans > self._most_spans or self.bytes > self._most_bytes):
            fewest = max(1, round(self._one("SELECT count(*) FROM traces") * _AT_ONCE))
            self._take_away("trace IN (SELECT trace FROM traces ORDER BY touched, start LIMIT ?)", fewest)

    def _take_away(self, which: str, value: int) -> None:
        (gone,) = self._database.execute(
            f"SELECT coalesce(sum(spans), 0) FROM traces WHERE {which}",  # noqa: S608
            (value,),
        ).fetchone()
        if gone:
            chosen = f"(SELECT trace FROM traces WHERE {which})"  # noqa: S608
            self._database.execute(f"DELETE FROM spans WHERE trace IN {chosen}", (value,))  # noqa: S608
            self._database.execute(f"DELETE FROM traces WHERE {which}", (value,))  # noqa: S608
            self._spans -= gone

    def _trace(self, trace: str, start: int, finish: int, spans: int, failed: int) -> Trace:
        services = self._database.execute(
            "SELECT service FROM spans WHERE trace = ? GROUP BY service ORDER BY min(start), min(parent <> '')",
            (trace,),
        )
        return Trace(
            trace=trace,
            start=start,
            duration=finish - start,
            spans=spans,
            failed=failed,
            services=tuple(row[0] for row in services),
            root=_span(self._database.execute(_ROOT, (trace,)).fetchone()),
        )

    def _one(self, question: str) -> Any:
        return self._database.execute(question).fetchone()[0]


def _opened(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        _prepare(database)
    except sqlite3.DatabaseError:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection) -> None:
    version: int = database.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, _VERSION):
        raise sqlite3.DatabaseError(f"it is of another version ({version})")
    if not version:
        database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")


def _of_span(search: Search) -> tuple[list[str], list[str]]:
    """What is asked of one span of a trace."""
    conditions, values = [], []
    if search.service:
        conditions.append("s.service = ?")
        values.append(search.service)
    if search.workload:
        conditions.append("s.namespace || '/' || s.workload = ?")
        values.append(search.workload)
    for name, value in search.tags:
        conditions.append("EXISTS (SELECT 1 FROM json_each(s.attributes) WHERE key = ? AND value = ?)")
        values += [name, value]
    if search.failed:
        conditions.append("s.failed")
    return conditions, values


def _span(row: tuple[Any, ...]) -> Span:
    (trace, id_, parent, name, kind, start, end, namespace, workload, replica, teller, service, *rest) = row
    failed, message, attributes = rest
    return Span(
        trace=trace,
        id=id_,
        parent=parent,
        name=name,
        kind=Kind(kind),
        start=start,
        end=end,
        workload=WorkloadKey(namespace, workload),
        replica=replica,
        teller=Teller(teller),
        service=service,
        failed=bool(failed),
        message=message,
        attributes=json.loads(attributes),
    )
