"""What is said of a host holds as well where it is said of a port, of a subset, or of a port of a subset."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from plait.compiler.view import view
from plait.model.mesh import ClusterKey
from plait.model.traffic import HashKey, TrafficPolicy
from tests.compiler.facts import host, replica
from tests.fields.cases import CASES, Case, idle
from tests.fields.lifted import LIFTED, PLACES, PORT
from tests.fields.mesh import FRONTEND, Mesh, facts, merged, running


@pytest.mark.parametrize(("case", "lifted"), LIFTED, ids=lambda case: case.name)
def test_a_policy_is_the_same_wherever_it_is_said(case: Case, lifted: Case) -> None:
    assert _called(lifted) == _called(case)
    for field in lifted.fields:
        assert lifted.text(without=field) != lifted.text()


def _called(case: Case) -> tuple[TrafficPolicy, list[HashKey | None]]:
    """How reservations is called by the frontend at the port that is called, and what chooses the replica."""
    told = view(merged(facts(case.text())), replica(FRONTEND)).outbound
    place = (host("reservations"), PORT)
    (cluster,) = (one for one in told.clusters if one.key == ClusterKey(*place, case.subset))
    (routes,) = (one for one in told.routes if (one.host, one.port) == place)
    backends = [backend for rule in routes.rules for backend in rule.backends]
    assert [(one.host, one.port, one.subset) for one in backends] == [(*place, case.subset)]
    return cluster.policy, [one.hash_key for one in backends]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with running() as made:
        yield made


@pytest.mark.prove
@pytest.mark.timeout(1200)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("place", PLACES)
async def test_a_policy_holds_where_it_is_said_and_each_of_its_fields_is_needed(
    mesh: Mesh, place: str, record_property: Callable[[str, object], None]
) -> None:
    cases = [one for _, one in LIFTED if one.place == place]
    await _needed(mesh, cases)
    record_property("cases", len(cases))
    record_property("fields taken away", sum(len(one.fields) for one in cases))


@pytest.mark.prove
@pytest.mark.timeout(600)
@pytest.mark.asyncio(loop_scope="module")
async def test_a_case_that_takes_its_time_holds_and_each_of_its_fields_is_needed(mesh: Mesh) -> None:
    await _needed(mesh, [one for one in CASES if one.slow])


async def _needed(mesh: Mesh, cases: list[Case]) -> None:
    failed = []
    for case in cases:
        try:
            failed += [f"{case.name}: {field} makes no difference" for field in await idle(mesh, case)]
        except AssertionError as error:
            failed.append(f"{case.name} does not hold: {error}")
    assert not failed, "\n".join(failed)
