"""The real Envoy over delta ADS: it starts, follows every change without a failed request, refuses, comes back."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from plait.envoy.build import frame
from plait.resource import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, ROUTES, RUNTIME, SCOPED_ROUTES, Snapshot
from plait.xds.conversation import Peer
from plait.xds.server import Server
from tests.stream.conftest import eventually, eventually_async, serving
from tests.stream.envoy import Envoy, backend, running, traffic
from tests.stream.pki import Authority
from tests.stream.rendered import (
    changed,
    cluster,
    endpoints,
    extension,
    led_listener,
    listener,
    routes,
    runtime,
    scope,
    snapshot,
)

URI = "spiffe://cluster.local/ns/ns/sa/default"
NODE = "ns/w/0"
HOST = "shop:8080"


@dataclass
class Bench:
    """A server, an Envoy that it serves, and the ports of two backends, `one` and `two`."""

    server: Server
    envoy: Envoy
    authority: Authority
    one: int
    two: int

    def publish(self, snapshot: Snapshot) -> None:
        self.server.publish(NODE, snapshot)

    def base(self) -> Snapshot:
        """One host, its route to cluster A, and A's endpoint `one`."""
        return snapshot(
            runtime(1),
            cluster("A"),
            endpoints("A", self.one),
            listener("in", self.envoy.entry),
            scope(HOST, "shop"),
            routes("shop", "A"),
        )

    async def synced(self) -> None:
        await eventually(lambda: self.server.proxies()[0].connected)
        assert await self.server.synced(5) == ()

    async def started(self) -> Snapshot:
        """Publish the base and wait until a request gets through."""
        base = self.base()
        self.publish(base)
        await eventually_async(self.envoy.ready)
        await self.synced()
        assert await self.envoy.get(HOST) == (200, "one")
        return base

    def resources(self) -> dict[str, int]:
        return {type_url: sent.resources for type_url, sent in self.server.sent.items() if sent.resources}


def authorize(node: str, peer: Peer) -> str | None:
    return None if (node, peer.uris) == (NODE, (URI,)) else "not you"


@pytest.fixture
async def bench(folder: Path, authority: Authority) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        server = Server(authorize)
        await stack.enter_async_context(serving(server, authority, f"unix:{folder}/xds.sock"))
        one = await stack.enter_async_context(backend("one"))
        two = await stack.enter_async_context(backend("two"))
        envoy = await stack.enter_async_context(running(NODE, folder, authority, URI))
        yield Bench(server, envoy, authority, one, two)


async def test_it_starts_with_what_is_published(bench: Bench) -> None:
    await bench.started()
    every = (RUNTIME, CLUSTER, ENDPOINTS, LISTENER, SCOPED_ROUTES, ROUTES)
    assert bench.resources() == dict.fromkeys(every, 1)


async def test_a_changed_runtime_is_all_that_is_sent_and_a_refused_one_keeps_nothing(bench: Bench) -> None:
    base = await bench.started()
    assert await bench.envoy.runtime() == "1"
    before = bench.resources()
    bench.publish(changed(base, runtime(2)))
    await bench.synced()
    assert await bench.envoy.runtime() == "2"
    assert bench.resources() == {**before, RUNTIME: before[RUNTIME] + 1}

    garbage = replace(base[RUNTIME]["told"], version="x", framed=frame(RUNTIME, "told", "x", b"\xff"))
    bench.publish(
        {
            **changed(base, routes("shop", "B"), cluster("B"), endpoints("B", bench.two)),
            RUNTIME: {"told": garbage},
        }
    )
    await bench.synced()
    (rejection,) = bench.server.rejections()
    assert rejection.rejection.resource == garbage
    assert await bench.envoy.get(HOST) == (200, "two")
    assert await bench.envoy.runtime() == "2"
    bench.publish(base)
    await bench.synced()
    assert await bench.envoy.runtime() == "1"
    assert await bench.envoy.clusters() == {"A"}
    assert bench.server.rejections() == ()


async def test_it_starts_with_nothing_at_all(bench: Bench) -> None:
    """Empty answers end its start: without them it would wait 15 s for each type."""
    bench.publish({})
    await eventually_async(bench.envoy.ready, 5)
    assert bench.resources() == {}


async def test_it_starts_when_a_cluster_has_no_endpoints_resource(bench: Bench) -> None:
    bench.publish(changed(bench.base(), cluster("empty")))
    await eventually_async(bench.envoy.ready, 5)
    assert await bench.envoy.get(HOST) == (200, "one")


async def test_changed_endpoints_and_routes_are_all_that_is_sent(bench: Bench) -> None:
    base = await bench.started()
    before = bench.resources()
    bench.publish(changed(base, endpoints("A", bench.two)))
    await bench.synced()
    assert await bench.envoy.get(HOST) == (200, "two")
    assert bench.resources() == {**before, ENDPOINTS: before[ENDPOINTS] + 1}


async def test_a_changed_extension_is_all_that_is_sent_and_its_listener_stays(bench: Bench) -> None:
    base = await bench.started()
    socket = bench.envoy.folder / "led"
    led = changed(
        base,
        cluster("B"),
        endpoints("B", bench.two),
        led_listener("led", socket, "way"),
        extension("way", "A"),
    )
    bench.publish(led)
    await eventually_async(lambda: answers(socket, "one"))
    before = bench.resources()
    bench.publish(changed(led, extension("way", "B")))
    await bench.synced()
    await eventually_async(lambda: answers(socket, "two"))
    assert bench.resources() == {**before, EXTENSION: before[EXTENSION] + 1}
    bench.publish(base)
    await bench.synced()
    await eventually_async(lambda: answers(socket, ""))
    assert await bench.envoy.get(HOST) == (200, "one")


async def answers(socket: Path, text: str) -> bool:
    """Whether this is what comes from a socket; nothing when nobody listens there."""
    try:
        connector = aiohttp.UnixConnector(str(socket))
        async with aiohttp.ClientSession(connector=connector) as client, client.get("http://led/") as answer:
            return await answer.text() == text
    except aiohttp.ClientError:
        return text == ""


async def test_a_route_moves_to_a_new_cluster_and_back_without_a_failed_request(bench: Bench) -> None:
    """The new cluster is warm before the route names it; the old one goes after that."""
    base = await bench.started()
    moved = snapshot(
        cluster("B"),
        endpoints("B", bench.two),
        listener("in", bench.envoy.entry),
        scope(HOST, "shop"),
        routes("shop", "B"),
    )
    async with traffic(bench.envoy, HOST) as seen:
        for _ in range(10):
            for wanted, text, left in ((moved, "two", {"B"}), (base, "one", {"A"})):
                bench.publish(wanted)
                await bench.synced()
                assert await bench.envoy.get(HOST) == (200, text)
                assert await bench.envoy.clusters() == left
    assert seen.keys() == {(200, "one"), (200, "two")}


async def test_a_cluster_changes_without_a_failed_request_and_without_waiting(bench: Bench) -> None:
    """Its endpoints are sent with it, so that the new one is warm at once and not after 15 s."""
    base = await bench.started()
    async with traffic(bench.envoy, HOST) as seen:
        for seconds in range(2, 12):
            bench.publish(changed(base, cluster("A", connect_seconds=seconds)))
            await bench.synced()
            assert await bench.envoy.stat("cluster_manager.warming_clusters") == 0
    assert seen.keys() == {(200, "one")}
    assert bench.resources()[ENDPOINTS] == 11


async def test_a_listener_changes_without_its_scopes_and_routes_being_sent_again(bench: Bench) -> None:
    base = await bench.started()
    before = bench.resources()
    bench.publish(changed(base, listener("in", bench.envoy.entry, stat_prefix="other")))
    await bench.synced()

    async def taken() -> int:
        assert await bench.envoy.get(HOST) == (200, "one")
        return await bench.envoy.stat("http.other.downstream_rq_total")

    await eventually_async(taken)
    assert bench.resources() == {**before, LISTENER: before[LISTENER] + 1}


async def test_a_new_host_that_shares_a_route_is_one_scope(bench: Bench) -> None:
    base = await bench.started()
    before = bench.resources()
    bench.publish(changed(base, scope("alias:8080", "shop")))
    await bench.synced()
    assert await bench.envoy.get("alias:8080") == (200, "one")
    assert bench.resources() == {**before, SCOPED_ROUTES: before[SCOPED_ROUTES] + 1}


def broken_cluster() -> Any:
    """One whose address is none: Envoy refuses it alone, by its name."""
    bad = cluster("bad")
    bad.ClearField("eds_cluster_config")
    bad.type = 0
    bad.load_assignment.CopyFrom(endpoints("bad", 80))
    bad.load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address = "nowhere"
    return bad


def invalid_cluster() -> Any:
    """One that breaks a constraint of the message: Envoy refuses the whole response."""
    bad = cluster("bad")
    bad.outlier_detection.max_ejection_percent.value = 200
    return bad


def broken_route() -> Any:
    bad = routes("shop", "A")
    bad.virtual_hosts.add(name="more", domains=["*"])
    return bad


def silent_route() -> Any:
    """One that Envoy refuses without saying which: the regular expression is no such thing."""
    bad = routes("shop", "A")
    bad.virtual_hosts[0].routes[0].match.safe_regex.regex = "(["
    return bad


@pytest.mark.parametrize("bad", [broken_cluster, invalid_cluster, broken_route, silent_route])
async def test_what_it_refuses_is_known_by_name_and_all_else_is_taken(bench: Bench, bad: Any) -> None:
    base = await bench.started()
    good = changed(
        base,
        cluster("B"),
        endpoints("B", bench.two),
        scope("other:8080", "other"),
        routes("other", "B"),
    )
    refused = changed(good, bad())
    async with traffic(bench.envoy, HOST) as seen:
        bench.publish(refused)
        await bench.synced()
        assert await bench.envoy.get("other:8080") == (200, "two")
        (rejection,) = bench.server.rejections()
        expected = bad()
        assert rejection.node == NODE
        assert rejection.rejection.resource.name == expected.name
        assert rejection.rejection.resource.type_url.endswith(expected.DESCRIPTOR.full_name)
        assert rejection.rejection.reason

        before = bench.resources()
        bench.publish(changed(refused, endpoints("B", bench.one)))
        await bench.synced()
        assert bench.resources() == {**before, ENDPOINTS: before[ENDPOINTS] + 1}
        assert await bench.envoy.get("other:8080") == (200, "one")

        bench.publish(good)
        await bench.synced()
        assert bench.server.rejections() == ()
    assert seen.keys() == {(200, "one")}


async def test_a_server_that_comes_back_resends_nothing_and_no_request_fails(
    folder: Path, authority: Authority
) -> None:
    target = f"unix:{folder}/xds.sock"
    async with (
        backend("one") as one,
        backend("two") as two,
        running(NODE, folder, authority, URI) as envoy,
    ):
        first = Bench(Server(authorize), envoy, authority, one, two)
        async with serving(first.server, authority, target):
            await first.started()
            moved = changed(first.base(), endpoints("A", two), cluster("B"), endpoints("B", one))
            first.publish(moved)
            await first.synced()
        async with traffic(envoy, HOST) as seen:
            second = Bench(Server(authorize), envoy, authority, one, two)
            second.publish(moved)
            async with _returned(second, target):
                assert second.resources() == {}
                assert all(sent.removed == 0 for sent in second.server.sent.values())
            third = Bench(Server(authorize), envoy, authority, one, two)
            elsewhere = snapshot(
                cluster("B"),
                endpoints("B", one),
                listener("in", envoy.entry),
                scope(HOST, "shop"),
                routes("shop", "B"),
            )
            third.publish(elsewhere)
            async with _returned(third, target):
                assert third.resources() == {ROUTES: 1}, "the route moves, then the cluster it left goes"
                assert await envoy.clusters() == {"B"}
        assert seen.keys() == {(200, "two"), (200, "one")}


@asynccontextmanager
async def _returned(bench: Bench, target: str) -> AsyncIterator[None]:
    """The server up again and the Envoy back: it has asked for every type, and is synced."""
    async with serving(bench.server, bench.authority, target):
        await eventually(lambda: len(bench.server.proxies()[0].types) == 6)
        await bench.synced()
        yield
