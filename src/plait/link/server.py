"""The control plane's end of the link.

Who speaks is settled by the certificate of the connection: an agent's, and that of the agent it says it is.
An agent has one stream; a newer one takes the place of the older.  What the control plane makes of the
messages is the Hub's business.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from typing import Any, Protocol, TypeVar

import grpc

from plait.codec import Codec, CodecError
from plait.identity.trust import Held, Trust
from plait.link.codec import FROM_AGENT, IN_SESSION, JOIN_REQUEST, OBSERVED, SIGN_REQUEST, SIGNED, TO_AGENT
from plait.link.credentials import agent_of_peer, peer_expires
from plait.link.messages import (
    AgentHolds,
    Asked,
    Assignments,
    Hello,
    JoinRequest,
    OpenSession,
    ReplicaGone,
    ReplicaReport,
    Signed,
    SignRequest,
    ToAgent,
    Withdrawn,
)
from plait.link.session import Session
from plait.link.transport import JOIN, LINK, SESSION_ID, first_of
from plait.model.names import ReplicaKey
from plait.telemetry.reports import ProxyReport

_log = logging.getLogger(__name__)

T = TypeVar("T")


class AgentAway(Exception):  # noqa: N818 - what is the matter with it
    """The agent is not connected at the moment."""


class Hub(Protocol):
    """What the control plane does with what agents say.  The plain functions must not take long."""

    def on_hello(self, agent: str, replicas: tuple[ReplicaReport, ...]) -> None:
        """An agent has connected: this is everything that runs under it, and what is not named is gone."""

    def on_report(self, agent: str, report: ReplicaReport) -> None:
        """One replica has changed."""

    def on_holds(self, agent: str, held: Held) -> None:
        """What certificate of its own the agent has by now, and what roots it trusts."""

    def on_gone(self, agent: str, key: ReplicaKey) -> None:
        """One replica is no more."""

    def on_observed(self, agent: str, report: ProxyReport) -> None:
        """What a proxy did; often, and it may be that of another agent's replica."""

    def on_lost(self, agent: str) -> None:
        """The agent is not connected any more; its replicas may well run on.  It often comes back at once."""

    async def sign(self, agent: str, request: SignRequest) -> Signed:
        """A certificate for a replica that the agent runs, or for the agent itself."""

    async def join(self, request: JoinRequest) -> Signed:
        """A certificate for a new agent, for its token."""


class Link:
    """Every agent's connection.  Built before the gRPC servers, which take their handlers from it."""

    def __init__(self, hub: Hub, *, trust_domain: str) -> None:
        self._hub = hub
        self._trust_domain = trust_domain
        self._attached: dict[str, _Outbox] = {}
        self._assignments: dict[str, Assignments] = {}
        self._trust: Trust | None = None
        self._sessions: dict[str, tuple[str, Session]] = {}
        self._streams: set[asyncio.Task[Any]] = set()
        self._closing = asyncio.Event()

    def handlers(self) -> tuple[Any, ...]:
        """For the server that asks for client certificates."""
        methods = {
            "Attach": grpc.stream_stream_rpc_method_handler(self._attach),
            "Observe": grpc.stream_stream_rpc_method_handler(self._observe),
            "Sign": grpc.unary_unary_rpc_method_handler(self._sign),
            "Session": grpc.stream_stream_rpc_method_handler(self._session),
        }
        return (grpc.method_handlers_generic_handler(LINK, methods),)

    def join_handlers(self) -> tuple[Any, ...]:
        """For the server that lets in those who have no certificate yet."""
        methods = {"Join": grpc.unary_unary_rpc_method_handler(self._join)}
        return (grpc.method_handlers_generic_handler(JOIN, methods),)

    def assign(self, agent: str, assignments: Assignments) -> None:
        """What an agent should run from now on; it is told when this changes, and whenever it connects."""
        if self._assignments.get(agent) == assignments:
            return
        self._assignments[agent] = assignments
        if outbox := self._attached.get(agent):
            outbox.put(assignments)

    def trust(self, trust: Trust) -> None:
        """Whom everybody is to trust from now on; each agent is told when this changes, and whenever it connects."""
        self._trust = trust
        for outbox in self._attached.values():
            outbox.put(trust)

    def withdrawn(self, agent: str, key: ReplicaKey) -> None:
        """Tell an agent that a draining replica is no endpoint any more.

        Nothing is kept for an agent that is away: its Hello will say again that the replica is draining.
        """
        if outbox := self._attached.get(agent):
            outbox.put(Withdrawn(key=key))

    def connected(self) -> tuple[str, ...]:
        """The names of the agents that are connected now."""
        return tuple(sorted(self._attached))

    def open_session(self, agent: str, request: Asked) -> Session:
        """Have an agent serve a request; AgentAway when it is not connected.  The caller closes the session."""
        outbox = self._attached.get(agent)
        if outbox is None:
            raise AgentAway(f"the agent {agent!r} is not connected")
        name = secrets.token_hex(16)
        session = Session(ended=lambda: self._sessions.pop(name, None))
        self._sessions[name] = (agent, session)
        outbox.put(OpenSession(session=name, request=request))
        return session

    async def close(self) -> None:
        """End every stream and session, and let in no more; the Hub hears nothing of it."""
        self._closing.set()
        for _, session in tuple(self._sessions.values()):
            session.lost("the control plane is stopping")
        for outbox in self._attached.values():
            outbox.end("the control plane is stopping")
        if self._streams:
            await asyncio.wait(self._streams)

    async def _attach(self, _messages: Any, context: Any) -> None:
        agent = await self._agent(context)
        hello = await _read(FROM_AGENT, context)
        if not isinstance(hello, Hello) or hello.agent != agent:
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED, f"the certificate is that of agent {agent!r}"
            )
            return
        outbox = _Outbox()
        if previous := self._attached.get(agent):
            previous.end("replaced by a newer connection of the same agent")
        self._attached[agent] = outbox
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            self._hub.on_hello(agent, hello.replicas)
            if hello.held is not None:
                self._hub.on_holds(agent, hello.held)
            if self._trust is not None:
                outbox.put(self._trust)
            if (assignments := self._assignments.get(agent)) is not None:
                outbox.put(assignments)
            await context.send_initial_metadata(())
            # A connection outlives the certificate that opened it, unless somebody looks at the clock.
            remaining = max(0.0, peer_expires(context) - time.time())
            await first_of(
                self._hear(agent, outbox, context),
                outbox.send(context),
                outbox.ended.wait(),
                timeout=remaining,
            )
        finally:
            self._streams.discard(task)
            if self._attached.get(agent) is outbox:
                del self._attached[agent]
                if not self._closing.is_set():
                    self._hub.on_lost(agent)
        await context.abort(
            grpc.StatusCode.ABORTED, outbox.reason or "the stream or its certificate has ended"
        )

    async def _hear(self, agent: str, outbox: _Outbox, context: Any) -> None:
        """Pass on what an agent says, for as long as this is its stream."""
        while (message := await _read(FROM_AGENT, context)) is not None and not outbox.ended.is_set():
            match message:
                case ReplicaReport():
                    self._hub.on_report(agent, message)
                case ReplicaGone(key=key):
                    self._hub.on_gone(agent, key)
                case AgentHolds(held=held):
                    self._hub.on_holds(agent, held)
                case Hello():
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a second Hello")

    async def _observe(self, _messages: Any, context: Any) -> None:
        """Take what an agent says of its proxies for as long as its certificate holds."""
        agent = await self._agent(context)
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            await context.send_initial_metadata(())
            remaining = max(0.0, peer_expires(context) - time.time())
            await first_of(self._listen(agent, context), self._closing.wait(), timeout=remaining)
        finally:
            self._streams.discard(task)

    async def _listen(self, agent: str, context: Any) -> None:
        while (report := await _read(OBSERVED, context)) is not None:
            self._hub.on_observed(agent, report)

    async def _sign(self, data: bytes, context: Any) -> bytes:
        agent = await self._agent(context)
        return SIGNED.encode(await self._hub.sign(agent, await _decode(SIGN_REQUEST, data, context)))

    async def _join(self, data: bytes, context: Any) -> bytes:
        return SIGNED.encode(await self._hub.join(await _decode(JOIN_REQUEST, data, context)))

    async def _session(self, _messages: Any, context: Any) -> None:
        agent = await self._agent(context)
        name = dict(context.invocation_metadata()).get(SESSION_ID, "")
        owner, session = self._sessions.get(name, ("", None))
        if session is None or owner != agent or not session.begin():
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such session")
            return
        await context.send_initial_metadata(())
        try:
            await first_of(
                _take_output(session, context), _give_input(session, context), session.closed.wait()
            )
        finally:
            session.lost("the connection to the agent was lost")
        if session.abandoned:
            await context.abort(grpc.StatusCode.ABORTED, "nobody wants the output any more")

    async def _agent(self, context: Any) -> str:
        """The agent that a call comes from; whoever is none is turned away."""
        if self._closing.is_set():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the control plane is stopping")
        agent = agent_of_peer(context, self._trust_domain)
        if agent is None:
            _log.warning("turned away a caller without an agent's certificate")
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED, "this is for agents, by their certificates"
            )
        if peer_expires(context) <= time.time():
            # A handshake refuses such a certificate, but a TLS session resumed from before is not looked at again.
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "the certificate has expired")
        assert agent is not None
        return agent


class _Outbox:
    """What an agent has yet to be told: the latest trust and assignments, and whatever else in order."""

    __slots__ = ("_assignments", "_others", "_trust", "_wake", "ended", "reason")

    def __init__(self) -> None:
        self._trust: Trust | None = None
        self._assignments: Assignments | None = None
        self._others: deque[Withdrawn | OpenSession] = deque()
        self._wake = asyncio.Event()
        self.ended = asyncio.Event()
        self.reason = ""

    def put(self, message: ToAgent) -> None:
        match message:
            case Trust():
                self._trust = message
            case Assignments():
                self._assignments = message
            case Withdrawn() if message in self._others:
                pass
            case _:
                self._others.append(message)
        self._wake.set()

    def end(self, reason: str) -> None:
        self.reason = reason
        self.ended.set()

    async def send(self, context: Any) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (message := self._next()) is not None:
                await context.write(TO_AGENT.encode(message))

    def _next(self) -> ToAgent | None:
        trust, self._trust = self._trust, None
        if trust is not None:
            return trust
        assignments, self._assignments = self._assignments, None
        if assignments is not None:
            return assignments
        return self._others.popleft() if self._others else None


async def _take_output(session: Session, context: Any) -> None:
    """Hand on what the agent sends until it says that the command has exited."""
    while (message := await _read(IN_SESSION, context)) is not None:
        if await session.received(message):
            return


async def _give_input(session: Session, context: Any) -> None:
    """Send the agent what is typed, for as long as the session lasts."""
    async for message in session.typed():
        await context.write(IN_SESSION.encode(message))
    await session.closed.wait()


async def _read(codec: Codec[T], context: Any) -> T | None:
    """The next message of a stream; None at its end."""
    data = await context.read()
    if data is grpc.aio.EOF:
        return None
    return await _decode(codec, data, context)


async def _decode(codec: Codec[T], data: bytes, context: Any) -> T:
    """A message; what is none ends the call."""
    try:
        return codec.decode(data)
    except CodecError as error:
        _log.warning("a message that can't be read: %s", error)
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        raise
