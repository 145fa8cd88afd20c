"""A request through the bistro is one trace, as `plait trace` shows it; who loses it is named, until it is mended."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from plait.api.client import ApiError, Client, NoMesh
from plait.api.views import FindingView, SpanView
from tests.e2e.mesh import BISTRO, Mesh, running, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSED_ON = 'TRACE_HEADERS = ("x-request-id", "traceparent", "tracestate", "baggage", "b3")'
DROPPED = 'TRACE_HEADERS = ("x-request-id",)'
LUCKY = "00000001-0000-4000-8000-000000000000"
"""A request with this id is among the one in a hundred that begin a trace."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mesh]:
    """The bistro, in which everybody may call everybody, and the reviews drop the context that they are sent."""
    folder = tmp_path_factory.mktemp("tracing") / "bistro"
    shutil.copytree(
        BISTRO, folder, ignore=shutil.ignore_patterns("diner.yaml", "policies.yaml", "__pycache__")
    )
    program = (folder / "bistro.py").read_text()
    assert PASSED_ON in program
    (folder / "dropping.py").write_text(program.replace(PASSED_ON, DROPPED))
    reviews = folder / "reviews.yaml"
    reviews.write_text(reviews.read_text().replace("bistro.py", "dropping.py"))
    async with running(folder) as mesh:
        yield mesh


async def menu(mesh: Mesh, *, status: int = 200, **headers: str) -> None:
    """What the frontend's own application would ask of it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    proxy = f"http://{await mesh.sidecar('frontend')}:15001"
    async with (
        aiohttp.ClientSession() as session,
        session.get("http://frontend:8080/menu?token=s3cret", proxy=proxy, headers=named) as response,
    ):
        assert response.status == status, await response.text()


async def spans(mesh: Mesh, trace: str, number: int) -> tuple[SpanView, ...]:
    """A trace, once it has so many spans."""
    found: list[SpanView] = []

    async def told() -> bool:
        try:
            async with asking(mesh) as client:
                found[:] = (await client.trace(trace)).spans
        except (ApiError, NoMesh):
            return False
        return len(found) >= number

    await until(told, f"{number} spans of {trace}", 20)
    return tuple(found)


async def findings(mesh: Mesh) -> list[FindingView]:
    async with asking(mesh) as client:
        return [one for one in await client.findings() if one.code.startswith("tracing.")]


def asking(mesh: Mesh) -> Client:
    return mesh.client()


async def test_a_request_is_one_trace_in_which_each_hop_stands_once_below_its_caller(mesh: Mesh) -> None:
    trace = secrets.token_hex(16)
    await menu(mesh, traceparent=f"00-{trace}-{'ab' * 8}-01")
    # frontend, restaurants, reviews (whose own call is elsewhere), reservations and its call of restaurants
    found = await spans(mesh, trace, 10)
    hops = {one.id: one for one in found}
    assert len(hops) == len(found) == 10

    def path(one: SpanView) -> list[str]:
        return [*(path(hops[one.parent]) if one.parent in hops else []), f"{one.service}/{one.kind}"]

    assert sorted(path(one) for one in found if one.kind == "server") == [
        ["frontend/client", "frontend/server"],
        ["frontend/client", "frontend/server", "frontend/client", "reservations/server"],
        *[
            [
                *("frontend/client", "frontend/server", "frontend/client", "reservations/server"),
                *("reservations/client", "restaurants/server"),
            ]
        ],
        ["frontend/client", "frontend/server", "frontend/client", "restaurants/server"],
        ["frontend/client", "frontend/server", "frontend/client", "reviews/server"],
    ]
    assert {one.workload for one in found} >= {"bistro/frontend", "bistro/reviews", "bistro/restaurants"}
    assert {one.replica for one in found} == {0}
    assert "s3cret" not in str(found)


async def test_the_waterfall_has_a_line_for_each_hop_in_order(mesh: Mesh) -> None:
    trace = secrets.token_hex(16)
    await menu(mesh, traceparent=f"00-{trace}-{'ab' * 8}-01")
    await spans(mesh, trace, 10)
    heading, *lines = (await mesh.plait("trace", trace[:12])).splitlines()
    assert heading.startswith(f"{trace}  20")
    assert "10 spans, 4 services" in heading
    assert [line.partition(" /")[0].rstrip() for line in lines] == [
        "frontend GET",
        "  restaurants GET",
        "  reviews GET",
        "  reservations GET",
        "    restaurants GET",
    ]
    assert all(len(line) <= 80 and line.endswith("  200") and "━" in line for line in lines)


async def test_traces_are_found_by_what_is_known_of_them(mesh: Mesh) -> None:
    trace = secrets.token_hex(16)
    await menu(mesh, traceparent=f"00-{trace}-{'ab' * 8}-01", x_fail="reviews=100", status=502)

    async def listed(**search: str) -> list[str]:
        async with asking(mesh) as client:
            return [one.trace for one in await client.traces({"limit": "1000", **search})]

    await spans(mesh, trace, 6)
    assert trace in await listed(status="error", service="reviews")
    assert trace in await listed(tag="http.status_code=500", workload="bistro/reviews")
    assert trace not in await listed(status="ok")
    assert trace not in await listed(service="payments")
    assert trace not in await listed(min_duration="3600")
    options = ("--status", "error", "--tag", "http.status_code=500", "--since", "5m", "--min-duration", "1ms")
    assert trace[:12] in await mesh.plait("trace", *options)
    assert (await mesh.plait("trace", "--service", "nobody")).strip() == "no such traces"
    assert "500 internal server error" in await mesh.plait("trace", trace)


async def test_an_application_tells_spans_of_its_own_to_its_sidecar(mesh: Mesh) -> None:
    """By the environment that it is given, over HTTP, as protobuf's JSON."""
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    said = {
        "traceId": trace,
        "spanId": span,
        "name": "bake",
        "kind": 1,
        "startTimeUnixNano": "1700000000000000000",
    }
    export = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [said]}]}]})
    send = 'curl -sS -o /dev/null -w "%{http_code}" -H "content-type: application/json"'
    send += ' --data-binary @- "$OTEL_EXPORTER_OTLP_ENDPOINT/v1/traces"'
    script = f"printf %s '{export}' | {send}"
    assert await mesh.plait("exec", "bistro/reviews", "--", "sh", "-c", script) == "200"
    (found,) = await spans(mesh, trace, 1)
    assert (found.workload, found.by, found.name) == ("bistro/reviews", "application", "bake")


async def test_who_drops_context_is_a_finding_until_it_is_mended(mesh: Mesh) -> None:
    async def named() -> list[FindingView]:
        await menu(mesh, x_request_id=LUCKY)
        return await findings(mesh)

    (found,) = await until(named, "a word on who drops context", 40)
    assert (found.code, found.severity) == ("tracing.context-dropped", "warning")
    assert (found.object, Path(found.file).name) == ("Workload bistro/reviews", "reviews.yaml")
    assert "restaurants.bistro.svc.cluster.local" in found.message

    mesh.replace("reviews.yaml", "dropping.py", "bistro.py")

    async def nobody() -> bool:
        await menu(mesh, x_request_id=LUCKY)
        return not await findings(mesh)

    await until(nobody, "nobody to drop context any more", 60)


@pytest.mark.prove
async def test_traces_are_there_after_the_control_plane_was_killed(mesh: Mesh) -> None:
    trace = secrets.token_hex(16)
    await menu(mesh, traceparent=f"00-{trace}-{'ab' * 8}-01")
    await spans(mesh, trace, 10)
    os.kill(mesh.pid("control plane"), signal.SIGKILL)
    assert len(await spans(mesh, trace, 10)) >= 10
    later = secrets.token_hex(16)
    await menu(mesh, traceparent=f"00-{later}-{'ab' * 8}-01")
    assert len(await spans(mesh, later, 10)) >= 10
