"""What goes on in replicas: their logs, commands in their place, requests as they happen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields

from aiohttp import WSMsgType, web

from plait.api.answers import FAILURE, REFUSALS, begun, refusal, streaming
from plait.api.parameters import flag, number
from plait.api.plane import Plane, Session, Unavailable
from plait.api.targets import Target, replicas, running_replica
from plait.api.views import ExecEnd, ExecStart, LogLine, TapFilter, TapLine
from plait.codec import Codec
from plait.model.names import ReplicaKey

_EXEC_START: Codec[ExecStart] = Codec(ExecStart)
_EXEC_END: Codec[ExecEnd] = Codec(ExecEnd)
_LOG_LINE: Codec[LogLine] = Codec(LogLine)
_TAP_LINE: Codec[TapLine] = Codec(TapLine)

_LONGEST_LINE = 16_384
_TAP_RATE = 100
"""Requests a second that are shown to whoever looks, where he does not say how many."""
_TAP_FILTERS = {field.name for field in fields(TapFilter)}
_SLOWEST = 10.0
"""Seconds that a client may take to read a line."""


def routes(plane: Plane) -> tuple[web.RouteDef, ...]:
    paths = _Paths(plane)
    return (
        web.get("/v1/logs", paths.logs),
        web.get("/v1/exec", paths.exec),
        web.get("/v1/tap", paths.tap),
    )


class _Paths:
    """What each path answers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """The lines of one replica, or of each of a workload: one after the other, or as they come when followed."""
        target = Target.parse(request.query.get("target", ""))
        envoy, follow = flag(request, "envoy"), flag(request, "follow")
        tail = number(request, "tail", default=-1)
        found = replicas(target, self._plane.workloads())

        def log(replica: ReplicaKey) -> Session:
            return self._plane.logs(replica, envoy=envoy, tail=tail, follow=follow)

        opened = {found[0]: log(found[0])}  # before the answer begins, so that it can still be an error
        copies: list[asyncio.Task[None]] = []
        try:
            async with streaming(request, "application/x-ndjson") as response:
                for replica in found:
                    copy = _copy_log(replica, lambda key: opened.pop(key, None) or log(key), response)
                    copies.append(asyncio.create_task(copy))
                    if not follow:
                        await copies[-1]
                await asyncio.gather(*copies)
        finally:
            for task in copies:
                task.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
            for session in opened.values():
                await session.close()
        return response

    async def tap(self, request: web.Request) -> web.StreamResponse:
        """Requests as they happen; a client that does not read is left."""
        asked = dict(request.query)
        rate = number(request, "rate", default=_TAP_RATE)
        asked.pop("rate", None)
        if unknown := asked.keys() - _TAP_FILTERS:
            raise ValueError(
                f"there is no filter {min(unknown)}: there are {', '.join(sorted(_TAP_FILTERS))}"
            )
        looking = self._plane.tap(TapFilter(**asked), rate=rate)
        try:
            async with streaming(request, "application/x-ndjson") as response:
                async for line in looking:
                    async with asyncio.timeout(_SLOWEST):
                        await response.write(_TAP_LINE.encode(line) + b"\n")
        except TimeoutError:
            raise ConnectionResetError("the client does not read") from None
        finally:
            looking.close()
        return response

    async def exec(self, request: web.Request) -> web.StreamResponse:
        """A command over a WebSocket: ExecStart, then bytes both ways, then ExecEnd (or a Failure)."""
        channel = web.WebSocketResponse()
        await channel.prepare(request)
        with begun(request):
            try:
                start = _EXEC_START.decode((await channel.receive_str(timeout=10)).encode())
                if not start.command:
                    raise ValueError("no command was given")
                replica = running_replica(Target.parse(start.target), self._plane.workloads())
                session = self._plane.exec(replica, start.command)
            except (*REFUSALS, TypeError, TimeoutError) as error:
                _, failure = refusal(error)
                await channel.send_str(FAILURE.encode(failure).decode())
            else:
                await _converse(channel, session)
            await channel.close()
        return channel


async def _copy_log(
    replica: ReplicaKey, opened: Callable[[ReplicaKey], Session], response: web.StreamResponse
) -> None:
    """Write a log line by line; what is no UTF-8 is replaced, and a line too long is broken."""
    name, rest = str(replica), b""
    try:
        session = opened(replica)
    except Unavailable as error:
        await _write_error(name, str(error), response)
        return
    try:
        async for _, data in session.output():
            lines, rest = _lines(rest + data)
            await _write_lines(name, lines, response)
        await _write_lines(name, [rest] if rest else [], response)
        if session.error:
            await _write_error(name, session.error, response)
    finally:
        await session.close()


def _lines(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole lines in some bytes, and what is left."""
    *lines, rest = data.split(b"\n")
    while len(rest) > _LONGEST_LINE:
        lines.append(rest[:_LONGEST_LINE])
        rest = rest[_LONGEST_LINE:]
    return lines, rest


async def _write_lines(name: str, lines: Sequence[bytes], response: web.StreamResponse) -> None:
    encoded = (_LOG_LINE.encode(LogLine(replica=name, line=line.decode(errors="replace"))) for line in lines)
    if lines:
        await response.write(b"".join(line + b"\n" for line in encoded))


async def _write_error(name: str, error: str, response: web.StreamResponse) -> None:
    await response.write(_LOG_LINE.encode(LogLine(replica=name, error=error)) + b"\n")


async def _converse(channel: web.WebSocketResponse, session: Session) -> None:
    """Bytes both ways until the command or the client has ended; neither outlives the other."""

    async def typed() -> None:
        async for message in channel:
            if message.type is WSMsgType.BINARY:
                await session.write(message.data)
        await session.close()

    typing = asyncio.create_task(typed())
    try:
        with suppress(ConnectionResetError):
            async for stream, data in session.output():
                await channel.send_bytes(bytes([stream]) + data)
            end = ExecEnd(exit_code=session.code, error=session.error)
            await channel.send_str(_EXEC_END.encode(end).decode())
    finally:
        typing.cancel()
        await asyncio.gather(typing, return_exceptions=True)
        await session.close()
