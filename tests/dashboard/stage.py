"""A scene, with the dashboard before it: `python -m tests.dashboard.stage [bistro|rolling|large]` prints its link, until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from plait.api.listening import serving
from tests.dashboard.scenes import Scene, bistro, large, rolling

SCENES = {"bistro": bistro, "rolling": rolling, "large": large}


@asynccontextmanager
async def staged(scene: Scene, socket: Path | None = None) -> AsyncIterator[str]:
    """The link of a dashboard of the scene: a process of its own, as in a mesh."""
    with tempfile.TemporaryDirectory() as folder:
        socket = socket or Path(folder) / "run" / "api.sock"
        socket.parent.mkdir(parents=True, exist_ok=True)
        async with serving(scene, socket), dashboard(socket) as link:
            yield link


@asynccontextmanager
async def dashboard(socket: Path) -> AsyncIterator[str]:
    """The link of a dashboard over an API's socket."""
    command = (sys.executable, "-m", "plait.dashboard.server", "--api", str(socket))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout
        yield (await process.stdout.readline()).decode().strip()
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _main(name: str) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with staged(SCENES[name]()) as link:
        sys.stdout.write(f"{link}\n")
        sys.stdout.flush()
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1] if len(sys.argv) > 1 else "bistro"))
