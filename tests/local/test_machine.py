"""The agent of a machine, with real shims and Envoys and a control plane made of lists."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from plait.agent import secrets
from plait.identity.authority import What
from plait.identity.trust import fingerprint
from plait.link.messages import ExecRequest, LogsRequest, ReplicaReport, State
from plait.model.catalog import Protocol, WorkloadPort
from plait.model.names import ReplicaKey
from tests.local.machines import WEB, Mesh, job, mesh, until, web, wishes


@pytest.fixture
async def local() -> AsyncIterator[Mesh]:
    async with mesh() as made:
        yield made


def ask(report: ReplicaReport, path: str = "/") -> int:
    binding = report.replica.bindings[0]
    connection = http.client.HTTPConnection(binding.address, binding.port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def keys(local: Mesh) -> list[Path]:
    return list(local.files().secrets.iterdir())


def ready(report: ReplicaReport) -> bool:
    return report.state is State.READY


async def test_a_workload_runs_behind_its_envoy_with_its_own_key(local: Mesh) -> None:
    async with local.running() as machine:
        await machine.deliver(wishes(web(work=local.work)))
        report = await local.reported(ready)
        assert await asyncio.to_thread(ask, report) == 200
        assert report.replica.serving
        assert report.identity == "spiffe://cluster.local/ns/bistro/sa/waiter"
        assert report.certificate_expires is not None
        files = local.files()
        assert files.secrets.stat().st_mode & 0o777 == 0o700
        assert {path.stat().st_mode & 0o777 for path in files.secrets.iterdir()} == {0o600}
        identity = json.loads((files.secrets / secrets.IDENTITY).read_text())["resources"][0]
        key = identity["tls_certificate"]["private_key"]["inline_string"]
        elsewhere = [
            path
            for path in local.state.rglob("*")
            if path.is_file() and path.parent != files.secrets and key.splitlines()[1] in path.read_text()
        ]
        assert elsewhere == []
        first = local.plane.history[0]
        assert (first.state, first.replica.serving) == (State.STARTING, False)


async def test_replicas_follow_the_wish_and_withdraw_before_they_stop(local: Mesh) -> None:
    async with local.running() as machine:
        await machine.deliver(wishes(web(work=local.work, replicas=3)))
        await local.states(n0="ready", n1="ready", n2="ready")
        addresses = {report.replica.sidecar.address for report in local.plane.reports.values()}
        assert len(addresses) == 3
        local.plane.withdraws = False
        await machine.deliver(wishes(web(work=local.work)))
        await local.states(n0="ready", n1="draining", n2="draining")
        draining = local.plane.reports[ReplicaKey(WEB, 1)]
        assert not draining.replica.serving
        assert await asyncio.to_thread(ask, draining) == 200, "it serves until it is withdrawn"
        # nobody confirms: it is stopped all the same, after a while
        await local.states(n0="ready")
        local.plane.withdraws = True
        await machine.deliver(wishes())
        await local.states()
        assert local.processes() == ()
        assert list((local.state / "replicas").iterdir()) == []
        assert list((local.state / "run").iterdir()) == []


async def test_a_changed_workload_is_rolled_over_replica_by_replica(local: Mesh) -> None:
    async with local.running() as machine:
        await machine.deliver(wishes(web(work=local.work, replicas=2)))
        await local.states(n0="ready", n1="ready")
        local.plane.history.clear()
        await machine.deliver(wishes(web(work=local.work, replicas=2, revision="2")))
        await until(
            "all new",
            lambda: (
                [report.revision for report in local.plane.reports.values()] == ["2", "2"]
                and set(local.plane.states().values()) == {"ready"}
            ),
        )
        began = list(dict.fromkeys(r.replica.key.number for r in local.plane.history if r.revision == "2"))
        drained = list(
            dict.fromkeys(r.replica.key.number for r in local.plane.history if r.state is State.DRAINING)
        )
        assert began == [2, drained[0]]
        assert set(drained) == {0, 1}


async def test_a_roll_that_fails_leaves_the_old_ones_serving_and_says_so(local: Mesh) -> None:
    async with local.running() as machine:
        await machine.deliver(wishes(web(work=local.work)))
        old = await local.reported(ready)
        await machine.deliver(wishes(web(work=local.work, revision="2", command=("no-such-command",))))
        failed = await local.reported(lambda report: report.state is State.FAILED, 1)
        assert failed.message == "command not found: no-such-command; 1 of the previous revision still runs"
        assert await asyncio.to_thread(ask, old) == 200
        await machine.deliver(wishes(web(work=local.work, revision="3")))
        await until(
            "the third revision alone",
            lambda: {(r.revision, r.state) for r in local.plane.reports.values()} == {("3", State.READY)},
        )


async def test_a_replica_waits_for_a_control_plane_that_is_away(local: Mesh) -> None:
    async with local.running() as machine:
        local.plane.away = True
        await machine.deliver(wishes(web(work=local.work)))
        waiting = await local.reported(lambda report: "does not answer" in report.message)
        assert waiting.message == "waits for its certificate: the control plane does not answer"
        local.plane.away = False
        await local.reported(ready)


async def test_a_replica_that_has_not_begun_can_be_taken_back(local: Mesh) -> None:
    async with local.running() as machine:
        local.plane.away = True
        await machine.deliver(wishes(web(work=local.work)))
        await local.states(n0="starting")
        await machine.deliver(wishes())
        await local.states()
        assert list((local.state / "replicas").iterdir()) == []


async def test_the_next_agent_takes_up_what_runs(local: Mesh) -> None:
    async with local.running() as machine:
        await machine.deliver(wishes(web(work=local.work, replicas=2)))
        await local.states(n0="ready", n1="ready")
        before = dict(local.plane.reports)
        pids = local.processes()
    local.plane.history.clear()
    async with local.running() as machine:
        assert dict(local.plane.reports) == before
        await machine.deliver(wishes(web(work=local.work, replicas=2)))
        # it is in charge: an application that ends is noticed
        status = local.files().last_status()
        assert status is not None
        assert status.app_pid in pids
        os.kill(status.app_pid, signal.SIGKILL)
        await local.reported(lambda report: report.restarts == 1 and ready(report))
        assert {report.replica.key.number for report in local.plane.history} == {0}
        assert set(pids) - set(local.processes()) == {status.app_pid}
        await machine.deliver(wishes())
        await local.states()
        assert local.processes() == ()


@pytest.mark.parametrize("agent", ["watching", "away"])
async def test_a_killed_shim_is_replaced_and_what_it_left_is_gone(local: Mesh, agent: str) -> None:
    wish = wishes(web("daemon", work=local.work))

    async def kill() -> None:
        status = local.files().last_status()
        assert status is not None
        assert status.shim_pid is not None
        os.kill(status.shim_pid, signal.SIGKILL)

    async with local.running() as machine:
        await machine.deliver(wish)
        await local.reported(ready)
        before = local.processes()
        assert len(before) == 4, "the shim, Envoy, the application and its daemon"
        if agent == "watching":
            await kill()
            await local.reported(lambda report: ready(report) and report.restarts == 1)
    if agent == "away":
        await kill()
        async with local.running() as machine:
            assert local.plane.reports == {}, "what does not run is not said to"
            await machine.deliver(wish)
            await local.reported(lambda report: ready(report) and report.restarts == 1)
    after = local.processes()
    assert len(after) == 4
    assert not set(before) & set(after)


async def test_a_job_that_has_ended_is_not_run_again_until_it_changes(local: Mesh) -> None:
    script = 'echo run >> "$APP_DIRECTORY/runs"; exit 4'
    runs = local.work / "runs"
    async with local.running() as machine:
        await machine.deliver(wishes(job(script, work=local.work)))
        ended = await local.reported(lambda report: report.state is State.ENDED)
        assert (ended.exit_code, ended.certificate_expires) == (4, None)
        await until("its processes and its key are gone", lambda: not local.processes() and not keys(local))
    async with local.running() as machine:
        assert local.plane.reports == {ended.replica.key: ended}
        await machine.deliver(wishes(job(script, work=local.work)))
        await machine.deliver(wishes(job(script, work=local.work, revision="2")))
        again = await local.reported(lambda report: report.state is State.ENDED and report.revision == "2", 1)
        assert again.exit_code == 4
        assert runs.read_text() == "run\nrun\n"
        await machine.deliver(wishes())
        await local.states()
        assert list((local.state / "replicas").iterdir()) == []


async def test_a_link_planted_where_a_key_will_be_is_not_followed(local: Mesh) -> None:
    outside = local.root / "outside"
    outside.mkdir()
    (outside / "file").write_text("untouched")
    async with local.running() as machine:
        local.plane.away = True
        await machine.deliver(wishes(web(work=local.work)))
        await local.reported(lambda report: "does not answer" in report.message)
        secret = local.files().secrets
        (secret / secrets.IDENTITY).symlink_to(outside / "file")
        local.plane.away = False
        await local.reported(ready)
        assert not (secret / secrets.IDENTITY).is_symlink()
        assert (outside / "file").read_text() == "untouched"


async def test_a_link_planted_for_the_secrets_directory_keeps_the_replica_from_starting(local: Mesh) -> None:
    outside = local.root / "outside"
    outside.mkdir(mode=0o700)
    local.files().directory.mkdir(mode=0o700)
    local.files().secrets.symlink_to(outside)
    async with local.running() as machine:
        # an agent that finds a directory without a record clears it: plant it again beneath a record
        await machine.deliver(wishes())
        local.files().directory.mkdir(mode=0o700, exist_ok=True)
        local.files().secrets.symlink_to(outside)
        await machine.deliver(wishes(web(work=local.work)))
        failed = await local.reported(lambda report: report.state is State.FAILED)
        assert "symbolic link" in failed.message
        assert list(outside.iterdir()) == []


async def test_certificates_are_renewed_at_half_their_life(local: Mesh) -> None:
    local.plane.lifetime = 3.0
    async with local.running() as machine:
        await machine.deliver(wishes(web(work=local.work)))
        first = await local.reported(ready)
        path = local.files().secrets / secrets.IDENTITY
        before = path.read_text()
        later = await local.reported(
            lambda report: (report.certificate_expires or 0) > (first.certificate_expires or 0)
        )
        assert path.read_text() != before
        assert later.certificate_expires is not None
        assert local.plane.signed >= 2
        assert ready(later)


async def test_new_roots_reach_an_envoy_before_the_next_certificate_and_outdated_ones_are_renewed(
    local: Mesh,
) -> None:
    authority = local.plane.authority
    local.plane.lifetime = 300.0  # renewals are spread over a thirtieth of it
    async with local.running() as machine:
        await machine.deliver(wishes(web(work=local.work)))
        first = await local.reported(ready)
        old = first.held
        assert old is not None
        identity = (local.files().secrets / secrets.IDENTITY).read_text()
        authority.rotate(What.ROOT, time.time())
        await machine.deliver(authority.trust)
        both = await local.reported(lambda one: one.held is not None and one.held.roots != old.roots)
        assert both.held == replace(old, roots=fingerprint(authority.roots))
        assert (local.files().secrets / secrets.IDENTITY).read_text() == identity
        assert authority.step([], time.time())  # as if all had said so
        await machine.deliver(authority.trust)
        renewed = await local.reported(lambda one: one.held is not None and one.held.issuer != old.issuer)
        assert renewed.held is not None
        assert not renewed.held.outdated(authority.trust)


async def test_a_port_of_the_sidecars_own_is_refused_in_words(local: Mesh) -> None:
    async with local.running() as machine:
        port = WorkloadPort(name="http", number=15001, protocol=Protocol.HTTP)
        await machine.deliver(wishes(web(work=local.work, ports=(port,))))
        failed = await local.reported(lambda report: report.state is State.FAILED)
        assert failed.message == "no place for it: port 15001 is one of the sidecar's own"


async def test_commands_and_logs_of_a_replica(local: Mesh) -> None:
    written: list[tuple[int, bytes]] = []

    async def write(stream: int, data: bytes) -> None:
        written.append((stream, data))

    async def typed(*words: bytes) -> AsyncIterator[bytes]:
        for word in words:
            yield word

    key = ReplicaKey(WEB, 0)
    async with local.running() as machine:
        await machine.deliver(wishes(web(work=local.work)))
        await local.reported(ready)
        command = ("/bin/sh", "-c", 'cat; echo "$HOST" >&2; exit 6')
        exited = await machine.serve(ExecRequest(replica=key, command=command), typed(b"one ", b"two"), write)
        assert (exited.code, exited.error) == (6, "")
        host = local.plane.reports[key].replica.bindings[0].app_address
        assert b"".join(data for stream, data in written if stream == 1) == b"one two"
        assert b"".join(data for stream, data in written if stream == 2) == f"{host}\n".encode()
        missing = await machine.serve(
            ExecRequest(replica=ReplicaKey(WEB, 9), command=("true",)), typed(), write
        )
        assert (missing.code, missing.error) == (255, "there is no replica bistro/web/9 here")
        log = local.files().app_log
        log.write_text("1\n2\n3\n")
        written.clear()
        assert (await machine.serve(LogsRequest(replica=key, tail=2), typed(), write)).code == 0
        assert written == [(1, b"2\n3\n")]


async def test_following_a_log_survives_its_rotation(local: Mesh) -> None:
    written = bytearray()

    async def write(_: int, data: bytes) -> None:
        written.extend(data)

    async def nothing() -> AsyncIterator[bytes]:
        return
        yield b""

    key = ReplicaKey(WEB, 0)
    async with local.running() as machine:
        await machine.deliver(wishes(web(work=local.work)))
        await local.reported(ready)
        log = local.files().app_log
        log.write_text("first\n")
        following = asyncio.create_task(
            machine.serve(LogsRequest(replica=key, follow=True), nothing(), write)
        )
        await until("the first line", lambda: written == b"first\n")
        with log.open("a") as file:
            file.write("second\n")
        await until("the second line", lambda: written == b"first\nsecond\n")
        log.with_name("app.log.1").write_text("first\nsecond\nlate\n")
        log.write_text("new\n")
        await until("all of it", lambda: written == b"first\nsecond\nlate\nnew\n")
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_a_command_ends_when_nobody_wants_it_any_more(local: Mesh) -> None:
    async def write(stream: int, data: bytes) -> None: ...

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    path = local.work / "pid"
    async with local.running() as machine:
        await machine.deliver(wishes(web(work=local.work)))
        await local.reported(ready)
        request = ExecRequest(
            replica=ReplicaKey(WEB, 0),
            command=("/bin/sh", "-c", 'echo $$ > "$APP_DIRECTORY/pid"; exec sleep 1000'),
        )
        running = asyncio.create_task(machine.serve(request, nothing(), write))
        pid = int(await until("its pid", lambda: path.exists() and path.read_text()))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await until("it is gone", lambda: pid not in local.processes())


async def test_nothing_is_started_or_stopped_before_the_wish_is_known(local: Mesh) -> None:
    async with local.running() as machine:
        await machine.deliver(wishes(web(work=local.work)))
        await local.reported(ready)
    local.plane.history.clear()
    async with local.running():
        status = local.files().last_status()
        assert status is not None
        assert status.app_pid is not None
        os.kill(status.app_pid, signal.SIGKILL)
        await local.reported(lambda report: report.restarts == 1 and ready(report))
        assert {report.state for report in local.plane.history} <= {
            State.FAILED,
            State.STARTING,
            State.READY,
        }
