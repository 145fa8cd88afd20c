"""The API and its client, over a real Unix socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from plait.api.client import ApiError, Client, NoMesh
from plait.api.events import (
    ConfigChanged,
    Event,
    FindingAppeared,
    FindingVanished,
    ReplicaChanged,
    ReplicaGone,
)
from plait.api.listening import serving
from plait.api.views import LogLine, ReplicaState, TapFilter, TapLine
from plait.model.names import ReplicaKey, WorkloadKey
from tests.api.planes import FINDING, PROXY, REQUEST, WARNING, FakePlane, FakeSession, served, until, workload

FRONTEND = ReplicaKey(WorkloadKey("bistro", "frontend"), 0)


async def asked(plane: FakePlane, method: str, path: str, **arguments: object) -> tuple[int, object]:
    """What plain HTTP answers."""
    connector = aiohttp.UnixConnector(str(plane.socket))
    async with (
        aiohttp.ClientSession("http://plait", connector=connector) as http,
        http.request(method, path, **arguments) as response,  # type: ignore[arg-type]  # passed on as they are
    ):
        assert response.content_type == "application/json"
        return response.status, await response.json()


async def rest(items: AsyncIterator[object]) -> list[object]:
    async with asyncio.timeout(10):
        return [item async for item in items]


async def ran(client: Client, target: str, command: tuple[str, ...]) -> None:
    async with client.exec(target, command) as remote:
        await rest(remote.output())


async def test_what_the_plane_knows_arrives_as_it_was() -> None:
    plane = FakePlane(replicas=(workload(), workload(replica=1)), found=(FINDING, WARNING))
    async with served(plane), Client(plane.socket) as client:
        status = await client.status()
        assert status.mesh == plane.mesh()
        assert status.workloads == plane.replicas
        assert await client.proxies() == (PROXY,)
        assert await client.findings() == (FINDING, WARNING)


async def test_lists_stand_under_a_named_key_and_every_field_is_there() -> None:
    plane = FakePlane(found=(FINDING,))
    async with served(plane):
        _, status = await asked(plane, "GET", "/v1/status")
        assert isinstance(status, dict)
        assert set(status) == {"mesh", "workloads", "routes"}
        assert status["workloads"][0]["state"] == "ready"
        assert status["workloads"][0]["exit_code"] is None
        assert await asked(plane, "GET", "/v1/findings") == (
            200,
            {
                "findings": [
                    {
                        "severity": "error",
                        "code": "route.missing-subset",
                        "message": "no subset v3",
                        "object": "VirtualService bistro/reservations",
                        "field": "spec.http[0]",
                        "file": "/etc/bistro/routes.yaml",
                        "line": 12,
                        "remedy": "",
                    }
                ]
            },
        )
        _, proxies = await asked(plane, "GET", "/v1/proxies")
        assert isinstance(proxies, dict)
        assert proxies["proxies"][0]["types"][0]["nack"] is None


async def test_the_socket_is_for_its_user_alone_and_goes_away_with_the_server() -> None:
    plane = FakePlane()
    async with served(plane):
        assert plane.socket.stat().st_mode & 0o777 == 0o600
        leftover = plane.socket
        async with serving(plane, plane.socket), Client(plane.socket) as client:  # in place of the first
            await client.status()
        assert not leftover.exists()
    with pytest.raises(OSError, match="too long"):
        async with serving(plane, Path("/tmp") / ("x" * 120)):
            pass


async def test_without_a_mesh_the_client_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    async with Client(tmp_path / "run" / "api.sock") as client:
        with pytest.raises(NoMesh) as raised:
            await client.status()
        assert str(raised.value) == (
            f"no mesh runs from {tmp_path} (no control plane answers); start one with: plait up PATH"
        )
        with pytest.raises(NoMesh):
            async with client.exec("a/b", ("true",)):
                pass


async def test_errors_have_one_form_and_a_status_that_fits() -> None:
    plane = FakePlane()
    async with served(plane):
        for method, path, body, status, code in (
            ("GET", "/v1/nothing", None, 404, "not_found"),
            ("POST", "/v1/status", None, 405, "bad_request"),
            ("POST", "/v1/tokens", "{", 400, "bad_request"),
            ("POST", "/v1/tokens", '{"agent": 3}', 400, "bad_request"),
            ("POST", "/v1/tokens", '{"agent": "BAD"}', 400, "bad_request"),
            ("POST", "/v1/tokens", "x" * 100_000, 413, "bad_request"),
            ("POST", "/v1/tokens", '{"agent": "bug"}', 500, "internal"),
            ("GET", "/v1/logs", None, 400, "bad_request"),
            ("GET", "/v1/logs?target=bistro/frontend&tail=-4", None, 400, "bad_request"),
            ("GET", "/v1/logs?target=bistro/frontend&follow=maybe", None, 400, "bad_request"),
            ("GET", "/v1/logs?target=bistro/nobody", None, 404, "not_found"),
            ("GET", "/v1/logs?target=bistro/frontend", None, 503, "unavailable"),
            ("GET", "/v1/tap?headers=all", None, 400, "bad_request"),
            ("GET", "/v1/tap?rate=-1", None, 400, "bad_request"),
            ("GET", "/v1/tap?destination=bistro/nobody", None, 404, "not_found"),
        ):
            answer = await asked(plane, method, path, data=body)
            assert answer[0] == status, (method, path, answer)
            assert isinstance(answer[1], dict)
            assert answer[1]["error"]["code"] == code
            assert "secret detail" not in json.dumps(answer[1])
        async with Client(plane.socket) as client:
            await client.status()


async def test_tokens_and_shutdown_reach_the_plane() -> None:
    plane = FakePlane()
    async with served(plane), Client(plane.socket) as client:
        token = await client.create_token("local", 30.0)
        assert (token.token, token.agent, token.expires) == ("t0ken", "local", "30.0")
        assert "t0ken" not in repr(token)
        with pytest.raises(ApiError) as raised:
            await client.create_token("BAD")
        assert (raised.value.status, raised.value.code) == (400, "bad_request")
        await client.shutdown()
        assert plane.asked == ["shutdown"]


async def test_events_begin_with_everything_as_it_is_and_go_on_with_what_happens() -> None:
    plane = FakePlane(found=(FINDING,))
    heard: list[Event] = []
    async with served(plane), Client(plane.socket) as client, asyncio.timeout(10):
        async for event in client.events():
            heard.append(event)
            if event == ConfigChanged(7):
                plane.bus.publish(ReplicaChanged(workload(state=ReplicaState.FAILED)))
                plane.bus.publish(FindingVanished(FINDING))
                plane.bus.publish(ReplicaGone("bistro", "frontend", 0))
                plane.bus.publish(ConfigChanged(8))
            if event == ConfigChanged(8):
                break
    assert heard == [
        ReplicaChanged(workload()),
        FindingAppeared(FINDING),
        ConfigChanged(7),
        ReplicaChanged(workload(state=ReplicaState.FAILED)),
        FindingVanished(FINDING),
        ReplicaGone("bistro", "frontend", 0),
        ConfigChanged(8),
    ]


async def test_one_who_looks_and_leaves_is_forgotten_at_once() -> None:
    plane = FakePlane()
    async with served(plane), Client(plane.socket) as client, asyncio.timeout(10):
        lines = client.tap(TapFilter(destination="bistro/payments", status="5xx"), rate=7)
        assert await anext(lines) == plane.seen[0]
        assert plane.asked == [(TapFilter(destination="bistro/payments", status="5xx"), 7)]
        await lines.aclose()
        await plane.looking[0].closed.wait()


async def test_one_who_looks_and_does_not_read_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plait.api.routes.replicas._SLOWEST", 0.2)
    plane = FakePlane(seen=(TapLine(request=REQUEST, left_out=0, proxies=2),) * 20_000)
    async with served(plane), asyncio.timeout(10):
        reader, writer = await asyncio.open_unix_connection(str(plane.socket))
        writer.write(b"GET /v1/tap HTTP/1.1\r\nhost: plait\r\n\r\n")
        assert b"200 OK" in await reader.readline()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await plane.looking[0].closed.wait()
        writer.close()


async def test_a_listener_that_leaves_is_forgotten() -> None:
    plane = FakePlane()
    async with served(plane):
        async with Client(plane.socket) as client:
            events = client.events()
            await anext(events)
            await until(lambda: len(plane.bus._listeners) == 1)
        await until(lambda: len(plane.bus._listeners) == 0)


async def test_a_listener_that_is_far_behind_is_sent_away_and_holds_nothing() -> None:
    plane = FakePlane()
    subscription = plane.bus.subscribe()
    for number in range(20_000):
        plane.bus.publish(ConfigChanged(number))
    assert plane.bus._listeners == set()
    assert [event async for event in subscription] == []


async def test_listeners_hear_of_the_end_of_the_control_plane() -> None:
    plane = FakePlane()
    async with served(plane):
        client = Client(plane.socket)
        await client.__aenter__()
        events = client.events()
        await anext(events)
    with pytest.raises(NoMesh):
        await rest(events)
    await client.__aexit__()


async def cat(typed: asyncio.Queue[bytes], session: FakeSession) -> AsyncIterator[tuple[int, bytes]]:
    while data := await typed.get():
        yield 1, data
    yield 2, b"bye"
    session.code = 7


async def test_a_command_gets_what_is_typed_and_its_output_and_code_come_back() -> None:
    plane = FakePlane(act=cat, replicas=(workload(state=ReplicaState.STARTING), workload(replica=1)))
    async with served(plane), Client(plane.socket) as client:
        async with client.exec("bistro/frontend", ("cat", "-u")) as command:
            await command.write(b"one")
            await command.write(b"\x00\xff")
            await command.write(b"")
            assert [item async for item in command.output()] == [(1, b"one"), (1, b"\x00\xff"), (2, b"bye")]
            assert (command.code, command.error) == (7, "")
        # The first replica that is ready was chosen.
        assert plane.asked == [(ReplicaKey(WorkloadKey("bistro", "frontend"), 1), ("cat", "-u"))]
        await until(plane.sessions[0].closed.is_set)


async def test_leaving_a_command_ends_it() -> None:
    async def endless(_typed: asyncio.Queue[bytes], session: FakeSession) -> AsyncIterator[tuple[int, bytes]]:
        yield 1, b"started"
        await session.closed.wait()

    plane = FakePlane(act=endless)
    async with served(plane), Client(plane.socket) as client:
        async with client.exec("bistro/frontend/0", ("sleep", "1000")) as command:
            assert await anext(command.output()) == (1, b"started")
        await until(plane.sessions[0].closed.is_set)


async def test_a_vanished_client_ends_a_command_that_takes_no_input() -> None:
    class Deaf(FakeSession):
        async def write(self, data: bytes) -> None:
            await self.closed.wait()

    async def endless(_typed: asyncio.Queue[bytes], session: FakeSession) -> AsyncIterator[tuple[int, bytes]]:
        yield 1, b"started"
        await session.closed.wait()

    plane = FakePlane()
    session = Deaf(endless)
    plane.exec = lambda replica, command: session  # type: ignore[method-assign]  # one that never reads
    async with served(plane):
        async with Client(plane.socket) as client, client.exec("bistro/frontend/0", ("sleep",)) as command:
            await anext(command.output())
            for _ in range(4):
                await command.write(b"x" * 65536)
        await until(session.closed.is_set)


async def test_a_command_that_cannot_be_run_says_why() -> None:
    plane = FakePlane(
        replicas=(workload(state=ReplicaState.FAILED), workload("job", state=ReplicaState.ENDED))
    )
    async with served(plane), Client(plane.socket) as client:
        for target, command, code in (
            ("bistro/nobody", ("true",), "not_found"),
            ("bistro/frontend/9", ("true",), "not_found"),
            ("bistro/frontend", ("true",), "not_ready"),
            ("bistro/job/0", ("true",), "not_ready"),
            ("bistro/frontend/0", ("true",), "unavailable"),
            ("frontend", ("true",), "bad_request"),
            ("bistro/frontend/x", ("true",), "bad_request"),
            ("bistro/frontend", (), "bad_request"),
        ):
            with pytest.raises(ApiError) as raised:
                await ran(client, target, command)
            assert raised.value.code == code, target


def log_of(*chunks: bytes, error: str = "") -> object:
    async def act(_typed: asyncio.Queue[bytes], session: FakeSession) -> AsyncIterator[tuple[int, bytes]]:
        for chunk in chunks:
            yield 1, chunk
        session.code, session.error = 0, error

    return act


async def test_a_log_is_read_line_by_line_however_its_bytes_arrive() -> None:
    long = b"y" * 50_000
    plane = FakePlane(act=log_of(b"one\ntw", b"o\n\n\xff\xfe", b"\n", long))  # type: ignore[arg-type]  # an Act
    async with served(plane), Client(plane.socket) as client:
        lines = [item.line async for item in client.logs("bistro/frontend", envoy=True, tail=5)]
        assert lines[:4] == ["one", "two", "", "\ufffd\ufffd"]
        assert "".join(lines[4:]).encode() == long
        assert plane.asked == [(FRONTEND, True, 5, False)]
        await until(plane.sessions[0].closed.is_set)


async def test_logs_of_a_workload_are_those_of_all_its_replicas_one_after_the_other() -> None:
    plane = FakePlane(
        replicas=(workload(replica=1), workload(replica=0), workload("other")),
        act=log_of(b"a\nb\n", error="the file has gone"),  # type: ignore[arg-type]  # an Act
    )
    async with served(plane), Client(plane.socket) as client:
        assert [line async for line in client.logs("bistro/frontend")] == [
            LogLine(replica="bistro/frontend/0", line="a"),
            LogLine(replica="bistro/frontend/0", line="b"),
            LogLine(replica="bistro/frontend/0", error="the file has gone"),
            LogLine(replica="bistro/frontend/1", line="a"),
            LogLine(replica="bistro/frontend/1", line="b"),
            LogLine(replica="bistro/frontend/1", error="the file has gone"),
        ]


async def test_logs_that_are_followed_come_as_they_are_written_until_the_reader_leaves() -> None:
    async def act(_typed: asyncio.Queue[bytes], session: FakeSession) -> AsyncIterator[tuple[int, bytes]]:
        yield 1, b"now\n"
        await session.closed.wait()

    plane = FakePlane(replicas=(workload(), workload(replica=1)), act=act)
    async with served(plane):
        async with Client(plane.socket) as client, asyncio.timeout(10):
            lines = client.logs("bistro/frontend", follow=True)
            assert {(await anext(lines)).replica, (await anext(lines)).replica} == {
                "bistro/frontend/0",
                "bistro/frontend/1",
            }
        await until(lambda: all(session.closed.is_set() for session in plane.sessions))
