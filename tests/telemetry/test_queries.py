"""Each request counts once, and what is said of many is what holds for them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from statistics import quantiles

import pytest

from plait.model.names import WorkloadKey
from plait.telemetry.kept import StoreQueries
from plait.telemetry.queries import By, Callee, Counts, Group, Signals, Where
from plait.telemetry.reports import Pool, Traffic
from plait.telemetry.store import Store
from tests.telemetry.said import Clock, http, opened, report

MENU = "menu.shop.svc.cluster.local"


class Shop:
    """A store, what is asked of it, and proxies that report."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.queries = StoreQueries(store)

    async def reported(self, **by: tuple[Traffic, ...] | Traffic) -> None:
        """Traffic by the workload that reports it (`menu_v1` for shop/menu-v1)."""
        for name, traffic in by.items():
            workload = f"shop/{name.replace('_', '-')}"
            some = traffic if isinstance(traffic, tuple) else (traffic,)
            self.store.take(report(workload, *some, at=self.clock.now + 5))
        self.clock.now += 5
        await self.store.write(self.clock.now)

    async def ask(
        self, by: By = By.SERVICE, where: Where | None = None, **more: float
    ) -> dict[Group, Signals]:
        found = await self.queries.measure(
            by, where or Where(), window=60, at_least=int(more.get("at_least", 1))
        )
        return dict(found.groups)

    async def count(self, workload: str = "menu-v2", **more: float) -> Counts:
        callee = Callee(workload=WorkloadKey("shop", workload), host=MENU, subset="trial")
        return await self.queries.count(callee, **({"since": self.clock.now - 60} | more))

    async def one(self, by: By = By.SERVICE, where: Where | None = None) -> Signals:
        (found,) = (await self.ask(by, where)).values()
        return found


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    clock = Clock()
    async with opened(tmp_path, clock) as store:
        yield Shop(store, clock)


def both(source: str, destination: str, *took: float, **more: object) -> tuple[Traffic, Traffic]:
    """What caller and callee say of the same requests."""
    return (
        http("source", source, destination, *took, **more),  # type: ignore[arg-type]
        http("destination", source, destination, *took, **more),  # type: ignore[arg-type]
    )


async def test_what_both_ends_tell_counts_once_and_the_callees_word_holds(shop: Shop) -> None:
    away, back = (
        http("source", "shop/guest", "shop/menu-v1", 9.0, 9.0),
        http("destination", "shop/guest", "shop/menu-v1", 5.0, 5.0),
    )
    await shop.reported(guest=away, menu_v1=back)
    for by in (By.SERVICE, By.VERSION, By.EDGE, By.CODE):
        found = await shop.one(by)
        assert found.requests == 2
        assert found.p50_ms == pytest.approx(5, rel=0.05)
    assert (await shop.one(where=Where(reporter="source"))).p50_ms == pytest.approx(9, rel=0.05)


async def test_attempts_that_a_callee_saw_are_its_requests(shop: Shop) -> None:
    await shop.reported(
        guest=http("source", "shop/guest", "shop/menu-v1", 9.0),
        menu_v1=(
            http("destination", "shop/guest", "shop/menu-v1", 1.0, code="503"),
            http("destination", "shop/guest", "shop/menu-v1", 2.0),
        ),
    )
    found = await shop.one()
    assert (found.requests, found.error_share) == (2, 0.5)


@pytest.mark.parametrize(
    ("flags", "destination"),
    [
        ("UH", ""),
        ("NR", ""),
        ("FI", ""),
        ("UF", "shop/menu-v1"),
        ("URX,UF", "shop/menu-v1"),
        ("UC", "shop/menu-v1"),
        ("UO", "shop/menu-v1"),
    ],
)
async def test_what_a_callee_can_not_know_of_is_counted_as_its_caller_tells(
    shop: Shop, flags: str, destination: str
) -> None:
    lost = http("source", "shop/guest", destination, 1.0, service="shop/menu", code="503", flags=flags)
    away, back = both("shop/guest", "shop/menu-v1", 5.0, 5.0, 5.0, service="shop/menu")
    await shop.reported(guest=(away, lost), menu_v1=back)
    found = await shop.one()
    assert (found.requests, found.error_share) == (4, 0.25)


async def test_what_arrived_is_not_counted_again_for_its_flags(shop: Shop) -> None:
    slow = http("source", "shop/guest", "shop/menu-v1", 1000.0, code="504", flags="UT")
    seen = http("destination", "shop/guest", "shop/menu-v1", 1000.0, code="0", flags="DC")
    await shop.reported(guest=slow, menu_v1=seen)
    found = await shop.one()
    assert (found.requests, found.error_share) == (1, 1.0)


async def test_of_a_callee_that_does_not_tell_the_caller_is_believed(shop: Shop) -> None:
    away, back = both("shop/guest", "shop/menu-v1", 5.0)
    silent, _ = both("shop/guest", "shop/bill", 7.0, 7.0)
    await shop.reported(guest=(away, silent), menu_v1=back)
    found = await shop.ask()
    assert {group.service.split(".")[0]: one.requests for group, one in found.items()} == {
        "menu": 1,
        "bill": 2,
    }


async def test_ends_that_report_at_different_moments_count_once(shop: Shop) -> None:
    away, back = both("shop/guest", "shop/menu-v1", 5.0)
    await shop.reported(menu_v1=back)
    await shop.reported(guest=away)
    history = await shop.queries.history(By.SERVICE, window=10, step=5)
    (points,) = history.groups.values()
    assert [point and point.requests for point in points] == [1, 0]


async def test_in_the_clear_callers_are_told_by_themselves_and_others_are_the_rest(shop: Shop) -> None:
    for outside in (0, 3):
        away = http("source", "shop/guest", "shop/menu-v1", 5.0, 5.0, mtls=False)
        back = http("destination", "", "shop/menu-v1", *[5.0] * (2 + outside), mtls=False)
        shop.clock.now += 120
        await shop.reported(guest=away, menu_v1=back)
        assert (await shop.one()).requests == 2 + outside
        edges = {group.source_workload: one for group, one in (await shop.ask(By.EDGE)).items()}
        wanted = {"guest": 2} | ({"": outside} if outside else {})
        assert {source: one.requests for source, one in edges.items()} == wanted
        if outside:
            assert edges[""].p50_ms is None
            assert (await shop.one(where=Where(source_workload="guest"))).requests == 2


async def test_whom_nobody_of_the_mesh_calls_is_told_of_whole(shop: Shop) -> None:
    await shop.reported(menu_v1=http("destination", "", "shop/menu-v1", 5.0, 5.0, mtls=False))
    found = await shop.one(By.EDGE)
    assert found.requests == 2
    assert found.p50_ms == pytest.approx(5, rel=0.05)


async def test_failures_are_5xx_no_answer_and_what_servers_say_in_grpc(shop: Shop) -> None:
    codes = {"200": False, "404": False, "429": False, "500": True, "503": True, "0": True, "": True}
    grpcs = dict.fromkeys(["0", "1", "3", "5", "6", "7", "8", "9", "10", "11", "16"], False) | dict.fromkeys(
        ["2", "4", "12", "13", "14", "15"], True
    )
    for code, failed in codes.items():
        await shop.reported(menu_v1=http("destination", "shop/guest", "shop/menu-v1", 1.0, code=code))
        found = {group.code: one.error_share for group, one in (await shop.ask(By.CODE)).items()}
        assert found[code] == float(failed)
    for status, failed in grpcs.items():
        await shop.reported(
            menu_v1=http("destination", "shop/guest", "shop/menu-v1", 1.0, grpc=status, protocol="grpc")
        )
        grpc = {
            group.grpc_status: one.error_share
            for group, one in (await shop.ask(By.CODE)).items()
            if group.code == "200"
        }
        assert grpc[status] == float(failed)


async def test_filters_and_groups_tell_versions_callers_and_codes_apart(shop: Shop) -> None:
    v1 = http("destination", "shop/guest-v7", "shop/menu-v1", 1.0, 1.0, service="shop/menu")
    v2 = http("destination", "shop/guest-v7", "shop/menu-v2", 1.0, service="shop/menu", code="500")
    other = http("destination", "shop/waiter", "shop/menu-v2", 1.0, service="shop/menu", code="404")
    await shop.reported(menu_v1=v1, menu_v2=(v2, other))
    assert (await shop.one()).requests == 4
    by_version = {group.destination_version: one for group, one in (await shop.ask(By.VERSION)).items()}
    assert {key: (one.requests, one.error_share) for key, one in by_version.items()} == {
        "v1": (2, 0),
        "v2": (2, 0.5),
    }
    assert set(await shop.ask(By.CODE)) == {Group(service=MENU, code=code) for code in ("200", "404", "500")}
    for where, requests in (
        (Where(destination_version="v2"), 2),
        (Where(destination_workload="menu-v2", source_workload="waiter"), 1),
        (Where(source_version="v7"), 3),
        (Where(service=MENU, source_namespace="shop"), 4),
    ):
        assert sum(one.requests for one in (await shop.ask(where=where)).values()) == requests
    assert await shop.ask(where=Where(service="bill.shop.svc.cluster.local")) == {}


async def test_nobody_called_nobody_listened_and_too_few_are_three_things(shop: Shop) -> None:
    await shop.reported(menu_v1=http("destination", "shop/guest", "shop/menu-v1", 1.0, 1.0, code="500"))
    await shop.reported(menu_v1=())
    shop.clock.now += 5
    await shop.reported(menu_v1=())
    (points,) = (await shop.queries.history(By.SERVICE, window=20, step=5)).groups.values()
    assert [point and (point.rate, point.error_share) for point in points] == [
        (0.4, 1.0),
        (0.0, None),
        None,
        (0.0, None),
    ]
    few = await shop.ask(at_least=3)
    assert [(one.requests, one.error_share, one.p99_ms) for one in few.values()] == [(2, None, None)]
    found = await shop.queries.measure(By.SERVICE, window=60)
    assert found.heard == 15
    assert found.groups[Group(service=MENU)].rate == pytest.approx(2 / 15)
    shop.clock.now += 600
    await shop.store.write(shop.clock.now)
    silence = await shop.queries.measure(By.SERVICE, window=60)
    assert (silence.heard, silence.groups) == (0, {})


def lost(subset: str, number: int, host: str = MENU) -> Pool:
    """Attempts that reached nobody."""
    name = f"outbound|80|{subset}|{host}"
    return Pool(cluster=name, connections=0, requests=0, overflowed=0, retried=0, unreached=number)


async def test_attempts_that_reached_nobody_count_for_whom_they_were_meant_and_change_no_picture(
    shop: Shop,
) -> None:
    arrived = http("destination", "shop/guest", "shop/menu-v2", 5.0, 5.0, service="shop/menu", code="500")
    elsewhere = http("destination", "shop/guest", "shop/menu-v1", 5.0, service="shop/menu")
    given_up = http("source", "shop/guest", "shop/menu-v2", 1.0, service="shop/menu", code="503", flags="UF")
    pools = (lost("trial", 4), lost("", 8), lost("v9", 16), lost("trial", 32, "bill.shop.svc.cluster.local"))
    shop.store.take(report("shop/guest", given_up, at=shop.clock.now + 5, pools=pools))
    await shop.reported(menu_v2=arrived, menu_v1=elsewhere)
    found = await shop.count()
    assert (found.requests, found.failed, found.unreached, found.heard) == (6, 6, 4, 5)
    assert (await shop.count("menu-v1")).requests == 1 + 4
    assert set(await shop.ask(By.EDGE)) == {
        Group(
            service=MENU, source_namespace="shop", source_workload="guest",
            destination_namespace="shop", destination_workload=f"menu-{version}", destination_version=version,
        )
        for version in ("v1", "v2")
    }  # fmt: skip
    assert (await shop.one()).requests == 4


async def test_who_was_not_reached_and_is_no_subset_counts_as_its_caller_tells(shop: Shop) -> None:
    given_up = http("source", "shop/guest", "shop/menu-v2", 1.0, 1.0, code="503", flags="URX,UF")
    await shop.reported(guest=given_up)
    found = await shop.count()
    assert (found.requests, found.failed, found.unreached, found.p99_ms) == (2, 2, 2, None)


async def test_slow_ones_are_counted_by_bins_whatever_service_was_called(shop: Shop) -> None:
    some = http(
        "destination", "shop/guest", "shop/menu-v2", 10.0, 20.0, 20.5, 22.0, 900.0, service="shop/menu"
    )
    other = http("destination", "shop/guest", "shop/menu-v2", 1000.0, service="shop/menu-v2")
    await shop.reported(menu_v2=(some, other))
    for bound, slower in ((9.0, 6), (20.0, 3), (20.5, 3), (21.9, 3), (22.0, 2), (950.0, 1), (5000.0, 0)):
        assert (await shop.count(slower_than=bound)).slow == slower
    found = await shop.count()
    assert (found.requests, found.slow) == (6, 0)
    assert found.p99_ms == pytest.approx(1000, rel=0.05)


async def test_only_what_lies_between_two_times_is_counted(shop: Shop) -> None:
    began = shop.clock.now
    for number in (1, 2, 4, 8):
        one = http("destination", "shop/guest", "shop/menu-v2", *[1.0] * number, service="shop/menu")
        await shop.reported(menu_v2=one)
    for since, until, last, requests, start in (
        (0, 20, 60, 15, 0),
        (1, 20, 60, 14, 5),
        (5, 20, 60, 14, 5),
        (0, 14, 60, 3, 0),
        (0, 20, 10, 12, 10),
        (0, 20, 6, 12, 10),
        (16, 20, 60, 0, 20),
        (99, 99, 60, 0, 20),
    ):
        found = await shop.count(since=began + since, until=began + until, last=last)
        assert (found.requests, found.start - began) == (requests, start), (since, until, last)
        assert found.heard == found.end - found.start


async def test_counts_from_where_the_last_ended_add_up_across_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    one = http("destination", "shop/guest", "shop/menu-v2", 5.0, service="shop/menu")
    since, seen = clock.now, []
    for run in range(3):
        async with opened(tmp_path, clock) as store:
            shop = Shop(store, clock)
            for _ in range(4 + run):
                await shop.reported(menu_v2=one)
                found = await shop.count(since=since)
                seen.append(found.requests)
                since = found.end
            assert (await shop.count(since=since)).requests == 0
            clock.now += 5  # of which nothing is kept
    async with opened(tmp_path, clock) as store:
        seen.append((await Shop(store, clock).count(since=since)).requests)
        assert sum(seen) == 15
        whole = await Shop(store, clock).count(since=clock.now - 600)
        assert whole.requests == 15
        assert 0 < whole.heard < whole.end - whole.start
        early = await Shop(store, clock).count(since=clock.now + 600)
        assert (early.requests, early.heard, early.start) == (0, 0, early.end)


SAMPLES: dict[str, Callable[[random.Random], float]] = {
    "constant": lambda _: 12.0,
    "uniform": lambda chance: chance.uniform(3, 300),
    "lognormal": lambda chance: chance.lognormvariate(3, 1.2),
    "bimodal": lambda chance: chance.gauss(2, 0.1) if chance.random() < 0.8 else chance.gauss(900, 40),
}


@pytest.mark.parametrize("shape", SAMPLES)
async def test_percentiles_are_within_5_percent_whoever_saw_what(shop: Shop, shape: str) -> None:
    chance = random.Random(11)
    told = [SAMPLES[shape](chance) for _ in range(20_000)]
    for number in range(4):  # slots, each of two versions
        some = told[number * 5000 : (number + 1) * 5000]
        await shop.reported(
            menu_v1=http("destination", "shop/guest", "shop/menu-v1", *some[:4000], service="shop/menu"),
            menu_v2=http("destination", "shop/guest", "shop/menu-v2", *some[4000:], service="shop/menu"),
        )
    cuts = quantiles(told, n=100, method="inclusive")
    found = await shop.one()
    assert found.p50_ms == pytest.approx(cuts[49], rel=0.05)
    assert found.p90_ms == pytest.approx(cuts[89], rel=0.05)
    assert found.p99_ms == pytest.approx(cuts[98], rel=0.05)


async def test_tcp_and_denials_have_rates_of_their_own(shop: Shop) -> None:
    opened_ = replace(
        http("destination", "shop/guest", "shop/db", family="tcp"), count=10, sent=1000, received=500
    )
    denied = http(
        "destination", "shop/spy", "shop/db", 1.0, 1.0, family="denied", reason="no ALLOW rule holds"
    )
    source = replace(http("source", "shop/guest", "shop/db", family="tcp"), count=10, sent=1000, received=500)
    await shop.reported(db=(opened_, replace(denied, durations=())), guest=source)
    found = await shop.one()
    assert (found.connections, found.sent, found.received, found.refused) == (2.0, 200.0, 100.0, 0.4)
    assert (found.requests, found.error_share, found.p50_ms) == (0, None, None)
    edges = {group.source_workload: one.refused for group, one in (await shop.ask(By.EDGE)).items()}
    assert edges == {"guest": 0.0, "spy": 0.4}


async def test_refusals_are_told_apart_by_who_was_kept_out_and_why(shop: Shop) -> None:
    rule = "ns[shop]-policy[shut]-rule[1]"

    def refused(source: str, times: int, reason: str) -> Traffic:
        said = http(
            "destination",
            source,
            "shop/menu-v2",
            service="shop/menu",
            mtls=bool(source),
            family="denied",
            reason=reason,
        )
        return replace(said, count=times)

    answered = both("shop/spy", "shop/menu-v2", 1.0, 1.0, 1.0, service="shop/menu", code="403")
    await shop.reported(
        menu_v2=(
            refused("shop/spy", 2, f"rbac_access_denied_matched_policy[{rule}]"),
            refused("shop/spy", 1, "jwt_authn_access_denied{Jwt_is_expired}"),
            refused("", 4, f"rbac_access_denied_matched_policy[{rule}]"),
            answered[1],
        ),
        spy=answered[0],
    )
    found = {
        (group.source_workload, group.destination_version, group.reason): round(one.refused * 5)
        for group, one in (await shop.ask(By.REFUSAL)).items()
    }
    assert found == {
        ("spy", "v2", rule): 2,
        ("spy", "v2", "jwt_authn_access_denied{Jwt_is_expired}"): 1,
        ("", "v2", rule): 4,
    }
    assert await shop.ask(By.REFUSAL, Where(service="other.shop.svc.cluster.local")) == {}
    assert len(await shop.ask(By.REFUSAL, Where(service=MENU))) == 3


async def test_the_past_is_told_as_it_was(shop: Shop) -> None:
    """What a callee began to tell later takes nothing from what its callers had told before, and adds nothing to it."""
    start = shop.clock.now
    untold = http("source", "shop/guest", "shop/menu-v1", 9.0, 9.0, service="shop/menu")
    await shop.reported(guest=untold)
    now = (await shop.ask())[Group(service=MENU)].requests
    for _ in range(20):
        await shop.reported(
            guest=untold, menu_v1=http("destination", "shop/guest", "shop/menu-v1", 5.0, service="shop/menu")
        )
    then = start + 5
    measured = await shop.queries.measure(By.SERVICE, window=60, end=then)
    assert (measured.end, measured.heard, measured.groups[Group(service=MENU)].requests) == (then, 5, now)
    history = await shop.queries.history(By.SERVICE, window=10, step=5, end=then)
    (points,) = history.groups.values()
    assert [one and one.requests for one in points] == [None, now]
    assert (await shop.queries.measure(By.SERVICE, window=60, end=100)).heard == 0
