"""Rollouts over the API and its client, on a real Unix socket."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import aiohttp
import pytest

from plait.api.client import ApiError, Client
from plait.api.events import CanaryChanged, ConfigChanged, Event, ReplicaChanged
from plait.model.names import WorkloadKey
from plait.rollout.status import Command
from tests.api.planes import CANARY, HELD, STARTED, FakePlane, served, workload

KEY = WorkloadKey("bistro", "reservations")
NOBODY = WorkloadKey("bistro", "nobody")


async def test_where_rollouts_stand_arrives_as_it_was() -> None:
    other = replace(CANARY, name="payments", phase="Failed")
    async with served(FakePlane(rolling=(other, CANARY))) as plane, Client(plane.socket) as client:
        assert await client.canaries() == (other, CANARY)
        assert await client.canary(KEY) == CANARY
        assert await client.canary_history(KEY) == (STARTED, HELD)


async def test_every_command_reaches_the_plane_once() -> None:
    waiting = replace(CANARY, gate="confirm-promotion")
    async with served(FakePlane(rolling=(waiting,))) as plane, Client(plane.socket) as client:
        for command in Command:
            await client.canary_command(KEY, command)
        assert plane.asked == [(KEY, command) for command in Command]


async def test_a_command_that_makes_no_sense_is_refused_with_the_reason() -> None:
    async with served(FakePlane(rolling=(CANARY,))) as plane, Client(plane.socket) as client:
        with pytest.raises(ApiError, match="bistro/reservations waits at no gate") as raised:
            await client.canary_command(KEY, Command.APPROVE)
        assert (raised.value.status, raised.value.code) == (409, "refused")
        assert plane.asked == []


async def test_a_canary_that_is_not_there_is_not_found() -> None:
    async with served(FakePlane(rolling=(CANARY,))) as plane, Client(plane.socket) as client:
        for asked in (
            client.canary(NOBODY),
            client.canary_history(NOBODY),
            client.canary_command(NOBODY, Command.APPROVE),
            client.canary(WorkloadKey("bistro", "a/b?c")),
        ):
            with pytest.raises(ApiError) as raised:
                await asked
            assert (raised.value.status, raised.value.code) == (404, "not_found")


async def test_what_is_no_command_is_no_path_and_none_is_given_by_get() -> None:
    async with served(FakePlane(rolling=(CANARY,))) as plane:
        connector = aiohttp.UnixConnector(str(plane.socket))
        async with aiohttp.ClientSession("http://plait", connector=connector) as http:
            for method, word, status in (("POST", "delete", 404), ("GET", "abort", 405)):
                async with http.request(method, f"/v1/canaries/bistro/reservations/{word}") as response:
                    assert response.status == status
        assert plane.asked == []


async def test_events_begin_with_every_rollout_and_tell_what_changes() -> None:
    later = replace(CANARY, weight=40, step=40)
    heard: list[Event] = []
    async with (
        served(FakePlane(rolling=(CANARY,))) as plane,
        Client(plane.socket) as client,
        asyncio.timeout(10),
    ):
        async for event in client.events():
            heard.append(event)
            if event == ConfigChanged(7):
                plane.bus.publish(CanaryChanged(later))
            if event == CanaryChanged(later):
                break
    assert heard == [
        ReplicaChanged(workload()),
        CanaryChanged(CANARY),
        ConfigChanged(7),
        CanaryChanged(later),
    ]
