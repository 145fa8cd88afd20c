"""Who is to tell of requests while somebody looks, of how many, and what is shown of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from plait.api.views import TapFilter, TapLine
from plait.envoy import api, labels
from plait.envoy.runtime import ALL, NOT_TAPPED, Tapped
from plait.model.names import ReplicaKey, WorkloadKey
from plait.run.taps import MOST, MOST_OF_ONE, Look, Taps
from plait.xds.exports import PROTOBUF, Export


def key(name: str, number: int = 0, namespace: str = "bistro") -> ReplicaKey:
    return ReplicaKey(WorkloadKey(namespace, name), number)


FRONTEND, PAYMENTS, OTHER = key("frontend"), key("payments"), key("payments", 1)
ELSEWHERE = key("bank", namespace="town")
RUNNING = (FRONTEND, PAYMENTS, OTHER, ELSEWHERE)
SERVER, CLIENT = Tapped(server=ALL), Tapped(client=ALL)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plait.run.taps._SILENCE", 0.01)


@dataclass
class Desk:
    """Taps over four replicas, and a clock that a test moves."""

    now: float = 0.0
    retold: list[set[ReplicaKey]] = field(default_factory=list)
    taps: Taps = field(init=False)

    def __post_init__(self) -> None:
        self.taps = Taps(lambda: RUNNING, self._retell, self._settled, lambda: self.now)

    def _retell(self, keys: Collection[ReplicaKey]) -> None:
        self.retold.append(set(keys))

    async def _settled(self) -> None:
        pass

    def look(self, rate: int = 100, /, **wanted: str) -> Look:
        return self.taps.open(TapFilter(**wanted), rate)

    def tapped(self) -> dict[ReplicaKey, Tapped]:
        return {one: told for one in RUNNING if (told := self.taps.tapped(one)) != NOT_TAPPED}

    def tell(
        self, who: ReplicaKey, *requests: Mapping[str, str], side: str = "server", sender: str = ""
    ) -> None:
        export = Export(
            sender=sender or str(who.workload), content_type=PROTOBUF, body=told(who, side, *requests)
        )
        assert self.taps.take(export) == b""

    def many(self, who: ReplicaKey, number: float, seconds: float) -> None:
        """A proxy with so many requests a second for so long, that tells of its share of them."""
        share = self.taps.tapped(who).server / ALL
        self.now += seconds
        self.tell(who, *({"method": "GET", "path": "/"} for _ in range(round(number * share * seconds))))


def told(who: ReplicaKey, side: str, *requests: Mapping[str, str]) -> bytes:
    message = api.message("opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest")
    records = [{"attributes": _attributes(said)} for said in requests]
    resource = {"attributes": _attributes({"node_name": str(who), "side": side})}
    return api.serialize(
        message(resource_logs=[{"resource": resource, "scope_logs": [{"log_records": records}]}])
    )


def _attributes(said: Mapping[str, str]) -> list[dict[str, object]]:
    return [{"key": name, "value": {"string_value": value}} for name, value in said.items()]


async def shown(look: Look) -> tuple[list[str], TapLine]:
    """The paths of all that is shown until nothing more is, and the last line."""
    paths: list[str] = []
    lines = aiter(look)
    assert (await anext(lines)).request is None
    while (line := await anext(lines)).request is not None:
        paths.append(line.request.path)
    return paths, line


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, dict.fromkeys(RUNNING, SERVER)),
        ({"namespace": "town"}, {ELSEWHERE: SERVER}),
        ({"destination": "bistro/payments"}, {PAYMENTS: SERVER, OTHER: SERVER}),
        ({"source": "bistro/frontend"}, {FRONTEND: CLIENT}),
        ({"source": "bistro/frontend", "destination": "bistro/payments"}, {FRONTEND: CLIENT}),
        ({"destination": "bistro/payments", "namespace": "town"}, {}),
    ],
)
def test_whoever_can_see_it_is_told_to_tell_and_no_more_once_nobody_looks(
    wanted: Mapping[str, str], expected: Mapping[ReplicaKey, Tapped]
) -> None:
    desk = Desk()
    look = desk.look(**wanted)
    assert desk.tapped() == expected
    assert desk.retold == ([set(expected)] if expected else [])
    again = desk.look(**wanted)
    look.close()
    assert desk.tapped() == expected, "another looks still"
    again.close()
    again.close()
    assert desk.tapped() == {}
    assert desk.retold == ([set(expected)] * 2 if expected else [])


@pytest.mark.parametrize(
    ("wanted", "paths"),
    [
        ({}, ["/pay/1", "/pay/2", "/refund", "/pay/1/x"]),
        ({"path": "/pay"}, ["/pay/1", "/pay/2", "/pay/1/x"]),
        ({"path": "/pay/*"}, ["/pay/1", "/pay/2", "/pay/1/x"]),
        ({"path": "*/x"}, ["/pay/1/x"]),
        ({"path": "/p+y"}, []),
        ({"method": "post"}, ["/pay/2"]),
        ({"status": "5xx"}, ["/pay/2", "/refund"]),
        ({"status": "503"}, ["/refund"]),
        ({"status": "5xx", "method": "GET"}, ["/refund"]),
    ],
)
async def test_what_is_wanted_is_shown_in_the_order_in_which_it_was_told(
    wanted: Mapping[str, str], paths: list[str]
) -> None:
    desk = Desk()
    look = desk.look(destination="bistro/payments", **wanted)
    desk.tell(
        PAYMENTS,
        {"method": "GET", "path": "/pay/1", "status": "200"},
        {"method": "POST", "path": "/pay/2", "status": "500"},
    )
    desk.tell(OTHER, {"method": "GET", "path": "/refund", "status": "503"})
    desk.tell(PAYMENTS, {"method": "GET", "path": "/pay/1/x", "status": "204"})
    found, last = await shown(look)
    assert found == paths
    assert (last.left_out, last.proxies) == (0, 2)


async def test_who_was_called_is_a_workload_or_where_nobody_was_the_service() -> None:
    desk = Desk()
    look = desk.look(source="bistro/frontend", destination="bistro/payments")
    here = labels.workload(name="payments", namespace="bistro", app="", version="", principal="")
    other = labels.workload(name="payments-v2", namespace="bistro", app="", version="", principal="")
    called = "outbound|8080||payments.bistro.svc.cluster.local"
    desk.tell(
        FRONTEND,
        {"path": "/to it", "callee": here, "cluster": called},
        {"path": "/to another of the service", "callee": other, "cluster": called},
        {"path": "/to nobody of the service", "callee": "-", "cluster": called},
        {"path": "/to nobody at all", "callee": "-", "cluster": "-"},
        side="client",
    )
    assert (await shown(look))[0] == ["/to it", "/to nobody of the service"]


async def test_what_another_tells_than_its_certificate_says_or_who_was_not_asked_is_dropped() -> None:
    desk = Desk()
    look = desk.look(destination="bistro/payments")
    desk.tell(PAYMENTS, {"path": "/forged"}, sender="bistro/frontend")
    desk.tell(FRONTEND, {"path": "/forged too"}, sender="bistro/payments")
    desk.tell(PAYMENTS, {"path": "/other end"}, side="client")
    desk.tell(FRONTEND, {"path": "/not asked"})
    desk.tell(PAYMENTS, {"path": "/true"})
    assert (await shown(look))[0] == ["/true"]
    look.close()
    desk.tell(PAYMENTS, {"path": "/nobody looks"})


def test_what_is_no_export_is_an_error_while_somebody_looks() -> None:
    desk = Desk()
    with pytest.raises(ValueError, match="protobuf"):
        desk.taps.take(Export(sender="bistro/payments", content_type="application/json", body=b"{}"))
    broken = Export(sender="bistro/payments", content_type=PROTOBUF, body=b"\xff\xff")
    assert desk.taps.take(broken) == b"", "it is not even read"
    desk.look()
    with pytest.raises(ValueError, match="not what a log is told by"):
        desk.taps.take(broken)


async def test_so_many_are_shown_a_second_and_the_others_counted() -> None:
    desk = Desk()
    look = desk.look(10)
    desk.tell(PAYMENTS, *({"path": f"/{number}"} for number in range(25)))
    paths, last = await shown(look)
    assert paths == [f"/{number}" for number in range(10)]
    assert last.left_out == 15
    desk.now += 0.5
    desk.tell(PAYMENTS, *({"path": f"/{number}"} for number in range(25)))
    paths, last = await shown(look)
    assert paths == [f"/{number}" for number in range(5)]
    assert last.left_out == 35


def test_a_proxy_with_too_many_requests_tells_of_a_share_of_them_until_it_has_fewer() -> None:
    desk = Desk()
    desk.look()
    desk.retold.clear()
    desk.many(PAYMENTS, 20_000, 0.5)
    desk.many(OTHER, 10, 0.0)
    share = desk.taps.tapped(PAYMENTS).server
    assert 0.9 * MOST_OF_ONE < 20_000 * share / ALL <= MOST_OF_ONE
    assert desk.taps.tapped(OTHER) == SERVER
    assert desk.retold == [{PAYMENTS}]
    for _ in range(10):
        desk.many(PAYMENTS, 20_000, 0.5)
    assert desk.retold == [{PAYMENTS}], "while it stays so, nothing is said"
    for _ in range(3):
        desk.many(PAYMENTS, 5, 0.5)
        desk.taps.adjust()
    assert desk.taps.tapped(PAYMENTS) == SERVER


def test_all_together_tell_no_more_than_can_be_looked_at_and_who_has_few_tells_all() -> None:
    desk = Desk()
    names = [key(f"busy-{number}") for number in range(9)]
    taps = Taps(lambda: names, lambda _: None, desk._settled, lambda: desk.now)
    desk.taps = taps
    taps.open(TapFilter(), 100)
    for _ in range(3):
        desk.now += 0.5
        for one in names[:8]:
            share = taps.tapped(one).server / ALL
            desk.tell(one, *({"path": "/"} for _ in range(round(2000 * share * 0.5))))
        desk.tell(names[8], *({"path": "/"} for _ in range(10)))
    total = sum(2000 * taps.tapped(one).server / ALL for one in names[:8])
    assert 0.6 * MOST < total <= MOST * 1.1
    assert taps.tapped(names[8]) == SERVER


async def test_a_proxy_that_tells_more_than_can_be_read_keeps_nobody_busy() -> None:
    desk = Desk()
    look = desk.look(1_000_000)
    desk.tell(PAYMENTS, *({"path": "/"} for _ in range(2_999)))
    desk.tell(PAYMENTS, *({"path": "/"} for _ in range(50_000)))
    assert len(look._waiting) + look._left_out == 3_000
    desk.now += 1
    look._waiting.clear()
    desk.taps.adjust()
    desk.tell(PAYMENTS, {"path": "/again"})
    assert (await shown(look))[0] == ["/again"]


async def test_what_a_proxy_leaves_out_is_counted_too() -> None:
    desk = Desk()
    look = desk.look(1_000_000)
    desk.many(PAYMENTS, 10_000, 0.5)
    assert desk.taps.tapped(PAYMENTS).server < ALL
    await shown(look)
    before = look._left_out
    desk.many(PAYMENTS, 10_000, 0.5)
    paths, last = await shown(look)
    assert 4_900 < len(paths) + last.left_out - before < 5_100


async def test_one_who_looks_hears_a_word_when_there_is_nothing_and_the_end() -> None:
    desk = Desk()
    look = desk.look()
    lines = [line async for line in _until_closed(look, 3)]
    assert [line.request for line in lines] == [None, None, None]
    assert desk.tapped() == {}


async def _until_closed(look: Look, number: int):  # type: ignore[no-untyped-def]
    async for line in look:
        yield line
        number -= 1
        if not number:
            asyncio.get_running_loop().call_soon(look.close)


@pytest.mark.parametrize(
    "wanted",
    [{"source": "frontend"}, {"destination": "a/b/c"}, {"path": "pay"}, {"status": "6xx"}, {"status": "ok"}],
)
def test_what_can_not_be_looked_for_is_said(wanted: Mapping[str, str]) -> None:
    desk = Desk()
    with pytest.raises(ValueError, match=r"names no workload|is no path|is no status"):
        desk.look(**wanted)
    assert desk.tapped() == {}
