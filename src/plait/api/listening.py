"""Where the API is served: a Unix socket that only the mesh's own user can open, and TCP for who has a token.

Over TCP any process of the machine can connect, and any page in a browser can have it send something.  So nothing
is told without the token, which stands in a file of the mesh's user alone; a page that got its own name to lead here
(DNS rebinding) still names itself in `Host`; and no answer allows what browsers ask about (there is no CORS).
"""

from __future__ import annotations

import hmac
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from plait.api.answers import FAILURE
from plait.api.plane import Plane
from plait.api.server import application
from plait.api.views import Failure, Problem
from plait.identity.files import write_private

Address = IPv4Address | IPv6Address


@asynccontextmanager
async def serving(plane: Plane, path: Path) -> AsyncIterator[None]:
    """Serve the API on a Unix socket of 0600 in place of one left over; OSError when it can't be had."""
    listener, inode = _bind(path)
    try:
        async with _served(application(plane), listener):
            yield
    finally:
        listener.close()
        _unlink(path, inode)


@asynccontextmanager
async def serving_tcp(plane: Plane, address: str, *, token: Path, place: Path) -> AsyncIterator[None]:
    """Serve the API at HOST:PORT of this machine to who has a token, which is made anew.

    The two files, of 0600, are there meanwhile: the token, and HOST:PORT with the port that it got.  OSError when
    it can't be had, ValueError when it may not be (see `loopback`).
    """
    host, port = loopback(address)
    family = socket.AF_INET6 if host.version == 6 else socket.AF_INET
    secret = secrets.token_urlsafe(32)
    with socket.create_server((str(host), port), family=family) as listener:
        taken = _authority(host, listener.getsockname()[1])
        async with _served(application(plane, _guard(taken, secret)), listener):
            try:
                write_private(token, secret.encode())
                write_private(place, taken.encode())
                yield
            finally:
                for path in (token, place):
                    path.unlink(missing_ok=True)


def loopback(address: str) -> tuple[Address, int]:
    """HOST:PORT, port 0 for any; ValueError when it is none, or one that other machines reach: there is no TLS."""
    host, colon, port = address.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and int(port) < 65_536):
        raise ValueError(f"{address!r} is not HOST:PORT")
    try:
        found = ip_address("127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]"))
    except ValueError:
        found = None
    if found is None or not found.is_loopback:
        raise ValueError(
            f"the API has no TLS and is not served at {host!r}: only at 127.0.0.1, [::1] or localhost; "
            "from elsewhere reach it through ssh -L"
        )
    return found, int(port)


def _authority(host: Address, port: int) -> str:
    return f"[{host}]:{port}" if host.version == 6 else f"{host}:{port}"


def _guard(place: str, token: str) -> Middleware:
    """Lets nobody by who asks for another place, or has not the token; neither is told what is here."""
    hosts = {place, f"localhost:{place.rpartition(':')[2]}"}
    proof = f"Bearer {token}".encode()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        named = request.headers.getall("Host", [])
        if len(named) != 1 or named[0].lower() not in hosts:
            return _refusal(403, "forbidden", "this is not the host that was asked for")
        shown = request.headers.getall("Authorization", [])
        if len(shown) != 1 or not hmac.compare_digest(shown[0].encode(errors="replace"), proof):
            return _refusal(401, "unauthorized", "a bearer token is needed")
        return await handler(request)

    return guard


def _refusal(status: int, code: str, message: str) -> web.Response:
    body = FAILURE.encode(Failure(error=Problem(code=code, message=message))) + b"\n"
    more = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.Response(body=body, status=status, content_type="application/json", headers=more)


@asynccontextmanager
async def _served(app: web.Application, listener: socket.socket) -> AsyncIterator[None]:
    # A client that goes away cancels what was done for it: a log that is followed, a command.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
    try:
        await runner.setup()
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


def _bind(path: Path) -> tuple[socket.socket, int]:
    """A socket that nobody can connect to before only its user can; and its inode."""
    if path.is_socket():
        path.unlink()
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        return listener, path.stat().st_ino
    except BaseException:
        listener.close()
        raise


def _unlink(path: Path, inode: int) -> None:
    """Remove our socket, and not one that somebody else has put in its place."""
    with suppress(FileNotFoundError):
        if path.stat().st_ino == inode:
            path.unlink()
