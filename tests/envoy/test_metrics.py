"""Real Envoys count real requests: how many, under which labels, and no more series than there may be."""

from __future__ import annotations

import asyncio
import re
import resource
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
import pytest_asyncio

from plait.envoy import labels, metrics
from plait.model.policy import Action, MtlsMode, Operation
from plait.model.telemetry import Observed
from tests.compiler.facts import allows, peers, policy, principal
from tests.envoy.counting import SERVER, WEB, Sample, Town, counted, town
from tests.envoy.support import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENDS = (("frontend", "source"), (SERVER.name, "destination"))
HISTOGRAMS = ("request_duration_milliseconds", "request_bytes", "response_bytes")
HOST = "reservations.bistro.svc.cluster.local"
UNCOUNTED = Observed(metrics=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Town]:
    async with town() as made:
        yield made


def codes(
    found: list[Sample], reporter: str, name: str = "istio_requests_total", **more: str
) -> Counter[str]:
    """By status, how many requests of the frontend's are counted at one of the two ends."""
    caller = {"source_workload": "frontend", "reporter": reporter, "destination_service": HOST}
    return counted(found, name, "response_code", **caller, **more)


async def test_both_ends_count_what_the_client_counts(shared: Town) -> None:
    await shared.say()
    before = {name: codes(await shared.page(name), reporter) for name, reporter in ENDS}
    mix = {200: 40, 201: 7, 404: 9, 500: 6, 503: 5}
    await shared.ask_all(status for status, number in mix.items() for _ in range(number))
    for name, reporter in ENDS:
        expected = before[name] + Counter({str(status): number for status, number in mix.items()})

        def whole(found: list[Sample], reporter: str = reporter, expected: Counter[str] = expected) -> bool:
            return codes(found, reporter) == expected

        await shared.until(name, whole)
        await asyncio.sleep(0.3)  # some more merges change nothing
        found = await shared.page(name)
        assert whole(found)
        for one in HISTOGRAMS:
            assert codes(found, reporter, f"istio_{one}_count") == expected


async def test_attempts_are_counted_apart_from_requests(shared: Town) -> None:
    await shared.say()
    gone = "gone.bistro.svc.cluster.local"

    def seen(found: list[Sample], host: str) -> dict[str, Counter[str]]:
        of = {"destination_service": host, "source_workload": "frontend"}
        return {
            "requests": counted(found, "istio_requests_total", "response_code", **of),
            "attempts": counted(found, "plait_request_attempts_total", "destination_port", **of),
            "retries": counted(found, "plait_request_retries_total", "response_code", **of),
        }

    before = seen(await shared.page("frontend"), HOST)
    for number in range(20):
        once = {"x_fail_once": f"{number}"} if number < 6 else {}
        assert await shared.ask(**once) == 200
    for _ in range(2):
        assert await shared.ask(host=f"gone:{WEB}") == 503

    def whole(found: list[Sample]) -> bool:
        here, there = seen(found, HOST), seen(found, gone)
        answered = here["requests"] - before["requests"]
        return (answered.total(), there["requests"].total()) == (20, 2)

    found = await shared.until("frontend", whole)
    here = seen(found, HOST)
    assert {name: here[name] - before[name] for name in here} == {
        "requests": {"200": 20},
        "attempts": {f"{WEB}": 26},
        "retries": {"503": 6},
    }
    assert seen(found, gone) == {
        "requests": {"503": 2},
        "attempts": {f"{WEB}": 6},
        "retries": {"0": 4},
    }


async def test_what_is_kept_out_is_counted_with_who_called_and_why(shared: Town) -> None:
    rules = [
        policy("allow", Action.ALLOW, allows(principal("frontend")), app="reservations"),
        policy(
            "shut",
            Action.DENY,
            allows(operations=[Operation(methods=("PUT",), ports=(WEB,))]),
            app="reservations",
        ),
    ]
    await shared.say(*rules)
    for _ in range(3):
        assert await shared.ask(by="outsider") == 403
    for _ in range(2):
        assert await shared.ask(method="PUT") == 403
    assert (await shared.call("/T/Book", by="outsider")).code.value[0] == 7
    assert await shared.ask(x_status="403") == 403  # the application's own word
    assert await shared.ask() == 200
    assert await shared.connect("outsider") == b""
    assert await shared.connect("frontend", b"12345") == b"hello12345"
    no_rule, rule_of_shut = "no ALLOW rule holds", "ns[bistro]-policy[shut]-rule[0]"
    expected = {
        ("outsider", "http", no_rule): 3,
        ("outsider", "grpc", no_rule): 1,
        ("outsider", "tcp", no_rule): 1,
        ("frontend", "http", rule_of_shut): 2,
    }

    def denied(found: list[Sample]) -> dict[tuple[str, str, str], int]:
        those = [(dict(said), value) for name, said, value in found if name == "plait_denied_total"]
        return {
            (one["source_workload"], one["request_protocol"], one["reason"]): int(value)
            for one, value in those
        }

    found = await shared.until(SERVER.name, lambda page: denied(page) == expected)
    said = [dict(one) for name, one, _ in found if name == "plait_denied_total"]
    assert {one["connection_security_policy"] for one in said} == {"mutual_tls"}
    assert (
        '"path":"/T/Book"' in shared.proxies[SERVER.name].log
    )  # a call of gRPC is refused with a status of 200
    assert HOST in {one["destination_service"] for one in said if one["request_protocol"] != "tcp"}
    assert {one["source_version"] for one in said if one["source_workload"] == "outsider"} == {"v3"}


async def test_texts_are_unpacked_outside_of_envoy_as_inside(shared: Town) -> None:
    """Whatever there is: a denial, clear text, no such host, gRPC, connections."""
    await shared.say(policy("nobody", app="reservations"))
    assert await shared.ask() == 403
    await shared.say(peers("clear", MtlsMode.PERMISSIVE))
    request = b"GET / HTTP/1.1\r\nhost: reservations\r\nconnection: close\r\n\r\n"

    async def answered() -> bool:
        answer = await shared.connect("frontend", request, tls=False, to=WEB)
        return answer.startswith(b"HTTP/1.1 200")

    await eventually(answered)
    assert await shared.connect("frontend", b"12345", tls=False) == b"hello12345"
    assert await shared.ask(host="nobody-knows:8080") == 404
    assert (await shared.call("/T/Book")).code.value[0] == 0
    for name, replica in shared.replicas.items():
        of = dict(replica.labels)
        own = {
            "workload": replica.key.workload.name,
            "namespace": replica.key.workload.namespace,
            "app": of["app"],
            "version": of.get("version", ""),
        }

        async def alike(name: str = name, own: dict[str, str] = own) -> tuple[set[Sample], set[Sample]]:
            raw = [(one, dict(said), value) for one, said, value in await shared.raw(name)]
            inside = {one for one in await shared.page(name) if one[0].startswith(("istio_", "plait_denied"))}
            outside = set()
            for one, said, value in raw:
                if text := said.pop(labels.LABEL, None):
                    unpacked = labels.unpacked(text, own) | said
                    plain = one.removeprefix("envoy_")
                    outside.add((plain, frozenset(unpacked.items()), value))
                    if plain == f"istio_{metrics.DURATION}_count":
                        outside.add((f"istio_{metrics.REQUESTS}", frozenset(unpacked.items()), value))
            return inside, outside

        await asyncio.sleep(0.3)  # all is merged
        inside, outside = await alike()
        assert inside == outside
        assert inside or name != SERVER.name
    families = {
        dict(said)[labels.LABEL].split(labels.GROUP)[0]
        for _, said, _ in await shared.raw(SERVER.name)
        if labels.LABEL in dict(said)
    }
    assert families == set(labels.GROUPS)


async def test_an_end_that_is_not_to_count_does_not(shared: Town) -> None:
    for client, at_server, silent in ((UNCOUNTED, None, 0), (None, UNCOUNTED, 1)):
        await shared.say(client=client, at_server=at_server)
        before = [codes(await shared.page(name), reporter)["207"] for name, reporter in ENDS]
        await shared.ask_all([207] * 5)
        name, reporter = ENDS[1 - silent]
        await shared.until(
            name,
            lambda page, reporter=reporter, told=before[1 - silent]: (  # type: ignore[misc]
                codes(page, reporter)["207"] == told + 5
            ),
        )
        await asyncio.sleep(0.3)
        name, reporter = ENDS[silent]
        assert codes(await shared.page(name), reporter)["207"] == before[silent]


async def test_the_buckets_are_those_of_the_guide(shared: Town) -> None:
    await shared.say()
    await shared.ask_all([200])
    found = await shared.until("frontend", lambda page: codes(page, "source")["200"] > 0)
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "metrics.md").read_text()
    for name, bounds in metrics.BUCKETS.items():
        seen = counted(found, f"istio_{name}_bucket", "le").keys() - {"+Inf"}
        assert {float(one) for one in seen} <= {float(one) for one in bounds}
        (told,) = re.findall(rf"^\| `istio_{name}` \|[^|]*\| ([\d., ]+) \|$", guide, re.MULTILINE)
        assert [float(one) for one in told.split(", ")] == [float(one) for one in bounds]
    steps = [one for one in metrics.BUCKETS[metrics.DURATION] if one <= 10_000]
    assert (steps[0], steps[-1]) == (1, 10_000)
    assert all(after <= 1.5 * before for before, after in pairwise(steps))
    assert f"at most {metrics.MOST_TEXTS} different sets of labels" in guide


async def test_beyond_the_bound_nothing_is_kept_and_how_much_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An application chooses its statuses, and so what anybody counts; what is idle leaves room for others."""
    monkeypatch.setattr(metrics, "MOST_TEXTS", 20)
    monkeypatch.setattr(metrics, "IDLE_SECONDS", 2)
    async with town() as made:
        await beyond(made, range(200, 260), 20)
        for name, reporter in ENDS:
            await made.until(name, lambda page, reporter=reporter: not codes(page, reporter))  # type: ignore[misc]
        await made.ask_all([418])
        for name, reporter in ENDS:
            await made.until(name, lambda page, reporter=reporter: codes(page, reporter)["418"] == 1)  # type: ignore[misc]


@pytest.mark.prove
@pytest.mark.timeout(300)
async def test_memory_stays_bounded_whatever_an_application_answers() -> None:
    """As the one before, with the bound that holds: thrice as many statuses, statuses of gRPC and unknown hosts."""
    async with town() as made:
        await made.ask_all([200])
        before = {name: memory(made, name) for name, _ in ENDS}
        await beyond(made, range(200, 1000), metrics.MOST_TEXTS)
        once = {name: memory(made, name) for name, _ in ENDS}
        for number in range(500):
            assert await made.ask(host=f"nobody-{number}.example:80") == 404
            call = {"content_type": "application/grpc", "x_grpc": str(number)}
            assert await made.ask(method="POST", **call) == 200
        await beyond(made, range(200, 1000), metrics.MOST_TEXTS)
        for name, _ in ENDS:
            assert once[name] - before[name] < 150e6, "what all series together take"
            assert memory(made, name) < once[name] + 40e6, "no more for more of them"


def memory(made: Town, name: str) -> int:
    """Bytes that an Envoy keeps resident."""
    pages = Path(f"/proc/{made.proxies[name].process.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


async def beyond(made: Town, statuses: range, bound: int) -> None:
    """More statuses than there may be texts: all are answered, some counted, and of the others how many there were."""
    for host in ("reservations", "bookings"):
        await made.ask_all(statuses, host=f"{host}:{WEB}")
    left_out = len(HISTOGRAMS) * (2 * len(statuses) - bound)
    for name, _ in ENDS:
        found = await made.until(name, lambda page: overflowed(page) >= left_out)
        assert len({said for one, said, _ in found if one == "istio_requests_total"}) <= bound


def overflowed(found: list[Sample]) -> int:
    return int(sum(value for one, _, value in found if one == "envoy_server_stats_overflow_histogram_total"))
