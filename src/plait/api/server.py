"""The API itself, as HTTP; where it is served, and to whom, is told in `listening`.

Every answer is JSON with lists under a named key; every error is {"error": {"code", "message"}} with the
status that fits.  What it says is the Plane's to know; here it is only asked and written down.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from aiohttp import WSMsgType, web
from aiohttp.typedefs import Handler, Middleware

from plait.api.events import ConfigChanged, Event, FindingAppeared, ReplicaChanged
from plait.api.plane import Plane, Session, Unavailable
from plait.api.prometheus import targets
from plait.api.targets import NotFound, NotReady, Target, replicas, running_replica
from plait.api.views import (
    AuthorityStatus,
    ExecEnd,
    ExecStart,
    Failure,
    Findings,
    LogLine,
    Problem,
    Proxies,
    RotationRequest,
    Status,
    TapFilter,
    TapLine,
    TokenList,
    TokenRequest,
    TokenView,
    Traces,
    TraceView,
    Traffic,
    TrafficGroup,
)
from plait.codec import Codec, CodecError
from plait.model.names import ReplicaKey, WorkloadKey
from plait.telemetry.graph import Graph
from plait.telemetry.promql import PrometheusError
from plait.telemetry.queries import By, History, Signals, Where
from plait.telemetry.spans import Search

_log = logging.getLogger(__name__)

STATUS: Codec[Status] = Codec(Status)
PROXIES: Codec[Proxies] = Codec(Proxies)
FINDINGS: Codec[Findings] = Codec(Findings)
EVENT: Codec[Event] = Codec(Event)
AUTHORITY: Codec[AuthorityStatus] = Codec(AuthorityStatus)
ROTATION: Codec[RotationRequest] = Codec(RotationRequest)
TOKEN_REQUEST: Codec[TokenRequest] = Codec(TokenRequest)
TOKEN: Codec[TokenView] = Codec(TokenView)
TOKENS: Codec[TokenList] = Codec(TokenList)
TRACES: Codec[Traces] = Codec(Traces)
TRACE: Codec[TraceView] = Codec(TraceView)
EXEC_START: Codec[ExecStart] = Codec(ExecStart)
EXEC_END: Codec[ExecEnd] = Codec(ExecEnd)
LOG_LINE: Codec[LogLine] = Codec(LogLine)
TAP_LINE: Codec[TapLine] = Codec(TapLine)
GRAPH: Codec[Graph] = Codec(Graph)
TRAFFIC: Codec[Traffic] = Codec(Traffic)
FAILURE: Codec[Failure] = Codec(Failure)

_LONGEST_LINE = 16_384
_LARGEST_BODY = 65_536
_TAP_RATE = 100
"""Requests a second that are shown to whoever looks, where he does not say how many."""
_TAP_FILTERS = {field.name for field in fields(TapFilter)}
_SLOWEST = 10.0
"""Seconds that a client may take to read a line."""
_LONGEST_WINDOW = 86_400


def application(plane: Plane, guard: Middleware | None = None) -> web.Application:
    """The API as an aiohttp application; `guard` sees every request before anything else does."""
    routes = _Routes(plane)
    middlewares: list[Middleware] = [guard, _errors] if guard is not None else [_errors]
    app = web.Application(middlewares=middlewares, client_max_size=_LARGEST_BODY)
    app.add_routes(
        [
            web.get("/v1/status", routes.status),
            web.get("/v1/proxies", routes.proxies),
            web.get("/v1/proxies/{namespace}/{name}/{number:[0-9]{1,9}}/metrics", routes.proxy_metrics),
            web.get("/v1/metrics", routes.metrics),
            web.get("/v1/prometheus/targets", routes.prometheus_targets),
            web.get("/v1/findings", routes.findings),
            web.get("/v1/graph", routes.graph),
            web.get("/v1/traffic", routes.traffic),
            web.get("/v1/events", routes.events),
            web.get("/v1/logs", routes.logs),
            web.get("/v1/exec", routes.exec),
            web.get("/v1/tap", routes.tap),
            web.get("/v1/authority", routes.authority),
            web.post("/v1/authority/rotate", routes.rotate),
            web.get("/v1/tokens", routes.tokens),
            web.post("/v1/tokens", routes.create_token),
            web.delete("/v1/tokens/{id}", routes.revoke_token),
            web.get("/v1/traces", routes.traces),
            web.get("/v1/traces/{id}", routes.trace),
            web.post("/v1/shutdown", routes.shutdown),
        ]
    )
    return app


class _Routes:
    """What each path answers."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane

    async def status(self, _request: web.Request) -> web.Response:
        return _answer(STATUS, self._status())

    def _status(self) -> Status:
        plane = self._plane
        return Status(mesh=plane.mesh(), workloads=plane.workloads(), routes=plane.routes())

    async def proxies(self, _request: web.Request) -> web.Response:
        return _answer(PROXIES, Proxies(proxies=self._plane.proxies()))

    async def findings(self, _request: web.Request) -> web.Response:
        return _answer(FINDINGS, Findings(findings=self._plane.findings()))

    async def proxy_metrics(self, request: web.Request) -> web.Response:
        """The page of one Envoy for Prometheus, which nobody outside of a shut-in replica can ask for itself."""
        found = request.match_info
        workload = WorkloadKey(found["namespace"], found["name"])
        target = Target(workload, int(found["number"]))
        (replica,) = replicas(target, self._plane.workloads())
        session = self._plane.proxy_metrics(replica)
        try:
            page = b"".join([data async for _, data in session.output()])
        finally:
            await session.close()
        if session.error:
            raise Unavailable(f"{replica}: {session.error}")
        return _metrics(page)

    async def metrics(self, _request: web.Request) -> web.Response:
        return _metrics(self._plane.metrics())

    async def prometheus_targets(self, request: web.Request) -> web.Response:
        """What Prometheus finds here to scrape, by its HTTP service discovery."""
        return web.json_response(targets(self._plane.workloads(), request.host))

    async def graph(self, request: web.Request) -> web.Response:
        _known(request, {"window", "namespace"})
        found = await self._plane.graph(_window(request), request.query.get("namespace", ""))
        return await asyncio.to_thread(_answer, GRAPH, found)

    async def traffic(self, request: web.Request) -> web.Response:
        """How traffic went, by what is told apart; with a step also as it went."""
        filters = {field.name for field in fields(Where)}
        _known(request, {"by", "window", "step", "at_least"} | filters)
        by = _by(request)
        where = Where(**{name: value for name, value in request.query.items() if name in filters})
        window, step = _window(request), _number(request, "step", default=0)
        at_least = _number(request, "at_least", default=1)
        queries = self._plane.queries()
        found = await queries.measure(by, where, window=window, at_least=at_least)
        history = History(start=0.0, step=0.0, groups={})
        if step:
            history = await queries.history(by, where, window=window, step=step, at_least=at_least)
        answer = Traffic(
            by=by,
            until=_iso(found.end),
            window=found.end - found.start,
            heard=found.heard,
            left_out=found.left_out,
            since=_iso(history.start) if step else "",
            step=history.step,
            groups=tuple(
                TrafficGroup(
                    group=group,
                    signals=found.groups.get(group, Signals()),
                    points=history.groups.get(group, ()),
                )
                for group in sorted(found.groups.keys() | history.groups.keys())
            ),
        )
        return await asyncio.to_thread(_answer, TRAFFIC, answer)

    async def tokens(self, _request: web.Request) -> web.Response:
        return _answer(TOKENS, TokenList(tokens=self._plane.tokens()))

    async def revoke_token(self, request: web.Request) -> web.Response:
        token_id = request.match_info["id"]
        if not self._plane.revoke_token(token_id):
            raise NotFound(f"there is no join token {token_id}")
        return web.json_response({})

    async def create_token(self, request: web.Request) -> web.Response:
        asked = TOKEN_REQUEST.decode(await request.read())
        return _answer(TOKEN, self._plane.create_token(asked.agent, asked.lifetime), status=201)

    async def authority(self, _request: web.Request) -> web.Response:
        return _answer(AUTHORITY, self._plane.authority())

    async def rotate(self, request: web.Request) -> web.Response:
        self._plane.rotate(ROTATION.decode(await request.read()).what)
        return _answer(AUTHORITY, self._plane.authority(), status=202)

    async def traces(self, request: web.Request) -> web.Response:
        return _answer(TRACES, Traces(traces=await self._plane.traces(_search(request))))

    async def trace(self, request: web.Request) -> web.Response:
        prefix = request.match_info["id"].lower()
        found = await self._plane.trace(prefix) if _ID.fullmatch(prefix) else None
        if found is None:
            raise NotFound(f"no trace begins with {prefix[:40]}: it may be too old, or was not sampled")
        return _answer(TRACE, found)

    async def shutdown(self, _request: web.Request) -> web.Response:
        self._plane.shutdown()
        return web.json_response({}, status=202)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """First everything as it is, ending with a ConfigChanged, then whatever happens."""
        subscription = self._plane.events()
        try:
            async with _streaming(request, "text/event-stream") as response:
                now: list[Event] = [ReplicaChanged(workload) for workload in self._plane.workloads()]
                now += [FindingAppeared(finding) for finding in self._plane.findings()]
                now.append(ConfigChanged(self._plane.mesh().generation))
                await response.write(b"".join(map(_server_sent, now)))
                async for event in subscription:
                    await response.write(_server_sent(event))
        finally:
            subscription.close()
        return response

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """The lines of one replica, or of each of a workload: one after the other, or as they come when followed."""
        target = Target.parse(request.query.get("target", ""))
        envoy, follow = _flag(request, "envoy"), _flag(request, "follow")
        tail = _number(request, "tail", default=-1)
        found = replicas(target, self._plane.workloads())

        def log(replica: ReplicaKey) -> Session:
            return self._plane.logs(replica, envoy=envoy, tail=tail, follow=follow)

        opened = {found[0]: log(found[0])}  # before the answer begins, so that it can still be an error
        copies: list[asyncio.Task[None]] = []
        try:
            async with _streaming(request, "application/x-ndjson") as response:
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
        rate = _number(request, "rate", default=_TAP_RATE)
        asked.pop("rate", None)
        if unknown := asked.keys() - _TAP_FILTERS:
            raise ValueError(
                f"there is no filter {min(unknown)}: there are {', '.join(sorted(_TAP_FILTERS))}"
            )
        looking = self._plane.tap(TapFilter(**asked), rate=rate)
        try:
            async with _streaming(request, "application/x-ndjson") as response:
                async for line in looking:
                    async with asyncio.timeout(_SLOWEST):
                        await response.write(TAP_LINE.encode(line) + b"\n")
        except TimeoutError:
            raise ConnectionResetError("the client does not read") from None
        finally:
            looking.close()
        return response

    async def exec(self, request: web.Request) -> web.StreamResponse:
        """A command over a WebSocket: ExecStart, then bytes both ways, then ExecEnd (or a Failure)."""
        channel = web.WebSocketResponse()
        await channel.prepare(request)
        with _begun(request):
            try:
                start = EXEC_START.decode((await channel.receive_str(timeout=10)).encode())
                if not start.command:
                    raise ValueError("no command was given")
                replica = running_replica(Target.parse(start.target), self._plane.workloads())
                session = self._plane.exec(replica, start.command)
            except (*_REFUSALS, TypeError, TimeoutError) as error:
                _, failure = _refusal(error)
                await channel.send_str(FAILURE.encode(failure).decode())
            else:
                await _converse(channel, session)
            await channel.close()
        return channel


_REFUSALS = (CodecError, ValueError, NotFound, NotReady, Unavailable, PrometheusError)


def _refusal(error: Exception) -> tuple[int, Failure]:
    match error:
        case NotFound():
            status, code = 404, "not_found"
        case NotReady():
            status, code = 409, "not_ready"
        case Unavailable() | PrometheusError():
            status, code = 503, "unavailable"
        case _:
            status, code = 400, "bad_request"
    return status, Failure(error=Problem(code=code, message=str(error)))


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every failure as JSON; those of our own making are logged and say nothing about themselves."""
    try:
        return await handler(request)
    except _REFUSALS as error:
        status, failure = _refusal(error)
    except web.HTTPException as error:
        status, failure = error.status, Failure(error=Problem(code="bad_request", message=error.reason))
        if status == 404:
            failure = Failure(error=Problem(code="not_found", message=f"there is no {request.path} here"))
    except Exception as error:
        if isinstance(error, ConnectionResetError):
            raise  # nobody is left to be answered
        _log.exception("%s %s failed", request.method, request.path)
        status = 500
        failure = Failure(
            error=Problem(code="internal", message="an error of Plait's own; see the control plane's log")
        )
    return _answer(FAILURE, failure, status=status)


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
    encoded = (LOG_LINE.encode(LogLine(replica=name, line=line.decode(errors="replace"))) for line in lines)
    if lines:
        await response.write(b"".join(line + b"\n" for line in encoded))


async def _write_error(name: str, error: str, response: web.StreamResponse) -> None:
    await response.write(LOG_LINE.encode(LogLine(replica=name, error=error)) + b"\n")


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
            await channel.send_str(EXEC_END.encode(end).decode())
    finally:
        typing.cancel()
        await asyncio.gather(typing, return_exceptions=True)
        await session.close()


@asynccontextmanager
async def _streaming(request: web.Request, content_type: str) -> AsyncIterator[web.StreamResponse]:
    """An answer in the making."""
    response = web.StreamResponse(headers={"Content-Type": content_type, "Cache-Control": "no-store"})
    await response.prepare(request)
    with _begun(request):
        yield response


@contextmanager
def _begun(request: web.Request) -> Iterator[None]:
    """What fails once an answer has begun can only cut it off: another answer would come too late."""
    try:
        yield
    except ConnectionResetError:
        raise
    except Exception as error:
        _log.exception("%s %s failed half-way", request.method, request.path)
        raise ConnectionResetError("the answer can't be finished") from error


def _server_sent(event: Event) -> bytes:
    return b"event: " + type(event).__name__.encode() + b"\ndata: " + EVENT.encode(event) + b"\n\n"


def _answer(codec: Codec[Any], value: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=codec.encode(value) + b"\n", status=status, content_type="application/json")


def _metrics(page: bytes) -> web.Response:
    return web.Response(body=page, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _known(request: web.Request, names: AbstractSet[str]) -> None:
    """ValueError for what nobody would heed."""
    if strange := sorted(request.query.keys() - names):
        raise ValueError(f"{strange[0]} is none of {', '.join(sorted(names))}")


def _window(request: web.Request) -> int:
    window = _number(request, "window", default=60)
    if not 0 < window <= _LONGEST_WINDOW:
        raise ValueError(f"window must be between 1 and {_LONGEST_WINDOW} seconds, not {window}")
    return window


def _by(request: web.Request) -> By:
    text = request.query.get("by", By.SERVICE)
    try:
        return By(text)
    except ValueError:
        raise ValueError(f"by must be one of {', '.join(By)}, not {text!r}") from None


def _flag(request: web.Request, name: str) -> bool:
    match request.query.get(name, "false"):
        case "true":
            return True
        case "false":
            return False
        case other:
            raise ValueError(f"{name} must be true or false, not {other!r}")


_ID = re.compile("[0-9a-f]{1,32}")
_MOST_TRACES = 1000


def _search(request: web.Request) -> Search:
    """What is looked for, by the names that `plait trace` has for it; `min_duration` in seconds, times since the epoch."""
    known = {"service", "workload", "tag", "status", "min_duration", "since", "until", "limit"}
    if unknown := sorted(request.query.keys() - known):
        raise ValueError(f"traces are not looked for by {unknown[0]}")
    tags = [tuple(one.split("=", 1)) for one in request.query.getall("tag", ())]
    if any(len(one) != 2 for one in tags):
        raise ValueError("a tag is NAME=VALUE")
    status = request.query.get("status", "")
    if status not in _FAILED:
        raise ValueError(f"status must be ok or error, not {status!r}")
    return Search(
        service=request.query.get("service", ""),
        workload=request.query.get("workload", ""),
        tags=tuple((name, value) for name, value in tags),
        failed=_FAILED[status],
        least=_seconds(request, "min_duration") or 0.0,
        since=_seconds(request, "since"),
        until=_seconds(request, "until"),
        limit=min(_number(request, "limit", default=20), _MOST_TRACES),
    )


_FAILED = {"": None, "ok": False, "error": True}


def _seconds(request: web.Request, name: str) -> float | None:
    text = request.query.get(name)
    try:
        found = None if text is None else float(text)
    except ValueError:
        found = math.nan
    if found is not None and not 0 <= found < 1e12:
        raise ValueError(f"{name} must be seconds, not {text!r}")
    return found


def _number(request: web.Request, name: str, *, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(f"{name} must be a number, not {text!r}")
    return int(text)
