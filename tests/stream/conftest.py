import asyncio
import gc
import logging
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from plait.xds.exports import Exports
from plait.xds.server import Server
from plait.xds.transport.listener import Listener
from tests.stream.pki import Authority


@pytest.fixture
def folder() -> Iterator[Path]:
    """A private folder with a short name, as the paths of sockets are limited to 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="px"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


async def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Return as soon as the condition holds; an error if it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.002)


async def eventually_async(condition: Callable[[], Awaitable[object]], seconds: float = 10.0) -> None:
    """Return as soon as the condition, that must itself be asked and waited for, holds."""
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(
    server: Server,
    authority: Authority,
    target: str,
    *,
    ask_for_client: bool = True,
    exports: Exports | None = None,
) -> AsyncIterator[int]:
    """The server behind a listener of its own; yields the port (0 on a Unix socket)."""
    context = authority.server_context(ask_for_client=ask_for_client)
    listener = Listener(server, context, exports=exports, most_streams=128)
    port = 0
    if target.startswith("unix:"):
        await listener.listen(Path(target.removeprefix("unix:")))
    else:
        port = await listener.listen_tcp(target)
    try:
        yield port
    finally:
        server.close()
        await listener.close()


@pytest.fixture(autouse=True)
def nothing_is_reported(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No task ends with an exception that nobody takes, no stream with one of ours."""
    yield
    gc.collect()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
