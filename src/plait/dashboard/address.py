"""Where the dashboard is served, and the link that opens it; for who starts it, with or without its extra."""

from __future__ import annotations

import secrets
import socket
from importlib.util import find_spec

from plait.api.listening import loopback

TOKEN = "token"  # noqa: S105 - the name of a parameter
TOKEN_VARIABLE = "PLAIT_DASHBOARD_TOKEN"  # noqa: S105 - what hands a process its token, which no command line shows
INSTALL = "pip install 'plait[dashboard]'"


def installed() -> bool:
    """Whether what the dashboard stands on is there."""
    return find_spec("nicegui") is not None


def listen(address: str) -> socket.socket:
    """HOST:PORT of this machine, port 0 for any; ValueError (see `loopback`), OSError when it can't be had."""
    host, port = loopback(address)
    family = socket.AF_INET6 if host.version == 6 else socket.AF_INET
    return socket.create_server((str(host), port), family=family)


def place(listener: socket.socket) -> str:
    """HOST:PORT, as a browser names it."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if listener.family == socket.AF_INET6 else f"{host}:{port}"


def new_token() -> str:
    """192 bits that nobody guesses."""
    return secrets.token_urlsafe(24)


def link(listener: socket.socket, token: str) -> str:
    """What to open in a browser."""
    return f"http://{place(listener)}/?{TOKEN}={token}"
