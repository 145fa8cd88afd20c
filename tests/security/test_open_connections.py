"""A changed policy takes hold on connections that are open: of TCP they end, those of HTTP go on."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from plait.model.policy import PeerAuthentication
from tests.security.cases import CLEAR_PORT
from tests.security.mesh import Streams, Target, running
from tests.security.test_denials import group

pytestmark = pytest.mark.asyncio(loop_scope="module")

NO_WEB = {
    "name": "no-web",
    "action": "DENY",
    "rules": [
        {"from": [{"source": {"serviceAccounts": ["web"]}}], "to": [{"operation": {"ports": ["9000"]}}]}
    ],
}
NO_API = NO_WEB | {
    "rules": [
        {"from": [{"source": {"serviceAccounts": ["api"]}}], "to": [{"operation": {"ports": ["9000"]}}]}
    ]
}
HTTP = {
    "name": "http",
    "action": "DENY",
    "rules": [{"to": [{"operation": {"paths": ["/shut"], "ports": ["8080", "8081", "8090"]}}]}],
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target() -> AsyncIterator[Target]:
    async with running(group().facts()) as made:
        yield made


async def echoes(streams: Streams) -> bool:
    """Whether the application is still there behind a connection."""
    reader, writer = streams
    try:
        writer.write(b"x")
        return await asyncio.wait_for(reader.read(1), 5) == b"x"
    except ConnectionError:
        return False


async def test_a_changed_admission_ends_the_connections_of_its_port_and_no_others(target: Target) -> None:
    await target.say(target.compiled(group(NO_API).facts())[1])
    web, bot = [await target.connect(who, port=9000) for who in ("web", "bot")]
    other = await target.connect("web", port=9001)
    for streams in (web, bot, other):
        assert await echoes(streams)
    status = await target.http("web", "127.0.0.1", 8080, "", "GET / HTTP/1.1\r\nhost: payments\r\n\r\n")
    assert status == 200
    kept = target.connections()

    await target.say(target.compiled(group(NO_WEB).facts())[1])
    # What is made from now on is judged anew at once.
    denied, allowed = [await target.connect(who, port=9000) for who in ("web", "bot")]
    assert not await echoes(denied)
    assert await echoes(allowed)
    ended = [asyncio.create_task(one[0].read()) for one in (web, bot)]
    async with asyncio.timeout(15):
        while not all(task.done() for task in ended):
            status = await target.http(
                "web", "127.0.0.1", 8080, "", "GET / HTTP/1.1\r\nhost: payments\r\n\r\n"
            )
            assert status == 200
            await asyncio.sleep(0.05)
    assert [task.result() for task in ended] == [b"", b""]
    assert await echoes(other)
    assert await echoes(allowed)
    assert target.connections() == kept, "a connection of HTTP has ended"
    for _, writer in (web, bot, other, denied, allowed):
        writer.close()


async def test_what_says_nothing_of_its_port_ends_no_connection(target: Target) -> None:
    await target.say(target.compiled(group(NO_API).facts())[1])
    web = await target.connect("web", port=9000)
    assert await echoes(web)
    await target.say(target.compiled(group(NO_API, HTTP).facts())[1])
    await asyncio.sleep(1.5)  # longer than Envoy drains here
    assert await echoes(web)
    web[1].close()


async def test_a_port_that_takes_no_clear_text_any_more_ends_what_is_spoken_in_it_and_no_more(
    target: Target,
) -> None:
    facts = group().facts()
    await target.say(target.compiled(facts)[1])
    clear = await target.connect("nobody", port=CLEAR_PORT)
    clear[1].write(b"GET / HTTP/1.1\r\nhost: payments\r\n\r\n")
    assert (await clear[0].readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    secured = await target.connect("web", port=9001)
    kept = target.connections()
    strict = tuple(one for one in facts if not isinstance(one, PeerAuthentication))
    assert len(strict) < len(facts)
    await target.say(target.compiled(strict)[1])
    async with asyncio.timeout(15):
        await clear[0].read()
    assert await echoes(secured)
    assert target.connections() == kept, "a connection of mutual TLS has ended"
    for _, writer in (clear, secured):
        writer.close()


async def test_a_drain_before_a_stop_takes_as_long_as_the_shim_likes() -> None:
    """It is asked for as the shim does it; the time that Envoy itself drains is for what was replaced."""
    async with running(group().facts()) as target:
        assert target.proxy is not None
        stream = await target.connect("web", port=9000)
        async with target.proxy.admin() as admin, admin.post("/drain_listeners?graceful&skip_exit") as said:
            assert said.status == 200
        await asyncio.sleep(1.3)  # longer than Envoy drains here
        assert await echoes(stream)
        request = "GET / HTTP/1.1\r\nhost: payments\r\n\r\n"
        assert await target.http("bot", "127.0.0.1", 8080, "", request) == 200
        stream[1].close()
