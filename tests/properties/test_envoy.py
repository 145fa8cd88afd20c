"""The real Envoy takes whatever follows from valid documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

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
from tests.properties.runs import PATIENT, SECONDS, examples, tried
from tests.properties.sets import Value, sets
from tests.properties.telling import SETTINGS, located, running

needed()

pytestmark = PATIENT

Judges = dict[Mode, Judge]
MODES = st.sampled_from(Mode)
NUMBERS = st.integers(0, 9)


@pytest.fixture(scope="module")
def judges() -> Iterator[Judges]:
    with (
        hub() as place,
        judge(place, transparent=False) as explicit,
        judge(place, transparent=True) as transparent,
    ):
        yield {Mode.EXPLICIT: explicit, Mode.TRANSPARENT: transparent}


def accepted(judges: Judges, documents: list[Value], mode: Mode, number: int) -> None:
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


@examples(100)
@given(sets(), MODES, NUMBERS)
def test_envoy_takes_whatever_follows_from_valid_documents(
    judges: Judges, documents: list[Value], mode: Mode, number: int
) -> None:
    accepted(judges, documents, mode, number)


@pytest.mark.prove
@pytest.mark.timeout(SECONDS)
def test_envoy_takes_what_follows_from_thousands_of_sets(
    judges: Judges, record_property: Callable[[str, object], None]
) -> None:
    record_property("sets", tried(partial(accepted, judges), 5000, sets(), MODES, NUMBERS))
