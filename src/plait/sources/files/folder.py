"""Files and folders as a source: read once, then watched; each file is a unit.

The watcher tells when to look; what is believed is what is then found on the disk, by content.  So an event
that was lost (a folder replaced, a link that points elsewhere, a full queue) costs a second, not a change.
What may be a file in the middle of being saved (just written, emptied, gone) is looked at again before it is
believed.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from watchfiles import awatch

from plait.model.change import Change, Gone, Unreadable
from plait.model.finding import Finding, Place, Severity
from plait.sources.files.parse import MOST_BYTES, parse

ENDINGS = (".yaml", ".yml", ".json")

_TICK = 0.1
"""Seconds between two looks at what is not believed yet."""
_LOOK = 1.0
"""Seconds between two looks at everything, whatever the watcher says."""
_QUIET = 0.05
"""Seconds without a write after which a file counts as written."""
_DOUBT = 0.5
"""Seconds that a file must stay empty or away, having had content, before that is believed."""

_HERE = f".{os.sep}"

_Mark = tuple[int, int, int, int]
"""What stat says of a file's content: device, inode, size, time of the last write."""


@dataclass(slots=True)
class _Known:
    """A file as it was last reported."""

    content: bytes
    """A hash; empty for a file that can't be read."""
    mark: _Mark | None
    empty: bool = False


@dataclass(slots=True)
class Folder:
    """Some files and folders.  `load` says all that they hold; `watch` says what changed since."""

    paths: Sequence[Path]
    _known: dict[str, _Known] = field(default_factory=dict)
    _doubtful: dict[str, float] = field(default_factory=dict)
    """Unit -> since when it has been empty or away."""

    def load(self) -> list[Change]:
        """Every file as it is now; OSError when one of the given paths does not exist or can't be read."""
        for path in self.paths:
            if not path.exists():
                raise FileNotFoundError(f"{path}: no such file or folder")
            if not path.is_dir() and not path.is_file():
                raise OSError(f"{path}: neither a file nor a folder")
            with os.scandir(path) if path.is_dir() else path.open("rb"):
                pass  # what was named must be readable; what lies below a folder becomes a finding
        self._known.clear()
        return list(self._look(everything=True, believe=True))

    async def watch(self, stop: asyncio.Event | None = None) -> AsyncIterator[Change]:
        """What changed since `load` or the last change given here, for ever or until `stop` is set."""
        while stop is None or not stop.is_set():
            roots = [path for path in self.paths if path.exists()]
            try:
                async for change in self._watch(roots, stop):
                    yield change
            except OSError:  # nothing to watch now, or no watches left: look again and again
                for change in await self._looked(everything=False):
                    yield change
                await asyncio.sleep(_TICK if self._doubtful else _LOOK)

    async def _watch(self, roots: list[Path], stop: asyncio.Event | None) -> AsyncIterator[Change]:
        """Changes, for as long as the roots stay the same files and folders."""
        identity = self._identity()
        watcher = awatch(
            *roots,
            watch_filter=None,
            debounce=200,
            step=int(_QUIET * 1000),
            rust_timeout=int(_TICK * 1000),
            yield_on_timeout=True,
            recursive=True,
            ignore_permission_denied=True,
        )
        last: float | None = None
        try:
            async for events in watcher:
                if stop is not None and stop.is_set():
                    return
                now = time.monotonic()
                if events or self._doubtful or last is None or now - last >= _LOOK:
                    # The first look compares every content: something may have changed before the watch began.
                    touched = frozenset(path for _, path in events)
                    for change in await self._looked(everything=last is None, touched=touched):
                        yield change
                    last = now
                if self._identity() != identity:
                    return
        finally:
            await watcher.aclose()

    async def _looked(self, *, everything: bool, touched: frozenset[str] = frozenset()) -> list[Change]:
        """A look that leaves the event loop free."""
        return await asyncio.to_thread(lambda: list(self._look(everything=everything, touched=touched)))

    def _identity(self) -> tuple[tuple[int, int] | None, ...]:
        """Which files and folders stand at the paths now: a watch is on them, not on their names."""
        marks = (_mark(str(path)) for path in self.paths)
        return tuple(mark and mark[:2] for mark in marks)

    def _look(
        self, *, everything: bool, touched: frozenset[str] = frozenset(), believe: bool = False
    ) -> Iterator[Change]:
        """What differs from what is known.

        `everything` reads all files, else those whose mark changed and those that were touched; `believe`
        takes everything as it is, doubtful or not.
        """
        found, closed = _files(self.paths)
        now = time.monotonic()
        for unit, real in found.items():
            known = self._known.get(unit)
            same = known is not None and known.mark == _mark(real) and unit not in self._doubtful
            if everything or not same or real in touched or unit in touched:
                change = self._read(unit, real, now, believe=believe)
                if change is not None:
                    yield change
        for unit in [unit for unit in self._known if unit not in found]:
            kept = any(unit.startswith(folder) for folder in closed)
            if not kept and self._is_sure(unit, now, believe=believe):
                del self._known[unit]
                yield Gone(unit)

    def _read(self, unit: str, real: str, now: float, *, believe: bool) -> Change | None:
        known = self._known.get(unit)
        mark = _mark(real)
        try:
            with Path(real).open("rb") as file:
                data = file.read(MOST_BYTES + 1)
        except FileNotFoundError:
            return None  # it has just gone; the next look says so
        except OSError as error:
            self._doubtful.pop(unit, None)
            reason = error.strerror or str(error)
            return self._report(unit, _Known(b"", mark), lambda: _unreadable(unit, reason))
        empty = not data.strip()
        if not believe and (mark is None or mark != _mark(real) or _is_fresh(mark)):
            self._doubtful.setdefault(unit, now)
            return None
        if empty and known is not None and not known.empty and not self._is_sure(unit, now, believe=believe):
            return None
        self._doubtful.pop(unit, None)
        content = blake2b(data, digest_size=16).digest()
        return self._report(unit, _Known(content, mark, empty), lambda: parse(unit, data))

    def _report(self, unit: str, known: _Known, change: Callable[[], Change]) -> Change | None:
        """The change that a file's content makes, unless it is the content that is known."""
        before = self._known.get(unit)
        self._known[unit] = known
        return None if before is not None and before.content == known.content else change()

    def _is_sure(self, unit: str, now: float, *, believe: bool) -> bool:
        since = self._doubtful.setdefault(unit, now)
        if not believe and now - since < _DOUBT:
            return False
        self._doubtful.pop(unit, None)
        return True


def load(paths: Sequence[Path]) -> list[Change]:
    """Every file below the paths as it is now, once; OSError when a path does not exist or can't be read."""
    return Folder(paths).load()


def _files(paths: Sequence[Path]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Every file that counts, unit -> real path, each real file once; and the folders that can't be listed."""
    found: dict[str, str] = {}
    closed: list[str] = []
    seen: set[str] = set()
    for path in paths:
        waiting = [(str(path), os.path.realpath(path), path.is_file())]
        while waiting:
            here, real, is_file = waiting.pop()
            if real in seen:  # given twice, or a loop of links
                continue
            seen.add(real)
            if is_file:
                found[here] = real
                continue
            try:
                with os.scandir(here) as entries:
                    inside = sorted(entries, key=lambda entry: entry.name, reverse=True)
            except FileNotFoundError:
                continue
            except OSError:
                closed.append(f"{here}{os.sep}")
                continue
            waiting += [place for entry in inside if (place := _place(entry, real)) is not None]
    return found, tuple(closed)


def _place(entry: os.DirEntry[str], folder: str) -> tuple[str, str, bool] | None:
    """(path, real path, whether it is a file) of something in a folder; None for what is not looked at.

    No hidden thing, no dropping of an editor, no file that is not YAML or JSON.
    """
    if entry.name.startswith((".", "#", "~")):
        return None
    try:
        is_file = entry.is_file()
        if not is_file and not entry.is_dir():
            return None
    except OSError:
        return None
    if is_file and not entry.name.lower().endswith(ENDINGS):
        return None
    real = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(folder, entry.name)  # noqa: PTH118 - once a file and second
    return entry.path.removeprefix(_HERE), real, is_file


def _unreadable(unit: str, reason: str) -> Unreadable:
    message = f"can't be read: {reason}"
    return Unreadable(unit, (Finding(Severity.ERROR, "file.unreadable", message, place=Place(unit)),))


def _mark(path: str) -> _Mark | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - once a file and second
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _is_fresh(mark: _Mark) -> bool:
    """Whether the last write is so short ago that another may follow; a time to come says nothing."""
    return 0 <= time.time() - mark[3] / 1e9 < _QUIET
