"""Requests through real sidecars: who answers, who is refused, what is counted, and that nothing is in clear."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import re
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.e2e.mesh import Mesh, bistro, loading, until

pytestmark = pytest.mark.timeout(240)

RESERVATIONS = "http://reservations:8080/"
PAYMENTS_RULE = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: frontend-may-pay, namespace: bistro}
spec:
  selector: {matchLabels: {app: payments}}
  rules:
    - from: [{source: {principals: [cluster.local/ns/bistro/sa/frontend]}}]
"""


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with bistro(tmp_path) as running:
        yield running


async def test_weights_matches_policies_and_metrics_hold(mesh: Mesh) -> None:
    """One mesh for all, since starting it is the most of the time."""
    frontend = await mesh.sidecar("frontend")
    await weights_hold(frontend, 1500)
    await header_and_query_reach_v2(frontend)
    await a_denied_call_is_allowed_once_a_rule_says_so(mesh, frontend)
    await metrics_have_the_names_and_labels_of_istio(mesh, frontend)
    await prometheus_finds_all_of_it_at_the_api(mesh)
    await the_map_has_every_request_and_who_was_refused(mesh)
    await plaintext_is_refused(mesh)


@pytest.mark.prove
async def test_weights_hold_over_five_thousand_requests(
    mesh: Mesh, record_property: Callable[[str, object], None]
) -> None:
    answers = await weights_hold(await mesh.sidecar("frontend"), 5000)
    record_property("answers by v1 and v2, at 90 to 10", f"{answers['v1']} and {answers['v2']}")


async def weights_hold(frontend: str, requests: int) -> Counter[str]:
    async with loading(frontend, RESERVATIONS, rate=250) as load:
        await until(lambda: load.total >= requests, f"{requests} answers", 120)
    assert not load.failures
    expected, spread = 0.1 * load.total, math.sqrt(load.total * 0.1 * 0.9)
    assert abs(load.answers["v2"] - expected) < 4.5 * spread, load.answers
    return load.answers


async def header_and_query_reach_v2(frontend: str) -> None:
    for url, headers in ((RESERVATIONS, {"x-user": "tester"}), (RESERVATIONS + "?beta=1", {})):
        async with loading(frontend, url, rate=150, headers=headers) as load:
            await until(lambda load=load: load.total >= 150, "150 answers")  # type: ignore[misc]
        assert load.answers == {"v2": load.total}


async def a_denied_call_is_allowed_once_a_rule_says_so(mesh: Mesh, frontend: str) -> None:
    assert await status(frontend, "http://payments:8080/") == 403
    rule = mesh.folder / "frontend-may-pay.yaml"
    rule.write_text(PAYMENTS_RULE)

    async def allowed() -> bool:
        return await status(frontend, "http://payments:8080/") == 200

    await until(allowed, "payments to answer frontend")
    rule.unlink()

    async def refused() -> bool:
        return await status(frontend, "http://payments:8080/") == 403

    await until(refused, "payments to refuse frontend again")
    reviews = await mesh.sidecar("reviews")
    assert await status(reviews, "http://payments:8080/") == 403
    assert await status(frontend, "http://nowhere:8080/") == 404


async def metrics_have_the_names_and_labels_of_istio(mesh: Mesh, frontend: str) -> None:
    payments = await mesh.sidecar("payments")

    async def merged() -> bool:
        """Histograms are, once a second."""
        found = [await samples(at, "istio_requests_total") for at in (payments, frontend)]
        return all(
            {"200", "403"} <= {one["response_code"] for one in some if one["source_app"] == "frontend"}
            for some in found
        )

    await until(merged, "all to be counted", 5)
    source = await samples(frontend, "istio_requests_total")
    denied = [one for one in source if one["response_code"] == "403"]
    assert {one["destination_service"] for one in denied} == {"payments.bistro.svc.cluster.local"}
    versions = {one["destination_version"] for one in source if one["destination_app"] == "reservations"}
    assert versions == {"v1", "v2"}
    destination = await samples(payments, "istio_requests_total")
    by_frontend = [one for one in destination if one["source_app"] == "frontend"]
    assert {one["response_code"] for one in by_frontend} == {"200", "403"}
    for one in by_frontend:
        assert one["reporter"] == "destination"
        assert one["source_workload"] == "frontend"
        assert one["source_principal"] == "spiffe://cluster.local/ns/bistro/sa/frontend"
        assert one["connection_security_policy"] == "mutual_tls"
        assert one["destination_service_name"] == "payments"
    for name in ("istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"):
        assert await samples(payments, f"{name}_count"), name


async def prometheus_finds_all_of_it_at_the_api(mesh: Mesh) -> None:
    connector = aiohttp.UnixConnector(str(mesh.state / "run" / "api.sock"))
    async with aiohttp.ClientSession("http://plait", connector=connector) as http:

        async def page(path: str) -> list[Sample]:
            async with http.get(path) as response:
                assert response.status == 200, await response.text()
                families = text_string_to_metric_families(await response.text())
                return [one for family in families for one in family.samples]

        async def own() -> dict[str, float]:
            return {one.name: one.value for one in await page("/v1/metrics") if not one.labels}

        async with http.get("/v1/prometheus/targets") as response:
            *replicas, plane = [one["labels"] for one in await response.json()]
        workloads = await mesh.workloads()
        assert len(replicas) == len(workloads)
        (payments,) = [one for one in replicas if one["workload"] == "payments"]
        counted = await page(payments["__metrics_path__"])
        address = next(one["address"] for one in workloads if one["name"] == "payments")
        assert {
            tuple(sorted(one.labels.items())) for one in counted if one.name == "istio_requests_total"
        } == {tuple(sorted(one.items())) for one in await samples(address, "istio_requests_total")}
        assert plane == {"__metrics_path__": "/v1/metrics", "job": "plait"}

        async def reported() -> bool:
            return (await own())["plait_telemetry_reports_taken_total"] >= len(workloads)

        await until(reported, "a report of every proxy")
        found = await own()
        assert found["plait_proxies_connected"] == len(workloads)
        assert found["plait_proxies_behind"] == 0
        assert found["plait_agents_connected"] == 1
        assert found["plait_rebuild_seconds_count"] >= 2  # a policy came, and went
        assert found["plait_change_to_last_ack_seconds_count"] >= 2


async def the_map_has_every_request_and_who_was_refused(mesh: Mesh) -> None:
    payments = await mesh.sidecar("payments")

    async def counted() -> tuple[float, float]:
        """What the proxy that is asked has counted so far: requests, and those that it refused."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://{payments}:15090/stats/prometheus") as response,
        ):
            families = text_string_to_metric_families(await response.text())
        told = [
            one for family in families for one in family.samples if one.labels.get("source_app") == "frontend"
        ]
        requests, denied = (
            sum(one.value for one in told if one.name == name)
            for name in ("istio_requests_total", "plait_denied_total")
        )
        return requests, denied

    async def edge() -> dict[str, Any]:
        graph = json.loads(await mesh.plait("map", "--window", "15m", "--output", "json"))
        ends = ("frontend", "payments")
        (found,) = [one for one in graph["edges"] if (one["source"], one["destination"]) == ends] or [{}]
        return {**found, "heard": graph["heard"]}

    async def has_all() -> bool:
        requests, denied = await counted()
        signals = (found := await edge()).get("signals", {"requests": 0})
        same = signals["requests"] == requests and round(signals["refused"] * found["heard"]) == denied
        return bool(same and requests > denied > 0)

    await until(has_all, "every request on the map")
    assert (await edge())["mtls"] is True
    shown = ""

    async def both_are_drawn() -> bool:  # the frontend, and reviews, whose call came last
        nonlocal shown
        shown = await mesh.plait("map", "--window", "15m")
        refused = [one for one in shown.splitlines() if "refused" in one]
        return len(refused) == 2 and all("─ payments" in one for one in refused)

    await until(both_are_drawn, "both who were refused to be drawn", 20)
    assert re.search(r"reservations v2 +[\d.]+/s +0%", shown)
    assert "reservations" in await mesh.plait("top", "--sort", "p99")


async def plaintext_is_refused(mesh: Mesh) -> None:
    payments = await mesh.sidecar("payments")
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://{payments}:8080/")


async def test_sidecars_speak_tls_alone_and_each_shows_the_other_its_certificate(mesh: Mesh) -> None:
    try:
        capture = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
    except (PermissionError, AttributeError):
        pytest.skip("capturing packets needs the right to (root, on Linux)")
    frontend, payments = await mesh.sidecar("frontend"), await mesh.sidecar("payments")
    with capture:
        capture.bind(("lo", 0))
        capture.setblocking(False)
        packets: list[bytes] = []
        reading = asyncio.create_task(read_packets(capture, packets))
        for _ in range(20):
            assert await status(frontend, "http://payments:8080/secret-path") == 403
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
    between = [payload for payload in map(tcp_payload, packets) if payload and payload[0] == (payments, 8080)]
    records = Counter(data[0] for _, data in between if data)
    assert records, "nothing was captured between the sidecars"
    assert not any(b"secret-path" in data for _, data in between)
    assert any(b"secret-path" in packet for packet in packets), "the application's own side is in clear"
    await each_end_holds_the_certificate_it_was_given(mesh, payments)


async def each_end_holds_the_certificate_it_was_given(mesh: Mesh, payments: str) -> None:
    """What payments shows in a handshake is its identity, and XFCC names frontend's."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((payments, 8080), timeout=10) as plain:
        plain.settimeout(10)
        with context.wrap_socket(plain) as tls:
            shown = tls.getpeercert(binary_form=True)
            assert tls.version() == "TLSv1.3"
    assert shown is not None
    names = x509.load_der_x509_certificate(shown).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    uris = names.value.get_values_for_type(x509.UniformResourceIdentifier)
    assert uris == ["spiffe://cluster.local/ns/bistro/sa/payments"]
    destination = await samples(payments, "istio_requests_total")
    principals = {one["source_principal"] for one in destination if one["source_app"] == "frontend"}
    assert principals == {"spiffe://cluster.local/ns/bistro/sa/frontend"}
    expected = {(one["name"], one["identity"]) for one in await mesh.workloads()}
    assert ("payments", uris[0]) in expected


async def read_packets(capture: socket.socket, packets: list[bytes]) -> None:
    loop = asyncio.get_running_loop()
    while len(packets) < 50_000:
        packets.append(await loop.sock_recv(capture, 65535))


def tcp_payload(packet: bytes) -> tuple[tuple[str, int], bytes] | None:
    """The destination and the data of a TCP segment in an IPv4 packet behind an Ethernet header."""
    ip = packet[14:]
    if len(ip) < 20 or ip[9] != socket.IPPROTO_TCP:
        return None
    tcp = ip[(ip[0] & 15) * 4 :]
    data = tcp[(tcp[12] >> 4) * 4 :]
    return (socket.inet_ntoa(ip[16:20]), int.from_bytes(tcp[2:4], "big")), data


async def status(sidecar: str, url: str) -> int:
    """The status of one request sent as the application behind a sidecar sends it."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, proxy=f"http://{sidecar}:15001") as response,
    ):
        return response.status


async def samples(sidecar: str, name: str) -> list[dict[str, str]]:
    """The labels of every sample of a metric on a sidecar's 15090."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{sidecar}:15090/stats/prometheus") as response,
    ):
        text = await response.text()
    lines = [line for line in text.splitlines() if line.startswith(name + "{")]
    return [dict(re.findall(r'(\w+)="([^"]*)"', line)) for line in lines]


async def test_a_command_runs_in_a_workloads_place_in_the_mesh(mesh: Mesh) -> None:
    program = (
        "import json, os, urllib.request as u;"
        "print(json.load(u.urlopen('http://reservations:8080/'))['service'], os.environ['HOST'])"
    )
    out = await mesh.plait("exec", "bistro/frontend", "--", "python3", "-c", program)
    service, host = out.split()
    assert service == "reservations"
    assert host.startswith("127.")
    status_text = await mesh.plait("status", "--output", "json")
    assert {one["state"] for one in json.loads(status_text)["workloads"]} == {"ready"}
