"""A real Prometheus and the store, told the same, answer the same."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from plait.envoy import labels
from plait.model.names import WorkloadKey
from plait.telemetry.histogram import bounds
from plait.telemetry.kept import StoreQueries
from plait.telemetry.prometheus import PrometheusQueries
from plait.telemetry.promql import PrometheusError
from plait.telemetry.queries import ANYBODY, By, Callee, Queries, Signals, Where
from plait.telemetry.reports import Pool, Traffic
from tests.telemetry.said import Clock, http, of_workload, opened, report

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
START = 1_700_000_040
"""A minute that is over: blocks are made of it, so that nothing waits for the time to pass."""
SLOTS, SILENT = 24, {12, 13}
"""How many slots there are, and in which of them nobody listened."""
REFUSED = "jwt_authn_access_denied{Jwks_doesn't_have_key_to_match_kid_or_alg_from_Jwt}"
MENU = "menu.shop.svc.cluster.local"
CLUSTER, UNREACHED = f"outbound|80|trial|{MENU}", 3
"""What is called, and how often in each slot nobody is reached there."""
BUCKETS = [1.15**power for power in range(80)]

pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="without Prometheus (Debian's package prometheus)")


def traffic(slot: int) -> Mapping[str, tuple[Traffic, ...]]:
    """What every proxy has to tell of a slot: all cases of who tells of what."""
    chance = random.Random(slot)

    def took(number: int, middle: float) -> list[float]:
        return [chance.lognormvariate(middle, 0.7) for _ in range(number)]

    away, back = took(20, 3), took(20, 3)
    guest, menu, bill, open_ = "shop/guest-v3", "shop/menu-v1", "shop/bill", "shop/open"
    tcp = replace(
        http("destination", guest, "shop/db", family="tcp"), count=3, closed=1, received=50, sent=700
    )
    denied = [
        replace(
            http("destination", spy, menu, 1.0, family="denied", service="shop/menu", reason=reason),
            durations=(),
        )
        for spy, reason in (("shop/spy", "ext_authz_denied"), ("shop/spy", REFUSED), ("", REFUSED))
    ]
    return {
        guest: (
            http("source", guest, menu, *away, service="shop/menu"),
            http("source", guest, menu, *took(2, 1), service="shop/menu", code="503", flags="URX,UF"),
            http("source", guest, "", *took(1, 1), service="shop/menu", code="503", flags="UH"),
            http("source", guest, bill, *took(5, 4), code="500"),  # who tells nothing itself
            http("source", guest, open_, *took(4, 2), mtls=False),
            replace(tcp, packed=http("source", guest, "shop/db", family="tcp").packed),
        ),
        menu: (
            http("destination", guest, menu, *back, service="shop/menu"),
            http(
                "destination",
                guest,
                menu,
                *took(3, 5),
                service="shop/menu",
                code="200",
                grpc="14",
                protocol="grpc",
            ),
            *denied,
        ),
        "shop/menu-v2": (
            http("destination", guest, "shop/menu-v2", *took(7, 6), service="shop/menu", code="404"),
        ),
        open_: (http("destination", "", open_, *took(4, 2), mtls=False),),
        "shop/db": (tcp,),
    }


def exposition() -> Iterator[str]:
    """All of it as Prometheus would have scraped it, in OpenMetrics."""
    counters: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    said = {workload: [one.packed for one in some] for workload, some in traffic(0).items()}
    lines: dict[str, list[str]] = defaultdict(list)
    unreached = -UNREACHED
    for slot in range(-1, SLOTS):
        for workload, some in traffic(max(slot, 0)).items():
            for position, one in enumerate(some):
                packed = said[workload][position]
                for name, value in samples(one):
                    metric, _, more = name.partition(",")
                    text = ",".join([*text_of(packed, workload), *([more] if more else [])])
                    counters[metric][text] += value if slot >= 0 and slot not in SILENT else 0
        at = START + (slot + 1) * 5
        if slot in SILENT:
            continue
        for metric, series in counters.items():
            lines[metric] += (f"{metric}{{{text}}} {value:.0f} {at}" for text, value in series.items())
        unreached += UNREACHED
        lines["envoy_cluster_upstream_rq_pending_failure_eject"].append(
            f'envoy_cluster_upstream_rq_pending_failure_eject{{envoy_cluster_name="{CLUSTER}"}} {unreached} {at}'
        )
        lines["up"].append(f'up{{job="sidecars"}} 1 {at}')
    for metric in sorted(lines):
        family, kind = metric.removesuffix("_total"), "counter" if metric.endswith("_total") else "gauge"
        yield f"# TYPE {family} {kind}"
        yield from lines[metric]
    yield "# EOF\n"


def samples(one: Traffic) -> Iterator[tuple[str, float]]:
    """Metrics by name, and what more their labels are than those of the traffic."""
    match one.packed.partition("|")[0]:
        case "http":
            yield "istio_requests_total", one.count
            for edge in BUCKETS:
                inside = sum(count for number, count in one.durations if bounds(number)[1] <= edge * 1.001)
                yield f'istio_request_duration_milliseconds_bucket,le="{edge}"', inside
            yield 'istio_request_duration_milliseconds_bucket,le="+Inf"', one.count
        case "tcp":
            yield "istio_tcp_connections_opened_total", one.count
            yield "istio_tcp_received_bytes_total", one.received
            yield "istio_tcp_sent_bytes_total", one.sent
        case _:
            yield "plait_denied_total", one.count


def text_of(packed: str, workload: str) -> list[str]:
    return [f'{name}="{value}"' for name, value in labels.unpacked(packed, of_workload(workload)).items()]


@asynccontextmanager
async def prometheus(folder: Path) -> AsyncIterator[str]:
    """One that knows all of it; its URL."""
    assert PROMETHEUS is not None
    assert PROMTOOL is not None
    said = folder / "metrics"
    said.write_text("\n".join(exposition()))
    data = folder / "data"
    command = (PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", str(said), str(data))
    made = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    (folder / "prometheus.yml").write_text("{}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{free.getsockname()[1]}"
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PROMETHEUS,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={data}",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address={place}",
            stdout=log,
            stderr=log,
        )
    try:
        async with asyncio.timeout(30), aiohttp.ClientSession() as session:
            while not await ready(session, f"http://{place}/-/ready"):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
        yield f"http://{place}"
    finally:
        process.kill()
        await process.wait()


async def ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


def alike(ours: Signals | None, theirs: Signals | None) -> bool:
    """Counts exactly, up to rounding; percentiles within what a bucket is wide."""
    if ours is None or theirs is None:
        return ours is theirs
    near = {
        "rate": 1e-6, "error_share": 1e-6, "connections": 1e-6, "received": 1e-6, "sent": 1e-6, "refused": 1e-6,
        "p50_ms": 0.15, "p90_ms": 0.15, "p99_ms": 0.15,
    }  # fmt: skip
    if ours.requests != theirs.requests:
        return False
    for name, rel in near.items():
        mine, other = getattr(ours, name), getattr(theirs, name)
        if mine is None or other is None:
            if mine is not other:
                return False
        elif mine != pytest.approx(other, rel=rel):
            return False
    return True


QUESTIONS = [
    *((by, ANYBODY) for by in By),
    (By.SERVICE, Where(reporter="source")),
    (By.VERSION, Where(service="menu.shop.svc.cluster.local", destination_version="v1")),
    (By.CODE, Where(source_workload="guest-v3", source_namespace="shop", source_version="v3")),
    (By.REFUSAL, Where(service="menu.shop.svc.cluster.local")),
    (By.EDGE, Where(destination_workload="open", destination_namespace="shop")),
]


POOL = Pool(cluster=CLUSTER, connections=0, requests=0, overflowed=0, retried=0, unreached=UNREACHED)


@asynccontextmanager
async def told_both(folder: Path) -> AsyncIterator[tuple[Queries, Queries]]:
    """The store, and a Prometheus that was told the same."""
    clock = Clock(START)
    async with prometheus(folder) as url, opened(folder, clock) as store:
        for slot in range(SLOTS):
            for workload, some in traffic(slot).items():
                if slot not in SILENT:
                    pools = (POOL,) if workload.startswith("shop/guest") else ()
                    store.take(report(workload, *some, at=clock.now + 5, pools=pools))
            clock.now += 5
            await store.write(clock.now)
        yield StoreQueries(store), PrometheusQueries(url)


async def test_a_prometheus_answers_what_the_store_answers(tmp_path: Path) -> None:
    async with told_both(tmp_path) as asked:
        for by, where in QUESTIONS:
            end = START + 60
            ours, theirs = [await one.measure(by, where, window=60, end=end) for one in asked]
            assert (ours.start, ours.end, ours.heard) == (theirs.start, theirs.end, theirs.heard)
            assert ours.groups.keys() == theirs.groups.keys(), (by, where)
            for group, one in ours.groups.items():
                assert alike(one, theirs.groups[group]), (group, one, theirs.groups[group])
        assert len(ours.groups) == 1
        # A minute in which nobody listened for 10 s; steps begin where a scrape was.
        ours_, theirs_ = [
            await one.history(By.VERSION, window=120, step=20, end=START + 120, at_least=150) for one in asked
        ]
        assert (ours_.start, ours_.step, ours_.groups.keys()) == (
            theirs_.start,
            theirs_.step,
            theirs_.groups.keys(),
        )
        for group, points in ours_.groups.items():
            whole = [number for number in range(6) if number != 3]
            assert all(alike(points[number], theirs_.groups[group][number]) for number in whole), group


CALLEES = [
    Callee(workload=WorkloadKey("shop", "menu-v1"), host=MENU, subset="trial"),
    Callee(workload=WorkloadKey("shop", "menu-v1"), host=MENU, subset="other"),
    Callee(workload=WorkloadKey("shop", "open"), host="open.shop.svc.cluster.local", subset="trial"),
    Callee(workload=WorkloadKey("shop", "bill"), host="bill.shop.svc.cluster.local", subset=""),
]


async def test_a_prometheus_counts_what_the_store_counts_and_nothing_twice(tmp_path: Path) -> None:
    async with told_both(tmp_path) as (ours, theirs):
        for callee in CALLEES:
            for since, until in ((0, 120), (0, 60), (25, 30), (40, 85)):
                times = {"since": START + since, "until": START + until, "slower_than": BUCKETS[25]}
                mine, other = [await one.count(callee, **times) for one in (ours, theirs)]
                assert (mine.start, mine.end, mine.requests, mine.failed, mine.unreached) == (
                    (other.start, other.end, other.requests, other.failed, other.unreached)
                ), (callee, since, until)
                assert mine.requests > 0
                assert other.slow == pytest.approx(mine.slow, rel=0.1, abs=3)
                assert other.p99_ms == pytest.approx(mine.p99_ms, rel=0.2)
        seen = await ours.count(CALLEES[0], since=START, until=START + 120)
        assert (seen.requests, seen.failed, seen.unreached, seen.heard) == (22 * 26, 22 * 6, 22 * 3, 110)
        whole, parts = (0, 120), [(0, 5), (5, 45), (45, 70), (70, 120)]
        for one in (ours, theirs):
            sums = []
            for cut in ([whole], parts):
                some = [await one.count(CALLEES[0], since=START + a, until=START + b) for a, b in cut]
                sums.append([sum(getattr(each, what) for each in some) for what in ("requests", "failed")])
            assert sums[0] == sums[1]
        assert (await ours.count(CALLEES[0], since=START + 60, until=START + 80)).heard == 10
        last = await ours.count(CALLEES[0], since=START, last=10)
        assert (last.start, last.end) == (START + 110, START + 120)


async def test_who_is_no_prometheus_is_told_of(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(PrometheusError, match="does not answer"):
        await PrometheusQueries(nobody).measure(By.SERVICE, window=60)
