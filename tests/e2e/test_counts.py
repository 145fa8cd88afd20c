"""What is counted is counted exactly, and is the same wherever one looks: of so many requests none is lost or seen twice."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from plait.api.client import ApiError, NoMesh
from plait.api.views import Written
from plait.model.names import WorkloadKey
from plait.telemetry.prometheus import PrometheusQueries
from plait.telemetry.queries import By, Callee, Counts, Where
from tests.docs.test_prometheus import PROMETHEUS, configure, free_place, prometheus
from tests.e2e.mesh import Mesh, bistro, until

pytestmark = pytest.mark.timeout(300)

_AT_ONCE = 16
_MIX: tuple[tuple[int, str, str, dict[str, str]], ...] = (
    (6, "GET", "http://reservations:8080/", {}),
    (2, "GET", "http://restaurants:8080/restaurants", {}),
    (1, "POST", "http://reservations:8080/reservations", {"x-fail": "reservations=100"}),
    (1, "GET", "http://payments:8080/", {}),
    (1, "GET", "http://payments:8080/vault", {}),
)
"""Of eleven requests of the frontend so many each.  The third kind fails, the last two are refused; none is tried again."""

_SHUT = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: shut, namespace: bistro}
spec:
  action: DENY
  rules:
    - to: [{operation: {paths: [/vault]}}]
"""

_CALLED = ("payments", "reservations-v1", "reservations-v2", "restaurants")
RESTAURANTS = "restaurants.bistro.svc.cluster.local"

Edge = tuple[str, int]
"""The service that is called, and the status."""
Look = Callable[[], Awaitable[Counter[Edge]]]


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    async with bistro(tmp_path, "--api", "127.0.0.1:0", more={"shut.yaml": _SHUT}) as running:
        yield running


async def test_a_thousand_requests_are_as_many_everywhere(mesh: Mesh, tmp_path: Path) -> None:
    await _as_many_everywhere(mesh, tmp_path, 1000)


@pytest.mark.prove
async def test_twenty_thousand_requests_are_as_many_everywhere(
    mesh: Mesh, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    sent = await _as_many_everywhere(mesh, tmp_path, 20_000)
    for (service, status), count in sorted(sent.items()):
        record_property(f"{service} {status}", count)


@pytest.mark.prove
async def test_while_nobody_listens_for_30_s_counters_go_on_and_the_store_has_a_gap(mesh: Mesh) -> None:
    proxy = f"http://{await mesh.sidecar('frontend')}:15001"
    before = await _send(proxy, 200)
    await _until_stored(mesh, before)
    deaf = time.time()
    # Who would start another control plane is held, so that it stays dead.
    os.kill(mesh.process.pid, signal.SIGSTOP)
    try:
        os.kill(mesh.pid("control plane"), signal.SIGKILL)
        meanwhile = await _send(proxy, 300)
        await asyncio.sleep(deaf + 30 - time.time())  # longer than any look at an Envoy takes to come
    finally:
        os.kill(mesh.process.pid, signal.SIGCONT)
    await until(lambda: _answers(mesh), "the control plane to be back")
    after = await _send(proxy, 100)
    await _until_stored(mesh, before + after)
    assert await _stored(mesh) == before + after, "what nobody heard is not made up later"
    for reporter, workloads in (("source", ("frontend",)), ("destination", _CALLED)):
        assert await _counted(mesh, reporter, workloads) == before + meanwhile + after
    window = time.time() - deaf + 5
    async with mesh.client() as client:
        told = await client.traffic(By.SERVICE, Where(source_workload="frontend"), window=window)
    assert window - told.heard >= 30 - 10, "it says how long it has heard nothing"


async def _until_stored(mesh: Mesh, sent: Counter[Edge]) -> None:
    async def all_of_them() -> bool:
        return (await _stored(mesh)).total() >= sent.total()

    await until(all_of_them, "the store to know of all", 30)


async def _answers(mesh: Mesh) -> bool:
    try:
        async with mesh.client() as client:
            return (await client.status()).mesh.agents != ()
    except NoMesh:
        return False


@pytest.mark.skipif(PROMETHEUS is None, reason="without Prometheus (Debian's package prometheus)")
async def test_a_mesh_that_is_told_of_a_prometheus_asks_it_and_it_counts_each_request_once(
    tmp_path: Path,
) -> None:
    place, since = free_place(), time.time()
    folder, url = tmp_path / "prometheus", f"http://{place}"
    folder.mkdir()
    async with (
        bistro(tmp_path, "--api", "127.0.0.1:0", "--prometheus", url) as mesh,
        mesh.client() as client,
    ):
        with pytest.raises(ApiError, match=f"the Prometheus at {url} does not answer"):
            await client.traffic(By.SERVICE)
        configure(mesh, folder)
        async with prometheus(folder, place):
            sent = await _send(f"http://{await mesh.sidecar('frontend')}:15001", 300)
            callee = Callee(workload=WorkloadKey("bistro", "restaurants"), host=RESTAURANTS, subset="")
            counted: list[Counts] = []

            async def all_of_them() -> bool:
                """Each time from where it ended before; where nothing was heard, from there again."""
                start = counted[-1].end if counted else since
                found = await PrometheusQueries(url).count(callee, since=start)
                counted.extend([found] if found.heard else [])
                return sum(one.requests for one in counted) >= sent["restaurants", 200]

            async def told() -> bool:
                found = await client.traffic(By.SERVICE, Where(service=RESTAURANTS))
                return [one.group.service for one in found.groups] == [RESTAURANTS]

            await until(all_of_them, "Prometheus to know of all", 30)
            assert sum(one.requests for one in counted) == sent["restaurants", 200]
            assert sum(one.failed for one in counted) == 0
            await until(told, "the API to answer by Prometheus", 30)
            refusals = await client.refusals(window=120)
            assert sum(one.requests for one in refusals) == sent["payments", 403]
            assert {one.written.object for one in refusals if one.written} == {
                "AuthorizationPolicy bistro/payments"
            }


async def _as_many_everywhere(mesh: Mesh, tmp_path: Path, number: int) -> Counter[Edge]:
    async with _scraped(mesh, tmp_path) as scraped:
        sent = await _send(f"http://{await mesh.sidecar('frontend')}:15001", number)
        assert sent.total() == number
        assert {status for _, status in sent} == {200, 403, 500}
        looks: dict[str, Look] = {
            "the caller's proxy": lambda: _counted(mesh, "source", ("frontend",)),
            "the callees' proxies": lambda: _counted(mesh, "destination", _CALLED),
            "the store": lambda: _stored(mesh),
            **({"Prometheus": scraped} if scraped is not None else {}),
        }
        for where, look in looks.items():
            seen: Counter[Edge] = Counter()

            async def all_of_them(look: Look = look, seen: Counter[Edge] = seen) -> bool:
                seen.clear()
                seen.update(await look())
                return seen.total() >= number

            await until(all_of_them, f"{where} to know of all", 30)
            assert seen == sent, where
        assert await _drawn(mesh) == _by_service(sent)
        await _refusals_are_told_with_what_is_written(mesh, sent["payments", 403])
    return sent


async def _refusals_are_told_with_what_is_written(mesh: Mesh, refused: int) -> None:
    """By the DENY rule that held, and where none did by the policy that could have let them in."""
    async with mesh.client() as client:
        found = await client.refusals(window=600)
        assert await client.refusals(window=600, until=time.time() - 3600) == ()
    assert {(one.source_namespace, one.source, one.service, one.destination) for one in found} == {
        ("bistro", "frontend", "payments.bistro.svc.cluster.local", "payments")
    }
    told = {one.written.object: one for one in found if one.written}
    assert {
        name: (one.written.field, _line_of(one.written)) for name, one in told.items() if one.written
    } == {
        "AuthorizationPolicy bistro/shut": ("spec.rules[0]", "- to: [{operation: {paths: [/vault]}}]"),
        "AuthorizationPolicy bistro/payments": ("spec.rules", "rules:"),
    }
    few, many = sorted(one.requests for one in found)
    assert (many + few, many - few in {0, 1}) == (refused, True), "the mix has as many of either"


def _line_of(written: Written) -> str:
    return Path(written.file).read_text().splitlines()[written.line - 1].strip()


async def _send(proxy: str, number: int) -> Counter[Edge]:
    """Send so many of the mix, some at a time; what came of them."""
    kinds = [kind for kind in _MIX for _ in range(kind[0])]
    waiting = iter([kinds[index % len(kinds)] for index in range(number)])
    found: Counter[Edge] = Counter()

    async def sender(session: aiohttp.ClientSession) -> None:
        for _, method, url, headers in waiting:
            async with session.request(method, url, proxy=proxy, headers=headers) as answer:
                await answer.read()
            found[url.split("/")[2].partition(":")[0], answer.status] += 1

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as senders:
        for _ in range(_AT_ONCE):
            senders.create_task(sender(session))
    return found


async def _counted(mesh: Mesh, reporter: str, workloads: tuple[str, ...]) -> Counter[Edge]:
    """What proxies tell at 15090 of what the frontend sent."""
    found: Counter[Edge] = Counter()
    async with aiohttp.ClientSession() as session:
        for workload in workloads:
            async with session.get(f"http://{await mesh.sidecar(workload)}:15090/stats/prometheus") as page:
                families = text_string_to_metric_families(await page.text())
            for one in (one for family in families for one in family.samples):
                labels = one.labels
                ours = one.name == "istio_requests_total" and labels["source_workload"] == "frontend"
                if ours and labels["reporter"] == reporter:
                    edge = labels["destination_service_name"], int(labels["response_code"])
                    found[edge] += int(one.value)
    return found


async def _stored(mesh: Mesh) -> Counter[Edge]:
    async with mesh.client() as client:
        told = await client.traffic(By.CODE, Where(source_workload="frontend"), window=600)
    return Counter(
        {
            (one.group.service.partition(".")[0], int(one.group.code)): one.signals.requests
            for one in told.groups
            if one.group.code
        }
    )


async def _drawn(mesh: Mesh) -> Counter[str]:
    """The requests on the edges of `plait map`."""
    graph = json.loads(await mesh.plait("map", "--window", "10m", "--output", "json"))
    found: Counter[str] = Counter()
    for edge in graph["edges"]:
        if edge["source"] == "frontend":
            found[edge["service"].partition(".")[0]] += edge["signals"]["requests"]
    return found


def _by_service(sent: Counter[Edge]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (service, _), count in sent.items():
        found[service] += count
    return found


@asynccontextmanager
async def _scraped(mesh: Mesh, tmp_path: Path) -> AsyncIterator[Look | None]:
    """What a real Prometheus knows of it, by the configuration of the guide; None where there is none."""
    if PROMETHEUS is None:
        yield None
        return
    folder = tmp_path / "prometheus"
    folder.mkdir()
    configure(mesh, folder)
    async with prometheus(folder) as ask:

        async def scraped() -> Counter[Edge]:
            told = await ask(
                "sum by (destination_service_name, response_code)"
                ' (istio_requests_total{reporter="destination", source_workload="frontend"})'
            )
            return Counter(
                {
                    (labels["destination_service_name"], int(labels["response_code"])): int(value)
                    for labels, value in told
                }
            )

        yield scraped
