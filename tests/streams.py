"""Applications that speak in bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def speaking(speak: Speak, *place: Any, **more: Any) -> AsyncIterator[asyncio.Server]:
    """Has `speak` speak to everybody who connects, where asyncio.start_server is told to listen; then to nobody.

    A connection ends with what speaks there, or with the other's going away, and none outlives this.
    """
    open_ones: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def spoken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await speak(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(spoken(reader, writer))
        open_ones[task] = writer
        task.add_done_callback(open_ones.pop)

    server = await asyncio.start_server(take, *place, **more)
    try:
        yield server
    finally:
        server.close()
        tasks = list(open_ones)
        for task, writer in open_ones.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
