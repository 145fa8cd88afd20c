"""Real Envoys tell spans of real requests: each hop once, in order, below who called it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
import pytest_asyncio
from aiohttp import web

from plait.compiler.endpoints import endpoints
from plait.compiler.merge import merge
from plait.compiler.view import view
from plait.envoy import api, names
from plait.envoy.render import Renderer
from plait.model.catalog import Protocol, Replica
from plait.model.names import WorkloadKey
from plait.model.telemetry import Collector, Observed, Tag, TagSource, Tracing
from plait.telemetry import otlp
from plait.telemetry.spans import Kind, Span, Teller
from tests.compiler.facts import SETTINGS, listens, origin, port, replica, service, workload
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
COLLECTOR = workload("collector", listens(4317, Protocol.GRPC), listens(4318))
WORKLOADS = (*(workload(name, listens(8080)) for name in CHAIN), COLLECTOR)
SERVICES = (
    *(service(name, port(8080)) for name in CHAIN),
    service("collector", port(4317, Protocol.GRPC), port(4318)),
)
ROTEL = str(files("rotel").joinpath("rotel-agent"))
PASSED_ON = ("traceparent", "tracestate", "x-request-id", "b3")


@dataclass(slots=True)
class Town:
    """Four workloads, each of which calls the next one; `passing` says which headers who sends on."""

    plane: ControlPlane
    replicas: dict[str, Replica]
    proxies: dict[str, Proxy] = field(default_factory=dict)
    passing: dict[str, tuple[str, ...]] = field(default_factory=dict)
    renderer: Renderer = field(default_factory=Renderer)
    seen: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """The headers that each application was sent last."""
    collected: list[Span] = field(default_factory=list)
    """What came out of the collector that is a service of the mesh."""

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
        self.seen[name] = request.headers
        later = CHAIN[CHAIN.index(name) + 1 :]
        if later:
            told = self.passing.get(name, PASSED_ON)
            headers = {key: request.headers[key] for key in told if key in request.headers}
            url = f"http://{later[0]}:8080/from-{name}?secret=1"
            async with (
                aiohttp.ClientSession() as session,
                session.get(url, proxy=self.proxies[name].url, headers=headers) as response,
            ):
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
    collector = replicas["collector"]
    itself = replace(collector.sidecar, otlp_grpc=0, otlp_http=0)
    replicas["collector"] = replace(collector, sidecar=itself)
    with short_folder() as folder:
        async with AsyncExitStack() as stack:
            plane = await stack.enter_async_context(control_plane(authority, folder))
            town = Town(plane, replicas)
            for name, one in replicas.items():
                running = envoy(one, authority, plane, folder / name)
                town.proxies[name] = await stack.enter_async_context(running)
                answer = lambda request, name=name: town.answer(name, request)  # noqa: E731
                await stack.enter_async_context(application(places[name][1], 8080, name, answer))
            await stack.enter_async_context(rotel(town, places["collector"][1], folder))
            await town.say()
            await ready(town.proxies.values())
            yield town


@asynccontextmanager
async def rotel(town: Town, address: str, folder: Path) -> AsyncIterator[None]:
    """A collector that somebody else has made, which hands on to us what it takes."""

    async def take(request: web.Request) -> web.StreamResponse:
        export = otlp.read(await request.read())
        town.collected += otlp.spans(export, WorkloadKey("bistro", "collector"), Teller.APPLICATION)
        return web.Response(content_type="application/x-protobuf")

    async with application(address, 14318, "behind", take):
        process = await asyncio.create_subprocess_exec(
            ROTEL,
            "start",
            *("--otlp-grpc-endpoint", f"{address}:4317", "--otlp-http-endpoint", f"{address}:4318"),
            *("--exporter", "otlp", "--otlp-exporter-protocol", "http"),
            *("--otlp-exporter-endpoint", f"http://{address}:14318", "--otlp-exporter-compression", "none"),
            *("--pid-file", str(folder / "rotel.pid"), "--log-file", str(folder / "rotel.log")),
            cwd=folder,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield
        finally:
            process.terminate()
            await process.wait()


def sampled() -> tuple[str, str]:
    """A trace that somebody has decided to tell, and the header that says so."""
    trace = secrets.token_hex(16)
    return trace, f"00-{trace}-{secrets.token_hex(8)}-01"


async def told(town: Town, trace: str, number: int) -> list[Span]:
    """The spans of a trace once there are so many."""

    async def there() -> bool:
        return len(town.spans(trace)) >= number

    await eventually(there, 30)
    return town.spans(trace)


async def begins(town: Town, *, wanted: bool = True) -> bool:
    """Whether a request without context begins a trace that is told, or does not."""
    assert await town.ask() == 200
    return town.seen["cellar"]["traceparent"].endswith("-01" if wanted else "-00")


EVERY = Observed(tracing=Tracing(sampled=100.0))
NONE = Observed(tracing=Tracing(sampled=0.0))


async def test_each_hop_is_told_once_below_who_called_it(town: Town) -> None:
    trace, header = sampled()
    assert await town.ask(traceparent=header) == 200
    spans = await told(town, trace, 6)
    assert [(span.service, span.kind) for span in spans] == [
        ("front", Kind.CLIENT),
        ("middle", Kind.SERVER),
        ("middle", Kind.CLIENT),
        ("shelf", Kind.SERVER),
        ("shelf", Kind.CLIENT),
        ("cellar", Kind.SERVER),
    ]
    assert [span.parent for span in spans] == [header.split("-")[2], *(span.id for span in spans[:-1])]
    assert all(inner.end <= outer.end for outer, inner in pairwise(spans))
    assert not any(span.failed for span in spans)


async def test_no_query_and_no_header_that_forces_a_trace_leaves_a_proxy(town: Town) -> None:
    trace, header = sampled()
    assert await town.ask(traceparent=header) == 200
    await told(town, trace, 6)
    everything = b"".join(body for _, body in town.plane.exports)
    assert b"http://middle:8080/menu" in everything
    assert b"token" not in everything
    assert b"secret=" not in everything
    assert names.FORCED_HEADER not in {name.lower() for name in town.seen["cellar"]}


async def test_who_tells_stands_in_the_resource(town: Town) -> None:
    trace, header = sampled()
    assert await town.ask(traceparent=header) == 200
    await told(town, trace, 6)
    said = {
        one.value.string_value
        for _, body in town.plane.exports
        for resource in otlp.read(body).resource_spans
        for one in resource.resource.attributes
        if one.key == "service.instance.id"
    }
    assert said == {f"bistro/{name}/0" for name in CHAIN}


async def test_how_many_begin_is_told_by_the_runtime_and_changes_no_listener(town: Town) -> None:
    before = await listeners(town.proxies["front"])
    await town.say(**dict.fromkeys(CHAIN, EVERY))
    await eventually(lambda: begins(town))
    assert await listeners(town.proxies["front"]) == before
    await town.say(**dict.fromkeys(CHAIN, NONE))

    await eventually(lambda: begins(town, wanted=False))
    # What somebody has decided before holds in any case.
    trace, header = sampled()
    assert await town.ask(traceparent=header) == 200
    assert len(await told(town, trace, 6)) == 6
    await town.say()


async def test_who_is_not_sampled_stays_so(town: Town) -> None:
    await town.say(**dict.fromkeys(CHAIN, EVERY))
    await eventually(lambda: begins(town))
    trace, header = sampled()
    assert await town.ask(traceparent=header[:-1] + "0") == 200
    assert town.seen["cellar"]["traceparent"].endswith("-00")
    later, header = sampled()
    assert await town.ask(traceparent=header) == 200
    await told(town, later, 6)
    assert town.spans(trace) == []
    await town.say()


async def test_context_passes_untouched_where_nothing_is_to_be_told(town: Town) -> None:
    await town.say(middle=Observed(tracing=Tracing(reported=False)))
    found: list[Span] = []

    async def without_middle() -> bool:  # a connection that was there drains first
        trace, header = sampled()
        assert await town.ask(traceparent=header) == 200
        found[:] = await told(town, trace, 4)
        # What was under way before may still be told of, or come after.
        untouched = town.seen["middle"]["traceparent"].split("-")[2] == found[0].id
        return untouched and [span.service for span in found] == ["front", "shelf", "shelf", "cellar"]

    await eventually(without_middle, 30)
    assert [span.parent for span in found[1:]] == [span.id for span in found[:-1]]  # no gap
    await town.say()


async def test_tags_are_told_and_b3_is_seen_and_passed_on(town: Town) -> None:
    tags = (
        Tag(name="where", source=TagSource.LITERAL, value="here"),
        Tag(name="who", source=TagSource.HEADER, value="x-user", default="nobody"),
        Tag(name="workload", source=TagSource.ENVIRONMENT, value="PLAIT_WORKLOAD"),
        Tag(name="asked", source=TagSource.FORMAT, value="%REQ(:METHOD)% %PROTOCOL%"),
    )
    await town.say(front=Observed(tracing=Tracing(sampled=100.0, tags=tags)))
    b3 = f"{secrets.token_hex(16)}-{secrets.token_hex(8)}-1"

    async def tagged() -> bool:
        await town.ask(b3=b3)
        return any(span.attributes.get("where") == "here" for span in town.spans())

    await eventually(tagged)
    (span, *_) = [span for span in town.spans() if span.attributes.get("where") == "here"]
    assert {name: span.attributes[name] for name in ("who", "workload", "asked", "plait.b3")} == {
        "who": "nobody",
        "workload": "front",
        "asked": "GET HTTP/1.1",
        "plait.b3": b3,
    }
    assert span.parent == ""
    assert town.seen["cellar"]["b3"] == b3
    await town.say()


async def test_an_application_hands_its_spans_to_its_sidecar_over_grpc(town: Town) -> None:
    place = town.replicas["middle"].sidecar
    span = otlp.read(b"").resource_spans.add().scope_spans.add().spans.add()
    span.trace_id, span.span_id, span.name = secrets.token_bytes(16), secrets.token_bytes(8), "own work"
    request = api.message("opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest")()
    request.resource_spans.add().scope_spans.add().spans.append(span)
    async with grpc.aio.insecure_channel(f"{place.address}:{place.otlp_grpc}") as channel:
        export = channel.unary_unary(names.SPANS_METHOD)
        assert await export(request.SerializeToString()) == b""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    (found,) = town.spans(span.trace_id.hex())
    assert (found.teller, found.name) == (Teller.APPLICATION, "own work")


@pytest.mark.parametrize(("number", "path"), [(4317, ""), (4318, "/v1/traces")])
async def test_a_collector_of_the_users_own_is_a_service_of_the_mesh(
    town: Town, number: int, path: str
) -> None:
    """Over gRPC and over HTTP: a real one gets each hop once, in order, below who called it."""
    host = "collector.bistro.svc.cluster.local"
    headers = (("x-tenant", "50%"),)
    there = Collector(
        name="theirs", host=host, port=number, path=path, headers=headers, origin=origin("x", "y")
    )
    await town.say(**dict.fromkeys(CHAIN, Observed(tracing=Tracing(collector=there))))
    found: list[Span] = []

    async def all_there() -> bool:  # a connection that was there drains first
        trace, header = sampled()
        assert await town.ask(traceparent=header) == 200
        end = asyncio.get_running_loop().time() + 2.5
        while len(found) < 6 and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.05)
            found[:] = sorted(
                (span for span in town.collected if span.trace == trace), key=lambda span: span.start
            )
        return len(found) == 6

    await eventually(all_there, 30)
    hops = [("front", Kind.CLIENT)]
    for name in CHAIN[1:-1]:
        hops += [(name, Kind.SERVER), (name, Kind.CLIENT)]
    assert [(span.service, span.kind) for span in found] == [*hops, ("cellar", Kind.SERVER)]
    assert [span.parent for span in found[1:]] == [span.id for span in found[:-1]]
    await town.say()


async def listeners(proxy: Proxy) -> Any:
    """The configuration of a proxy's listeners, and since when each has it."""
    async with proxy.admin() as session, session.get("/config_dump?resource=dynamic_listeners") as response:
        return await response.json(content_type=None)
