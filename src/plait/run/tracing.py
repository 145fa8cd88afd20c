"""Spans as they come in, and what becomes of them: kept, searched, and looked at for context that is lost.

What proxies send is taken at once; a thread of its own reads it in batches, writes it down and answers questions, in
the order in which they were asked.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from plait.api.plane import Unavailable
from plait.envoy import names
from plait.model.finding import Finding
from plait.model.names import WorkloadKey
from plait.telemetry import otlp, propagation
from plait.telemetry.span_store import SpanStore
from plait.telemetry.spans import Search, Span, Teller, Trace
from plait.xds.exports import JSON, Export, Handler

log = logging.getLogger(__name__)

T = TypeVar("T")

_PAUSE = 0.25
"""Seconds between two batches."""
_LOOK = 2.0
"""Seconds between two looks at who loses context."""
_MOST_WAITING = 20_000
"""Spans that wait to be read; what comes beyond that is left out, and the sender told so."""
_COMPLAIN = 60.0
"""Seconds between two complaints about a disk."""


class Tracing:
    """The mesh's own collector.  `notice` is told who loses context, whenever that changes."""

    def __init__(self, path: Path, notice: Callable[[tuple[Finding, ...]], None]) -> None:
        self._notice = notice
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spans")
        self._path = path
        self._store: SpanStore | None = None
        self._watch = propagation.Watch()
        self._waiting: list[tuple[WorkloadKey, Teller, Any]] = []
        self._number = 0
        """Spans that wait."""
        self._noticed: tuple[Finding, ...] = ()
        self._complained = 0.0
        self._thread.submit(self._open)

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Who takes what proxies send, by path."""
        return {
            names.SPANS_METHOD: lambda export: self._take(export, Teller.SIDECAR),
            names.APPLICATION_SPANS_METHOD: lambda export: self._take(export, Teller.APPLICATION),
            names.APPLICATION_SPANS_PATH: lambda export: self._take(export, Teller.APPLICATION),
        }

    async def run(self) -> None:
        """Write down what comes, and look at it; until cancelled."""
        looked = 0.0
        while True:
            await asyncio.sleep(_PAUSE)
            try:
                await self._flush()
                now = time.time()
                if now - looked >= _LOOK:
                    looked = now
                    self._tell(await self._in_thread(lambda: self._watch.lost(time.time())))
            except Exception:
                log.exception("spans are lost by a mistake")  # and nothing else is

    async def close(self) -> None:
        """Write down what is left, and be asked nothing any more."""
        await self._flush()
        await self._in_thread(self._close)
        self._thread.shutdown()

    async def search(self, search: Search) -> tuple[Trace, ...]:
        """The traces that fit, the newest first.  Unavailable."""
        return await self._asked(lambda store: store.search(search))

    async def trace(self, prefix: str) -> tuple[Span, ...]:
        """The spans of the trace whose id begins so; () when there is none.  Unavailable, ValueError: there are more."""

        def found(store: SpanStore) -> tuple[Span, ...]:
            ids = store.named(prefix)
            if len(ids) > 1:
                raise ValueError(f"more than one trace begins with {prefix}")
            return store.trace(ids[0]) if ids else ()

        return await self._asked(found)

    def _take(self, export: Export, teller: Teller) -> bytes:
        text = export.content_type == JSON
        request = otlp.read(export.body, text=text)
        number = otlp.size(request)
        if self._number + number > _MOST_WAITING:
            return otlp.answer(number, text=text)
        namespace, _, name = export.sender.partition("/")
        self._number += number
        self._waiting.append((WorkloadKey(namespace, name), teller, request))
        return otlp.answer(text=text)

    async def _asked(self, question: Callable[[SpanStore], T]) -> T:
        await self._flush()

        def ask() -> T:
            if self._store is None:
                raise Unavailable("no traces can be kept; the control plane's log says why")
            return question(self._store)

        try:
            return await self._in_thread(ask)
        except sqlite3.Error as error:
            raise Unavailable(f"traces can't be read: {error}") from error

    async def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._number = 0
            await self._in_thread(lambda: self._keep(waiting))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _tell(self, lost: tuple[propagation.Lost, ...]) -> None:
        found = tuple(map(propagation.finding, lost))
        if found != self._noticed:
            self._noticed = found
            self._notice(found)

    # In the thread

    def _open(self) -> None:
        try:
            self._store = SpanStore(self._path)
            for span in self._store.since(time.time() - propagation.WINDOW):
                self._watch.saw(span)
        except (OSError, sqlite3.Error) as error:
            log.error("traces are not kept: %s: %s", self._path, error)  # noqa: TRY400 - it is the disk's

    def _keep(self, waiting: list[tuple[WorkloadKey, Teller, Any]]) -> None:
        found = [
            span for workload, teller, request in waiting for span in otlp.spans(request, workload, teller)
        ]
        for span in found:
            self._watch.saw(span)
        try:
            if self._store is not None:
                self._store.add(found, time.time())
        except sqlite3.Error as error:
            now = time.monotonic()
            if now - self._complained > _COMPLAIN:
                self._complained = now
                log.error("%d spans are lost: %s: %s", len(found), self._path, error)  # noqa: TRY400 - it is the disk's

    def _close(self) -> None:
        if self._store is not None:
            self._store.close()
