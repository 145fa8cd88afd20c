"""What `plait up` tells: that everything is ready comes after the line of each replica that is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from plait.api.events import CanaryChanged, ConfigChanged, Event, ReplicaChanged
from plait.run import narrator
from plait.run.views import workload
from tests.api.planes import CANARY
from tests.run.test_registry import report


class Over(Exception):  # noqa: N818 - the end of the test's events
    """Nothing more happens."""


async def test_that_all_is_ready_is_told_last(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    ready = [ReplicaChanged(workload(report(number))) for number in (0, 1)]
    monkeypatch.setattr(narrator, "Client", lambda _: _client(ready))
    with pytest.raises(Over):
        await narrator.narrate(Path("nowhere"), told.append, 0.0)
    assert [line.split()[-1] for line in told] == ["ready", "ready"], (
        "the proxies do not know of each other yet"
    )
    told.clear()
    monkeypatch.setattr(
        narrator, "Client", lambda _: _client([*ready, ConfigChanged(2)], [False, False, True])
    )
    with pytest.raises(Over):
        await narrator.narrate(Path("nowhere"), told.append, 0.0)
    assert [line.split()[-1] for line in told[:2]] == ["ready", "ready"]
    assert told[2].startswith("ready: 2 of 2")


@asynccontextmanager
async def _client(changes: Sequence[Event], synced: Sequence[bool] = ()) -> AsyncIterator[SimpleNamespace]:
    """A control plane where all is ready already when the first event is heard.

    `synced`: whether its proxy has answered, time by time that one asks; all of it has to be asked.
    """
    answers = list(synced)

    async def events() -> AsyncIterator[Event]:
        for change in changes:
            yield change
        raise Over

    async def status() -> SimpleNamespace:
        return SimpleNamespace(mesh=SimpleNamespace(ready=2, wanted=2))

    async def proxies() -> tuple[SimpleNamespace, ...]:
        return (
            SimpleNamespace(connected=1.0, synced=answers.pop(0)),
            SimpleNamespace(connected=None, synced=False),
        )

    yield SimpleNamespace(events=events, status=status, proxies=proxies)
    assert not answers


async def test_a_rollout_is_told_of_step_by_step_and_not_at_every_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    looks = (
        CANARY,
        replace(CANARY, message="waiting for traffic: 80 of 100 requests", due="later"),
        replace(CANARY, weight=40, step=40),
        replace(CANARY, phase="WaitingPromotion", gate="confirm-promotion", message="waits to be confirmed"),
        replace(CANARY, phase="Failed", message="aborted by a user"),
    )
    monkeypatch.setattr(narrator, "Client", lambda _: _client([CanaryChanged(one) for one in looks]))
    with pytest.raises(Over):
        await narrator.narrate(Path("nowhere"), told.append, 0.0)
    assert told == [
        "rollout bistro/reservations Progressing, 20 %, up to 50 %",
        "rollout bistro/reservations Progressing, 40 %, up to 50 %",
        "rollout bistro/reservations WaitingPromotion, 20 %, up to 50 %: waits to be confirmed",
        "rollout bistro/reservations Failed: aborted by a user",
    ]
