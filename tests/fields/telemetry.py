"""The fields of a Telemetry: what is logged, which requests become spans, who is told of them, and what is counted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from itertools import count
from typing import Any

from yarl import URL

from plait.agent import counted as pages
from plait.envoy import api, names
from plait.model.names import WorkloadKey
from plait.telemetry import otlp
from plait.telemetry.spans import Span, Teller
from tests.envoy.support import eventually
from tests.fields.cases import proves
from tests.fields.mesh import Mesh

KIND = "Telemetry"
V2 = "reservations-v2:8080"
LOGS = "opentelemetry.proto.collector.logs.v1"


def lines(mesh: Mesh, name: str, *, file: str = "envoy.log") -> list[Mapping[str, Any]]:
    """The lines of access logs that a proxy has written."""
    path = mesh.proxies[name].folder / file
    found = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in found if line.startswith('{"') and '"denied"' not in line]


async def settled(mesh: Mesh, *names: str) -> None:
    """Wait until what proxies take by a new connection is what they were told last, and what they logged is written."""

    async def warm() -> bool:
        found = [await mesh.proxies[name].stat("listener_manager.total_listeners_warming") for name in names]
        return not any(found)

    await eventually(warm)
    for name in names:
        await _written(mesh, name)


async def _written(mesh: Mesh, name: str) -> None:
    """Wait until a proxy has written what it has logged."""
    await asyncio.sleep(0.03)  # a request is logged a moment after it is answered

    async def whole() -> bool:
        return await mesh.proxies[name].stat("filesystem.write_total_buffered") == 0

    await eventually(whole)


async def logged(
    mesh: Mesh, path: str, *, client: str = "frontend", file: str = "envoy.log", **asked: Any
) -> Mapping[str, Any]:
    """What the proxy of a client logs of one request, which it takes by a connection of its own; {}: nothing."""
    await settled(mesh, client)
    before = len(lines(mesh, client, file=file))
    await mesh.ask(path, client=client, **asked)

    async def over() -> bool:
        return await mesh.proxies[client].stat("http.outbound.downstream_rq_active") == 0

    await eventually(over)
    await _written(mesh, client)
    found = lines(mesh, client, file=file)[before:]
    assert len(found) < 2, found
    return found[0] if found else {}


async def exported(
    mesh: Mesh, wanted: str, path: str, **asked: Any
) -> tuple[Mapping[str, str], str, Mapping[str, str]]:
    """What the frontend's proxy tells of one request to version 2, which takes OTLP over gRPC.

    The resource, the body, in which `wanted` occurs (what was asked before may be told late), and the attributes.
    """
    found: list[tuple[Mapping[str, str], str, Mapping[str, str]]] = []

    async def take(request: bytes) -> bytes:
        for told in api.message(f"{LOGS}.ExportLogsServiceRequest").FromString(request).resource_logs:
            for record in told.scope_logs[0].log_records:
                body = record.body.string_value
                if wanted in body:
                    found.append((_said(told.resource.attributes), body, _said(record.attributes)))
        reply = api.message(f"{LOGS}.ExportLogsServiceResponse")(partial_success={"error_message": "none"})
        return api.serialize(reply)

    async def told() -> bool:
        return bool(found)

    await settled(mesh, "frontend")
    mesh.checks = take
    try:
        await mesh.ask(path, **asked)
        await eventually(told)
    finally:
        mesh.checks = None
    return found[0]


def _said(attributes: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in attributes}


STATUSES = count(210)
"""A status for each request that is looked for by it."""


@proves(
    KIND,
    """
selector: {matchLabels: {version: v1}}
accessLogging:
- providers: [{name: envoy}]
""",
    "selector",
    "selector.matchLabels",
    "accessLogging",
    "accessLogging[0].providers[0].name",
)
async def the_selected_workload_alone_logs(mesh: Mesh) -> None:
    assert await logged(mesh, "/a", host=V2) == {}
    line = await logged(mesh, "/a?b=c", host=V2, client="reservations-v1")
    assert (line["side"], line["method"], line["path"], line["status"]) == ("client", "GET", "/a", 200)


@proves(
    KIND,
    """
targetRefs: [{group: "", kind: Service, name: reservations-v1}]
accessLogging:
- providers: [{name: envoy}]
""",
    "targetRefs",
    "targetRefs[0].kind",
    "targetRefs[0].name",
)
async def workloads_behind_a_service_log(mesh: Mesh) -> None:
    assert await logged(mesh, "/a", host=V2) == {}
    assert (await logged(mesh, "/a", host=V2, client="reservations-v1"))["path"] == "/a"


@proves(
    KIND,
    """
accessLogging:
- providers: [{name: envoy}]
- match: {mode: SERVER}
  disabled: true
""",
    "accessLogging[1].match",
    "accessLogging[1].match.mode",
)
async def one_side_alone_logs(mesh: Mesh) -> None:
    assert (await logged(mesh, "/a", host=V2))["side"] == "client"


@proves(
    KIND,
    """
accessLogging:
- providers: [{name: envoy}]
- disabled: true
""",
    "accessLogging[1].disabled",
)
async def what_is_wider_is_taken_back(mesh: Mesh) -> None:
    assert await logged(mesh, "/a", host=V2) == {}


@proves(
    KIND,
    """
accessLogging:
- providers: [{name: envoy}]
  filter: {expression: "response.code >= 400"}
""",
    "accessLogging[0].filter",
    "accessLogging[0].filter.expression",
)
async def a_filter_chooses_what_is_logged(mesh: Mesh) -> None:
    assert await logged(mesh, "/a", host=V2) == {}
    failed = await logged(mesh, "/b", host=V2, headers={"x-status": "500"})
    assert (failed["path"], failed["status"]) == ("/b", 500)


async def contexts(mesh: Mesh, client: str = "frontend", number: int = 4) -> set[str]:
    """What the application that is called is told of whether its request is sampled; "": nothing at all."""
    await _drained(mesh)
    found = [(await mesh.ask("/a", client=client)).asked.get("traceparent", "") for _ in range(number)]
    return {one.rpartition("-")[2] for one in found}


async def _drained(mesh: Mesh) -> None:
    """Wait until nobody is connected to a listener that was replaced."""
    await settled(mesh, *mesh.proxies)
    await asyncio.sleep(1.2)


async def counted(mesh: Mesh, name: str, reporter: str) -> int:
    """How many requests a proxy counts, by its own end of them, of one that the frontend sends to version 2."""
    await settled(mesh, "frontend", name)
    before = await _page(mesh, name)
    await mesh.ask("/a", host=V2)
    await asyncio.sleep(1.2)  # Envoy brings its workers' histograms together once a second
    more = pages.traffic(before, await _page(mesh, name))
    ours = (one for one in more if "reservations-v2.bistro" in one.packed)
    return sum(one.count for one in ours if one.packed.startswith(f"http|{reporter}|"))


async def _page(mesh: Mesh, name: str) -> pages.Counted:
    async with mesh.proxies[name].admin() as session, session.get(URL(pages.PAGE, encoded=True)) as page:
        return pages.read(await page.read())


@proves(
    KIND,
    "tracing: [{randomSamplingPercentage: 100}]",
    "tracing[0].randomSamplingPercentage",
)
async def every_request_is_sampled(mesh: Mesh) -> None:
    assert await contexts(mesh) == {"01"}


@proves(
    KIND,
    "tracing: [{randomSamplingPercentage: 100, disableSpanReporting: true}]",
    "tracing[0].disableSpanReporting",
)
async def nobody_speaks_of_a_trace(mesh: Mesh) -> None:
    assert await contexts(mesh) == {""}


@proves(
    KIND,
    """
tracing:
- randomSamplingPercentage: 100
- match: {mode: SERVER}
  disableSpanReporting: true
""",
    "tracing[1].match.mode",
)
async def one_side_alone_speaks_of_traces(mesh: Mesh) -> None:
    assert await contexts(mesh) == {"01"}


@proves(
    KIND,
    """
tracing:
- randomSamplingPercentage: 100
  customTags:
    kitchen: {literal: {value: open}}
    guest: {header: {name: x-guest, defaultValue: nobody}}
""",
    "tracing[0].customTags",
)
async def spans_have_tags_of_the_users_own(mesh: Mesh) -> None:
    path = f"/tags/{next(STATUSES)}"
    await _drained(mesh)
    await mesh.ask(path, headers={"x-guest": "alice"})

    async def told() -> bool:
        return any(path in one.attributes.get("http.url", "") for one in _spans(mesh))

    await eventually(told)
    for one in (one for one in _spans(mesh) if path in one.attributes.get("http.url", "")):
        assert (one.attributes["kitchen"], one.attributes["guest"]) == ("open", "alice")


def _spans(mesh: Mesh) -> list[Span]:
    """The spans that sidecars have told the control plane."""
    told = (body for method, body in mesh.plane.exports if method == names.SPANS_METHOD)
    anybody = WorkloadKey("bistro", "any")
    return [one for body in told for one in otlp.spans(otlp.read(body), anybody, Teller.SIDECAR)]


@proves(
    KIND,
    """
tracing:
- randomSamplingPercentage: 100
  providers: [{name: collector}]
""",
    "tracing[0].providers[0].name",
    beside="""
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: providers, namespace: istio-system}
spec:
  meshConfig:
    extensionProviders:
    - name: collector
      opentelemetry: {service: reservations-v2.bistro.svc.cluster.local, port: 9090}
""",
)
async def spans_are_told_to_whom_the_user_names(mesh: Mesh) -> None:
    path = f"/named/{next(STATUSES)}"
    found: list[bytes] = []

    async def take(request: bytes) -> bytes:
        found.append(request)
        return b""

    async def told() -> bool:
        return any(path.encode() in one for one in found)

    await settled(mesh, "frontend")
    mesh.checks = take
    try:
        await mesh.ask(path)
        await eventually(told)
    finally:
        mesh.checks = None


@proves(
    KIND,
    """
metrics:
- overrides:
  - match: {metric: ALL_METRICS, mode: CLIENT}
    disabled: true
""",
    "metrics[0].overrides[0].disabled",
    "metrics[0].overrides[0].match.mode",
)
async def one_side_alone_counts(mesh: Mesh) -> None:
    assert await counted(mesh, "frontend", "source") == 0
    assert await counted(mesh, "reservations-v2", "destination") == 1


@proves(
    KIND,
    """
metrics:
- overrides:
  - match: {metric: GRPC_REQUEST_MESSAGES}
    disabled: true
""",
    "metrics[0].overrides[0].match.metric",
)
async def what_is_said_of_one_metric_is_said_of_no_other(mesh: Mesh) -> None:
    assert await counted(mesh, "frontend", "source") == 1
