"""The pages of docs/tasks about rollouts, which take their time: done as they stand, beside those of test_tasks."""

from __future__ import annotations

import pytest

from tests.docs.tasks import ROLLOUTS
from tests.docs.test_tasks import Readers, do, readers

__all__ = ["readers"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


_SLOW = frozenset({"ab-testing", "blue-green", "canary"})
"""Done by `make prove`."""


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.prove) if one in _SLOW else one for one in ROLLOUTS]
)
async def test_a_rollout_shows_what_its_page_says_and_leaves_nothing(readers: Readers, name: str) -> None:
    await do(await readers.of(0), name)
