"""The agent's end of the link: a connection that is always there or on its way back.

Nothing is stored for a control plane that is away.  On each connection the agent says everything anew
(Hello), so what happened in between needs no telling; while connected, the latest report of a replica
replaces one that was not sent yet.  What proxies did while nobody listened is lost.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc

from plait.codec import CodecError
from plait.identity.keys import Keypair
from plait.identity.trust import Held, Trust
from plait.link.codec import FROM_AGENT, IN_SESSION, JOIN_REQUEST, OBSERVED, SIGN_REQUEST, SIGNED, TO_AGENT
from plait.link.credentials import channel_credentials
from plait.link.messages import (
    AgentHolds,
    Asked,
    Assignments,
    Exited,
    Hello,
    JoinRequest,
    OpenSession,
    Output,
    ReplicaGone,
    ReplicaReport,
    Signed,
    SignRequest,
    Withdrawn,
)
from plait.link.transport import CHANNEL_OPTIONS, JOIN, LINK, SESSION_ID, Pipe, first_of
from plait.model.names import ReplicaKey
from plait.telemetry.reports import ProxyReport

_log = logging.getLogger(__name__)

Deliver = Callable[[Assignments | Trust | Withdrawn], Awaitable[None]]
"""Takes what the control plane says, in order.  The next message waits for it, so it should return soon."""

Write = Callable[[int, bytes], Awaitable[None]]
"""Sends what a command wrote: 1 is stdout, 2 stderr.  Waits while the reader at the other end is slow.

May be called for both at the same time.
"""

Serve = Callable[[Asked, AsyncIterator[bytes], Write], Awaitable[Exited]]
"""Serves a session: the request, what is typed (until its end), where output goes; answers how it ended.

It is cancelled when nobody is left at the other end, and must then end what it started.
"""

_FIRST_RETRY, _LAST_RETRY = 0.1, 3.0
_CONNECT_WITHIN = 10.0
_ANSWER_WITHIN = 15.0

_BROKEN = (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError)
"""What gRPC raises at a call whose other end has gone."""


class LinkError(Exception):
    """The control plane can't be reached, or does not let us in."""


class Client:
    """One agent's connection.  `run` keeps it up; everything else may be called at any time."""

    def __init__(  # noqa: PLR0913 - an agent is asked for all it has to say
        self,
        *,
        agent: str,
        target: str,
        keypair: Callable[[], Keypair],
        hello: Callable[[], tuple[ReplicaReport, ...]],
        deliver: Deliver,
        serve: Serve,
        held: Callable[[], Held | None] = lambda: None,
    ) -> None:
        """`keypair`, `hello` and `held` are asked at each connection: what to prove, and the whole truth."""
        self._agent = agent
        self._target = target
        self._keypair = keypair
        self._hello = hello
        self._deliver = deliver
        self._serve = serve
        self._held = held
        self._pending: dict[ReplicaKey | None, ReplicaReport | ReplicaGone | AgentHolds] = {}
        self._wake = asyncio.Event()
        self._observed: dict[ReplicaKey, ProxyReport] = {}
        self._seen = asyncio.Event()
        self._renewed = asyncio.Event()
        self._attached = asyncio.Event()
        self._channel: Any = None
        self._sessions: set[asyncio.Task[None]] = set()
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        return self._attached.is_set()

    def report(self, report: ReplicaReport) -> None:
        """Say how a replica is now."""
        self._say(report.replica.key, report)

    def gone(self, key: ReplicaKey) -> None:
        """Say that a replica is no more."""
        self._say(key, ReplicaGone(key=key))

    def holds(self, held: Held) -> None:
        """Say what certificate of its own this agent has, and what roots it trusts."""
        self._say(None, AgentHolds(held=held))

    def observed(self, report: ProxyReport) -> None:
        """Say what a proxy did; nobody hears of it while there is no connection, or one that takes too little."""
        if self._attached.is_set():
            self._observed[report.node] = report
            self._seen.set()

    def renewed(self) -> None:
        """Connect anew, with what `keypair` returns by now; sessions under way go on."""
        self._renewed.set()

    async def sign(self, request: SignRequest) -> Signed:
        """Ask for a certificate; waits a little for a connection.  LinkError when there is no answer."""
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                while not self._attached.is_set():
                    await self._attached.wait()
                answer = await self._channel.unary_unary(f"/{LINK}/Sign")(SIGN_REQUEST.encode(request))
            return SIGNED.decode(answer)
        except TimeoutError as error:
            raise LinkError("the control plane does not answer") from error
        except (*_BROKEN, CodecError) as error:
            raise LinkError(f"no certificate was signed: {_reason(error)}") from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody has cancelled us: gRPC says so of a call whose channel was closed meanwhile.
            raise LinkError("the connection to the control plane was lost") from error

    async def run(self) -> None:
        """Connect, and connect again whenever the connection is lost, until cancelled."""
        delay = _FIRST_RETRY
        try:
            while True:
                try:
                    await self._connection()
                except (
                    grpc.aio.AioRpcError,
                    grpc.aio.UsageError,
                    LinkError,
                    CodecError,
                    ValueError,
                ) as error:
                    _log.info("no connection to the control plane: %s", _reason(error))
                if self._attached.is_set() or self._renewed.is_set():
                    delay = _FIRST_RETRY
                self._attached.clear()
                if not self._renewed.is_set():
                    await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads retries, guards nothing
                    delay = min(delay * 2, _LAST_RETRY)
        finally:
            self._attached.clear()
            await _end(self._sessions)
            await asyncio.gather(*self._leaving)

    def _say(self, key: ReplicaKey | None, message: ReplicaReport | ReplicaGone | AgentHolds) -> None:
        if self._channel is not None:
            self._pending.pop(key, None)
            self._pending[key] = message
            self._wake.set()

    async def _connection(self) -> None:
        """One connection, from its Hello to its end."""
        self._renewed.clear()
        keypair = self._keypair()
        channel = grpc.aio.secure_channel(
            self._target, channel_credentials(keypair.roots, keypair), options=CHANNEL_OPTIONS
        )
        sessions: set[asyncio.Task[None]] = set()
        try:
            call = await self._attach(channel)
            self._attached.set()
            await first_of(
                self._tell(call),
                self._hear(call, channel, sessions),
                self._pass_on(channel),
                self._renewed.wait(),
            )
        finally:
            self._channel = None
            leaving = asyncio.create_task(_leave(channel, sessions, patient=self._renewed.is_set()))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    async def _attach(self, channel: Any) -> Any:
        """The stream, once the control plane has taken in our Hello."""
        try:
            async with asyncio.timeout(_CONNECT_WITHIN):
                call = channel.stream_stream(f"/{LINK}/Attach")()
                # From here on changes are collected; Hello is made in the same moment, so that none is missed.
                self._channel = channel
                self._pending.clear()
                self._observed.clear()
                hello = Hello(agent=self._agent, replicas=self._hello(), held=self._held())
                await call.write(FROM_AGENT.encode(hello))
                await _accepted(call)
        except TimeoutError as error:
            raise LinkError("the control plane does not answer") from error
        return call

    async def _tell(self, call: Any) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                message = self._pending.pop(next(iter(self._pending)))
                await call.write(FROM_AGENT.encode(message))

    async def _pass_on(self, channel: Any) -> None:
        """Say what proxies did, on a stream of its own, which is opened again when it ends."""
        while True:
            call = channel.stream_stream(f"/{LINK}/Observe")()
            try:
                await _accepted(call)
                await first_of(self._say_observed(call), call.code())
            except (*_BROKEN, LinkError, CodecError) as error:
                _log.info("what proxies do is not told: %s", _reason(error))
            finally:
                call.cancel()
            await asyncio.sleep(_LAST_RETRY)

    async def _say_observed(self, call: Any) -> None:
        while True:
            await self._seen.wait()
            self._seen.clear()
            while self._observed:
                report = self._observed.pop(next(iter(self._observed)))
                await call.write(OBSERVED.encode(report))

    async def _hear(self, call: Any, channel: Any, sessions: set[asyncio.Task[None]]) -> None:
        while (data := await call.read()) is not grpc.aio.EOF:
            match TO_AGENT.decode(data):
                case OpenSession() as opened:
                    task = asyncio.create_task(self._session(opened, channel))
                    for known in (sessions, self._sessions):
                        known.add(task)
                        task.add_done_callback(known.discard)
                case message:
                    await self._deliver(message)
        raise LinkError(await call.details() or "the control plane has ended the stream")

    async def _session(self, opened: OpenSession, channel: Any) -> None:
        """Serve one session on a stream of its own."""
        call = channel.stream_stream(f"/{LINK}/Session")(metadata=((SESSION_ID, opened.session),))
        typed: Pipe[bytes] = Pipe()
        try:
            await _accepted(call)
            await first_of(self._answer(opened, call, typed), _take_input(call, typed), call.code())
        except (*_BROKEN, LinkError, CodecError) as error:
            _log.info("a session has ended early: %s", _reason(error))
        finally:
            call.cancel()

    async def _answer(self, opened: OpenSession, call: Any, typed: Pipe[bytes]) -> None:
        writing = (
            asyncio.Lock()
        )  # a call takes one message at a time, and a second one is never heard of again

        async def write(stream: int, data: bytes) -> None:
            async with writing:
                await call.write(IN_SESSION.encode(Output(stream=stream, data=data)))

        try:
            exited = await self._serve(opened.request, _items(typed), write)
        except _BROKEN:
            raise  # nobody is there to be told
        except Exception as error:  # noqa: BLE001 - whatever it is, the other end is told and the link stays
            _log.exception("a session has failed")
            exited = Exited(code=255, error=f"the agent failed to serve this: {error}")
        await call.write(IN_SESSION.encode(exited))
        await call.done_writing()
        await call.code()


async def join(target: str, request: JoinRequest, *, roots: str) -> Signed:
    """Ask for an agent's first certificate at the address for joining; LinkError when there is no answer."""
    channel = grpc.aio.secure_channel(target, channel_credentials(roots), options=CHANNEL_OPTIONS)
    async with channel:
        try:
            call = channel.unary_unary(f"/{JOIN}/Join")
            return SIGNED.decode(await call(JOIN_REQUEST.encode(request), timeout=_ANSWER_WITHIN))
        except (grpc.aio.AioRpcError, CodecError) as error:
            raise LinkError(f"can't join: {_reason(error)}") from error


async def _accepted(call: Any) -> None:
    """Wait until the other end has looked at a call and answered with its initial metadata."""
    await call.initial_metadata()
    if call.done():
        raise LinkError(await call.details() or "the control plane has ended the call")


async def _take_input(call: Any, typed: Pipe[bytes]) -> None:
    """Hand on what the control plane sends for a command, then wait for the end of the call."""
    while (data := await call.read()) is not grpc.aio.EOF:
        match IN_SESSION.decode(data):
            case Output(data=b""):
                break
            case Output(stream=0, data=data):
                await typed.put(data)
            case _:
                pass
    typed.close()
    await call.code()


async def _items(pipe: Pipe[bytes]) -> AsyncIterator[bytes]:
    while (item := await pipe.get()) is not None:
        yield item


async def _leave(channel: Any, sessions: set[asyncio.Task[None]], *, patient: bool) -> None:
    """Close a connection: at once, or when the last of its sessions is over."""
    try:
        if patient and sessions:
            await asyncio.wait(sessions)
    finally:
        await _end(sessions)
        await channel.close()


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _reason(error: Exception) -> str:
    return (error.details() or str(error.code())) if isinstance(error, grpc.aio.AioRpcError) else str(error)
