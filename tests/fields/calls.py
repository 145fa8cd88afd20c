"""Real calls of gRPC: a server that answers whatever is called, and a client behind an Envoy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

Own = Callable[[bytes], Awaitable[bytes | None]]


async def _nothing(_: bytes) -> bytes | None:
    return None


@dataclass(frozen=True, slots=True)
class Call:
    """What of a call an application saw."""

    by: str
    method: str
    """As a path: /SERVICE/METHOD."""
    metadata: Mapping[str, str]
    request: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What a client gets: who answered ("": no application), and the metadata that came first."""

    code: grpc.StatusCode
    by: str
    metadata: Mapping[str, str]


class _Anything(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio ships no types
    """Answers every call with the name of the application."""

    def __init__(self, name: str, seen: list[Call], own: Own) -> None:
        self._name = name
        self._own = own
        self._seen = seen

    def service(self, details: Any) -> Any:
        metadata = _joined(details.invocation_metadata)

        async def answer(request: bytes, context: Any) -> bytes:
            self._seen.append(Call(self._name, details.method, metadata, request))
            await context.send_initial_metadata(
                (("answered-by", self._name), ("x-old", "old"), ("x-even-older", "older"))
            )
            return await self._own(request) or self._name.encode()

        return grpc.unary_unary_rpc_method_handler(answer)


@asynccontextmanager
async def server(
    address: str, port: int, name: str, seen: list[Call], own: Own = _nothing
) -> AsyncIterator[None]:
    """An application that speaks gRPC; what it sees comes into `seen`, and `own` may answer for it."""
    made = grpc.aio.server()
    made.add_generic_rpc_handlers((_Anything(name, seen, own),))
    assert made.add_insecure_port(f"{address}:{port}") == port
    await made.start()
    try:
        yield
    finally:
        await made.stop(0)


async def call(proxy: str, authority: str, method: str, metadata: Mapping[str, str]) -> Reply:
    """Call a method through a sidecar (ADDRESS:PORT), in explicit mode."""
    options = [("grpc.default_authority", authority), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(proxy, options=options) as channel:
        called = channel.unary_unary(method)(b"hello", metadata=tuple(metadata.items()))
        code = await called.code()
        first = _joined(await called.initial_metadata())
        return Reply(code, (await called).decode() if code is grpc.StatusCode.OK else "", first)


def _joined(metadata: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in metadata:
        found[key] = f"{found[key]},{value}" if key in found else value
    return found
