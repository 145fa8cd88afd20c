"""The fields of a Telemetry that say what is logged; those about spans and metrics have tests of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from itertools import count
from typing import Any

from plait.envoy import api
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
