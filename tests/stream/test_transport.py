"""The transport by itself: what stands on the wire, seen by a client that can misbehave, over real TLS."""

import asyncio
import gc
import ssl
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes

from plait.envoy import api
from plait.identity.keys import Keypair
from plait.resource import CLUSTER, ENDPOINTS, ROUTES
from plait.xds.conversation import Peer
from plait.xds.server import Server
from plait.xds.status import Code
from plait.xds.transport.listener import Listener
from plait.xds.transport.tls import mutual
from tests.stream.client import HEADERS, Client, connected, context, framed
from tests.stream.conftest import eventually
from tests.stream.pki import CONTROL_PLANE, Authority
from tests.stream.rendered import changed, cluster, endpoints, routes, snapshot

NODE = "ns/w/0"


def anyone(_node: str, _peer: Peer) -> str | None:
    return None


def request(type_url: str = CLUSTER, node: str = NODE) -> bytes:
    message = api.message("envoy.service.discovery.v3.DeltaDiscoveryRequest")
    return api.serialize(message(type_url=type_url, node={"id": node}))


@dataclass
class Bench:
    server: Server
    listener: Listener
    path: Path
    tls: ssl.SSLContext

    @asynccontextmanager
    async def client(self, settings: dict[SettingCodes, int] | None = None) -> AsyncIterator[Client]:
        async with connected(self.path, self.tls, settings) as client:
            yield client


@pytest.fixture
async def bench(folder: Path, authority: Authority) -> AsyncIterator[Bench]:
    server = Server(anyone, patience=0.3)
    server.publish(NODE, snapshot(cluster("A"), routes("R", "A")))
    listener = Listener(server, authority.server_context())
    path = folder / "xds.sock"
    await listener.listen(path)
    yield Bench(server, listener, path, context(authority, authority.leaf("w"), folder))
    server.close()
    async with asyncio.timeout(2):
        await listener.close()


async def test_a_message_may_come_in_pieces_and_several_in_one(bench: Bench) -> None:
    async with bench.client() as client:
        stream = client.open()
        first, second = framed(request(CLUSTER)), framed(request(ROUTES))
        for at in range(len(first)):
            client.say(stream, first[at : at + 1])
            await asyncio.sleep(0)
        await eventually(lambda: client.messages)
        client.say(stream, second + framed(request("nothing of ours")))
        await eventually(lambda: len(client.messages) == 1)  # the routes wait for the clusters
        assert {one.type_url for one in client.messages} == {CLUSTER}
        await eventually(lambda: len(bench.server.proxies()[0].types) == 3)
        assert client.heads[stream][":status"] == "200"
        assert client.heads[stream]["content-type"] == "application/grpc"


async def test_a_tiny_window_gets_everything_in_pieces_and_nothing_more_is_composed_meanwhile(
    bench: Bench,
) -> None:
    server = bench.server
    big = snapshot(*(cluster("x" * 4000 + str(number)) for number in range(100)), endpoints("y", 1))
    server.publish(NODE, big)
    async with bench.client({SettingCodes.INITIAL_WINDOW_SIZE: 1000}) as client:
        client.reads = False
        stream = client.open()
        client.say(stream, framed(request()))
        await eventually(lambda: len(client.data) == 1000)
        client.say(stream, framed(request(ENDPOINTS)))  # which do not wait for the clusters' answer
        await eventually(lambda: len(server.proxies()[0].types) == 2)
        for number in range(20):
            server.publish(NODE, changed(big, endpoints("y", number + 2)))
        await asyncio.sleep(0.05)
        assert len(client.data) == 1000
        assert ENDPOINTS not in server.sent, "nothing is composed that can't be sent"
        client.reads = True
        client.h2.acknowledge_received_data(1000, stream)
        client.flush()
        await eventually(lambda: len(client.messages) == 2)
        assert [len(one.resources) for one in client.messages] == [100, 1]
        assert client.largest <= 1000


async def test_streams_of_one_connection_do_not_hold_each_other_up(bench: Bench) -> None:
    bench.server.publish("ns/v/0", snapshot(cluster("B")))
    async with bench.client() as client:
        silent, stream = client.open(), client.open()
        client.say(stream, framed(request(node="ns/v/0")))
        await eventually(lambda: client.messages)
        client.say(silent, framed(request()))
        await eventually(lambda: len(client.messages) == 2)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({":path": "/plait.link.v1.Link/Attach"}, (200, Code.UNIMPLEMENTED)),
        ({":method": "GET"}, (415, None)),
        ({"content-type": "application/grpc+proto"}, (200, None)),
        ({"content-type": "text/html"}, (415, None)),
    ],
)
async def test_what_is_no_stream_of_ours_is_refused_at_once(
    bench: Bench, headers: dict[str, str], expected: tuple[int, Code | None]
) -> None:
    async with bench.client() as client:
        stream = client.open(list((dict(HEADERS) | headers).items()))
        if headers.get("content-type") == "application/grpc+proto":
            client.say(stream, framed(request()))
            await eventually(lambda: client.messages)
            return
        await eventually(lambda: stream in client.ended)
        head = client.heads[stream]
        status = Code(int(head["grpc-status"])) if "grpc-status" in head else None
        assert (int(head[":status"]), status) == expected
        assert not client.data


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (framed(b"\xff\xff\xff"), Code.INVALID_ARGUMENT),
        (b"\1\0\0\0\1x", Code.UNIMPLEMENTED),
        (b"\0" + (16 * 1024 * 1024 + 1).to_bytes(4, "big"), Code.RESOURCE_EXHAUSTED),
        (framed(request(node="ns/é%/0")), Code.UNAVAILABLE),
    ],
)
async def test_a_refusal_says_why_in_trailers_alone(bench: Bench, said: bytes, code: Code) -> None:
    async with bench.client() as client:
        stream = client.open()
        client.say(stream, said)
        found, reason = await client.status(stream)
        assert found == code
        assert reason
        assert client.heads[stream][":status"] == "200"
        assert not client.data
        if code is Code.UNAVAILABLE:
            assert reason == "nothing is known of ns/é%/0 yet"
        other = client.open()  # the connection lives on
        client.say(other, framed(request()))
        await eventually(lambda: client.messages)


async def test_a_large_request_is_taken(bench: Bench) -> None:
    """More than the window, so that it has to be opened again."""
    message = api.message("envoy.service.discovery.v3.DeltaDiscoveryRequest")(
        type_url=CLUSTER, node={"id": NODE}, initial_resource_versions={"n" * 3000: "v" * 3_000_000}
    )
    data = framed(api.serialize(message))
    async with bench.client() as client:
        stream, at = client.open(), 0
        while at < len(data):
            size = min(client.h2.local_flow_control_window(stream), 16_384, len(data) - at)
            if size:
                client.say(stream, data[at : at + size])
                at += size
            await asyncio.sleep(0)
        await eventually(lambda: client.messages)


async def test_a_proxy_that_says_no_more_is_let_go(bench: Bench) -> None:
    async with bench.client() as client:
        stream = client.open()
        client.say(stream, framed(request()))
        await eventually(lambda: client.messages)
        client.h2.end_stream(stream)
        client.flush()
        assert await client.status(stream) == (Code.OK, "")
        assert bench.server.proxies()[0].connected is None
        broken = client.open()
        client.say(broken, framed(request())[:-1], last=True)
        assert (await client.status(broken))[0] == Code.INTERNAL


async def test_a_stream_that_is_reset_is_gone(bench: Bench) -> None:
    async with bench.client() as client:
        stream = client.open()
        client.say(stream, framed(request()))
        await eventually(lambda: bench.server.proxies()[0].connected)
        client.h2.reset_stream(stream)
        client.flush()
        await eventually(lambda: bench.server.proxies()[0].connected is None)
    assert not bench.server._conversations


async def test_a_peer_that_does_not_speak_http2_is_turned_away(bench: Bench, authority: Authority) -> None:
    reader, writer = await asyncio.open_unix_connection(
        str(bench.path), ssl=bench.tls, server_hostname=CONTROL_PLANE
    )
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" + b"x" * 100)
    async with asyncio.timeout(5):
        assert b"HTTP/1" not in await reader.read()
    writer.close()


@pytest.mark.parametrize("flood", ["ping", "settings", "reset", "empty"])
async def test_a_flood_ends_its_connection_alone(bench: Bench, flood: str) -> None:
    async with bench.client() as client, bench.client() as other:
        with suppress(ProtocolError):  # once the client has heard the end
            for _ in range(3000):
                if flood == "ping":
                    client.h2.ping(b"12345678")
                elif flood == "settings":
                    client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 70_000})
                elif flood == "empty":
                    client.h2.send_data(1 if client.h2.highest_outbound_stream_id else client.open(), b"")
                else:
                    client.h2.reset_stream(client.open())
                client.flush()
                await asyncio.sleep(0)
        await eventually(lambda: client.gone == 11)  # ENHANCE_YOUR_CALM
        stream = other.open()
        other.say(stream, framed(request()))
        await eventually(lambda: other.messages)


async def test_a_renewed_certificate_is_shown_at_the_next_handshake(
    folder: Path, authority: Authority
) -> None:
    def keypair() -> Keypair:
        leaf = authority.leaf("control-plane", dns=(CONTROL_PLANE,))
        return Keypair(key=leaf.key.decode(), chain=leaf.chain.decode(), roots=authority.root.decode())

    current = first = keypair()
    server = Server(anyone)
    server.publish(NODE, snapshot(cluster("A")))
    listener = Listener(server, mutual(lambda: current))
    path = folder / "xds.sock"
    await listener.listen(path)
    bench = Bench(server, listener, path, context(authority, authority.leaf("w"), folder))

    def shown(client: Client) -> Any:
        return client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)

    async with bench.client() as before:
        current = keypair()
        async with bench.client() as after:
            for client, pair in ((before, first), (after, current)):
                expected = x509.load_pem_x509_certificate(pair.chain.encode())
                assert x509.load_der_x509_certificate(shown(client)) == expected
                stream = client.open()
                client.say(stream, framed(request()))
            await eventually(lambda: after.messages and before.messages)
    server.close()
    await listener.close()


async def test_a_handshake_that_is_not_finished_and_a_connection_without_a_stream_are_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plait.xds.transport.tls._HANDSHAKE", 0.1)
    monkeypatch.setattr("plait.xds.transport.http2._IDLE", 0.1)
    monkeypatch.setattr("plait.xds.conversation._OPENING", 0.1)
    reader, writer = await asyncio.open_unix_connection(str(bench.path))
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()
    async with bench.client() as client:
        await eventually(lambda: client.over)
        assert client.gone == 0
    async with bench.client() as client:
        silent = client.open()
        assert (await client.status(silent))[0] == Code.DEADLINE_EXCEEDED


async def test_a_first_request_that_is_long_in_coming_is_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But not for ever."""
    monkeypatch.setattr("plait.xds.conversation._OPENING", 0.2)
    whole = framed(request())

    async def slowly(client: Client, stream: int) -> None:
        for byte in whole[:10]:
            client.say(stream, bytes([byte]))
            await asyncio.sleep(0.05)

    async with bench.client() as client:
        stream = client.open()
        await slowly(client, stream)
        client.say(stream, whole[10:])
        await eventually(lambda: client.messages)
    monkeypatch.setattr("plait.xds.conversation._OPENINGS", 2)
    async with bench.client() as client:
        stream = client.open()
        with pytest.raises(StreamClosedError):
            await slowly(client, stream)
        assert (await client.status(stream))[0] == Code.DEADLINE_EXCEEDED


async def test_a_connection_that_ends_leaves_nothing_to_the_garbage_collector(bench: Bench) -> None:
    """A thousand that come back would have all that the ones before them had beside their own."""
    gc.disable()
    try:
        async with bench.client() as client:
            client.say(client.open(), framed(request()))
            await eventually(lambda: client.messages)
            (conversation,) = bench.server._conversations
            stream = weakref.ref(conversation.stream)
            ((secured, connection),) = bench.listener._connections.items()
            tls, http = weakref.ref(secured._tls), weakref.ref(connection._h2.encoder)
        del secured, connection, conversation
        await eventually(lambda: not bench.listener._connections)
        await eventually(lambda: (tls(), http(), stream()) == (None, None, None))
    finally:
        gc.enable()


async def test_nothing_older_than_tls_1_3_is_spoken(bench: Bench) -> None:
    """A session of TLS 1.2 could be resumed, and its certificate would not be looked at again."""
    bench.tls.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        async with bench.client():
            pass


async def test_plaintext_is_turned_away(bench: Bench) -> None:
    reader, writer = await asyncio.open_unix_connection(str(bench.path))
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
    began = time.monotonic()
    await reader.read()
    writer.close()
    assert time.monotonic() - began < 5


async def test_a_peer_that_asks_and_does_not_read_is_left(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plait.xds.transport.tls._MOST_WAITING", 100_000)
    monkeypatch.setattr("plait.xds.transport.http2._BUDGET", 1e9)
    monkeypatch.setattr("plait.xds.transport.http2._REFILL", 1e9)
    async with bench.client() as client:
        stream = client.open()
        client.say(stream, framed(request()))
        await eventually(lambda: client.messages)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with suppress(ConnectionError):
            for _ in range(40):
                for _ in range(1000):
                    client.h2.ping(b"12345678")
                client.flush()
                await asyncio.sleep(0.01)
        await eventually(lambda: bench.server.proxies()[0].connected is None)
