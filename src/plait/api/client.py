"""The API's client: all that commands and the dashboard know of a running mesh comes through it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp

from plait.api.events import Event
from plait.api.proxies import ProxyView
from plait.api.rollouts import Canaries, CanaryEvent, CanaryHistory, CanaryView
from plait.api.services import ObjectView, Refusals, RefusalView, ServiceView
from plait.api.views import (
    AuthorityStatus,
    ExecEnd,
    ExecStart,
    Failure,
    Findings,
    FindingView,
    LogLine,
    Proxies,
    ProxyStatus,
    RotationRequest,
    Status,
    TapFilter,
    TapLine,
    TokenList,
    TokenRequest,
    TokenStatus,
    TokenView,
    Traces,
    TraceSummary,
    TraceView,
    Traffic,
)
from plait.codec import Codec, CodecError
from plait.model.names import ReplicaKey, WorkloadKey
from plait.rollout.status import Command
from plait.telemetry.graph import Graph
from plait.telemetry.queries import ANYBODY, By, Where

T = TypeVar("T")

_STATUS: Codec[Status] = Codec(Status, lenient=True)
_PROXIES: Codec[Proxies] = Codec(Proxies, lenient=True)
_FINDINGS: Codec[Findings] = Codec(Findings, lenient=True)
_EVENT: Codec[Event] = Codec(Event, lenient=True)
_AUTHORITY: Codec[AuthorityStatus] = Codec(AuthorityStatus, lenient=True)
_ROTATION: Codec[RotationRequest] = Codec(RotationRequest)
_TOKEN_REQUEST: Codec[TokenRequest] = Codec(TokenRequest)
_TOKEN: Codec[TokenView] = Codec(TokenView, lenient=True)
_TOKENS: Codec[TokenList] = Codec(TokenList, lenient=True)
_TRACES: Codec[Traces] = Codec(Traces, lenient=True)
_TRACE: Codec[TraceView] = Codec(TraceView, lenient=True)
_CANARIES: Codec[Canaries] = Codec(Canaries, lenient=True)
_CANARY: Codec[CanaryView] = Codec(CanaryView, lenient=True)
_HISTORY: Codec[CanaryHistory] = Codec(CanaryHistory, lenient=True)
_EXEC_START: Codec[ExecStart] = Codec(ExecStart)
_EXEC_END: Codec[ExecEnd] = Codec(ExecEnd, lenient=True)
_LOG_LINE: Codec[LogLine] = Codec(LogLine, lenient=True)
_TAP_LINE: Codec[TapLine] = Codec(TapLine, lenient=True)
_GRAPH: Codec[Graph] = Codec(Graph, lenient=True)
_SERVICE: Codec[ServiceView] = Codec(ServiceView, lenient=True)
_REFUSALS: Codec[Refusals] = Codec(Refusals, lenient=True)
_OBJECT: Codec[ObjectView] = Codec(ObjectView, lenient=True)
_PROXY: Codec[ProxyView] = Codec(ProxyView, lenient=True)
_TRAFFIC: Codec[Traffic] = Codec(Traffic, lenient=True)
_FAILURE: Codec[Failure] = Codec(Failure, lenient=True)

_ANSWER_WITHIN = aiohttp.ClientTimeout(total=30)
_STREAM = aiohttp.ClientTimeout(total=None, sock_connect=10)
_BUFFER = 1 << 20


class NoMesh(Exception):  # noqa: N818 - what it says of the state directory
    """No control plane answers; the message says where it was looked for."""


class ApiError(Exception):
    """The control plane refuses; `code` is one of docs/cli-output.md."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Client:
    """A connection to the control plane behind a socket; to be used in `async with`.

    Every method raises NoMesh when none answers (or goes away meanwhile) and ApiError when it refuses.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            "http://plait",
            # No limit: whoever follows something holds a connection, and nobody is to wait for that.
            connector=aiohttp.UnixConnector(str(self._socket), limit=0),
            timeout=_ANSWER_WITHIN,
            read_bufsize=_BUFFER,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def status(self) -> Status:
        """The mesh as a whole, and every replica."""
        return await self._ask(_STATUS, "GET", "/v1/status")

    async def proxies(self) -> tuple[ProxyStatus, ...]:
        """Every proxy, and how its configuration stands."""
        return (await self._ask(_PROXIES, "GET", "/v1/proxies")).proxies

    async def findings(self) -> tuple[FindingView, ...]:
        """Everything that is wrong with what was written."""
        return (await self._ask(_FINDINGS, "GET", "/v1/findings")).findings

    async def graph(self, *, window: float = 60, namespace: str = "", until: float | None = None) -> Graph:
        """Who calls whom, and how that goes, over `window` seconds up to now, or a time (since the epoch)."""
        query = {"window": str(int(window)), "namespace": namespace, **_until(until)}
        return await self._ask(_GRAPH, "GET", "/v1/graph", params=query)

    async def service(self, namespace: str, name: str) -> ServiceView:
        """A service as it is routed and guarded now; ApiError (not_found)."""
        return await self._ask(_SERVICE, "GET", f"/v1/services/{_path(namespace, name)}")

    async def refusals(
        self, *, window: float = 60, service: str = "", until: float | None = None
    ) -> tuple[RefusalView, ...]:
        """Who was kept out, of one service (its host) or of all, most first."""
        query = {"window": str(int(window)), "service": service, **_until(until)}
        return (await self._ask(_REFUSALS, "GET", "/v1/refusals", params=query)).refusals

    async def object(self, kind: str, namespace: str, name: str) -> ObjectView:
        """An object as it stands in its file; ApiError (not_found)."""
        query = {"kind": kind, "namespace": namespace, "name": name}
        return await self._ask(_OBJECT, "GET", "/v1/objects", params=query)

    async def proxy(self, replica: ReplicaKey) -> ProxyView:
        """One proxy, and what it was sent last; ApiError (not_found)."""
        path = _path(replica.workload.namespace, replica.workload.name, str(replica.number))
        return await self._ask(_PROXY, "GET", f"/v1/proxies/{path}")

    async def traffic(  # noqa: PLR0913 - see GET /v1/traffic
        self,
        by: By,
        where: Where = ANYBODY,
        *,
        window: float = 60,
        step: float = 0,
        at_least: int = 1,
        until: float | None = None,
    ) -> Traffic:
        """How traffic went over `window` seconds up to now or a time and, with a step of seconds, as it went."""
        numbers = {"window": int(window), "step": int(step), "at_least": at_least}
        query = {
            "by": str(by),
            **{name: str(number) for name, number in numbers.items()},
            **asdict(where),
            **_until(until),
        }
        return await self._ask(_TRAFFIC, "GET", "/v1/traffic", params=query)

    async def create_token(self, agent: str, lifetime: float = 600.0) -> TokenView:
        """A join token for an agent; `lifetime` in seconds."""
        body = _TOKEN_REQUEST.encode(TokenRequest(agent=agent, lifetime=lifetime))
        return await self._ask(_TOKEN, "POST", "/v1/tokens", data=body)

    async def authority(self) -> AuthorityStatus:
        """The certificate authority: what is trusted, who signs, and where a rotation stands."""
        return await self._ask(_AUTHORITY, "GET", "/v1/authority")

    async def rotate(self, what: str) -> AuthorityStatus:
        """Have root, intermediate or leaves made anew; answers at once."""
        body = _ROTATION.encode(RotationRequest(what=what))
        return await self._ask(_AUTHORITY, "POST", "/v1/authority/rotate", data=body)

    async def tokens(self) -> tuple[TokenStatus, ...]:
        """Every join token that may still be used."""
        return (await self._ask(_TOKENS, "GET", "/v1/tokens")).tokens

    async def revoke_token(self, token_id: str) -> None:
        """Make a join token worthless; ApiError (not_found) when there is none of this id."""
        with self._reached():
            async with self._session.delete(f"/v1/tokens/{quote(token_id, safe='')}") as response:
                await _check(response)

    async def traces(self, search: Mapping[str, str | Sequence[str]]) -> tuple[TraceSummary, ...]:
        """The traces that fit, the newest first; `search` as GET /v1/traces takes it."""
        return (await self._ask(_TRACES, "GET", "/v1/traces", params=search)).traces

    async def trace(self, prefix: str) -> TraceView:
        """The trace whose id begins so; ApiError (not_found, bad_request) when there is none, or several."""
        return await self._ask(_TRACE, "GET", f"/v1/traces/{quote(prefix, safe='')}")

    async def canaries(self) -> tuple[CanaryView, ...]:
        """Every Canary, and where its rollout stands."""
        return (await self._ask(_CANARIES, "GET", "/v1/canaries")).canaries

    async def canary(self, key: WorkloadKey) -> CanaryView:
        """One Canary; ApiError (not_found) when there is none of this name."""
        return await self._ask(_CANARY, "GET", _canary(key))

    async def canary_history(self, key: WorkloadKey) -> tuple[CanaryEvent, ...]:
        """What happened to the rollouts of a Canary, the oldest first; ApiError (not_found)."""
        return (await self._ask(_HISTORY, "GET", f"{_canary(key)}/history")).events

    async def canary_command(self, key: WorkloadKey, command: Command) -> None:
        """Say something to a rollout; ApiError (not_found, refused).  Answers before it is done."""
        with self._reached():
            async with self._session.post(f"{_canary(key)}/{command}") as response:
                await _check(response)

    async def shutdown(self) -> None:
        """Have every workload drained and stopped; answers at once."""
        with self._reached():
            async with self._session.post("/v1/shutdown") as response:
                await _check(response)

    async def events(self) -> AsyncIterator[Event]:
        """Everything as it is, then a ConfigChanged, then whatever happens; ends with the control plane."""
        with self._reached():
            async with self._session.get("/v1/events", timeout=_STREAM) as response:
                await _check(response)
                async for line in response.content:
                    if line.startswith(b"data: "):
                        yield _EVENT.decode(line.removeprefix(b"data: "))

    async def logs(
        self, target: str, *, envoy: bool = False, tail: int | None = None, follow: bool = False
    ) -> AsyncIterator[LogLine]:
        """The lines of a replica's log (NAMESPACE/WORKLOAD/NUMBER), or of all of a workload (NAMESPACE/WORKLOAD)."""
        query = {"target": target, "envoy": json.dumps(envoy), "follow": json.dumps(follow)}
        if tail is not None:
            query["tail"] = str(tail)
        with self._reached():
            async with self._session.get("/v1/logs", params=query, timeout=_STREAM) as response:
                await _check(response)
                async for line in response.content:
                    yield _LOG_LINE.decode(line)

    async def tap(self, wanted: TapFilter, *, rate: int) -> AsyncGenerator[TapLine, None]:
        """Requests as they happen, so many a second at most; the first line says that proxies tell from now on."""
        query = {name: value for name, value in asdict(wanted).items() if value} | {"rate": str(rate)}
        with self._reached():
            async with self._session.get("/v1/tap", params=query, timeout=_STREAM) as response:
                await _check(response)
                async for line in response.content:
                    yield _TAP_LINE.decode(line)

    @asynccontextmanager
    async def exec(self, target: str, command: Sequence[str]) -> AsyncIterator[RemoteCommand]:
        """Run a command in the place of a replica, until it has ended or the context is left (which ends it)."""
        with self._reached():
            async with self._session.ws_connect("/v1/exec", max_msg_size=_BUFFER, timeout=_CLOSE) as socket:
                await socket.send_str(
                    _EXEC_START.encode(ExecStart(target=target, command=tuple(command))).decode()
                )
                yield RemoteCommand(socket)

    @property
    def _session(self) -> aiohttp.ClientSession:
        assert self._http is not None, "a Client is used in `async with`"
        return self._http

    async def _ask(self, codec: Codec[T], method: str, path: str, **arguments: Any) -> T:
        with self._reached():
            async with self._session.request(method, path, **arguments) as response:
                await _check(response)
                return codec.decode(await response.read())

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Say in one way what it means when nobody answers."""
        directory = self._socket.parent.parent
        try:
            yield
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, PermissionError):
                raise NoMesh(f"the mesh of {directory} belongs to another user") from error
            raise NoMesh(
                f"no mesh runs from {directory} (no control plane answers); start one with: plait up PATH"
            ) from error
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            raise NoMesh(f"the control plane of {directory} has gone away or does not answer") from error
        except CodecError as error:
            raise ApiError(
                502, "bad_answer", f"the control plane of {directory} answers in another form: {error}"
            ) from error


_CLOSE = aiohttp.ClientWSTimeout(ws_close=0.5)


class RemoteCommand:
    """A command that runs in the mesh; `code` and `error` hold once `output` has ended."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.code = 255
        self.error = "the connection was lost"

    async def write(self, data: bytes) -> None:
        """Give it something to read; b"" is the end of its input."""
        await self._socket.send_bytes(data)

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """What it writes (1: stdout, 2: stderr) until it is over; ApiError when it could not be started."""
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                yield message.data[0], message.data[1:]
            elif message.type is aiohttp.WSMsgType.TEXT:
                self._ended(message.data.encode())
                return

    def _ended(self, data: bytes) -> None:
        if "error" in (said := json.loads(data)) and isinstance(said["error"], dict):
            problem = _FAILURE.decode(data).error
            raise ApiError(400, problem.code, problem.message)
        end = _EXEC_END.decode(data)
        self.code, self.error = end.exit_code, end.error


def _canary(key: WorkloadKey) -> str:
    return f"/v1/canaries/{_path(key.namespace, key.name)}"


def _path(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)


def _until(until: float | None) -> dict[str, str]:
    return {} if until is None else {"until": f"{until:.3f}"}


async def _check(response: aiohttp.ClientResponse) -> None:
    """ApiError for an answer that is one."""
    if response.status >= 400:
        problem = _FAILURE.decode(await response.read()).error
        raise ApiError(response.status, problem.code, problem.message)
