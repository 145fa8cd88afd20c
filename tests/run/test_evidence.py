"""What metrics say of a new version, asked of a real store and of a real Prometheus."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from plait.model.names import ObjectRef, Origin, WorkloadKey
from plait.model.rollout import (
    Analysis,
    Baseline,
    Bounds,
    Builtin,
    Canary,
    Metric,
    MetricTemplate,
)
from plait.rollout.status import Finding, Status, Tally, Verdict
from plait.run.rollouts.evidence import Evidence
from plait.telemetry.kept import StoreQueries
from plait.telemetry.prometheus import PrometheusQueries
from plait.telemetry.reports import Pool, Traffic
from plait.telemetry.store import Store
from tests.docs.test_prometheus import PROMETHEUS, free_place, prometheus
from tests.envoy.support import eventually
from tests.telemetry.said import NOW, Clock, host_of, http, opened, report

ORIGIN = Origin(ObjectRef("flagger.app", "Canary", "shop", "menu"))
CANARY = Canary(
    namespace="shop",
    name="menu",
    target=WorkloadKey("shop", "menu"),
    service="menu",
    port=80,
    analysis=Analysis(),
    origin=ORIGIN,
)
RATE = Metric(
    name="request-success-rate", builtin=Builtin.SUCCESS_RATE, bounds=Bounds(least=99), origin=ORIGIN
)
DURATION = Metric(name="request-duration", builtin=Builtin.DURATION, bounds=Bounds(most=500), origin=ORIGIN)
COMPARED = replace(RATE, bounds=Bounds(), baseline=Baseline(horizon=400))
SLOWER = replace(DURATION, bounds=Bounds(), baseline=Baseline(horizon=10_000))


class Rollout:
    """A store that proxies report to, and a run that began when it did."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.evidence = Evidence(StoreQueries(store))
        self.status = Status(started=clock.now)

    async def reported(self, *, lost: int = 0, **by: tuple[Traffic, ...] | Traffic) -> None:
        """What workloads say of 5 s; `lost` attempts have not reached the new version."""
        cluster = f"outbound|80|_canary|{host_of('shop/menu')}"
        pool = Pool(cluster=cluster, connections=0, requests=0, overflowed=0, retried=0, unreached=lost)
        end = self.clock.now + 5
        self.store.take(report("shop/guest", at=end, pools=(pool,) if lost else ()))
        for name, some in by.items():
            traffic = some if isinstance(some, tuple) else (some,)
            self.store.take(report(f"shop/{name.replace('_', '-')}", *traffic, at=end))
        await self.silence(5)

    async def silence(self, seconds: float) -> None:
        """Nobody says anything for so long."""
        self.clock.now += seconds
        await self.store.write(self.clock.now)

    async def look(self, metric: Metric, template: MetricTemplate | None = None) -> Verdict:
        """A look, which is remembered."""
        found = await self.evidence.look(CANARY, metric, template, self.status, self.clock.now)
        if found.tally is not None:
            self.status = replace(self.status, tallies=(found.tally,))
        return found

    @property
    def tally(self) -> Tally:
        (found,) = self.status.tallies
        return found


def served(workload: str, good: int, bad: int = 0, *, took: float = 10.0) -> tuple[Traffic, ...]:
    """What a workload's own proxy tells of the requests that came to it."""
    name, service = f"shop/{workload}", "shop/menu"
    return (
        http("destination", "shop/guest", name, *[took] * good, service=service),
        http("destination", "shop/guest", name, *[took] * bad, service=service, code="500"),
    )


def canary(good: int, bad: int = 0, *, took: float = 10.0) -> tuple[Traffic, ...]:
    return served("menu-canary", good, bad, took=took)


def primary(good: int, bad: int = 0, *, took: float = 10.0) -> tuple[Traffic, ...]:
    return served("menu", good, bad, took=took)


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Rollout]:
    clock = Clock()
    async with opened(tmp_path, clock) as store:
        yield Rollout(store, clock)


async def test_a_success_rate_is_that_of_the_new_version_in_its_window_alone(run: Rollout) -> None:
    await run.reported(menu_canary=canary(0, 50), menu=primary(0, 500))
    run.status = Status(started=run.clock.now)  # what was before is of another run
    assert (await run.look(RATE)).text == "waiting for traffic: 0 of 1 requests"
    await run.reported(menu_canary=canary(93, 7), menu=primary(10, 90))
    found = await run.look(RATE)
    assert (found.finding, found.text) == (Finding.FAILED, "request-success-rate 93 % is under 99 %")
    for _ in range(3):
        await run.reported(menu_canary=canary(100))
    assert (await run.look(RATE)).text == "request-success-rate 98.2 % is under 99 %"
    assert (await run.look(replace(RATE, window=15))).finding is Finding.PASSED
    few = await run.look(replace(RATE, at_least=1000))
    assert (few.finding, few.text) == (Finding.WAITING, "waiting for traffic: 400 of 1000 requests")


@pytest.mark.parametrize(("interval", "counted"), [(60.0, 50), (12.0, 5), (5.0, 5), (2.0, 5)])
async def test_a_step_is_good_once_it_was_counted_itself_and_bad_before(
    run: Rollout, interval: float, counted: int
) -> None:
    plan = replace(CANARY, analysis=Analysis(interval=interval))
    await run.reported(menu_canary=canary(100))
    run.status = replace(run.status, progressed=run.clock.now)  # a step begins
    for seconds in range(0, counted + 5, 5):
        found = await run.evidence.look(plan, RATE, None, run.status, run.clock.now)
        assert found.finding is (Finding.PASSED if seconds >= counted else Finding.WAITING), seconds
        await run.reported(menu_canary=canary(100))
    run.status = replace(run.status, progressed=run.clock.now)
    await run.reported(menu_canary=canary(0, 100))
    plan = replace(CANARY, analysis=Analysis(interval=600.0))
    found = await run.evidence.look(plan, RATE, None, run.status, run.clock.now)
    assert found.finding is Finding.FAILED


async def test_attempts_that_a_retry_healed_count_against_the_new_version(run: Rollout) -> None:
    await run.reported(menu_canary=canary(98), menu=primary(900), lost=2)
    found = await run.look(RATE)
    assert (found.finding, found.text) == (Finding.FAILED, "request-success-rate 98 % is under 99 %")


async def test_a_duration_is_the_99th_percentile(run: Rollout) -> None:
    fast, slow = canary(980), canary(20, took=800.0)
    await run.reported(menu_canary=(*fast, *slow), menu=primary(100))
    found = await run.look(DURATION)
    assert found.finding is Finding.FAILED
    assert found.value == pytest.approx(800, rel=0.05)
    assert found.text.endswith(" ms is over 500 ms")
    assert (await run.look(replace(DURATION, bounds=Bounds(most=900)))).finding is Finding.PASSED


async def test_a_comparison_counts_each_request_once_whenever_it_looks(run: Rollout) -> None:
    assert (await run.look(COMPARED)).finding is Finding.WAITING
    for number in range(6):
        await run.reported(menu_canary=canary(19, 1), menu=primary(171, 9))
        for _ in range(number % 3):
            await run.look(COMPARED)
    found = await run.look(COMPARED)
    tally = run.tally
    assert (tally.canary, tally.canary_bad, tally.primary, tally.primary_bad) == (120, 6, 1080, 54)
    assert tally.until == run.clock.now
    assert found.finding is Finding.PASSED
    assert "heard" not in found.text


async def test_a_comparison_stops_what_is_worse_than_what_serves_though_a_threshold_would_not(
    run: Rollout,
) -> None:
    findings = []
    for _ in range(12):
        await run.reported(menu_canary=canary(19, 1), menu=primary(180))
        assert (await run.look(replace(RATE, bounds=Bounds(least=90)))).finding is Finding.PASSED
        findings.append((await run.look(COMPARED)).finding)
        if findings[-1] is Finding.STOPPED:
            break
    assert findings[0] is Finding.PASSED
    assert findings[-1] is Finding.STOPPED


async def test_when_both_fail_alike_nothing_is_stopped_and_the_horizon_is_the_end(run: Rollout) -> None:
    for _ in range(20):
        await run.reported(menu_canary=canary(10, 10), menu=primary(90, 90))
        found = await run.look(COMPARED)
        assert found.finding is Finding.PASSED
    assert found.text.endswith("not worse, after 400 requests")
    await run.reported(menu_canary=canary(0, 1000), menu=primary(1000))
    assert (await run.look(COMPARED)).text == found.text
    assert run.tally.canary == 400


async def test_time_in_which_nobody_listened_is_said_and_what_comes_after_it_counts(run: Rollout) -> None:
    await run.reported(menu_canary=canary(10), menu=primary(90))
    await run.look(COMPARED)
    before = run.tally
    await run.silence(30)
    assert (await run.look(COMPARED)).tally == before
    await run.reported(menu_canary=canary(10), menu=primary(90))
    found = await run.look(COMPARED)
    assert found.text.endswith("; nothing was heard for 30 s")
    assert run.tally.canary == 20


async def test_a_run_begins_with_nothing_of_the_one_before(run: Rollout) -> None:
    await run.reported(menu_canary=canary(0, 100), menu=primary(900))
    assert (await run.look(COMPARED)).finding is Finding.STOPPED
    run.status = replace(run.status, started=run.clock.now)
    await run.reported(menu_canary=canary(10), menu=primary(90))
    assert (await run.look(COMPARED)).finding is Finding.PASSED
    assert run.tally.canary == 10


async def test_slow_is_what_99_of_100_did_not_take_before_the_run(run: Rollout) -> None:
    await run.reported(menu=(*primary(985), *primary(15, took=40.0)))
    run.status = Status(started=run.clock.now)
    looks, finding = 0, Finding.WAITING
    while finding is not Finding.STOPPED:
        looks += 1
        assert looks < 20
        await run.reported(
            menu_canary=(*canary(95), *canary(5, took=90.0)),
            menu=(*primary(891), *primary(9, took=90.0)),
        )
        found = await run.look(SLOWER)
        assert run.tally.slow_ms == pytest.approx(40, rel=0.05)
        finding = found.finding
    assert (run.tally.canary_bad, run.tally.primary_bad) == (5 * looks, 9 * looks)
    assert "took longer than 4" in found.text


async def test_where_nothing_came_before_the_run_slow_is_what_the_first_ones_take_and_these_do_not_count(
    run: Rollout,
) -> None:
    await run.reported(menu_canary=canary(10), menu=primary(60, took=0.2))
    first = await run.look(SLOWER)
    assert first.text == "waiting for traffic: 60 of 100 requests that tell what is slow"
    assert first.tally is None
    await run.reported(menu_canary=canary(10), menu=primary(60, took=0.2))
    assert (await run.look(SLOWER)).finding is Finding.WAITING
    assert (run.tally.canary, run.tally.slow_ms) == (0, 1.0)  # Envoy knows of nothing shorter
    await run.reported(menu_canary=canary(10), menu=primary(60))
    assert (await run.look(SLOWER)).finding is Finding.PASSED
    assert (run.tally.canary, run.tally.canary_bad, run.tally.primary_bad) == (10, 10, 60)


# Templates ------------------------------------------------------------------------------------------------------

QUEUE = Metric(name="queue", template=ORIGIN.ref, bounds=Bounds(most=10), origin=ORIGIN)


def template(query: str, provider: str = "prometheus", address: str = "") -> MetricTemplate:
    return MetricTemplate(
        namespace="shop", name="queue", provider=provider, address=address, query=query, origin=ORIGIN
    )


async def test_the_mesh_itself_answers_named_queries(run: Rollout) -> None:
    await run.reported(menu_canary=canary(6, 2), menu=primary(90))
    for query, text in (
        ("requests workload={{ target }}", "queue 8 is not over 10"),
        ("requests service={{ service }}", "queue 98 is over 10"),
        ("error_share workload={{ target }}", "queue 0.25 is not over 10"),
        ("error_share workload={{ target }}-primary", "queue 0 is not over 10"),
        ("requests workload=nobody", "queue 0 is not over 10"),
        ("p99 workload=nobody", "queue: no value yet"),
        ("up", "queue is not known: the mesh has no query 'up': there are requests, rate, error_share"),
    ):
        found = await run.look(QUEUE, template(query, "plait"))
        assert found.text.startswith(text), query
    other = http("destination", "shop/guest", "shop/menu-canary", 1.0, service="shop/bill")
    await run.reported(menu_canary=other)
    found = await run.look(QUEUE, template("requests workload={{ target }}", "plait"))
    assert found.finding is Finding.UNKNOWN
    assert "there are several values" in found.text


async def test_what_can_not_be_asked_is_not_known(run: Rollout) -> None:
    for said, reason in (
        (None, "there is no MetricTemplate shop/menu"),
        (template("sum(up)"), "its MetricTemplate names no address to ask"),
        (template("{{ pod }}", address="http://127.0.0.1:1"), "'pod' stands for nothing"),
        (template("up", address="::::"), "does not answer"),
        (
            template("up", address="http://me:secret@127.0.0.1:1/"),
            "the Prometheus at http://127.0.0.1:1/ does not",
        ),
    ):
        found = await run.look(QUEUE, said)
        assert found.finding is Finding.UNKNOWN
        assert reason in found.text
        assert "secret" not in found.text


@asynccontextmanager
async def answering(body: bytes, status: int = 200, **headers: str) -> AsyncIterator[str]:
    """Something that always answers the same; its URL."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def vector(*values: str) -> bytes:
    result = [{"metric": {}, "value": [1.0, value]} for value in values]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


def data(data: Any) -> bytes:
    return json.dumps({"status": "success", "data": data}).encode()


@pytest.mark.parametrize(
    ("body", "finding", "text"),
    [
        (vector("3"), "passed", "queue 3 is not over 10"),
        (vector("12.5"), "failed", "queue 12.5 is over 10"),
        (vector(), "waiting", "queue: no value yet"),
        (vector("NaN"), "unknown", "no number that can be compared (nan)"),
        (vector("+Inf"), "unknown", "no number"),
        (vector("1", "2"), "unknown", "the query has 2 values"),
        (vector("many"), "unknown", "no value that can be read"),
        (data({"resultType": "scalar", "result": [1.0, "4"]}), "passed", "queue 4 is not over 10"),
        (data({"resultType": "matrix", "result": []}), "unknown", "for a matrix"),
        (data(None), "unknown", "no value that can be read"),
        (data({"resultType": "vector", "result": [{}]}), "unknown", "no value that can be read"),
        (b'{"status": "error", "error": "parse error"}', "unknown", "says: parse error"),
        (b"<html>", "unknown", "answers with HTTP 200, and as no Prometheus does"),
        (b"[" * 100_000, "unknown", "as no Prometheus does"),
        (b"\xff", "unknown", "as no Prometheus does"),
        (b" " * (17 * 2**20), "unknown", "answers more than"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else None,
)
async def test_whatever_a_prometheus_answers_is_a_verdict(
    run: Rollout, body: bytes, finding: str, text: str
) -> None:
    async with answering(body) as url:
        found = await run.look(QUEUE, template("up", address=url))
    assert found.finding == finding
    assert text in found.text
    assert len(found.text) < 400


async def test_who_answers_with_an_error_or_sends_elsewhere_is_told(run: Rollout) -> None:
    async with answering(vector("3")) as other:
        for status in (302, 401, 500):
            async with answering(b"", status, Location=other) as url:
                found = await run.look(QUEUE, template("up", address=url))
            assert found.finding is Finding.UNKNOWN
            assert f"HTTP {status}" in found.text


async def test_who_takes_too_long_is_told(run: Rollout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plait.run.rollouts.evidence._WITHIN", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        found = await run.look(QUEUE, template("up", address=address))
    assert (found.finding, found.text) == (
        Finding.UNKNOWN,
        f"queue is not known: the Prometheus at {address} does not answer within 0.1 s",
    )


@asynccontextmanager
async def empty_prometheus(folder: Path) -> AsyncIterator[str]:
    """A real one that scrapes nothing; its URL."""
    (folder / "prometheus.yml").write_text("{}")
    url = f"http://{(place := free_place())}"
    async with prometheus(folder, place), aiohttp.ClientSession() as session:

        async def ready() -> bool:
            with suppress(aiohttp.ClientError):
                async with session.get(f"{url}/-/ready") as response:
                    return response.status == 200
            return False

        await eventually(ready, 30)
        yield url


@pytest.mark.skipif(PROMETHEUS is None, reason="without Prometheus (Debian's package prometheus)")
async def test_a_real_prometheus_is_asked_in_its_own_language(run: Rollout, tmp_path: Path) -> None:
    async with empty_prometheus(tmp_path) as url:
        for query, finding, text in (
            ("vector(3)", Finding.PASSED, "queue 3 is not over 10"),
            ("scalar(vector(30))", Finding.FAILED, "queue 30 is over 10"),
            ('up{job="{{ name }}"}', Finding.WAITING, "queue: no value yet"),
            ("0 * vector(1) / 0", Finding.UNKNOWN, "nan"),
            ('label_replace(vector(1), "a", "b", "", "") or vector(2)', Finding.UNKNOWN, "2 values"),
            ("sum(", Finding.UNKNOWN, "says: invalid parameter"),
        ):
            found = await run.look(QUEUE, template(query, address=url))
            assert (found.finding, text in found.text) == (finding, True), found
        nobody = Evidence(PrometheusQueries(url))
        status = Status(started=run.clock.now - NOW + 1_700_000_000)
        for metric in (RATE, DURATION, COMPARED, SLOWER):
            found = await nobody.look(CANARY, metric, None, status, 0.0)
            assert (found.finding, found.text.startswith("waiting")) == (Finding.WAITING, True), found
