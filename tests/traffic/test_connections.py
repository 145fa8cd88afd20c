"""Two sidecars share one connection for all that goes between them; what becomes of one request is no other's business."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.envoy.support import application, eventually
from tests.traffic.mesh import HOST, HTTP, Mesh, running
from tests.traffic.wire import get, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

RETRY_ALL = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: retries, namespace: bistro}
spec: {host: kitchen, trafficPolicy: {connectionPool: {http: {maxRetries: 1000}}}}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with running(1) as made:
        yield made


@asynccontextmanager
async def long_one(
    mesh: Mesh, others: Callable[[web.Request], Awaitable[web.Response]]
) -> AsyncIterator[None]:
    """A POST that lasts as long as the context and has to be answered; others are answered as told."""
    begun, over = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if request.method != "POST":
            return await others(request)
        begun.set()
        await over.wait()
        return web.Response(text="done")

    address = mesh.replicas["kitchen-0"].bindings[0].app_address
    async with application(address, HTTP, "kitchen-0", answer), aiohttp.ClientSession() as session:
        asked = asyncio.create_task(session.post(f"http://{HOST}/", proxy=mesh.proxies["guest"].url))
        await asyncio.wait_for(begun.wait(), 10)
        before = await mesh.upstream("upstream_cx_total")
        yield
        over.set()
        async with await asked as answered:
            assert (answered.status, await answered.text()) == (200, "done")
        assert await mesh.upstream("upstream_cx_total") == before


async def test_many_retries_end_no_request_beside_them(mesh: Mesh) -> None:
    """An answer that is not passed on is cut off, and so counts as a request that was reset."""

    async def fail(_: web.Request) -> web.Response:
        return web.Response(status=503, text="busy")

    await mesh.say(RETRY_ALL)
    async with long_one(mesh, fail):
        answers = await send(mesh.proxies["guest"], [get()] * 1000)
        assert {one.by for one in answers} == {"busy"}


async def test_many_callers_that_give_up_end_no_request_beside_them(mesh: Mesh) -> None:
    waiting = 0

    async def wait(_: web.Request) -> web.Response:
        nonlocal waiting
        waiting += 1
        await asyncio.sleep(2)
        return web.Response()

    async def give_up() -> None:
        address = mesh.replicas["guest"].sidecar
        _, writer = await asyncio.open_connection(address.address, address.outbound)
        writer.write(get())
        await asyncio.sleep(0.1)
        writer.close()

    async def alone() -> bool:
        return await mesh.upstream("upstream_rq_active") <= 1

    await mesh.say()
    async with long_one(mesh, wait):
        for _ in range(15):
            await asyncio.gather(*(give_up() for _ in range(50)))
        await eventually(alone)
        assert waiting > 500
