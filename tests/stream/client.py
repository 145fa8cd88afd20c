"""An HTTP/2 client over real TLS that can misbehave."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    TrailersReceived,
)
from h2.settings import SettingCodes, Settings

from plait.envoy import api
from plait.xds.transport.grpc import Grpc, prefix
from plait.xds.transport.listener import PATH
from tests.stream.conftest import eventually
from tests.stream.pki import CONTROL_PLANE, Authority, Leaf

HEADERS = [
    (":method", "POST"),
    (":scheme", "https"),
    (":path", PATH),
    (":authority", CONTROL_PLANE),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]


def framed(message: bytes) -> bytes:
    return prefix(len(message)) + message


@dataclass
class Client:
    """An HTTP/2 client that does what it is told, and keeps what it hears."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    h2: H2Connection = field(
        default_factory=lambda: H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    )
    heads: dict[int, dict[str, str]] = field(default_factory=dict)
    """The headers and trailers of each stream."""
    data: bytearray = field(default_factory=bytearray)
    ended: set[int] = field(default_factory=set)
    gone: int | None = None
    """The code with which the server has ended the connection."""
    over: bool = False
    reads: bool = True
    """Whether the windows are opened again for what was read."""
    largest: int = 0

    @property
    def messages(self) -> list[Any]:
        response = api.message("envoy.service.discovery.v3.DeltaDiscoveryResponse")
        return [response.FromString(one) for one in Grpc().take(bytes(self.data))]

    def open(self, headers: list[tuple[str, str]] = HEADERS, *, last: bool = False) -> int:
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, headers, end_stream=last)
        self.flush()
        return stream

    def say(self, stream: int, data: bytes, *, last: bool = False) -> None:
        for at in range(0, len(data), 16_384):
            self.h2.send_data(stream, data[at : at + 16_384], end_stream=last and at + 16_384 >= len(data))
        self.flush()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    async def listen(self) -> None:
        while data := await self.reader.read(65_536):
            for event in self.h2.receive_data(data):
                self.take(event)
            self.flush()
        self.over = True

    def take(self, event: Event) -> None:
        match event:
            case ResponseReceived() | TrailersReceived():
                headers = {str(name): str(value) for name, value in event.headers or []}
                self.heads.setdefault(event.stream_id or 0, {}).update(headers)
            case DataReceived():
                self.data += event.data or b""
                self.largest = max(self.largest, len(event.data or b""))
                if self.reads and event.flow_controlled_length:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id or 0)
            case StreamEnded():
                self.ended.add(event.stream_id or 0)
            case ConnectionTerminated():
                self.gone = int(event.error_code or 0)

    async def status(self, stream: int) -> tuple[int, str]:
        await eventually(lambda: stream in self.ended)
        head = self.heads[stream]
        return int(head["grpc-status"]), unquote(head.get("grpc-message", ""))


def context(authority: Authority, leaf: Leaf, folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(cadata=authority.root.decode())
    pair = folder / "pair.pem"
    pair.write_bytes(leaf.key + leaf.chain)
    made.load_cert_chain(pair)
    made.set_alpn_protocols(["h2"])
    return made


@asynccontextmanager
async def connected(
    path: Path, tls: ssl.SSLContext, settings: dict[SettingCodes, int] | None = None
) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_unix_connection(str(path), ssl=tls, server_hostname=CONTROL_PLANE)
    client = Client(reader, writer)
    if settings:
        client.h2.local_settings = Settings(client=True, initial_values=settings)
    client.h2.initiate_connection()
    client.flush()
    listening = asyncio.create_task(client.listen())
    try:
        yield client
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        writer.close()
