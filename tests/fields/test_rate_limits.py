"""Rate limits beside what else a mesh does: edits, policies, callers without a certificate."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.envoy.support import eventually
from tests.fields.mesh import Mesh, running
from tests.fields.rate_limit import TO_V1, statuses

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with running() as made:
        yield made


def limited(limits: str, beside: str = "") -> str:
    return f"""
apiVersion: plait.dev/v1alpha1
kind: RateLimit
metadata: {{name: it, namespace: bistro}}
spec:
  limits: {limits}
---
{TO_V1}
---
{beside}
"""


async def asked(mesh: Mesh) -> bool:
    """Whether an application was asked."""
    return bool(mesh.order)


async def nameless(mesh: Mesh) -> bool:
    """Whether nobody is known by a certificate any more, now that the connections from before are closed."""
    answers = [await mesh.ask(client=client) for client in ("frontend", "reservations-v2")]
    return not any("x-forwarded-client-cert" in answer.asked for answer in answers)


async def test_an_edit_ends_no_stream_opens_no_connection_and_begins_with_full_buckets(mesh: Mesh) -> None:
    await mesh.say(limited("[{requests: 2, per: 1h}]"))
    assert await statuses(mesh, 1) == [200]
    connections = await mesh.connections()
    mesh.order.clear()
    running_on = asyncio.create_task(mesh.ask(headers={"x-seconds": "3"}))
    await eventually(lambda: asked(mesh))
    assert await statuses(mesh, 1) == [429]
    await mesh.say(limited("[{requests: 3, per: 1h}]"))
    assert await statuses(mesh, 4) == [200, 200, 200, 429]
    await mesh.say(limited("[{requests: 0}]"))
    assert await statuses(mesh, 5) == [200] * 5
    assert not running_on.done()
    answer = await running_on
    assert (answer.status, answer.by) == (200, "reservations-v1")
    assert await mesh.connections() == connections


async def test_what_says_the_same_goes_on_counting(mesh: Mesh) -> None:
    await mesh.say(limited("[{requests: 2, per: 1h}]"))
    assert await statuses(mesh, 1) == [200]
    await mesh.say(limited("[{requests: 2, per: 60m, burst: 2, scope: Everybody, name: all}]"))
    assert await statuses(mesh, 2) == [200, 429]


async def test_who_is_not_let_in_takes_nothing_from_those_who_are(mesh: Mesh) -> None:
    policy = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-frontend, namespace: bistro}
spec:
  action: DENY
  rules: [{from: [{source: {principals: [cluster.local/ns/bistro/sa/frontend]}}]}]
"""
    await mesh.say(limited("[{requests: 2, per: 1h}]", beside=policy))
    assert await statuses(mesh, 3) == [403, 403, 403]
    assert await statuses(mesh, 3, client="reservations-v2") == [200, 200, 429]
    assert await statuses(mesh, 1) == [403]


async def test_all_callers_without_a_certificate_are_one(mesh: Mesh) -> None:
    clear = """
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: clear, namespace: bistro}
spec: {mtls: {mode: DISABLE}}
"""
    await mesh.say(f"{TO_V1}\n---\n{clear}")
    await eventually(lambda: nameless(mesh))
    await mesh.say(limited("[{requests: 2, per: 1h, scope: EachIdentity}]", beside=clear))
    assert await statuses(mesh, 1) == [200]
    assert await statuses(mesh, 2, client="reservations-v2") == [200, 429]


async def test_each_port_and_each_replica_counts_for_itself(mesh: Mesh) -> None:
    await mesh.say(limited("[{requests: 1, per: 1h}]"))
    for host in ("reservations:8080", "reservations:8081"):
        for path in ("/", "/v2"):
            assert await statuses(mesh, 2, path=path, host=host) == [200, 429]


async def test_the_most_matches_that_can_be_said_are_taken(mesh: Mesh) -> None:
    matches = ", ".join(f"{{path: {{exact: /{number}}}}}" for number in range(10))
    await mesh.say(limited(f"[{{requests: 1, per: 1h, matches: [{matches}]}}]"))
    assert await statuses(mesh, 2, path="/other") == [200, 200]
    assert await statuses(mesh, 1, path="/0") == [200]
    for number in range(10):
        assert await statuses(mesh, 1, path=f"/{number}") == [429]


async def test_refused_requests_are_counted_as_such(mesh: Mesh) -> None:
    await mesh.say(limited("[{requests: 1, per: 1h}]"))
    await mesh.proxies["reservations-v1"].merged()
    before = await refused(mesh)
    assert await statuses(mesh, 4) == [200, 429, 429, 429]
    await eventually(lambda: are_counted(mesh, before + 3))


async def are_counted(mesh: Mesh, number: int) -> bool:
    return await refused(mesh) == number


async def refused(mesh: Mesh) -> int:
    """How many requests version 1 has refused because they were too many."""
    lines = (await mesh.proxies["reservations-v1"].metrics()).splitlines()
    marks = ('response_code="429"', 'response_flags="RL"')
    counted = [line for line in lines if line.startswith("istio_requests_total{")]
    return sum(int(line.rpartition(" ")[2]) for line in counted if all(mark in line for mark in marks))
