"""The online commands as programs, against a real API socket."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from plait.api.views import ReplicaState, TapFilter, TapLine
from plait.cli.options import default_state_dir
from plait.cli.status import left
from tests.api.planes import (
    FINDING,
    PROXY,
    REFUSED,
    REQUEST,
    ROUTE,
    WARNING,
    FakePlane,
    FakeSession,
    served,
    until,
    workload,
)

ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


def environment() -> dict[str, str]:
    """Ours, without what would decide about colours, and with a narrow terminal."""
    kept = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    return {**kept, "COLUMNS": "60", "TERM": "xterm-256color"}


@asynccontextmanager
async def started(
    directory: Path, *arguments: str, stdin: int = asyncio.subprocess.PIPE
) -> AsyncIterator[asyncio.subprocess.Process]:
    command, *rest = arguments
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.cli.online_app", *command.split(), "--state-dir", str(directory), *rest),
        cwd=ROOT,
        env=environment(),
        stdin=stdin,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ran(directory: Path, *arguments: str, typed: bytes = b"") -> Result:
    async with started(directory, *arguments) as process, asyncio.timeout(30):
        out, err = await process.communicate(typed)
        return Result(process.returncode or 0, out.decode(), err.decode())


async def test_status_shows_every_replica_and_is_content_when_all_is_well() -> None:
    async with served(FakePlane(replicas=(workload(), workload(replica=1)), found=(WARNING,))) as plane:
        result = await ran(plane.directory, "status")
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[0] == "2 of 2 replicas ready; cluster.local, up since 2031-02-03T04:05:06Z"
    assert lines[1].split() == ["WORKLOAD", "STATE", "RESTARTS", "ADDRESS", "CERTIFICATE", "IDENTITY"]
    assert re.fullmatch(
        r"bistro/frontend/0  ready  0         127\.77\.0\.1  \d+ d left  spiffe://cluster.local/ns/bistro/sa/frontend",
        lines[2],
    )
    assert lines[-1] == "warning: a.yaml: not honoured yet [field.unsupported]"
    assert "\x1b" not in result.out


async def test_in_a_terminal_there_are_colours_and_nothing_is_left_out() -> None:
    async with served(FakePlane()) as plane:
        ours, theirs = os.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.cli.online_app", "status", "--state-dir", str(plane.directory)),
            cwd=ROOT,
            env=environment(),
            stdout=theirs,
        )
        async with asyncio.timeout(30):
            assert await process.wait() == 0
        os.close(theirs)
        shown = os.read(ours, 65536).decode()
        os.close(ours)
    assert "\x1b[32m" in shown
    assert "spiffe://cluster.local/ns/bistro/sa/frontend" in shown


async def test_status_shows_the_conditions_of_routes_and_the_reason_where_one_does_not_hold() -> None:
    async with served(FakePlane(routed=(ROUTE,))) as plane:
        result = await ran(plane.directory, "status")
        told = json.loads((await ran(plane.directory, "status", "-o", "json")).out)
    rows = [re.split(r"  +", line.strip()) for line in result.out.splitlines()]
    assert ["ROUTE", "PARENT", "ACCEPTED", "RESOLVED REFS", "PROGRAMMED"] in rows
    place = "reservations.bistro.svc.cluster.local:8080"
    assert ["HTTPRoute bistro/split", place, "True", "BackendNotFound", "True"] in rows
    (parent,) = told["routes"][0]["parents"]
    assert parent["conditions"][1]["message"] == "no v3"


async def test_status_in_json_has_lists_under_named_keys() -> None:
    async with served(FakePlane(found=(FINDING,))) as plane:
        result = await ran(plane.directory, "status", "--output", "json")
    assert result.code == 1  # an error was found
    answer = json.loads(result.out)
    assert set(answer) == {"mesh", "workloads", "routes", "canaries", "findings"}
    assert answer["workloads"][0]["identity"] == "spiffe://cluster.local/ns/bistro/sa/frontend"
    assert answer["findings"][0]["line"] == 12


async def test_status_says_by_its_exit_code_that_something_is_not_well() -> None:
    failed = replace(workload(state=ReplicaState.FAILED), exit_code=3, message="[red]no such file[/red]")
    async with served(FakePlane(replicas=(failed,))) as plane:
        result = await ran(plane.directory, "status")
        assert result.code == 1
        assert "exit code 3: [red]no such file[/red]" in result.out
    async with served(FakePlane(agents=())) as plane:
        result = await ran(plane.directory, "status")
        assert result.code == 1
        assert "no agent is connected" in result.out


async def test_without_a_mesh_every_command_ends_with_3_and_says_what_to_do(tmp_path: Path) -> None:
    for arguments in (("status",), ("proxies",), ("exec", "a/b", "--", "true"), ("logs", "a/b"), ("tap",)):
        result = await ran(tmp_path, *arguments)
        assert result.code == 3
        assert result.out == ""
        assert f"no mesh runs from {tmp_path}" in result.err
        assert "plait up" in result.err


async def test_proxies_shows_a_refusal_with_its_reason_and_ends_with_1() -> None:
    away = replace(PROXY, name="payments", connected=None, synced=False, types=())
    async with served(FakePlane(proxied=(PROXY, away))) as plane:
        result = await ran(plane.directory, "proxies")
        assert result.code == 0
        assert result.out.splitlines()[1].split() == [
            "bistro/frontend/0",
            "Cluster",
            "3",
            "3",
            "5",
            "4.2",
            "ms",
        ]
        assert result.out.splitlines()[2].split() == ["bistro/payments/0", "not", "connected"]
    async with served(FakePlane(proxied=(replace(PROXY, types=(REFUSED,)),))) as plane:
        result = await ran(plane.directory, "proxies")
        assert result.code == 1
        assert "outbound|80|a: no such cluster" in result.out
        result = await ran(plane.directory, "proxies", "-o", "json")
        assert json.loads(result.out)["proxies"][0]["types"][0]["nack"] == {
            "reason": "no such cluster",
            "resources": ["outbound|80|a"],
        }


async def shout(typed: asyncio.Queue[bytes], session: FakeSession) -> AsyncIterator[tuple[int, bytes]]:
    while data := await typed.get():
        yield 1, data.upper()
    yield 2, b"\xffbye\n"
    session.code = 42


async def test_ca_shows_who_signs_what_is_trusted_and_whom_a_rotation_waits_for() -> None:
    async with served(FakePlane()) as plane:
        shown = await ran(plane.directory, "ca status")
        assert shown.code == 0
        for words in (
            "root, leaving", "issuer, signs, your own", "CN=our own", "cdcdcdcdcdcdcdcd", "waits for bistro/frontend/0",
            "2 hold certificates of somebody who signs no more",
        ):  # fmt: skip
            assert words in shown.out
        said = json.loads((await ran(plane.directory, "ca status", "--output", "json")).out)
        assert (said["phase"], said["issuers"][0]["holders"]) == ("spreading", 3)


async def test_ca_rotates_what_is_named_or_says_why_not() -> None:
    async with served(FakePlane()) as plane:
        assert (await ran(plane.directory, "ca rotate")).code == 0
        assert (await ran(plane.directory, "ca rotate", "intermediate")).code == 0
        assert plane.asked == ["root", "intermediate"]
        refused = await ran(plane.directory, "ca rotate", "leaves")
        assert (refused.code, "a rotation is under way" in refused.err) == (2, True)
        assert (await ran(plane.directory, "ca rotate", "everything")).code == 2


async def test_exec_passes_on_input_both_outputs_and_the_exit_code() -> None:
    async with served(FakePlane(act=shout)) as plane:
        async with started(
            plane.directory, "exec", "bistro/frontend", "--", "shout", "-v", "--state-dir"
        ) as process:
            out, err = await process.communicate(b"hello\n" * 50_000)
            assert process.returncode == 42
            assert out == b"HELLO\n" * 50_000
            assert err == b"\xffbye\n"
        assert [command for _, command in plane.asked] == [("shout", "-v", "--state-dir")]


async def test_exec_reads_a_file_and_an_empty_input_as_any_program_does(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"from a file")
    async with served(FakePlane(act=shout)) as plane:
        for path, expected in ((tmp_path / "input", b"FROM A FILE"), (Path(os.devnull), b"")):
            with path.open("rb") as file:
                async with started(
                    plane.directory, "exec", "bistro/frontend", "shout", stdin=file.fileno()
                ) as process:
                    out, _ = await process.communicate()
                    assert (process.returncode, out) == (42, expected)


async def endless(_typed: asyncio.Queue[bytes], session: FakeSession) -> AsyncIterator[tuple[int, bytes]]:
    yield 1, b"started\n"
    await session.closed.wait()


async def test_ctrl_c_and_termination_end_the_remote_command() -> None:
    async with served(FakePlane(act=endless)) as plane:
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)):
            async with started(plane.directory, "exec", "bistro/frontend", "--", "sleep", "1000") as process:
                assert process.stdout is not None
                assert await process.stdout.readline() == b"started\n"
                process.send_signal(number)
                async with asyncio.timeout(10):
                    assert await process.wait() == code
                await until(plane.sessions[-1].closed.is_set)


async def test_exec_that_cannot_be_done_says_why() -> None:
    async with served(FakePlane()) as plane:
        for arguments, code, words in (
            (("bistro/frontend", "--", "true"), 1, "the agent is away"),
            (("bistro/nobody", "--", "true"), 1, "known: bistro/frontend"),
            (("frontend", "--", "true"), 2, "NAMESPACE/WORKLOAD"),
            (("bistro/frontend",), 2, "COMMAND"),
        ):
            result = await ran(plane.directory, "exec", *arguments)
            assert result.code == code, result
            assert words in result.err


async def two_lines(_typed: asyncio.Queue[bytes], session: FakeSession) -> AsyncIterator[tuple[int, bytes]]:
    yield 1, b"one\n[bold]two[/bold] \xe2\x82\xac\n"
    session.code = 0


async def test_logs_of_one_replica_are_bare_and_of_several_say_whose_they_are() -> None:
    async with served(FakePlane(act=two_lines, replicas=(workload(), workload(replica=1)))) as plane:
        result = await ran(plane.directory, "logs", "bistro/frontend/1", "--envoy", "--tail", "7")
        assert (result.code, result.out) == (0, "one\n[bold]two[/bold] €\n")
        assert plane.asked[-1][1:] == (True, 7, False)
        result = await ran(plane.directory, "logs", "bistro/frontend")
        assert result.out.splitlines() == [
            "bistro/frontend/0 | one",
            "bistro/frontend/0 | [bold]two[/bold] €",
            "bistro/frontend/1 | one",
            "bistro/frontend/1 | [bold]two[/bold] €",
        ]
        result = await ran(plane.directory, "logs", "bistro/frontend/0", "--output", "json")
        assert json.loads(result.out.splitlines()[0]) == {
            "replica": "bistro/frontend/0",
            "line": "one",
            "error": "",
        }


async def an_access_log(
    _typed: asyncio.Queue[bytes], session: FakeSession
) -> AsyncIterator[tuple[int, bytes]]:
    yield 1, b'{"flags":"UH","log":"access","status":503}\n[info] flags\n'
    session.code = 0


async def test_flags_in_the_log_of_an_envoy_are_told_in_words() -> None:
    async with served(FakePlane(act=an_access_log)) as plane:
        result = await ran(plane.directory, "logs", "bistro/frontend/0", "--envoy")
        first, second = result.out.splitlines()
        said = json.loads(first)
        assert (said["status"], second) == (503, "[info] flags")
        assert said["words"][0].startswith("Nobody was there to send to")
        result = await ran(plane.directory, "logs", "bistro/frontend/0")
        assert "words" not in result.out


async def test_logs_end_quietly_when_their_reader_has_read_enough() -> None:
    async def flood(_typed: asyncio.Queue[bytes], session: FakeSession) -> AsyncIterator[tuple[int, bytes]]:
        while not session.closed.is_set():
            yield 1, b"line\n" * 1000
            await asyncio.sleep(0)

    async with served(FakePlane(act=flood)) as plane:
        async with (
            started(plane.directory, "logs", "bistro/frontend", "--follow") as process,
            asyncio.timeout(20),
        ):
            assert process.stdout is not None
            assert process.stderr is not None
            assert await process.stdout.readline() == b"line\n"
            process.stdout._transport.close()  # type: ignore[attr-defined]  # as `head` does
            assert await process.stderr.read() == b""
            assert await process.wait() == 0
        await until(plane.sessions[-1].closed.is_set)


SEEN = (
    TapLine(request=None, left_out=0, proxies=2),
    TapLine(request=REQUEST, left_out=0, proxies=2),
    TapLine(
        request=replace(
            REQUEST,
            source="",
            destination="",
            status=200,
            flags="",
            details="via_upstream",
            grpc_status=5,
            path="/\x1b[2J",
        ),
        left_out=3,
        proxies=2,
    ),
    TapLine(request=replace(REQUEST, protocol="TCP", method="", flags="", details=""), left_out=3, proxies=2),
)


async def test_tap_shows_one_request_a_line_and_ctrl_c_ends_it_with_how_many_there_were() -> None:
    async with (
        served(FakePlane(seen=SEEN)) as plane,
        started(
            plane.directory, "tap", "--from", "bistro/frontend", "--to", "bistro/payments",
            "-n", "bistro", "--method", "post", "--path", "/d*", "--status", "5xx", "--rate", "7",
        ) as process,
        asyncio.timeout(20),
    ):  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [(await process.stdout.readline()).decode() for _ in range(3)]
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        err = (await process.stderr.read()).decode()
        await plane.looking[0].closed.wait()
        assert await process.stdout.read() == b""
    assert lines == [
        (
            "04:05:06.789  bistro/frontend -> bistro/payments  POST payments:8080/deposit  503  12 ms  UF,URX"
            "  upstream_reset_before_response_started\n"
        ),
        "04:05:06.789  unknown -> payments.bistro.svc.cluster.local  POST payments:8080/?[2J  200 grpc 5  12 ms\n",
        "04:05:06.789  bistro/frontend -> bistro/payments  TCP  3 bytes in, 91 out  12 ms\n",
    ]
    assert err == "plait: 2 proxies tell of every request; Ctrl-C ends it\nplait: 3 shown, about 3 left out\n"
    wanted = TapFilter(
        source="bistro/frontend",
        destination="bistro/payments",
        namespace="bistro",
        method="post",
        path="/d*",
        status="5xx",
    )
    assert plane.asked == [(wanted, 7)]


async def test_tap_ends_after_so_many_and_writes_json() -> None:
    async with served(FakePlane(seen=SEEN)) as plane:
        result = await ran(plane.directory, "tap", "--limit", "1", "-o", "json")
        assert result.code == 0
        assert json.loads(result.out) == asdict(REQUEST)
        await plane.looking[0].closed.wait()
        result = await ran(plane.directory, "tap", "--to", "bistro/nobody")
        assert (result.code, result.out, result.err) == (1, "", "plait: there is no workload bistro/nobody\n")


async def test_a_tap_that_is_killed_is_forgotten() -> None:
    async with (
        served(FakePlane(seen=SEEN)) as plane,
        started(plane.directory, "tap") as process,
        asyncio.timeout(20),
    ):
        assert process.stdout is not None
        await process.stdout.readline()
        assert not plane.looking[0].closed.is_set()
        process.kill()
        await plane.looking[0].closed.wait()


def test_how_long_a_certificate_holds_is_told_in_words() -> None:
    now = datetime(2031, 2, 3, tzinfo=UTC)
    for expires, words in (
        (None, "none"),
        ("2031-02-02T23:59:59Z", "expired"),
        ("2031-02-03T00:01:30+00:00", "90 s left"),
        ("2031-02-03T00:45:00Z", "45 min left"),
        ("2031-02-04T00:00:00Z", "24 h left"),
        ("2031-02-10T00:00:00Z", "7 d left"),
    ):
        assert left(expires, now) == words


def test_the_state_directory_follows_the_xdg_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    for value, expected in (
        ("/state", "/state/plait"),
        ("", "/home/someone/.local/state/plait"),
        ("relative", "/home/someone/.local/state/plait"),
    ):
        monkeypatch.setenv("XDG_STATE_HOME", value)
        assert default_state_dir() == Path(expected)
