"""A real Envoy takes all that it is told of a mesh of one service, in both modes."""

import pytest

from bench.sidecars import CASE, of, records
from plait.model.settings import Mode


@pytest.mark.parametrize("mode", Mode)
async def test_the_memory_of_an_envoy_is_that_of_one_that_has_everything(mode: Mode) -> None:
    costs = await of(1, mode, runs=1)
    found = {record.metric: record for record in records("1 services", costs)}
    assert {record.case for record in found.values()} == {CASE}
    assert 30 < found["memory"].median < 300
    assert 0 < found["ready after"].median < 5
    assert found["resources"].median > 5
    assert found["bytes sent"].median > 5
