"""Traces over the API: what is looked for arrives as it was asked, and what can't be asked is refused in words."""

from __future__ import annotations

import pytest

from plait.api.client import ApiError, Client
from plait.telemetry.spans import Search
from tests.api.planes import FakePlane, served
from tests.cli.test_trace import TRACE


async def test_what_is_looked_for_arrives_as_it_was_asked() -> None:
    plane = FakePlane(traced=(TRACE,))
    async with served(plane), Client(plane.socket) as client:
        (found,) = await client.traces(
            {"service": "a", "workload": "b/c", "tag": ["x=1", "y=a=b"], "status": "error", "limit": "5"}
            | {"min_duration": "0.25", "since": "1.5", "until": "7"}
        )
        await client.traces({"status": "ok", "limit": "100000"})
        await client.traces({})
    assert plane.asked == [
        Search(
            service="a",
            workload="b/c",
            tags=(("x", "1"), ("y", "a=b")),
            failed=True,
            least=0.25,
            since=1.5,
            until=7.0,
            limit=5,
        ),
        Search(failed=False, limit=1000),
        Search(),
    ]
    assert (found.trace, found.failed, found.services) == (TRACE.trace, 2, ("shop", "till", "bank"))


@pytest.mark.parametrize(
    "search",
    [
        {"tag": "x"},
        {"status": "bad"},
        {"min_duration": "soon"},
        {"since": "nan"},
        {"limit": "-1"},
        {"sevrice": "a"},
    ],
)
async def test_what_can_not_be_asked_is_refused(search: dict[str, str]) -> None:
    plane = FakePlane()
    async with served(plane), Client(plane.socket) as client:
        with pytest.raises(ApiError) as refused:
            await client.traces(search)
    assert (refused.value.status, refused.value.code) == (400, "bad_request")


async def test_a_trace_is_asked_for_by_how_it_begins() -> None:
    plane = FakePlane(traced=(TRACE,))
    async with served(plane), Client(plane.socket) as client:
        assert await client.trace(TRACE.trace[:6].upper()) == TRACE
        for prefix in ("0", "x", "a" * 33, "../status"):
            with pytest.raises(ApiError) as missing:
                await client.trace(prefix)
            assert missing.value.code == "not_found"
        plane.traced = (TRACE, TRACE)
        with pytest.raises(ApiError, match="more than one trace") as several:
            await client.trace(TRACE.trace[:6])
        assert several.value.code == "bad_request"
