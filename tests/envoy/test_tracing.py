"""Real Envoys tell spans of real requests: each hop once, in order, below who called it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy import names
from plait.envoy.render import Renderer
from plait.model.catalog import Replica
from plait.model.names import WorkloadKey
from plait.model.telemetry import Observed
from plait.telemetry import otlp
from plait.telemetry.spans import Span, Teller
from tests.compiler.facts import SETTINGS, listens, port, replica, service, workload
from tests.envoy.support import (
    Authority,
    ControlPlane,
    Proxy,
    addresses,
    application,
    control_plane,
    envoy,
    eventually,
    ready,
    short_folder,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAIN = ("front", "middle", "shelf", "cellar")
WORKLOADS = tuple(workload(name, listens(8080)) for name in CHAIN)
SERVICES = tuple(service(name, port(8080)) for name in CHAIN)
PASSED_ON = ("traceparent", "tracestate", "x-request-id", "b3")


@dataclass(slots=True)
class Town:
    """Four workloads, each of which calls the next one; `passing` says which headers who sends on."""

    plane: ControlPlane
    replicas: dict[str, Replica]
    proxies: dict[str, Proxy] = field(default_factory=dict)
    passing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    renderer: Renderer = field(default_factory=Renderer)

    async def say(self, **observed: Observed) -> None:
        mesh, _ = merge((*WORKLOADS, *SERVICES), SETTINGS)
        found = endpoints(mesh, self.replicas.values())
        views = {name: view(mesh, one) for name, one in self.replicas.items()}
        for name, said in observed.items():
            views[name] = replace(views[name], client=said, server=said)
        await self.plane.publish({str(one.node): self.renderer.render(one, found) for one in views.values()})
        await eventually(self._acknowledged)
        assert self.plane.rejections == []

    async def _acknowledged(self) -> bool:
        return self.plane.settled()

    async def answer(self, name: str, request: web.Request) -> web.StreamResponse:
        later = CHAIN[CHAIN.index(name) + 1 :]
        if later:
            told = self.passing.get(name, PASSED_ON)
            headers = {key: request.headers[key] for key in told if key in request.headers}
            url = f"http://{later[0]}:8080/from-{name}?secret=1"
            async with aiohttp.ClientSession() as session:
                async with session.get(url, proxy=self.proxies[name].url, headers=headers) as response:
                    return web.Response(status=response.status)
        return web.Response(text="wine")

    async def ask(self, **headers: str) -> int:
        """A request by front itself, as if it were asked for by nobody."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = "http://middle:8080/menu?token=abc"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, proxy=self.proxies["front"].url, headers=named) as response,
        ):
            return response.status

    def spans(self, trace: str = "") -> list[Span]:
        """What was told, by time."""
        found = [
            span
            for method, body in self.plane.exports
            for span in otlp.spans(
                otlp.read(body),
                WorkloadKey("shop", "any"),
                Teller.SIDECAR if method == names.SPANS_METHOD else Teller.APPLICATION,
            )
            if span.trace.startswith(trace)
        ]
        return sorted(found, key=lambda span: span.start)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town() -> AsyncIterator[Town]:
    authority = Authority()
    places = {of.name: addresses() for of in WORKLOADS}
    replicas = {
        of.name: replica(of, address=places[of.name][0], app_address=places[of.name][1]) for of in WORKLOADS
    }
    with short_folder() as folder:
        async with AsyncExitStack() as stack:
            plane = await stack.enter_async_context(control_plane(authority, folder))
            town = Town(plane, replicas)
            for name, one in replicas.items():
                running = envoy(one, authority, plane, folder / name, every_stat=True)
                town.proxies[name] = await stack.enter_async_context(running)
                answer = lambda request, name=name: town.answer(name, request)  # noqa: E731
                await stack.enter_async_context(application(places[name][1], 8080, name, answer))
            await town.say()
            await ready(town.proxies.values())
            yield town


def sampled() -> tuple[str, str]:
    """A trace that somebody has decided to tell, and the header that says so."""
    trace = secrets.token_hex(16)
    return trace, f"00-{trace}-{secrets.token_hex(8)}-01"


async def test_it(town: Town) -> None:
    trace, header = sampled()
    assert await town.ask(traceparent=header) == 200

    async def there() -> bool:
        return len(town.spans(trace)) >= 6

    await eventually(there)
    for span in town.spans(trace):
        print(span)
    assert 0
