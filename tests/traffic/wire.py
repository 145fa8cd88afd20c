"""HTTP/1.1 with as little as possible around it: for thousands of requests in a second."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from tests.envoy.support import Proxy
from tests.traffic.mesh import HOST, HTTP, Mesh

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request."""

    status: int
    by: str


@dataclass(slots=True)
class Kitchens:
    """What the applications do: each answers with its name, and with another status while it fails."""

    failing: set[str] = field(default_factory=set)
    status: int = 500
    seconds: float = 0.0
    """How long each of them takes."""
    asked: list[str] = field(default_factory=list)
    """Who was asked, one after the other."""

    def reply(self, name: str) -> bytes:
        self.asked.append(name)
        status = self.status if name in self.failing else 200
        return b"HTTP/1.1 %d \r\ncontent-length: %d\r\n\r\n%s" % (status, len(name), name.encode())


def get(**headers: str) -> bytes:
    """A request to the kitchens."""
    return _request("GET", headers)


def post(**headers: str) -> bytes:
    """The same, as one that is not repeated."""
    return _request("POST", headers)


def _request(method: str, headers: dict[str, str]) -> bytes:
    said = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    if method == "POST":
        said["content-length"] = "0"
    lines = [f"{method} / HTTP/1.1", *(f"{name}: {value}" for name, value in said.items())]
    return "\r\n".join(lines).encode() + _END


async def send(proxy: Proxy, requests: Iterable[bytes], *, at_a_time: int = 32) -> list[Answer]:
    """The answers to some requests, in their order, over so many connections that each carry one at a time."""
    work = _Work(enumerate(requests))
    loop = asyncio.get_running_loop()
    address = proxy.replica.sidecar
    ends: list[asyncio.Future[None]] = [loop.create_future() for _ in range(at_a_time)]
    for end in ends:
        asking = partial(_Asking, work, end)
        await loop.create_connection(asking, address.address, address.outbound)
    await asyncio.gather(*ends)
    return [work.answers[number] for number in range(len(work.answers))]


@dataclass(slots=True)
class _Work:
    left: Iterator[tuple[int, bytes]]
    answers: dict[int, Answer] = field(default_factory=dict)


class _Asking(asyncio.Protocol):
    """A connection that asks for as long as there is something left to ask."""

    def __init__(self, work: _Work, end: asyncio.Future[None]) -> None:
        self._work = work
        self._end = end
        self._number = 0
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, end, body = self._heard.partition(_END)
        length = _LENGTH.search(head + b"\r\n")
        if not end or len(body) < int(length[1] if length else 0):
            return
        self._work.answers[self._number] = Answer(int(head[9:12]), body.decode())
        self._heard = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._end.done():
            self._end.set_exception(error or ConnectionResetError("the proxy has closed the connection"))

    def _next(self) -> None:
        asked = next(self._work.left, None)
        if asked is None:
            self._end.set_result(None)
            self._transport.close()
            return
        self._number, request = asked
        self._transport.write(request)


class _Answering(asyncio.Protocol):
    """A connection of an application; requests have no body."""

    def __init__(self, kitchens: Kitchens, name: str, open_ones: set[asyncio.Transport]) -> None:
        self._kitchens = kitchens
        self._open_ones = open_ones
        self._name = name
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._open_ones.add(transport)

    def connection_lost(self, _: Exception | None) -> None:
        self._open_ones.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while _END in self._heard:
            _, _, self._heard = self._heard.partition(_END)
            answer = self._kitchens.reply(self._name)
            asyncio.get_running_loop().call_later(self._kitchens.seconds, self._transport.write, answer)


@asynccontextmanager
async def open_kitchens(mesh: Mesh) -> AsyncIterator[Kitchens]:
    """An application in each kitchen."""
    kitchens = Kitchens()
    open_ones: set[asyncio.Transport] = set()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        for name in mesh.kitchens:
            address = mesh.replicas[name].bindings[0].app_address
            server = await loop.create_server(partial(_Answering, kitchens, name, open_ones), address, HTTP)
            await stack.enter_async_context(server)
        yield kitchens
        for one in open_ones:
            one.abort()
