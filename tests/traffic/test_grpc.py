"""gRPC through two sidecars: calls and streams go on while everything around them changes, and end as they were ended."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from itertools import count
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from tests.envoy.support import eventually
from tests.traffic.grpcs import DETAILS, Kitchens, channel, open_kitchens
from tests.traffic.mesh import Mesh, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHANGES = 20
CALLS_A_SECOND = 100
DEADLINE = 5.0
STREAMS = 8


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with running(3) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kitchens(mesh: Mesh) -> AsyncIterator[Kitchens]:
    async with open_kitchens(mesh) as opened:
        yield opened


ROUTE = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: kitchen, namespace: bistro}}
spec:
  hosts: [kitchen]
  http:
  - match: [{{headers: {{x-turn: {{exact: "{turn}"}}}}}}]
    directResponse: {{status: 418}}
  - headers: {{request: {{set: {{x-turn: "{turn}"}}}}}}
    route:
    - {{destination: {{host: kitchen, subset: v0}}, weight: {weight}}}
    - {{destination: {{host: kitchen, subset: v1}}, weight: {rest}}}
"""
WHO_MAY = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: kitchen, namespace: bistro}}
spec:
  selector: {{matchLabels: {{app: kitchen}}}}
  rules:
  - from: [{{source: {{principals: [cluster.local/ns/bistro/sa/guest]}}}}]
  - to: [{{operation: {{paths: [/turn/{turn}]}}}}]
"""
MTLS = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: kitchen, namespace: bistro}}
spec: {{mtls: {{mode: {mode}}}}}
"""
HOW = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: how, namespace: bistro}}
spec:
  host: kitchen
  trafficPolicy:
    loadBalancer: {{simple: {balance}}}
    connectionPool: {{http: {{http2MaxRequests: {most}}}}}
"""


async def change(mesh: Mesh, turn: int) -> None:
    """One change after the other: routes, policies, how a destination is called, and who is an endpoint."""
    said = [
        ROUTE.format(turn=turn // 5, weight=20 + turn, rest=80 - turn) if (turn + 4) // 5 % 2 else "",
        WHO_MAY.format(turn=(turn + 3) // 5),
        HOW.format(balance=("ROUND_ROBIN", "RANDOM")[(turn + 2) // 5 % 2], most=1000 + (turn + 2) // 5),
        MTLS.format(mode=("STRICT", "PERMISSIVE")[(turn + 1) // 5 % 2]),
    ]
    await mesh.say("".join(said), absent={"kitchen-2"} if turn // 5 % 2 else set())


async def talk(open_channel: Any, stop: asyncio.Event) -> tuple[str, int]:
    """A stream that says something and hears it again until it is told to stop: from whom, and how often."""
    call = open_channel.stream_stream("/Kitchen/Chat")()
    for number in count(1):
        await call.write(b"%d" % number)
        assert await call.read() == b"%d" % number
        if stop.is_set():
            break
        await asyncio.sleep(0.02)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK
    trailers = dict(await call.trailing_metadata())
    assert trailers["heard"] == str(number)
    return trailers["served-by"], number


async def order(open_channel: Any, number: int) -> str:
    """Who answered a call that came to a good end, all its trailers with it."""
    call = open_channel.unary_unary("/Kitchen/Order")(b"%d" % number, timeout=DEADLINE)
    assert await call == b"%d" % number
    trailers = dict(await call.trailing_metadata())
    assert trailers["bill-bin"] == b"%d" % number
    return str(trailers["served-by"])


async def orders(open_channel: Any, stop: asyncio.Event) -> Counter[str]:
    """Calls at a steady rate; what became of them."""
    ended: Counter[str] = Counter()

    async def one(number: int) -> None:
        try:
            ended[await order(open_channel, number)] += 1
        except grpc.aio.AioRpcError as error:
            ended[repr(error)] += 1

    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as calls:
        began, number = loop.time(), 0
        while not stop.is_set():
            while number < (loop.time() - began) * CALLS_A_SECOND:
                calls.create_task(one(number))
                number += 1
            await asyncio.sleep(0.005)
    assert ended.total() == number
    return ended


async def through_changes(mesh: Mesh, kitchens: Kitchens, seconds: float) -> tuple[Counter[str], list[int]]:
    """Calls by who answered them, and how much each stream has heard, while one change after the other is made."""
    kitchens.served.clear()
    kitchens.remaining.clear()
    await change(mesh, 0)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with channel(mesh) as open_channel, asyncio.TaskGroup() as group:
        calls = group.create_task(orders(open_channel, stop))
        streams = [group.create_task(talk(open_channel, stop)) for _ in range(STREAMS)]

        async def begun() -> bool:
            return kitchens.served["Chat"] == STREAMS

        await eventually(begun)
        began = loop.time()
        for turn in range(1, CHANGES + 1):
            await change(mesh, turn)
            await asyncio.sleep(max(0.0, began + turn * seconds / CHANGES - loop.time()))
        stop.set()
    assert set(calls.result()) <= set(mesh.kitchens), calls.result()
    assert kitchens.served == {"Chat": STREAMS, "Order": calls.result().total()}
    assert all(0 < left <= DEADLINE * 1.01 for left in kitchens.remaining), "clients round up, by 1 % at most"
    by, heard = zip(*(stream.result() for stream in streams), strict=True)
    assert set(by) == set(mesh.kitchens), "one of them is no endpoint for a while"
    return calls.result(), list(heard)


async def test_no_call_and_no_stream_is_ended_by_a_change(mesh: Mesh, kitchens: Kitchens) -> None:
    calls, streams = await through_changes(mesh, kitchens, 6)
    assert calls.keys() == set(mesh.kitchens)
    assert min(streams) > 50


@pytest.mark.prove
async def test_streams_of_a_minute_and_a_hundred_calls_a_second_outlast_twenty_changes(
    mesh: Mesh, kitchens: Kitchens, record_property: Callable[[str, object], None]
) -> None:
    calls, streams = await through_changes(mesh, kitchens, 60)
    record_property("calls while 20 changes were made", calls.total())
    record_property("failed", calls.total() - sum(calls[name] for name in mesh.kitchens))
    record_property(f"messages to and fro on {STREAMS} streams of 60 s", sum(streams))
    record_property("seconds left of 5 when a call came, at least", f"{min(kitchens.remaining):.2f}")
    assert calls.keys() == set(mesh.kitchens)


CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name.lower())
async def test_a_status_comes_back_whole_and_the_call_was_made_once(
    mesh: Mesh, kitchens: Kitchens, code: grpc.StatusCode
) -> None:
    await mesh.say()
    kitchens.served.clear()
    async with channel(mesh) as open_channel:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await open_channel.unary_unary("/Kitchen/Refuse")(code.name.encode())
    assert failure.value.code() is code
    assert failure.value.details() == f"{code.value[1]}: 100 % ausverkauft, schöne Grüße"
    assert dict(failure.value.trailing_metadata())[DETAILS] == b"\0\xff" + code.name.encode()
    assert kitchens.served == {code.name: 1}


async def test_who_gives_up_a_call_gives_it_up_everywhere(mesh: Mesh, kitchens: Kitchens) -> None:
    await mesh.say()
    kitchens.served.clear()
    kitchens.cancelled.clear()
    async with channel(mesh) as open_channel:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await open_channel.unary_unary("/Kitchen/Wait")(b"", timeout=0.5)
        assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(kitchens.cancelled.wait(), 10)
    assert kitchens.served == {"Wait": 1}


async def test_a_timeout_of_the_mesh_is_told_as_no_deadline_of_anybody(
    mesh: Mesh, kitchens: Kitchens
) -> None:
    await mesh.say(TIMEOUT)
    async with channel(mesh) as open_channel:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await open_channel.unary_unary("/Kitchen/Wait")(b"", timeout=DEADLINE)
    assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
    assert failure.value.details() == "upstream request timeout"


TIMEOUT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: kitchen, namespace: bistro}
spec: {hosts: [kitchen], http: [{timeout: 200ms, route: [{destination: {host: kitchen}}]}]}
"""
