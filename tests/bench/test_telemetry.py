"""The part that is about being told what proxies do: a real control plane, and every report taken in."""

from __future__ import annotations

import asyncio

import pytest

from bench import telemetry


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PROXIES": 12, "EVERY": 0.2, "_IDLE": 0.1}.items():
        monkeypatch.setattr(telemetry, name, value)


@pytest.mark.usefixtures("small")
def test_a_small_run_tells_what_is_promised() -> None:
    said: list[str] = []
    records = asyncio.run(telemetry._measured(0.6, said.append))
    assert [(one.metric, one.unit) for one in records] == [
        ("CPU", "of a core"),
        ("CPU a report", "µs"),
        ("memory", "MB"),
        ("peak memory", "MB"),
    ]
    assert {one.part for one in records} == {telemetry.PART}
