"""Each case holds, and holds no more without any of the fields that it proves."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

import tests.fields.destination_rule
import tests.fields.grpc_route
import tests.fields.http_route
import tests.fields.istio_operator
import tests.fields.rate_limit
import tests.fields.reference_grant
import tests.fields.request_authentication
import tests.fields.sidecar
import tests.fields.telemetry
import tests.fields.virtual_service  # noqa: F401  # they register their cases
from tests.fields.cases import CASES, Case, idle
from tests.fields.mesh import Mesh, running

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Mesh]:
    async with running() as made:
        yield made


@pytest.mark.parametrize("case", [one for one in CASES if not one.slow], ids=lambda case: case.name)
async def test_a_case_holds_and_each_of_its_fields_is_needed(mesh: Mesh, case: Case) -> None:
    assert await idle(mesh, case) == [], "they make no difference"
