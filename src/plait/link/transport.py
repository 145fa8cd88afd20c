"""How the link's gRPC is set up: options, Unix sockets, and two small things that both of its ends need."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Generic, TypeVar

from plait.identity.names import CONTROL_PLANE

T = TypeVar("T")

LINK = "plait.link.v1.Link"
JOIN = "plait.link.v1.Join"
SESSION_ID = "session-id"
"""The metadata that says which session a stream is for."""

_LARGEST_MESSAGE = 16 * 1024 * 1024
_SHARED_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.max_receive_message_length", _LARGEST_MESSAGE),
    ("grpc.max_send_message_length", _LARGEST_MESSAGE),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)

SERVER_OPTIONS: list[tuple[str, Any]] = [
    *_SHARED_OPTIONS,
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
]

CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    *_SHARED_OPTIONS,
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.ssl_target_name_override", CONTROL_PLANE),
    ("grpc.enable_http_proxy", 0),  # an agent's environment may name a proxy, perhaps one of ours
    ("grpc.use_local_subchannel_pool", 1),  # a new channel starts anew, without another's back-off
    ("grpc.enable_retries", 0),
]


def unix_target(path: Path) -> str:
    """How gRPC names a Unix socket."""
    return f"unix:{path}"


def listen(server: Any, path: Path, credentials: Any, mode: int = 0o600) -> None:
    """Have a grpc.aio server listen on a Unix socket of a mode, in place of one left over there.

    OSError when it can't.  The socket is for the caller to unlink once the server has stopped.
    """
    if path.is_socket():
        path.unlink()
    try:
        server.add_secure_port(unix_target(path), credentials)
    except RuntimeError as error:
        raise OSError(f"can't listen on {path}: {error}") from error
    path.chmod(mode)


class Pipe(Generic[T]):
    """A short queue between two tasks, so that the slower one sets the pace.  Either of them may close it."""

    __slots__ = ("_closed", "_items", "_news", "_room", "_size")

    def __init__(self, size: int = 4) -> None:
        self._size = size
        self._items: deque[T] = deque()
        self._closed = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def put(self, item: T) -> bool:
        """Wait for room, then add an item; False when the pipe is closed and nobody will take it."""
        while not self._closed and len(self._items) >= self._size:
            self._room.clear()
            await self._room.wait()
        if not self._closed:
            self._items.append(item)
            self._news.set()
        return not self._closed

    async def get(self) -> T | None:
        """Wait for an item and take it; None when the pipe is closed and empty."""
        while not self._closed and not self._items:
            self._news.clear()
            await self._news.wait()
        if not self._items:
            return None
        self._room.set()
        return self._items.popleft()

    def close(self) -> None:
        """No more goes in; what is in can still be taken."""
        self._closed = True
        self._news.set()
        self._room.set()


async def first_of(*coroutines: Coroutine[Any, Any, object], timeout: float | None = None) -> None:  # noqa: ASYNC109 - ends all, raises nothing
    """Run coroutines side by side until one ends or time is up (seconds); the others are cancelled and awaited.

    Raises what the one that ended raised.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=timeout)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
