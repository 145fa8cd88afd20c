"""Sessions: a command run or a log read through the link, from the control plane to the agent and back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest

from plait.link import session as session_module
from plait.link.client import Client, Serve, Write
from plait.link.codec import FROM_AGENT
from plait.link.credentials import channel_credentials
from plait.link.messages import Asked, ExecRequest, Exited, Hello
from plait.link.session import Session
from plait.link.transport import CHANNEL_OPTIONS, LINK
from tests.link.meshes import Plane, plane, replica_key, running

REQUEST = ExecRequest(replica=replica_key(), command=("cat",))


@asynccontextmanager
async def attached(serve: Serve) -> AsyncIterator[tuple[Plane, Client]]:
    async with plane() as mesh, running(mesh.client(serve=serve)) as client:
        await mesh.hub.until(lambda: mesh.hub.count("hello") == 1)
        yield mesh, client


async def everything(session: Session) -> dict[int, bytes]:
    result = {1: b"", 2: b""}
    async with asyncio.timeout(30):
        async for stream, data in session.output():
            result[stream] += data
    return result


async def test_what_is_typed_comes_back_with_both_streams_and_the_exit_code() -> None:
    async def cat(request: Asked, stdin: AsyncIterator[bytes], write: Write) -> Exited:
        assert request == REQUEST
        async for data in stdin:
            await write(1, data.upper())
        await write(2, b"done")
        return Exited(code=42)

    async with attached(cat) as (mesh, _):
        session = mesh.link.open_session("local", REQUEST)
        for data in (b"hello ", b"\x00\xff ", b"world", b""):
            await session.write(data)
        assert await everything(session) == {1: b"HELLO \x00\xff WORLD", 2: b"done"}
        assert (session.code, session.error) == (42, "")
        await session.close()
        assert mesh.link._sessions == {}


async def test_a_command_may_write_both_its_streams_at_the_same_time() -> None:
    async def both(_request: Asked, _stdin: AsyncIterator[bytes], write: Write) -> Exited:
        async def fill(stream: int) -> None:
            for number in range(200):
                await write(stream, b"%d %d\n" % (stream, number))

        await asyncio.gather(fill(1), fill(2))
        return Exited(code=0)

    async with attached(both) as (mesh, _):
        session = mesh.link.open_session("local", REQUEST)
        assert await everything(session) == {
            stream: b"".join(b"%d %d\n" % (stream, number) for number in range(200)) for stream in (1, 2)
        }
        assert (session.code, session.error) == (0, "")


async def test_many_sessions_run_side_by_side_and_none_holds_up_another() -> None:
    release = asyncio.Event()

    async def serve(request: Asked, _stdin: AsyncIterator[bytes], write: Write) -> Exited:
        assert isinstance(request, ExecRequest)
        if request.command == ("slow",):
            await release.wait()
        await write(1, request.command[0].encode())
        return Exited(code=0)

    async with attached(serve) as (mesh, _):
        slow = mesh.link.open_session("local", ExecRequest(replica=replica_key(), command=("slow",)))
        for name in map(str, range(20)):
            session = mesh.link.open_session("local", ExecRequest(replica=replica_key(), command=(name,)))
            assert await everything(session) == {1: name.encode(), 2: b""}
        release.set()
        assert await everything(slow) == {1: b"slow", 2: b""}


async def test_a_slow_reader_slows_the_writer_down_instead_of_filling_memory() -> None:
    written = 0
    total = 400
    chunk = b"x" * 65536

    async def flood(_request: Asked, _stdin: AsyncIterator[bytes], write: Write) -> Exited:
        nonlocal written
        for _ in range(total):
            await write(1, chunk)
            written += 1
        return Exited(code=0)

    async with attached(flood) as (mesh, _):
        session = mesh.link.open_session("local", REQUEST)
        output = session.output()
        await anext(output)
        settled = -1
        while settled != written:  # until nothing moves any more
            settled = written
            await asyncio.wait([asyncio.create_task(session.closed.wait())], timeout=0.3)
        assert written < total / 4
        assert 1 + len([None async for _ in output]) == total
        assert session.code == 0


async def test_closing_a_session_ends_the_command_even_one_that_reads_nothing() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def stuck(_request: Asked, _stdin: AsyncIterator[bytes], _write: Write) -> Exited:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Exited(code=0)

    async with attached(stuck) as (mesh, client), asyncio.timeout(10):
        session = mesh.link.open_session("local", REQUEST)
        await started.wait()
        typing = asyncio.create_task(_type_on(session))
        await session.close()
        await ended.wait()
        await typing
        assert mesh.link._sessions == {}
        assert client.connected


async def _type_on(session: Session) -> None:
    for _ in range(1000):
        await session.write(b"x" * 65536)


async def test_a_lost_agent_ends_its_sessions_with_a_reason() -> None:
    started = asyncio.Event()

    async def stuck(_request: Asked, _stdin: AsyncIterator[bytes], write: Write) -> Exited:
        await write(1, b"one")
        started.set()
        await asyncio.Event().wait()
        return Exited(code=0)

    async with plane() as mesh:
        async with running(mesh.client(serve=stuck)):
            await mesh.hub.until(lambda: mesh.hub.count("hello") == 1)
            session = mesh.link.open_session("local", REQUEST)
            output = session.output()
            assert await anext(output) == (1, b"one")
        assert [item async for item in output] == []
        assert session.code == 255
        assert "lost" in session.error


async def test_a_stopping_control_plane_ends_the_command() -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def stuck(_request: Asked, _stdin: AsyncIterator[bytes], _write: Write) -> Exited:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return Exited(code=0)

    async with attached(stuck) as (mesh, _), asyncio.timeout(10):
        session = mesh.link.open_session("local", REQUEST)
        await started.wait()
        await mesh.stop()
        await ended.wait()
        assert await everything(session) == {1: b"", 2: b""}
        assert "stopping" in session.error


async def test_a_failing_server_of_sessions_is_told_and_costs_nothing_else() -> None:
    async def broken(request: Asked, _stdin: AsyncIterator[bytes], _write: Write) -> Exited:
        raise RuntimeError("no such log")

    async with attached(broken) as (mesh, client):
        session = mesh.link.open_session("local", REQUEST)
        await everything(session)
        assert session.code == 255
        assert "no such log" in session.error
        assert client.connected


async def test_sessions_go_on_while_the_agent_renews_its_own_certificate() -> None:
    async def cat(_request: Asked, stdin: AsyncIterator[bytes], write: Write) -> Exited:
        async for data in stdin:
            await write(1, data)
        return Exited(code=0)

    async with attached(cat) as (mesh, client):
        session = mesh.link.open_session("local", REQUEST)
        output = session.output()
        await session.write(b"before")
        assert await anext(output) == (1, b"before")
        client.renewed()
        await mesh.hub.until(lambda: mesh.hub.count("hello") == 2)
        await session.write(b"after")
        await session.write(b"")
        assert [item async for item in output] == [(1, b"after")]
        assert session.code == 0


async def test_an_agent_that_never_opens_the_session_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session_module, "_ANSWER_WITHIN", 0.2)
    async with plane() as mesh:
        credentials = channel_credentials(mesh.authority.roots, mesh.agent_keypair())
        async with grpc.aio.secure_channel(mesh.target, credentials, options=CHANNEL_OPTIONS) as channel:
            call = channel.stream_stream(f"/{LINK}/Attach")()
            await call.write(FROM_AGENT.encode(Hello(agent="local", replicas=())))
            await call.initial_metadata()
            session = mesh.link.open_session("local", REQUEST)
            assert await everything(session) == {1: b"", 2: b""}
            assert "did not open" in session.error
            assert mesh.link._sessions == {}


async def test_an_agent_cannot_take_a_session_of_another_agent_nor_one_twice() -> None:
    async def wait(_request: Asked, stdin: AsyncIterator[bytes], write: Write) -> Exited:
        await write(1, b"x")
        async for _ in stdin:
            pass
        return Exited(code=0)

    async with attached(wait) as (mesh, _):
        session = mesh.link.open_session("local", REQUEST)
        output = session.output()
        assert await anext(output) == (1, b"x")
        (name,) = mesh.link._sessions
        for agent in ("other", "local"):
            credentials = channel_credentials(mesh.authority.roots, mesh.agent_keypair(agent))
            async with grpc.aio.secure_channel(mesh.target, credentials, options=CHANNEL_OPTIONS) as channel:
                call = channel.stream_stream(f"/{LINK}/Session")(metadata=(("session-id", name),))
                assert await call.code() is grpc.StatusCode.NOT_FOUND
        await session.write(b"")
        assert [item async for item in output] == []
        assert session.code == 0
