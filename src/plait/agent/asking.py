"""Asking an Envoy over one of its Unix sockets, from the agent."""

from __future__ import annotations

import asyncio
from pathlib import Path

from plait.agent.shim.exchange import Answer, parse, request

_HOST = "envoy"
_ANSWER_BYTES = 32 << 20
_CHUNK = 1 << 18


async def ask(socket: Path, path: str, *, within: float) -> Answer:
    """The answer to a GET; whatever keeps it from coming in so many seconds is an answer with an error."""
    try:
        async with asyncio.timeout(within):
            return parse(await _asked(socket, request("GET", path, _HOST)), str(socket))
    except TimeoutError:
        return Answer(error=f"no answer within {within:g} s at {socket}")
    except OSError as error:
        return Answer(error=f"{error.strerror or error} at {socket}")


async def _asked(socket: Path, question: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(socket), limit=_CHUNK)
    try:
        writer.write(question)
        parts, length = [], 0
        while part := await reader.read(_CHUNK):
            parts.append(part)
            length += len(part)
            if length > _ANSWER_BYTES:
                raise OSError(f"an answer of more than {_ANSWER_BYTES >> 20} MB")
        return b"".join(parts)
    finally:
        writer.close()
