"""The real Envoy takes whatever follows from valid documents."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plait.compiler.endpoints import endpoints
from plait.compiler.view import view
from plait.envoy.check import check
from plait.envoy.render import Renderer
from plait.model.settings import Mode
from plait.run.compilation import Compilation
from tests.envoy.namespaces import hub, needed
from tests.properties.judge import Judge, judge
from tests.properties.runs import examples
from tests.properties.sets import Value, sets
from tests.properties.telling import SETTINGS, located, running

needed()


@pytest.fixture(scope="module")
def judges() -> Iterator[dict[Mode, Judge]]:
    with (
        hub() as place,
        judge(place, transparent=False) as explicit,
        judge(place, transparent=True) as transparent,
    ):
        yield {Mode.EXPLICIT: explicit, Mode.TRANSPARENT: transparent}


def accepted(judges: dict[Mode, Judge], documents: list[Value], mode: Mode, number: int) -> None:
    """An Envoy takes what it is told when it is beside one of the workloads of these documents."""
    asked = judges[mode]
    mesh = Compilation(SETTINGS).compile(located(documents)).mesh
    others = running(mesh)
    of = others[number % len(others)] if others else asked.replica
    mine = asked.as_if(of.key.workload.namespace, of.labels, of.service_account)
    seen = view(mesh, mine)
    snapshot = Renderer().render(seen, endpoints(mesh, (*others, mine)))
    assert check(snapshot, seen.outbound.missing) == ()
    refused = asked.refusals(snapshot)
    assert not refused, f"as {of.key} in {mode} mode: {refused}"


@examples(150)
@given(sets(), st.sampled_from(Mode), st.integers(0, 9))
def test_envoy_takes_whatever_follows_from_valid_documents(
    judges: dict[Mode, Judge], documents: list[Value], mode: Mode, number: int
) -> None:
    accepted(judges, documents, mode, number)
