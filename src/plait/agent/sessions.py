"""Serving sessions: a command in a replica's place, what its logs say, and what its Envoy has counted."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Iterable
from io import FileIO
from pathlib import Path

from plait.agent.asking import ask
from plait.agent.record import ReplicaFiles
from plait.agent.shims import ShimLostError, execute
from plait.link.client import Write
from plait.link.messages import Exited, LogsRequest

FAILED = 255
"""Exit code of a session that could not be served."""
_CHUNK = 1 << 16
_LOOK_EVERY = 0.1
_METRICS, _METRICS_WITHIN = "/stats/prometheus", 10.0
_LAST_WORDS = 0.5
"""How long what a command left running may be silent before it is not listened to any more, in seconds."""


async def run_command(
    files: ReplicaFiles, command: tuple[str, ...], stdin: AsyncIterator[bytes], write: Write
) -> Exited:
    """Runs a command in the place of a replica; cancelled, it ends the command."""
    (in_read, in_write), (out_read, out_write), (err_read, err_write) = (os.pipe() for _ in range(3))
    with (
        os.fdopen(in_write, "wb", buffering=0) as typed,
        os.fdopen(out_read, "rb", buffering=0) as out,
        os.fdopen(err_read, "rb", buffering=0) as err,
    ):
        outputs = _Output(1, out, write), _Output(2, err, write)
        reading = [asyncio.create_task(output.pass_on()) for output in outputs]
        feeding = asyncio.create_task(_feed(typed, stdin))
        try:
            try:
                code, error = await execute(files.socket, command, (in_read, out_write, err_write))
            finally:
                for file in (in_read, out_write, err_write):
                    os.close(file)
            await _last_words(outputs, reading)
            return Exited(code=code, error=error)
        except ShimLostError as error:
            return Exited(code=FAILED, error=str(error))
        finally:
            for task in (*reading, feeding):
                task.cancel()
            await asyncio.gather(*reading, feeding, return_exceptions=True)


async def _last_words(outputs: Iterable[_Output], reading: Iterable[asyncio.Task[None]]) -> None:
    """Waits until all output was passed on, however slow its reader is; but not for what runs on in silence."""
    pending = set(reading)
    seen = -1
    while pending:
        _, pending = await asyncio.wait(pending, timeout=_LAST_WORDS)
        passed = sum(output.passed for output in outputs)
        if passed == seen and not any(output.writing for output in outputs):
            return
        seen = passed


class _Output:
    """One of the two streams that a command writes."""

    def __init__(self, stream: int, file: FileIO, write: Write) -> None:
        self.passed = 0
        self.writing = False
        self._stream = stream
        self._file = file
        self._write = write

    async def pass_on(self) -> None:
        """Hands on what comes out of the pipe, as fast as it is taken."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), self._file)
        try:
            while data := await reader.read(_CHUNK):
                self.writing = True
                await self._write(self._stream, data)
                self.writing = False
                self.passed += len(data)
        finally:
            transport.close()


async def _feed(file: FileIO, stdin: AsyncIterator[bytes]) -> None:
    """Writes what is typed into a pipe, until its end or until nobody reads; lasts until it is cancelled."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, file)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        async for data in stdin:
            writer.write(data)
            await writer.drain()
        writer.close()  # once all of it is written
        await loop.create_future()
    except ConnectionError:
        pass
    finally:
        transport.abort()


async def show_logs(files: ReplicaFiles, request: LogsRequest, write: Write) -> Exited:
    """The last lines of a log, then what follows, if that is wanted, until cancelled."""
    path = files.envoy_log if request.envoy else files.app_log
    seen = await _show_tail(path, request.tail, write)
    while request.follow:
        seen = await _show_rest(path, seen, write)
        await asyncio.sleep(_LOOK_EVERY)
    return Exited(code=0)


async def show_metrics(files: ReplicaFiles, write: Write) -> Exited:
    """What a replica's Envoy tells Prometheus."""
    answer = await ask(files.stats, _METRICS, within=_METRICS_WITHIN)
    if answer.status != 200:
        return Exited(code=FAILED, error=answer.error or f"its Envoy answers {answer.status}")
    for chunk in _chunks(answer.body):
        await write(1, chunk)
    return Exited(code=0)


async def _show_tail(path: Path, lines: int, write: Write) -> int:
    """Shows the last lines (-1: all) of a log and of what was moved aside from it; how far the log was read."""
    last: deque[bytes] = deque(maxlen=None if lines < 0 else lines)
    seen = 0
    for part in (_aside(path), path):
        try:
            with part.open("rb") as file:
                last.extend(file)
                seen = file.tell()
        except FileNotFoundError:
            seen = 0
    for chunk in _chunks(b"".join(last)):
        await write(1, chunk)
    return seen


async def _show_rest(path: Path, seen: int, write: Write) -> int:
    """Shows what a log has got since it was `seen` bytes long; how long it is now."""
    try:
        size = _size(path)
        if size < seen:  # it was moved aside and begun again
            await _show_from(_aside(path), seen, write)
            seen = 0
        return await _show_from(path, seen, write) if size != seen else seen
    except FileNotFoundError:
        return 0


async def _show_from(path: Path, offset: int, write: Write) -> int:
    with path.open("rb") as file:
        file.seek(offset)
        while data := file.read(_CHUNK):
            await write(1, data)
        return file.tell()


def _size(path: Path) -> int:
    return path.stat().st_size


def _chunks(data: bytes) -> list[bytes]:
    return [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ".1")
