"""The dashboard as a process: `python -m plait.dashboard.server --api SOCKET`, and as `plait dashboard` runs it.

It ends with whoever started it.  Who hands it a listener (and keeps that) and a token has a link that outlives it, and
a port that nobody else can take meanwhile; otherwise it makes both, and its link is its first line.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from nicegui import ui

from plait.dashboard.access import Guard
from plait.dashboard.address import TOKEN_VARIABLE, link, listen, new_token, place
from plait.dashboard.feed import Feed
from plait.dashboard.frame import FAVICON
from plait.dashboard.pages import canaries, findings, nowhere, objects, proxies, services, traces
from plait.dashboard.pages import map as map_page

PAGES = (map_page, services, traces, canaries, proxies, findings, objects)

_RECONNECT = 10.0
"""Seconds that a page is kept for a browser that has lost it."""


async def serve(api: Path, listener: socket.socket, token: str, *, starter: int | None = None) -> None:
    """Serve the dashboard of the mesh whose API is at a socket, until SIGINT or SIGTERM.

    `starter`: the process that this one was started by, and ends with.
    """
    feed = Feed(api)

    @asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        async with feed.client:
            hearing = asyncio.create_task(feed.run())
            try:
                yield
            finally:
                hearing.cancel()

    app = FastAPI(lifespan=living, openapi_url=None)
    for page in PAGES:
        page.register(feed)
    ui.run_with(
        app,
        root=nowhere.page(feed),
        title="Plait",
        favicon=FAVICON,
        dark=None,  # as the browser likes it, unless something was chosen: keys.js
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=_RECONNECT,
        gzip_middleware_factory=None,  # what goes to this machine needs no packing
    )
    config = uvicorn.Config(
        Guard(app, place=place(listener), token=token),
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=1,
    )
    await _Server(config, starter).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """Ends well on a signal, which is what it is ended by, and with its starter."""

    def __init__(self, config: uvicorn.Config, starter: int | None) -> None:
        super().__init__(config)
        self._starter = starter

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; whether it is over."""
        orphaned = self._starter is not None and os.getppid() != self._starter
        return orphaned or await super().on_tick(counter)


def main() -> None:
    starter = os.getppid()
    parser = argparse.ArgumentParser(prog="plait.dashboard.server")
    parser.add_argument("--api", type=Path, required=True, metavar="SOCKET")
    parser.add_argument("--listener", type=int, metavar="DESCRIPTOR")
    arguments = parser.parse_args()
    token = os.environ.pop(TOKEN_VARIABLE, "") or new_token()
    given = arguments.listener is not None
    with socket.socket(fileno=arguments.listener) if given else listen("127.0.0.1:0") as listener:
        if not given:
            print(link(listener, token), flush=True)  # noqa: T201 - for whoever started it
        asyncio.run(serve(arguments.api, listener, token, starter=starter))


if __name__ == "__main__":
    main()
