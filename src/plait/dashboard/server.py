"""The dashboard as a process: `python -m plait.dashboard.server --state-dir DIRECTORY`.

What it is given is the control plane's socket and a place to listen; its link, with the token, is its first line.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from nicegui import ui

from plait.api.listening import loopback
from plait.dashboard.access import TOKEN, Guard
from plait.dashboard.feed import Feed
from plait.dashboard.frame import FAVICON
from plait.dashboard.pages import canaries, findings, objects, proxies, services, traces
from plait.dashboard.pages import map as map_page

PAGES = (map_page, services, traces, canaries, proxies, findings, objects)


async def serve(api: Path, listener: socket.socket, token: str) -> None:
    """Serve the dashboard of the mesh whose API is at a socket, until it is told to stop."""
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
        title="Plait",
        favicon=FAVICON,
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=10.0,
    )
    place = "{}:{}".format(*listener.getsockname()[:2])
    config = uvicorn.Config(
        Guard(app, place=place, token=token),
        log_level="warning",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=1,
    )
    await uvicorn.Server(config).serve(sockets=[listener])


def link(listener: socket.socket, token: str) -> str:
    """What to open in a browser."""
    return "http://{}:{}/?{}={}".format(*listener.getsockname()[:2], TOKEN, token)


def main() -> None:
    parser = argparse.ArgumentParser(prog="plait.dashboard.server")
    parser.add_argument("--api", type=Path, required=True, metavar="SOCKET")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    arguments = parser.parse_args()
    host, port = loopback(arguments.listen)
    token = secrets.token_urlsafe(24)
    with socket.create_server((str(host), port)) as listener:
        print(link(listener, token), flush=True)  # noqa: T201 - for whoever started it
        asyncio.run(serve(arguments.api, listener, token))


if __name__ == "__main__":
    main()
