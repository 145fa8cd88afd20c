"""`plait canary`, as a program against a real API socket."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import tempfile
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from plait.api.events import CanaryChanged
from plait.api.listening import serving
from plait.model.names import WorkloadKey
from plait.rollout.status import Command
from tests.api.planes import CANARY, HELD, STARTED, FakePlane, served, until
from tests.cli.test_online import ran, started

KEY = WorkloadKey("bistro", "reservations")
GATED = replace(CANARY, gate="confirm-promotion", message="waits to be confirmed", phase="WaitingPromotion")
SUCCEEDED = replace(CANARY, phase="Succeeded", since="2031-02-03T04:09:00+00:00", weight=0, message="")
FAILED = replace(
    CANARY,
    phase="Failed",
    since="2031-02-03T04:09:00+00:00",
    weight=0,
    message="rolled back: request-success-rate 93.2 % is under 99 % (5 of 5 failed checks)",
)
WAITS = (
    "WaitingPromotion, 20 %, up to 50 %; 1 of 5 failed checks; waits to be confirmed; "
    "to open confirm-promotion: plait canary approve bistro/reservations"
)
TIME = re.compile(r"\d\d:\d\d:\d\d  ")


def rows(out: str) -> list[list[str]]:
    return [re.split(r"  +", line.strip()) for line in out.splitlines()]


async def test_list_has_a_line_for_each_and_says_what_to_type() -> None:
    ab = replace(
        CANARY,
        name="payments",
        strategy="A/B",
        weight=0,
        step=2,
        total=10,
        matched=True,
        message="",
        paused=True,
    )
    async with served(FakePlane(rolling=(GATED, ab, replace(SUCCEEDED, namespace="other")))) as plane:
        shown = await ran(plane.directory, "canary list")
        assert (shown.code, shown.err) == (0, "")
        assert rows(shown.out) == [
            ["CANARY", "STRATEGY", "PHASE", "TRAFFIC", "FAILED"],
            [
                "bistro/reservations", "canary", "WaitingPromotion", "20 %", "up to 50 %", "1/5",
                "waits to be confirmed; to open confirm-promotion: plait canary approve bistro/reservations",
            ],
            [
                "bistro/payments", "A/B", "Progressing", "what matches", "look 2 of 10", "1/5",
                "to go on: plait canary resume bistro/payments",
            ],
            ["other/reservations", "canary", "Succeeded"],
        ]  # fmt: skip
        told = json.loads((await ran(plane.directory, "canary list", "-n", "other", "-o", "json")).out)
        assert [one["namespace"] for one in told["canaries"]] == ["other"]
    async with served(FakePlane()) as plane:
        assert (await ran(plane.directory, "canary list")).out == "no Canaries\n"


async def test_status_tells_all_that_a_user_needs() -> None:
    async with served(FakePlane(rolling=(GATED,))) as plane:
        shown = await ran(plane.directory, "canary status", "reservations")
        told = await ran(plane.directory, "canary status", "reservations", "-o", "json")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines() == [
        "bistro/reservations: canary of reservations, called as reservations.bistro.svc.cluster.local",
        "  phase      WaitingPromotion, since 2031-02-03T04:05:06+00:00",
        "  traffic    ████░░░░░░░░░░░░░░░░ 20 % to the new version, up to 50 %",
        "  failed     1 of the 5 checks at which it is rolled back",
        "  revisions  0c5e7a serves, 9d31b2 is tried",
        "  message    waits to be confirmed",
        "  looks at   2031-02-03T04:05:16+00:00",
        "  next       to open confirm-promotion: plait canary approve bistro/reservations",
        "CHECK                 SAYS",
        "request-success-rate  passed   request-success-rate 99.9 % is not under 99 %",
        "request-duration      waiting  waiting for traffic: 12 of 100 requests",
    ]
    assert json.loads(told.out) == json.loads(json.dumps(asdict(GATED)))


async def test_what_others_have_written_does_not_reach_the_terminal_as_a_command() -> None:
    async with served(FakePlane(rolling=(replace(CANARY, message="a hook said \x1b[2J"),))) as plane:
        for command in ("canary status", "canary list"):
            name = ("reservations",) if command.endswith("status") else ()
            assert "a hook said ?[2J" in (await ran(plane.directory, command, *name)).out


async def test_history_is_told_in_order() -> None:
    async with served(FakePlane(rolling=(CANARY,))) as plane:
        shown = await ran(plane.directory, "canary history", "bistro/reservations")
        assert rows(shown.out)[1:] == [
            [STARTED.at, "info", "Progressing", "20 %", STARTED.text],
            [HELD.at, "warn", "Progressing", "20 %", "1", HELD.text],
        ]
        told = json.loads((await ran(plane.directory, "canary history", "reservations", "-o", "json")).out)
        assert told == {"events": [asdict(STARTED), asdict(HELD)]}


async def test_each_command_is_said_once_and_the_answer_names_the_canary() -> None:
    async with served(FakePlane(rolling=(GATED,))) as plane:
        for command in Command:
            result = await ran(plane.directory, f"canary {command}", "reservations")
            assert (result.code, result.err) == (0, "")
            assert result.out.startswith("bistro/reservations: ")
        assert plane.asked == [(KEY, command) for command in Command]


async def test_which_canary_is_meant() -> None:
    twin = replace(CANARY, namespace="other")
    async with served(FakePlane(rolling=(CANARY, twin))) as plane:
        for arguments, code, words in (
            (("reservations",), 2, "bistro/reservations and other/reservations: say which"),
            (("nobody",), 1, "known: bistro/reservations, other/reservations"),
            (("bistro/nobody",), 1, "there is no Canary bistro/nobody"),
            (("bistro/reservations", "-n", "other"), 2, "not in namespace other"),
        ):
            result = await ran(plane.directory, "canary abort", *arguments)
            assert result.code == code, result
            assert words in result.err
        assert plane.asked == []
        for arguments in (("other/reservations",), ("reservations", "-n", "other")):
            assert (await ran(plane.directory, "canary pause", *arguments)).code == 0
        assert plane.asked == [(WorkloadKey("other", "reservations"), Command.PAUSE)] * 2


async def test_a_command_that_makes_no_sense_ends_with_1_and_the_reason() -> None:
    async with served(FakePlane(rolling=(CANARY,))) as plane:
        result = await ran(plane.directory, "canary approve", "reservations")
        assert (result.code, result.out) == (1, "")
        assert result.err == "plait: bistro/reservations waits at no gate\n"


@pytest.mark.parametrize(("end", "code"), [(SUCCEEDED, 0), (FAILED, 1)])
async def test_watch_has_a_line_a_change_and_ends_with_the_run(end: object, code: int) -> None:
    assert isinstance(end, type(CANARY))
    async with (
        served(FakePlane(rolling=(CANARY,))) as plane,
        started(plane.directory, "canary watch", "reservations") as process,
        asyncio.timeout(20),
    ):
        await until(lambda: len(plane.bus._listeners) == 1)
        for now in (replace(CANARY, due="later"), replace(CANARY, name="other"), GATED, end):
            plane.bus.publish(CanaryChanged(now))
        out, err = await process.communicate()
        assert (process.returncode, err) == (code, b"")
    lines = out.decode().splitlines()
    assert all(TIME.match(line) for line in lines)
    told = [TIME.sub("", line) for line in lines]
    assert told[:2] == [
        "Progressing, 20 %, up to 50 %; 1 of 5 failed checks; waiting for traffic: 12 of 100 requests",
        WAITS,
    ]
    assert len(told) == 3
    assert told[2].startswith(end.phase)
    assert end.message in told[2]


async def test_watch_waits_for_the_next_run_where_one_is_over() -> None:
    later = replace(FAILED, since="2031-02-03T05:00:00+00:00")
    async with (
        served(FakePlane(rolling=(SUCCEEDED,))) as plane,
        started(plane.directory, "canary watch", "reservations", "-o", "json") as process,
        asyncio.timeout(20),
    ):
        assert process.stdout is not None
        assert json.loads(await process.stdout.readline())["phase"] == "Succeeded"
        plane.bus.publish(CanaryChanged(replace(SUCCEEDED, promoted="another")))  # no run of its own
        plane.bus.publish(CanaryChanged(later))
        out, err = await process.communicate()
        assert process.returncode == 1
        assert [json.loads(line)["phase"] for line in out.splitlines()] == ["Succeeded", "Failed"]
        assert b"waits for the next run of bistro/reservations" in err


async def test_watch_goes_on_with_the_next_control_plane() -> None:
    plane = FakePlane(rolling=(CANARY,))
    with tempfile.TemporaryDirectory(prefix="plait-") as directory:
        plane.directory = Path(directory)
        plane.socket.parent.mkdir(mode=0o700)
        async with AsyncExitStack() as stack, asyncio.timeout(30):
            async with serving(plane, plane.socket):
                process = await stack.enter_async_context(started(plane.directory, "canary watch", str(KEY)))
                assert process.stdout is not None
                assert b"Progressing" in await process.stdout.readline()
            plane.rolling = (SUCCEEDED,)
            async with serving(plane, plane.socket):
                assert b"Succeeded" in await process.stdout.readline()
                assert await process.wait() == 0


async def test_watch_ends_where_there_is_no_such_canary_or_no_mesh(tmp_path: Path) -> None:
    async with served(FakePlane(rolling=(CANARY,))) as plane:
        result = await ran(plane.directory, "canary watch", "bistro/nobody")
        assert (result.code, result.err) == (1, "plait: there is no Canary bistro/nobody\n")
    result = await ran(tmp_path, "canary watch", "bistro/reservations")
    assert (result.code, result.out) == (3, "")


async def test_ctrl_c_ends_a_watch_with_130() -> None:
    async with (
        served(FakePlane(rolling=(CANARY,))) as plane,
        started(plane.directory, "canary watch", "reservations") as process,
        asyncio.timeout(20),
    ):
        assert process.stdout is not None
        await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        await until(lambda: len(plane.bus._listeners) == 0)


async def test_the_status_of_the_mesh_has_a_line_for_what_runs_or_has_failed() -> None:
    rolling = (
        GATED,
        replace(SUCCEEDED, name="calm"),
        replace(FAILED, name="payments"),
        replace(CANARY, name="map", message="too slow (1 of 5 failed checks)"),
        replace(CANARY, name="menu", phase="Promoting", failed_checks=0, message=""),
    )
    async with served(FakePlane(rolling=rolling)) as plane:
        shown = await ran(plane.directory, "status")
        told = json.loads((await ran(plane.directory, "status", "-o", "json")).out)
    assert shown.code == 0  # what serves is well
    assert [line for line in shown.out.splitlines() if line.startswith("rollout")] == [
        f"rollout bistro/reservations: {WAITS}",
        f"rollout bistro/payments: Failed; {FAILED.message}",
        "rollout bistro/map: Progressing, 20 %, up to 50 %; too slow (1 of 5 failed checks)",
        "rollout bistro/menu: Promoting, 20 %",
    ]
    assert [one["name"] for one in told["canaries"]] == ["reservations", "calm", "payments", "map", "menu"]
