"""What `plait up` tells: that everything is ready comes after the line of each replica that is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from plait.api.events import Event, ReplicaChanged
from plait.api.views import WorkloadStatus
from plait.run import narrator
from plait.run.views import workload
from tests.run.test_registry import report


class Over(Exception):  # noqa: N818 - the end of the test's events
    """Nothing more happens."""


async def test_that_all_is_ready_is_told_last(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    ready = [workload(report(number)) for number in (0, 1)]
    monkeypatch.setattr(narrator, "Client", lambda _: _client(ready))
    with pytest.raises(Over):
        await narrator.narrate(Path("nowhere"), told.append, 0.0)
    assert [line.split()[-1] for line in told[:2]] == ["ready", "ready"]
    assert told[2].startswith("ready: 2 of 2")


@asynccontextmanager
async def _client(ready: list[WorkloadStatus]) -> AsyncIterator[SimpleNamespace]:
    """A control plane where all is ready already when the first event is heard."""
    changes: Iterator[Event] = map(ReplicaChanged, ready)

    async def events() -> AsyncIterator[Event]:
        for change in changes:
            yield change
        raise Over

    async def status() -> SimpleNamespace:
        return SimpleNamespace(mesh=SimpleNamespace(ready=2, wanted=2))

    yield SimpleNamespace(events=events, status=status)
