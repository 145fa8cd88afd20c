"""What is told beside xDS on the same connections: taken whole and answered, or refused before it costs anything."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from h2.settings import SettingCodes

from plait.envoy import api
from plait.xds.conversation import Peer
from plait.xds.exports import LARGEST, Export, Exports
from plait.xds.server import Server
from plait.xds.status import Code, End
from tests.stream.client import HEADERS, Client, connected, context, framed
from tests.stream.conftest import eventually, eventually_async, serving
from tests.stream.envoy import backend, running
from tests.stream.pki import Authority
from tests.stream.proxy import channel
from tests.stream.rendered import cluster, endpoints, listener, routes, scope, snapshot

URI = "spiffe://cluster.local/ns/ns/sa/default"
NODE = "ns/w/0"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
TRACES = "/v1/traces"
UNREADABLE = b"what no handler can read"


def identify(peer: Peer) -> str | End:
    if peer.uris == (URI,):
        return "ns/w"
    return End(Code.PERMISSION_DENIED, f"{peer.common_name} runs nowhere")


@dataclass
class Bench:
    authority: Authority
    folder: Path
    server: Server = field(default_factory=lambda: Server(lambda _node, _peer: None))
    taken: list[tuple[str, Export]] = field(default_factory=list)
    exports: Exports = field(init=False)

    def __post_init__(self) -> None:
        self.exports = Exports({LOGS: self.handler(LOGS), TRACES: self.handler(TRACES)}, identify)

    @property
    def target(self) -> str:
        return f"unix:{self.folder}/xds.sock"

    def handler(self, path: str) -> Any:
        def take(export: Export) -> bytes:
            if export.body == UNREADABLE:
                raise ValueError("this is no log")
            self.taken.append((path, export))
            return b"answer" if path == LOGS else b""

        return take

    @asynccontextmanager
    async def client(
        self, settings: dict[SettingCodes, int] | None = None, *, uri: str = URI
    ) -> AsyncIterator[Client]:
        tls = context(self.authority, self.authority.leaf("w", uris=(uri,)), self.folder)
        async with connected(self.folder / "xds.sock", tls, settings) as client:
            yield client


@pytest.fixture
async def bench(folder: Path, authority: Authority) -> AsyncIterator[Bench]:
    made = Bench(authority, folder)
    async with serving(made.server, authority, made.target, exports=made.exports):
        yield made
    assert not made.exports.unfinished


def headers(path: str = LOGS, kind: str = "application/grpc", **others: str) -> list[tuple[str, str]]:
    more = {name.replace("_", "-"): value for name, value in others.items()}
    return list((dict(HEADERS) | {":path": path, "content-type": kind} | more).items())


def packed(inside: int) -> bytes:
    """So many bytes by gzip; the same ones each time, as they name tests."""
    return gzip.compress(bytes(inside), mtime=0)


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_message_over_grpc_is_taken_from_whom_its_certificate_names(
    bench: Bench, authority: Authority, compression: grpc.Compression
) -> None:
    """Larger than the window and than what is read at once; beside others."""
    bodies = [bytes([number]) * (1_000_000 if number == 1 else 1000) for number in range(20)]
    async with channel(bench.target, authority, authority.leaf("w", uris=(URI,))) as over:
        call = over.unary_unary(LOGS)
        answers = await asyncio.gather(*(call(body, compression=compression) for body in bodies))
    assert answers == [b"answer"] * 20
    assert sorted(export.body for _, export in bench.taken) == bodies
    assert {(path, one.sender, one.content_type) for path, one in bench.taken} == {
        (LOGS, "ns/w", "application/x-protobuf")
    }


@pytest.mark.parametrize("kind", ["application/x-protobuf", "application/json"])
@pytest.mark.parametrize("encoding", ["", "gzip"])
async def test_a_message_over_http_is_taken_as_it_is(bench: Bench, kind: str, encoding: str) -> None:
    body = b'{"resourceSpans": []}'
    async with bench.client() as client:
        said = {"content_encoding": encoding} if encoding else {}
        stream = client.open(headers(TRACES, f"{kind}; charset=utf-8", **said))
        client.say(stream, gzip.compress(body) if encoding else body, last=True)
        await eventually(lambda: stream in client.ended)
        assert client.heads[stream] == {":status": "200", "content-type": kind}
    assert bench.taken == [(TRACES, Export(sender="ns/w", content_type=kind, body=body))]


async def test_a_peer_that_opens_its_window_late_is_answered_then(bench: Bench) -> None:
    async with bench.client({SettingCodes.INITIAL_WINDOW_SIZE: 0}) as client:
        stream = client.open(headers())
        client.say(stream, framed(b"x"), last=True)
        await eventually(lambda: bench.taken)
        assert stream not in client.ended
        client.h2.increment_flow_control_window(100, stream)
        client.flush()
        assert await client.status(stream) == (Code.OK, "")
        assert client.data == framed(b"answer")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (b"", Code.INVALID_ARGUMENT),
        (framed(b"x") * 2, Code.INVALID_ARGUMENT),
        (framed(UNREADABLE), Code.INVALID_ARGUMENT),
        (framed(b"x")[:-1], Code.INTERNAL),
        (b"\0" + (LARGEST + 1).to_bytes(4, "big"), Code.RESOURCE_EXHAUSTED),
        (b"\1\0\0\0\1x", Code.INVALID_ARGUMENT),
        (b"\1" + framed(packed(LARGEST + 1))[1:], Code.RESOURCE_EXHAUSTED),
        (b"\1" + framed(packed(100)[:-1])[1:], Code.INVALID_ARGUMENT),
        (b"\1" + framed(packed(100) + b"more")[1:], Code.INVALID_ARGUMENT),
    ],
    ids=(
        "none",
        "two",
        "unreadable",
        "cut off",
        "too large",
        "no gzip",
        "too large inside",
        "gzip cut off",
        "more than gzip",
    ),
)
async def test_what_is_no_message_over_grpc_is_refused(bench: Bench, said: bytes, code: Code) -> None:
    async with bench.client() as client:
        stream = client.open(headers(grpc_encoding="gzip"), last=not said)
        if said:
            client.say(stream, said, last=True)
        found, reason = await client.status(stream)
        assert (found, bool(reason)) == (code, True)
        assert not bench.taken
        other = client.open(headers())  # the connection lives on
        client.say(other, framed(b"x"), last=True)
        assert await client.status(other) == (Code.OK, "")


@pytest.mark.parametrize(
    ("asked", "said", "status"),
    [
        (headers("/v1/metrics", "application/json"), b"{}", 404),
        (headers(TRACES, "text/plain"), b"{}", 415),
        (headers(TRACES, "application/json", content_encoding="br"), b"{}", 415),
        (headers(TRACES, "application/json", content_encoding="gzip"), b"{}", 400),
        (headers(TRACES, "application/json", content_encoding="gzip"), packed(LARGEST + 1), 413),
        (headers(TRACES, "application/json"), UNREADABLE, 400),
    ],
)
async def test_what_is_no_message_over_http_is_refused(
    bench: Bench, asked: list[tuple[str, str]], said: bytes, status: int
) -> None:
    async with bench.client() as client:
        stream = client.open(asked)
        client.say(stream, said, last=True)
        await eventually(lambda: stream in client.ended)
        assert client.heads[stream] == {":status": str(status)}
    assert not bench.taken


async def test_who_runs_nowhere_is_refused_before_a_byte_is_taken(bench: Bench) -> None:
    async with bench.client(uri="spiffe://cluster.local/ns/ns/sa/other") as client:
        stream = client.open(headers())
        assert await client.status(stream) == (Code.PERMISSION_DENIED, "w runs nowhere")
        plain = client.open(headers(TRACES, "application/json"))
        await eventually(lambda: plain in client.ended)
        assert client.heads[plain] == {":status": "403"}


async def test_a_mistake_of_a_handler_ends_that_exchange_alone(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_export: Export) -> bytes:
        raise RuntimeError("our mistake")

    bench.exports.handlers = {**bench.exports.handlers, TRACES: fail}
    async with bench.client() as client:
        stream = client.open(headers(TRACES))
        client.say(stream, framed(b"x"), last=True)
        code, reason = await client.status(stream)
        assert code == Code.INTERNAL
        assert "our mistake" not in reason
        other = client.open(headers())
        client.say(other, framed(b"x"), last=True)
        assert await client.status(other) == (Code.OK, "")
    assert "our mistake" in caplog.text
    caplog.clear()


async def test_a_message_that_does_not_end_is_not_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plait.xds.exports._PATIENCE", 0.2)
    async with bench.client() as client:
        silent, partial, whole = (client.open(headers()) for _ in range(3))
        client.say(partial, framed(b"x" * 1000)[:-1])
        client.say(whole, framed(b"x"))  # and no word that this was all
        for stream in (silent, partial, whole):
            assert (await client.status(stream))[0] == Code.DEADLINE_EXCEEDED
    assert not bench.taken


async def test_so_much_is_on_its_way_and_no_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one sender on all its connections together; what a stream held is free when it ends."""
    monkeypatch.setattr("plait.xds.exports._MOST_OF_ONE", 30_000)
    begun = framed(bytes(20_000))[:12_000]
    async with bench.client() as client, bench.client() as other:
        first, second, third = client.open(headers()), client.open(headers()), other.open(headers())
        client.say(first, begun)
        client.say(second, begun)
        await eventually(lambda: bench.exports.unfinished["ns/w"] == 24_000)
        other.say(third, begun)
        assert (await other.status(third))[0] == Code.RESOURCE_EXHAUSTED
        client.h2.reset_stream(first)
        client.flush()
        await eventually(lambda: bench.exports.unfinished["ns/w"] == 12_000)
        client.say(second, framed(bytes(20_000))[12_000:], last=True)
        assert await client.status(second) == (Code.OK, "")
        left = client.open(headers())
        client.say(left, begun)
        await eventually(lambda: bench.exports.unfinished["ns/w"] == 12_000)
    await eventually(lambda: not bench.exports.unfinished)


@pytest.mark.parametrize(
    ("how", "path"),
    [
        ({"grpc_service": {"envoy_grpc": {"cluster_name": "xds"}}}, LOGS),
        (
            {
                "http_service": {
                    "http_uri": {"uri": f"https://x{TRACES}", "cluster": "xds", "timeout": {"seconds": 5}}
                }
            },
            TRACES,
        ),
    ],
)
async def test_an_envoy_tells_its_access_log_over_the_cluster_of_xds(
    bench: Bench, how: dict[str, Any], path: str
) -> None:
    """A real one, on a connection of its worker's own."""
    async with backend("one") as port, running(NODE, bench.folder, bench.authority, URI) as envoy:
        log = {
            **how,
            "buffer_flush_interval": {"nanos": 50_000_000},
            "body": {"string_value": "%REQUEST_HEADER(:AUTHORITY)% %RESPONSE_CODE%"},
        }
        bench.server.publish(
            NODE,
            snapshot(
                cluster("A"),
                endpoints("A", port),
                listener("in", envoy.entry, access_log=log),
                scope("shop", "shop"),
                routes("shop", "A"),
            ),
        )
        await eventually_async(envoy.ready)
        for _ in range(3):
            assert await envoy.get("shop") == (200, "one")
        await eventually(lambda: len(list(lines(bench))) == 3)
        assert set(lines(bench)) == {("ns/w", NODE, "shop 200")}
        assert {told for told, _ in bench.taken} == {path}


def lines(bench: Bench) -> Any:
    """Who told, which node it says that it is, and the line."""
    message = api.message("opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest")
    for _, export in bench.taken:
        for resource in message.FromString(export.body).resource_logs:
            said = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scoped in resource.scope_logs:
                for record in scoped.log_records:
                    yield export.sender, said["node_name"], record.body.string_value
