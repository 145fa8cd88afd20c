"""Tables: what differs is found once, and a stream keeps no more than what sets its proxy apart."""

import gc
import weakref
from typing import Any

import pytest

from plait.resource import CLUSTER, ENDPOINTS, NO_DIFFERENCE, Layers, Resource, Table
from plait.xds.messages import Request, Response
from plait.xds.stream import Stream


def made(kind: str, name: str, version: str = "1") -> Resource:
    return Resource(kind, name, version, b"", b"")


def many(kind: str, **changed: str) -> dict[str, Resource]:
    return {
        name: made(kind, name, changed.get(name, "1")) for name in (f"n{number}" for number in range(300))
    }


def test_a_table_of_the_very_same_is_the_one_from_before() -> None:
    before = Table.of(many(CLUSTER).values())
    assert Table.of(before.resources.values(), before) is before
    assert Table.of([*before.resources.values()][1:], before) is not before
    assert Table.of(many(CLUSTER).values(), before) is not before, "equal, but not the same"


def test_what_differs_is_found_once_for_all_who_have_the_same() -> None:
    before, after = Table(many(CLUSTER)), Table(many(CLUSTER, n7="2") | {"more": made(CLUSTER, "more")})
    found = after.since(before)
    assert set(found.changed) == {"n7", "more"}
    assert found.gone == frozenset()
    assert before.since(after).gone == {"more"}
    assert after.since(before) is found
    assert after.since(after) is NO_DIFFERENCE


def test_a_table_that_nobody_has_any_more_is_not_kept() -> None:
    before, after = Table(many(CLUSTER)), Table(many(CLUSTER, n7="2"))
    after.since(before)
    gone = weakref.ref(before)
    del before
    gc.collect()
    assert gone() is None


def talk(stream: Stream, taken: Any = lambda _: True) -> list[Response]:
    heard = []
    while (response := stream.pull(0.0)) is not None:
        heard.append(response)
        error = None if taken(response) else "no"
        stream.receive(Request(type_url=response.type_url, nonce=response.nonce, error=error), 0.0)
    return heard


def kept(stream: Stream) -> int:
    """How many names the stream keeps for its proxy alone."""
    return sum(len(watch._held) for watch in stream._watches.values())


@pytest.fixture
def stream() -> Stream:
    snapshot = {
        CLUSTER: Layers(Table(many(CLUSTER)), {"own": made(CLUSTER, "own")}),
        ENDPOINTS: Layers(Table(many(ENDPOINTS))),
    }
    found = Stream(snapshot, 1)
    found.receive(Request(type_url=CLUSTER, node="a"), 0.0)
    found.receive(Request(type_url=ENDPOINTS, subscribe=tuple(many(ENDPOINTS))), 0.0)
    return found


def test_a_proxy_that_has_everything_costs_what_is_its_own(stream: Stream) -> None:
    assert [len(one.resources) for one in talk(stream)] == [301, 300]
    assert kept(stream) == 1
    again = Table(many(ENDPOINTS, n3="2"))
    clusters = stream._newest[CLUSTER]
    stream.publish({CLUSTER: clusters, ENDPOINTS: Layers(again)}, 2)
    assert [[one.name for one in response.resources] for response in talk(stream)] == [["n3"]]
    assert kept(stream) == 1


def test_what_a_proxy_refuses_is_all_that_it_is_remembered_for(stream: Stream) -> None:
    talk(stream)
    changed = many(CLUSTER, n3="2", n4="2")
    stream.publish({CLUSTER: Layers(Table(changed)), ENDPOINTS: stream._newest[ENDPOINTS]}, 2)
    talk(
        stream, taken=lambda one: one.type_url != CLUSTER or "n3" not in {each.name for each in one.resources}
    )
    assert [one.resource.name for one in stream.rejections()] == ["n3"]
    assert kept(stream) <= 2
    stream.publish({CLUSTER: Layers(Table(many(CLUSTER, n4="2"))), ENDPOINTS: stream._newest[ENDPOINTS]}, 3)
    talk(stream)
    assert not stream.rejections()
    assert kept(stream) <= 1
    clusters = stream.status()[0]
    assert (clusters.wanted, clusters.acknowledged) == (300, 300)


def test_proxies_that_ask_for_the_same_share_the_names(stream: Stream) -> None:
    other = Stream(stream._newest, 1)
    other.receive(Request(type_url=ENDPOINTS, subscribe=tuple(reversed(tuple(many(ENDPOINTS))))), 0.0)
    assert other._watches[ENDPOINTS].names is stream._watches[ENDPOINTS].names
