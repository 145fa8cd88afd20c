"""What requests say in their query; ValueError, with the parameter's name, for what can't be meant."""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet

from aiohttp import web

_LONGEST_WINDOW = 86_400


def known(request: web.Request, names: AbstractSet[str]) -> None:
    """ValueError for what nobody would heed."""
    if strange := sorted(request.query.keys() - names):
        raise ValueError(f"{strange[0]} is none of {', '.join(sorted(names))}")


def flag(request: web.Request, name: str) -> bool:
    match request.query.get(name, "false"):
        case "true":
            return True
        case "false":
            return False
        case other:
            raise ValueError(f"{name} must be true or false, not {other!r}")


def number(request: web.Request, name: str, *, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(f"{name} must be a number, not {text!r}")
    return int(text)


def seconds(request: web.Request, name: str) -> float | None:
    text = request.query.get(name)
    try:
        found = None if text is None else float(text)
    except ValueError:
        found = math.nan
    if found is not None and not 0 <= found < 1e12:
        raise ValueError(f"{name} must be seconds, not {text!r}")
    return found


def window(request: web.Request) -> int:
    """The seconds that are looked at."""
    found = number(request, "window", default=60)
    if not 0 < found <= _LONGEST_WINDOW:
        raise ValueError(f"window must be between 1 and {_LONGEST_WINDOW} seconds, not {found}")
    return found
