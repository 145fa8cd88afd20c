"""What is tried again by itself, and what never: how often an application carries out what was asked for once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.traffic.failures import BARE, ILL, MAYBE_DONE, NEVER_SENT, WELL, Failure, Ledger, failing
from tests.traffic.mesh import HOST, Mesh, running
from tests.traffic.wire import get, open_kitchens, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPEATABLE = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE")
ONCE = ("POST", "PATCH", "LOCK", "SEARCH")
TIMES = 4


def policy(said: str) -> str:
    """A DestinationRule with a traffic policy."""
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: policy, namespace: bistro}}
spec: {{host: kitchen, trafficPolicy: {{{said}}}}}
"""


IN_TURN = policy("loadBalancer: {simple: ROUND_ROBIN}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with running(3, bare={BARE}) as made:
        yield made


async def ask(mesh: Mesh, method: str, number: str, target: str = "/", seconds: float = 0.0) -> int:
    """The status of one request, for which an application that is well takes so long."""
    address = mesh.replicas["guest"].sidecar
    reader, writer = await asyncio.open_connection(address.address, address.outbound)
    body = "" if method in {"GET", "HEAD", "TRACE", "CONNECT"} else "table 7"
    head = f"{method} {target} HTTP/1.1\r\nhost: {HOST}\r\nid: {number}\r\nseconds: {seconds}\r\nconnection: close\r\n"
    writer.write(f"{head}{f'content-length: {len(body)}' if body else 'x: y'}\r\n\r\n{body}".encode())
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 20)
    writer.close()
    return int(answer.split()[1])


async def asked(mesh: Mesh, method: str) -> dict[str, int]:
    """The statuses of some requests, one after the other, by their numbers."""
    return {str(number): await ask(mesh, method, str(number)) for number in range(TIMES)}


@pytest.mark.parametrize("how", NEVER_SENT, ids=lambda how: how.value.replace(" ", "-"))
async def test_what_was_never_sent_is_done_by_another_once_whatever_the_method(
    mesh: Mesh, tmp_path: Path, how: Failure
) -> None:
    await mesh.say(IN_TURN, absent={ILL, BARE} - {how.who})
    for method in (*REPEATABLE, *ONCE):
        ledger, before = Ledger(), await mesh.upstream("upstream_rq_retry")
        async with failing(mesh, how, ledger, tmp_path):
            statuses = await asked(mesh, method)
        assert (method, set(statuses.values())) == (method, {200})
        assert ledger.well == dict.fromkeys(statuses, 1)
        assert not ledger.ill
        assert await mesh.upstream("upstream_rq_retry") > before, "nobody was sent to the one that fails"


async def unreached(mesh: Mesh) -> int:
    """Attempts for which the guest's proxy has reached nobody, as agents tell it."""
    eject, nobody = "upstream_rq_pending_failure_eject", "upstream_cx_none_healthy"
    return await mesh.upstream(eject) + await mesh.upstream(nobody)


@pytest.mark.parametrize("how", [Failure.NO_SIDECAR, Failure.DEAF_SIDECAR], ids=lambda how: how.name)
async def test_an_attempt_that_reaches_nobody_is_counted_though_a_retry_is_answered(
    mesh: Mesh, tmp_path: Path, how: Failure
) -> None:
    await mesh.say(IN_TURN, absent={ILL})
    before, retried = await unreached(mesh), await mesh.upstream("upstream_rq_retry")
    async with failing(mesh, how, Ledger(), tmp_path):
        assert set((await asked(mesh, "POST")).values()) == {200}
    assert await unreached(mesh) - before == await mesh.upstream("upstream_rq_retry") - retried > 0


async def test_a_request_for_which_there_is_nobody_is_counted(mesh: Mesh) -> None:
    await mesh.say(absent={WELL, ILL, BARE})
    before = await unreached(mesh)
    assert set((await asked(mesh, "POST")).values()) == {503}
    assert await unreached(mesh) - before >= TIMES


@pytest.mark.parametrize("how", MAYBE_DONE, ids=lambda how: how.value.replace(" ", "-"))
async def test_what_may_have_been_done_is_done_again_only_if_that_changes_nothing(
    mesh: Mesh, tmp_path: Path, how: Failure
) -> None:
    await mesh.say(IN_TURN, absent={ILL, BARE} - {how.who})
    for method in REPEATABLE:
        ledger = Ledger()
        async with failing(mesh, how, ledger, tmp_path):
            statuses = await asked(mesh, method)
        assert (method, set(statuses.values())) == (method, {200})
        assert ledger.well == dict.fromkeys(statuses, 1)
        assert ledger.met
        assert set(ledger.ill.values()) <= {1}
    for method in ONCE:
        ledger = Ledger()
        async with failing(mesh, how, ledger, tmp_path):
            statuses = await asked(mesh, method)
        failed = {number for number, status in statuses.items() if status != 200}
        assert (method, {statuses[number] for number in failed}) == (method, {503})
        assert ledger.well == dict.fromkeys(statuses.keys() - failed, 1)
        assert ledger.met == len(failed) > 0
        if how is not Failure.DEAF_APPLICATION:
            assert ledger.ill == dict.fromkeys(failed, 1)


async def test_nobody_is_asked_to_open_a_tunnel(mesh: Mesh, tmp_path: Path) -> None:
    await mesh.say(IN_TURN, absent={ILL, BARE})
    ledger = Ledger()
    async with failing(mesh, Failure.BUSY_APPLICATION, ledger, tmp_path):
        assert await ask(mesh, "CONNECT", "0", HOST) == 404
    assert not ledger.well


async def test_a_method_that_envoy_does_not_know_is_refused(mesh: Mesh, tmp_path: Path) -> None:
    await mesh.say(IN_TURN, absent={ILL, BARE})
    ledger = Ledger()
    async with failing(mesh, Failure.BUSY_APPLICATION, ledger, tmp_path):
        assert await ask(mesh, "BOOK", "0") == 400
    assert not ledger.well


async def test_twenty_at_once_that_were_never_sent_all_find_another(mesh: Mesh, tmp_path: Path) -> None:
    """Every other one of forty is sent to who is not there; a fifth of them would be eight."""
    await mesh.say(IN_TURN, absent={BARE})
    async with failing(mesh, Failure.NO_APPLICATION, Ledger(), tmp_path):
        for _ in range(3):
            statuses = await asyncio.gather(*(ask(mesh, "POST", str(number)) for number in range(40)))
            assert set(statuses) == {200}


async def test_of_three_the_only_one_that_is_there_is_found_though_it_is_busy(
    mesh: Mesh, tmp_path: Path
) -> None:
    """The least busy ones are those that are not there."""
    await mesh.say()
    async with failing(mesh, Failure.NO_APPLICATION, Ledger(), tmp_path), asyncio.TaskGroup() as group:
        long_ones = [group.create_task(ask(mesh, "POST", "long", seconds=1.0)) for _ in range(5)]
        statuses = [await ask(mesh, "POST", str(number)) for number in range(40)]
    assert {*statuses, *(one.result() for one in long_ones)} == {200}


REQUESTS, AT_A_TIME = 1000, 150


async def test_who_fails_altogether_is_asked_a_quarter_more_at_most(mesh: Mesh) -> None:
    """A fifth of what is under way may be retries: one for four requests."""
    asked, statuses = await while_all_fail(mesh, "")
    assert statuses == {503}
    assert REQUESTS < asked <= REQUESTS * 5 / 4


async def test_it_is_the_budget_that_ends_retries(mesh: Mesh) -> None:
    asked, _ = await while_all_fail(mesh, policy("connectionPool: {http: {maxRetries: 1000}}"))
    assert asked == REQUESTS * 3
    asked, _ = await while_all_fail(mesh, policy("retryBudget: {percent: 0, minRetryConcurrency: 0}"))
    assert asked == REQUESTS


async def while_all_fail(mesh: Mesh, text: str) -> tuple[int, set[int]]:
    """How often the only application, which answers 503, is asked for so many GETs; and what these come to."""
    await mesh.say(text, absent={ILL, BARE})
    async with open_kitchens(mesh) as kitchens:
        kitchens.failing, kitchens.status, kitchens.seconds = {WELL}, 503, 0.01
        answers = await send(mesh.proxies["guest"], [get()] * REQUESTS, at_a_time=AT_A_TIME)
    return len(kitchens.asked), {one.status for one in answers}
