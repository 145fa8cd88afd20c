"""The service over real gRPC with mutual TLS: who gets in, what is sent to whom, and how streams end."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from plait.envoy import api
from plait.model.names import ObjectRef, Origin
from plait.resource import CLUSTER, ENDPOINTS, ROUTES, TYPES, Snapshot
from plait.xds.conversation import Peer
from plait.xds.messages import Accepted, Event, Rejected
from plait.xds.pushes import Outcome
from plait.xds.server import Server
from plait.xds.wire import METHOD, SERVICE
from tests.stream.conftest import eventually, serving
from tests.stream.pki import Authority
from tests.stream.proxy import Proxy, channel
from tests.stream.rendered import changed, cluster, endpoints, routes, snapshot

FIRST = (CLUSTER,)
"""For a proxy that is sent away: one request only, as a second could meet the closed stream."""
URI = "spiffe://cluster.local/ns/ns/sa/default"


def anyone(_node: str, _peer: Peer) -> str | None:
    return None


def one() -> Snapshot:
    return snapshot(cluster("A"), endpoints("A", 1), routes("R", "A"))


@pytest.fixture(params=["unix", "tcp"])
def target(request: pytest.FixtureRequest, folder: Path) -> str:
    return f"unix:{folder}/xds.sock" if request.param == "unix" else "127.0.0.1:0"


async def test_a_proxy_is_sent_its_snapshot_over_a_unix_socket_and_over_tcp(
    target: str, authority: Authority
) -> None:
    peers: list[tuple[str, Peer]] = []

    def authorize(node: str, peer: Peer) -> str | None:
        peers.append((node, peer))
        return None

    server = Server(authorize)
    server.publish("ns/w/0", one())
    leaf = authority.leaf("w", uris=(URI,), dns=("w.ns",))
    async with serving(server, authority, target) as port:
        reached = target if target.startswith("unix") else f"127.0.0.1:{port}"
        async with channel(reached, authority, leaf) as over, Proxy("ns/w/0", over) as proxy:
            await eventually(lambda: proxy.has[ROUTES])
            assert await server.synced(5) == ()
            (status,) = server.proxies()
    assert proxy.has[CLUSTER].keys() == {"A"}
    assert proxy.has[ENDPOINTS].keys() == {"A"}
    assert [(node, peer.uris, peer.dns_names, peer.common_name) for node, peer in peers] == [
        ("ns/w/0", (URI,), ("w.ns",), "w")
    ]
    assert peers[0][1].certificate == leaf.chain
    assert status.synced
    assert status.connected is not None
    assert {one.type_url: (one.wanted, one.acknowledged) for one in status.types if one.wanted} == {
        CLUSTER: (1, 1),
        ENDPOINTS: (1, 1),
        ROUTES: (1, 1),
    }
    assert all(one.latency is not None and 0 < one.latency < 5 for one in status.types)


async def test_a_proxy_that_is_refused_is_told_why_and_gets_nothing(
    folder: Path, authority: Authority
) -> None:
    def authorize(node: str, peer: Peer) -> str | None:
        return f"{peer.uris[0] if peer.uris else 'nobody'} is not {node}"

    server = Server(authorize)
    server.publish("ns/w/0", one())
    target = f"unix:{folder}/xds.sock"
    leaf = authority.leaf("thief", uris=("spiffe://cluster.local/ns/ns/sa/thief",))
    async with (
        serving(server, authority, target),
        channel(target, authority, leaf) as over,
        Proxy("ns/w/0", over, FIRST) as proxy,
    ):
        assert await proxy.end() == (
            grpc.StatusCode.PERMISSION_DENIED,
            "spiffe://cluster.local/ns/ns/sa/thief is not ns/w/0",
        )
    assert proxy.received == []
    assert server.proxies()[0].connected is None
    assert server.sent == {}


async def test_a_proxy_that_shows_no_certificate_is_unauthenticated(
    folder: Path, authority: Authority
) -> None:
    server = Server(lambda _node, peer: None if peer.uris else "show a certificate")
    server.publish("ns/w/0", one())
    target = f"unix:{folder}/xds.sock"
    async with (
        serving(server, authority, target, ask_for_client=False),
        channel(target, authority, None) as over,
        Proxy("ns/w/0", over, FIRST) as proxy,
    ):
        assert await proxy.end() == (grpc.StatusCode.UNAUTHENTICATED, "show a certificate")
    assert proxy.received == []


async def test_nothing_is_made_for_a_proxy_that_may_not_have_it(folder: Path, authority: Authority) -> None:
    made: list[str] = []

    def make() -> Snapshot:
        made.append("a snapshot")
        return one()

    server = Server(lambda node, _peer: None if node == "ns/w/0" else "not yours")
    target = f"unix:{folder}/xds.sock"
    async with (
        serving(server, authority, target),
        channel(target, authority, authority.leaf("w", uris=(URI,))) as over,
    ):
        for node in ("ns/w/0", "ns/other/0"):
            server.offer(node, make)
        async with Proxy("ns/other/0", over, FIRST) as proxy:
            assert await proxy.end() == (grpc.StatusCode.PERMISSION_DENIED, "not yours")
        assert made == []
        async with Proxy("ns/w/0", over) as proxy:
            await eventually(lambda: bool(proxy.has[CLUSTER]))
        assert made == ["a snapshot"]


async def test_a_proxy_to_which_nothing_sound_can_be_sent_is_told_to_come_again(
    folder: Path, authority: Authority
) -> None:
    server = Server(anyone)
    server.offer("ns/w/0", lambda: None)
    target = f"unix:{folder}/xds.sock"
    async with (
        serving(server, authority, target),
        channel(target, authority, authority.leaf("w", uris=(URI,))) as over,
        Proxy("ns/w/0", over, FIRST) as proxy,
    ):
        assert await proxy.end() == (grpc.StatusCode.UNAVAILABLE, "nothing can be sent to ns/w/0 yet")


async def test_a_stream_ends_with_the_certificate_that_opened_it(folder: Path, authority: Authority) -> None:
    """The connection would live on, and a resumed session is not looked at again."""
    server = Server(anyone, expires=lambda _peer: time.time() + 0.2)
    server.publish("ns/w/0", one())
    target = f"unix:{folder}/xds.sock"
    async with (
        serving(server, authority, target),
        channel(target, authority, authority.leaf("w", uris=(URI,))) as over,
        Proxy("ns/w/0", over) as proxy,
    ):
        code, reason = await proxy.end()
    assert (code, reason) == (
        grpc.StatusCode.UNAUTHENTICATED,
        "the certificate that opened this stream has expired",
    )
    assert proxy.has[CLUSTER].keys() == {"A"}


async def test_a_certificate_of_another_authority_does_not_get_in(folder: Path, authority: Authority) -> None:
    asked: list[str] = []

    def authorize(node: str, _peer: Peer) -> str | None:
        asked.append(node)
        return None

    server = Server(authorize)
    server.publish("ns/w/0", one())
    target = f"unix:{folder}/xds.sock"
    stranger = Authority().leaf("w", uris=(URI,))
    async with (
        serving(server, authority, target),
        channel(target, authority, stranger) as over,
        Proxy("ns/w/0", over, FIRST) as proxy,
    ):
        assert (await proxy.end())[0] == grpc.StatusCode.UNAVAILABLE
    assert asked == []


@dataclass
class Connected:
    """A server that lets anyone in, a channel to it, and what proxies answered."""

    server: Server
    over: Any
    events: list[tuple[str, Event]]

    def proxy(self, node: str = "ns/w/0", types: tuple[str, ...] = TYPES) -> Proxy:
        return Proxy(node, self.over, types)


@pytest.fixture
async def connected(folder: Path, authority: Authority) -> AsyncIterator[Connected]:
    events: list[tuple[str, Event]] = []
    server = Server(anyone, notify=lambda node, event: events.append((node, event)), patience=0.3)
    target = f"unix:{folder}/xds.sock"
    leaf = authority.leaf("w", uris=(URI,))
    async with serving(server, authority, target), channel(target, authority, leaf) as over:
        yield Connected(server, over, events)


async def test_a_node_that_is_not_yet_known_is_waited_for(connected: Connected) -> None:
    server = connected.server
    server._patience = 10
    async with connected.proxy() as proxy:
        await eventually(lambda: proxy._call is not None)
        server.publish("ns/other/0", one())
        server.publish("ns/w/0", one())
        await eventually(lambda: proxy.has[ROUTES])


async def test_a_node_that_stays_unknown_is_sent_away(connected: Connected) -> None:
    async with connected.proxy(types=FIRST) as proxy:
        assert await proxy.end() == (grpc.StatusCode.UNAVAILABLE, "nothing is known of ns/w/0 yet")


async def test_a_request_that_is_none_ends_the_stream(connected: Connected) -> None:
    call = connected.over.stream_stream(f"/{SERVICE}/{METHOD}")()
    await call.write(b"\xff\xff\xff")
    assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_the_newest_stream_of_a_node_wins(connected: Connected) -> None:
    server = connected.server
    server.publish("ns/w/0", one())
    async with connected.proxy() as old:
        await eventually(lambda: old.has[ROUTES])
        async with connected.proxy() as new:
            assert await old.end() == (grpc.StatusCode.ABORTED, "ns/w/0 has opened a newer stream")
            await eventually(lambda: new.has[ROUTES])
            server.publish("ns/w/0", changed(one(), routes("R", "B")))
            assert await server.synced(5) == ()
            assert new.received[-1] == (ROUTES, ("R",), ())


async def test_who_is_away_is_waited_for_where_it_counts(connected: Connected) -> None:
    server = connected.server
    server.publish("ns/w/0", one())
    assert await server.synced(5) == ()
    assert await server.synced(0.01, absent={"ns/w/0", "ns/never/0"}) == ("ns/w/0",)
    waiting = asyncio.create_task(server.synced(30, absent={"ns/w/0"}))
    await asyncio.sleep(0)
    assert not waiting.done()
    async with connected.proxy() as proxy:
        assert await waiting == ()
        assert proxy.has[ROUTES]


async def test_a_node_that_is_forgotten_is_sent_away(connected: Connected) -> None:
    server = connected.server
    server.publish("ns/w/0", one())
    async with connected.proxy() as proxy:
        await eventually(lambda: proxy.has[ROUTES])
        server.forget("ns/w/0")
        assert await proxy.end() == (
            grpc.StatusCode.UNAVAILABLE,
            "ns/w/0 is not part of the mesh any more",
        )
    assert server.proxies() == ()
    server.forget("ns/never/0")


async def test_a_proxy_that_comes_back_is_sent_only_what_changed(connected: Connected) -> None:
    server = connected.server
    server.publish("ns/w/0", one())
    async with connected.proxy() as proxy:
        await eventually(lambda: proxy.has[ROUTES])
        assert await server.synced(5) == ()
    await eventually(lambda: server.proxies()[0].connected is None)
    proxy.received.clear()
    server.publish("ns/w/0", changed(one(), endpoints("A", 2)))
    async with proxy:
        await eventually(lambda: server.proxies()[0].connected and server.proxies()[0].synced)
        assert await server.synced(5) == ()
    assert [one for one in proxy.received if one[1] or one[2]] == [(ENDPOINTS, ("A",), ())]


async def test_a_change_of_one_resource_sends_it_once_to_each_proxy_that_holds_it(
    connected: Connected,
) -> None:
    server, events = connected.server, connected.events
    holders = {f"ns/w/{number}" for number in range(100)}
    others = {f"ns/v/{number}" for number in range(10)}
    before, other = one(), snapshot(cluster("A"), endpoints("A", 1))
    for node in sorted(holders | others):
        server.publish(node, before if node in holders else other)
    async with AsyncExitStack() as stack:
        proxies = [
            await stack.enter_async_context(connected.proxy(node)) for node in sorted(holders | others)
        ]
        await eventually(lambda: all(one.connected and one.synced for one in server.proxies()))
        await eventually(lambda: all(proxy.has[CLUSTER] for proxy in proxies))
        assert await server.synced(10) == ()
        pushes = {type_url: (sent.pushes, sent.resources) for type_url, sent in server.sent.items()}
        for proxy in proxies:
            proxy.received.clear()
        events.clear()

        after = changed(before, routes("R", "B"))
        for node in sorted(holders | others):
            server.publish(node, after if node in holders else dict(other))
        assert await server.synced(10) == ()

        for proxy in proxies:
            assert proxy.received == ([(ROUTES, ("R",), ())] if proxy.node in holders else [])
        expected = {**pushes, ROUTES: (pushes[ROUTES][0] + 100, pushes[ROUTES][1] + 100)}
        assert {one: (sent.pushes, sent.resources) for one, sent in server.sent.items()} == expected
        accepted = [node for node, event in events if isinstance(event, Accepted) and event.names == ("R",)]
        assert sorted(accepted) == sorted(holders)


async def test_a_rejection_tells_the_origins_as_they_are_now(connected: Connected) -> None:
    server, events = connected.server, connected.events
    origins = [(Origin(ObjectRef("", "Service", "ns", name)),) for name in ("old", "new")]

    def with_origins(which: int) -> Snapshot:
        return {
            type_url: {name: replace(each, origins=origins[which]) for name, each in resources.items()}
            for type_url, resources in one().items()
        }

    server.publish("ns/w/0", with_origins(0))
    proxy = connected.proxy(types=FIRST)
    proxy.refusal = "A: not this one"
    async with proxy:
        await eventually(server.rejections)
        (event,) = events
        assert isinstance(event[1], Rejected)
        assert (event[0], event[1].names, event[1].reason) == ("ns/w/0", ("A",), "A: not this one")
        server.publish("ns/w/0", with_origins(1))
        (rejection,) = server.rejections()
        assert rejection.rejection.resource.origins == origins[1]
        assert await server.synced(5) == (), "a rejection is an answer"
        assert len(proxy.received) == 1, "equal in what is sent: nothing is"


async def test_what_a_proxy_was_sent_last_is_known_while_it_is_connected(connected: Connected) -> None:
    server = connected.server
    server.publish("ns/w/0", one())
    assert (server.proxy("ns/other/0"), server.pushes("ns/other/0"), server.pushes("ns/w/0")) == (
        None,
        (),
        (),
    )
    proxy = connected.proxy(types=(CLUSTER, ENDPOINTS))
    async with proxy:
        await eventually(lambda: proxy.has[ENDPOINTS])
        assert await server.synced(5) == ()
        proxy.refusal = "A: not this one"
        server.publish("ns/w/0", changed(one(), cluster("A", connect_seconds=2)))
        await eventually(server.rejections)
        assert await server.synced(5) == ()
        pushes = server.pushes("ns/w/0")
        assert [
            (push.type_url, push.outcome, push.reason) for push in pushes if push.type_url == CLUSTER
        ] == [
            (CLUSTER, Outcome.REJECTED, "A: not this one"),
            (CLUSTER, Outcome.ACKNOWLEDGED, ""),
        ]
        assert sum(push.bytes for push in pushes) == sum(sent.bytes for sent in server.sent.values())
        assert [push.at for push in pushes] == sorted((push.at for push in pushes), reverse=True)
        assert all(push.latency is not None and 0 < push.latency < 5 for push in pushes)
        status = server.proxy("ns/w/0")
        assert status in server.proxies()
    await eventually(lambda: server.pushes("ns/w/0") == ())
    status = server.proxy("ns/w/0")
    assert status is not None
    assert status.connected is None


async def test_a_proxy_that_does_not_answer_is_named_and_holds_up_no_other(connected: Connected) -> None:
    server = connected.server
    for node in ("ns/quick/0", "ns/stuck/0"):
        server.publish(node, one())
    async with connected.proxy("ns/quick/0") as quick, connected.proxy("ns/stuck/0") as stuck:
        await eventually(lambda: quick.has[ROUTES] and stuck.has[ROUTES])
        assert await server.synced(5) == ()
        stuck.answers = False
        for port in range(2, 300):
            for node in ("ns/quick/0", "ns/stuck/0"):
                server.publish(node, changed(one(), endpoints("A", port)))
        assert await server.synced(0.3) == ("ns/stuck/0",)
        assert len([one for one in stuck.received if one[0] == ENDPOINTS]) == 2
        assert [one.synced for one in server.proxies()] == [True, False]
    assert await server.synced(0.3) == (), "who is gone is not waited for"


async def test_a_proxy_that_does_not_read_holds_up_no_other_and_can_be_sent_away(
    folder: Path, authority: Authority
) -> None:
    """More than the flow control window is on its way: the write does not return."""
    server = Server(anyone)
    big = snapshot(*(cluster("x" * 4000 + str(number)) for number in range(500)))
    target = f"unix:{folder}/xds.sock"
    leaf = authority.leaf("w", uris=(URI,))
    server.publish("ns/deaf/0", big)
    server.publish("ns/quick/0", one())
    async with serving(server, authority, target), channel(target, authority, leaf) as over:
        deaf = over.stream_stream(f"/{SERVICE}/{METHOD}")()
        request = api.message("envoy.service.discovery.v3.DeltaDiscoveryRequest")(
            type_url=CLUSTER, node={"id": "ns/deaf/0"}
        )
        await deaf.write(api.serialize(request))
        await eventually(lambda: CLUSTER in server.sent)
        async with Proxy("ns/quick/0", over) as quick:
            await eventually(lambda: quick.has[ROUTES])
            for number in range(50):
                server.publish("ns/deaf/0", changed(big, cluster("y", connect_seconds=number + 1)))
            assert await server.synced(0.2) == ("ns/deaf/0",)
        assert server.sent[CLUSTER].pushes == 2, "nothing was composed that could not be sent"
        server.forget("ns/deaf/0")
        await eventually(lambda: not server._conversations)
        deaf.cancel()


async def test_streams_end_cleanly_when_the_server_stops(folder: Path, authority: Authority) -> None:
    server = Server(anyone)
    server.publish("ns/w/0", one())
    target = f"unix:{folder}/xds.sock"
    async with channel(target, authority, authority.leaf("w", uris=(URI,))) as over:
        async with serving(server, authority, target):
            proxy = Proxy("ns/w/0", over)
            await proxy.__aenter__()
            await eventually(lambda: proxy.has[ROUTES])
        assert await proxy.end() == (grpc.StatusCode.UNAVAILABLE, "the control plane is stopping")
        await eventually(lambda: server.proxies()[0].connected is None)
        await proxy.__aexit__()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
