"""Kitchens that speak gRPC, and calls to them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from tests.traffic.mesh import GRPC, Mesh

DETAILS = "grpc-status-details-bin"
"""In which trailer a rich status travels: any bytes."""


@dataclass(slots=True)
class Kitchens:
    """What the servers did."""

    served: Counter[str] = field(default_factory=Counter)
    """Calls by method."""
    remaining: list[float] = field(default_factory=list)
    """Seconds until the deadline, as each Order saw it when it came."""
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody gave up a call that waited."""


@dataclass(slots=True)
class _Kitchen:
    name: str
    all: Kitchens

    async def order(self, request: bytes, call: Any) -> bytes:
        """Takes a moment, and says who answered."""
        self.all.served["Order"] += 1
        self.all.remaining.append(call.time_remaining())
        await asyncio.sleep(0.02)
        call.set_trailing_metadata((("served-by", self.name), ("bill-bin", request)))
        return request

    async def chat(self, requests: AsyncIterator[bytes], call: Any) -> AsyncIterator[bytes]:
        """Says what it hears, for as long as it hears something."""
        self.all.served["Chat"] += 1
        heard = 0
        async for request in requests:
            heard += 1
            yield request
        call.set_trailing_metadata((("served-by", self.name), ("heard", str(heard))))

    async def refuse(self, request: bytes, call: Any) -> bytes:
        """Fails with the status of this name."""
        self.all.served[request.decode()] += 1
        code = grpc.StatusCode[request.decode()]
        await call.abort(
            code, f"{code.value[1]}: 100 % ausverkauft, schöne Grüße", ((DETAILS, b"\0\xff" + request),)
        )
        return b""

    async def wait(self, _: bytes, __: Any) -> bytes:
        self.all.served["Wait"] += 1
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.all.cancelled.set()
            raise
        return b""

    def handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            "Kitchen",
            {
                "Order": grpc.unary_unary_rpc_method_handler(self.order),
                "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
                "Refuse": grpc.unary_unary_rpc_method_handler(self.refuse),
                "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
            },
        )


@asynccontextmanager
async def open_kitchens(mesh: Mesh) -> AsyncIterator[Kitchens]:
    """A gRPC server in each kitchen."""
    kitchens = Kitchens()
    async with AsyncExitStack() as stack:
        for name in mesh.kitchens:
            server = grpc.aio.server()
            server.add_generic_rpc_handlers((_Kitchen(name, kitchens).handlers(),))
            server.add_insecure_port(f"{mesh.replicas[name].bindings[0].app_address}:{GRPC}")
            await server.start()
            stack.push_async_callback(server.stop, 0)
        yield kitchens


@asynccontextmanager
async def channel(mesh: Mesh) -> AsyncIterator[Any]:
    """The guest's way to the kitchens; it tries nothing again by itself."""
    options = (
        ("grpc.default_authority", f"kitchen:{GRPC}"),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
    )
    address = mesh.replicas["guest"].sidecar
    async with grpc.aio.insecure_channel(f"{address.address}:{address.outbound}", options) as made:
        yield made
