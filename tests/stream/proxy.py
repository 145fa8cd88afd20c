"""A small proxy: a real gRPC stream over mTLS that acknowledges what it is sent, and keeps it."""

import asyncio
from typing import Any, Self

import grpc
import grpc.aio

from plait.envoy import api
from plait.resource import TYPES
from plait.xds.wire import METHOD, SERVICE
from tests.stream.pki import CONTROL_PLANE, Authority, Leaf


def channel(target: str, authority: Authority, leaf: Leaf | None) -> Any:
    """A client's channel; without a leaf it shows no certificate of its own."""
    key, chain = (leaf.key, leaf.chain) if leaf is not None else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.root, key, chain)
    options = (("grpc.ssl_target_name_override", CONTROL_PLANE), ("grpc.use_local_subchannel_pool", 1))
    return grpc.aio.secure_channel(target, credentials, options)


class Proxy:
    """Asks for all types by wildcard on one stream; versions of what it has outlive the stream."""

    def __init__(self, node: str, over: Any, types: tuple[str, ...] = TYPES) -> None:
        self.node = node
        self.over = over
        self.types = types
        self.has: dict[str, dict[str, str]] = {type_url: {} for type_url in types}
        self.received: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
        """Each response: its type, the names sent, the names removed."""
        self.answers = True
        """Whether what is sent is answered."""
        self.refusal: str | None = None
        """Why everything that is sent is refused, if it is."""
        self._call: Any = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._talk())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        assert self._task is not None
        if self._call is not None:
            self._call.cancel()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def end(self) -> tuple[grpc.StatusCode, str]:
        """How the server ended the stream."""
        assert self._task is not None
        await asyncio.wait_for(asyncio.shield(asyncio.wait((self._task,))), 10)
        return await self._call.code(), await self._call.details()

    async def _talk(self) -> None:
        self._call = self.over.stream_stream(f"/{SERVICE}/{METHOD}")()
        try:
            for type_url in self.types:
                await self._say(
                    type_url=type_url,
                    node={"id": self.node},
                    initial_resource_versions=self.has[type_url],
                )
            while (data := await self._call.read()) is not grpc.aio.EOF:
                await self._take(data)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the server ended it: `end` tells why

    async def _take(self, data: bytes) -> None:
        response = api.message("envoy.service.discovery.v3.DeltaDiscoveryResponse").FromString(data)
        names = tuple(resource.name for resource in response.resources)
        self.received.append((response.type_url, names, tuple(response.removed_resources)))
        has = self.has[response.type_url]
        has.update({resource.name: resource.version for resource in response.resources})
        for name in response.removed_resources:
            has.pop(name, None)
        if self.answers:
            error = {} if self.refusal is None else {"error_detail": {"message": self.refusal}}
            await self._say(type_url=response.type_url, response_nonce=response.nonce, **error)

    async def _say(self, **fields: Any) -> None:
        message = api.message("envoy.service.discovery.v3.DeltaDiscoveryRequest")(**fields)
        await self._call.write(api.serialize(message))
