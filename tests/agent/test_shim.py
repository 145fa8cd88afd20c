"""A real shim, a real Envoy, a small application."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from plait.agent.shim.logs import bound
from plait.agent.shim.spec import ProbeKind, ProbeSpec
from plait.model.catalog import Restart
from tests.agent.shims import BOTH_WAYS, SHIM, Bench, alive, bench, until
from tests.agent.shims import status as status_of

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")


@pytest.fixture
def replica() -> Iterator[Bench]:
    with bench(Bench) as made:
        yield made


@pytest.fixture(params=BOTH_WAYS, ids=("free", "shut-in"))
def either(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A replica in explicit mode, then one that is shut in."""
    with bench(request.param) as made:
        yield made


def is_ready(status: dict[str, Any]) -> bool:
    return bool(status["phase"] == "ready")


def is_not_ready(status: dict[str, Any]) -> bool:
    return not is_ready(status)


def has_failed(status: dict[str, Any]) -> bool:
    return bool(status["phase"] == "failed")


def execute(replica: Bench, *argv: str, given: bytes = b"") -> tuple[dict[str, Any] | None, bytes, bytes]:
    """Runs a command in the replica's place: the shim's answer, stdout, stderr."""
    control = replica.connect()
    control.next()  # the status
    (in_read, in_write), (out_read, out_write), (err_read, err_write) = (os.pipe() for _ in range(3))
    line = json.dumps({"command": "exec", "argv": argv}).encode() + b"\n"
    socket.send_fds(control.socket, [line], [in_read, out_write, err_write])
    for file in (in_read, out_write, err_write):
        os.close(file)
    with os.fdopen(in_write, "wb") as words:
        words.write(given)
    with os.fdopen(out_read, "rb") as out, os.fdopen(err_read, "rb") as err:
        texts = out.read(), err.read()
    answer = control.next()
    while answer is not None and "exit" not in answer:
        answer = control.next()
    return answer, *texts


def test_the_application_starts_when_envoy_serves_and_is_ready_when_it_answers(either: Bench) -> None:
    control = either.start(either.app("slow-start"))
    assert either.event("started").endswith("envoy=up")
    assert either.status()["phase"] == "starting"
    (either.work / "go").touch()
    status = control.status_where(is_ready)
    assert either.get() == 200
    until("what was told is written", lambda: either.status() == status)
    assert status["restarts"] == 0


def test_the_application_waits_for_every_listener_of_envoy(replica: Bench) -> None:
    nowhere = (replica.outside[0], 1)
    control = replica.start(
        replica.app(), replica.envoy(listeners=(replica.outbound, replica.outside, nowhere))
    )
    status = control.status_where(lambda status: "does not listen" in status["message"])
    assert status["message"] == f"Envoy is not ready: it does not listen on {nowhere[0]}:1 yet"
    assert status["app_pid"] is None
    assert replica.events() == []


@linux
def test_a_shim_stays_under_20_megabytes_and_loads_nothing_from_outside(either: Bench) -> None:
    control = either.start(either.app())
    control.status_where(is_ready)
    assert execute(either, "true")[0] == {"exit": 0}
    assert either.shim is not None
    text = Path(f"/proc/{either.shim.pid}/status").read_text()
    assert int(text.partition("VmRSS:")[2].split()[0]) < 20_000  # in kB
    maps = Path(f"/proc/{either.shim.pid}/maps").read_text()
    assert "site-packages" not in maps


def test_a_shim_imports_the_standard_library_the_life_and_the_model_only() -> None:
    listing = (
        f"import sys; sys.path.append({str(Path(SHIM).parents[3])!r}); import plait.agent.shim.shell;"
        "print(*{m for m in sys.modules if not m.startswith('_')})"
    )
    told = subprocess.run(
        (sys.executable, "-I", "-S", "-c", listing), check=True, capture_output=True, text=True
    )
    foreign = {
        module
        for module in told.stdout.split()
        if module.partition(".")[0] not in {*sys.stdlib_module_names, "plait"}
    }
    ours = {module for module in told.stdout.split() if module.startswith("plait.")}
    assert foreign == set()
    assert all(module.startswith(("plait.agent", "plait.model")) for module in ours)
    assert not {"asyncio", "http.client", "subprocess", "threading"} & set(told.stdout.split())


@linux
def test_in_explicit_mode_a_replica_keeps_its_users_rights(replica: Bench) -> None:
    told = replica.start(replica.app()).status_where(is_ready)
    names = ("CapPrm", "CapBnd", "NoNewPrivs", "Uid")
    ours = [status_of(os.getpid())[name] for name in names]
    for pid in (told["shim_pid"], told["app_pid"], told["envoy_pid"]):
        assert [status_of(pid)[name] for name in names] == ours


def test_a_second_shim_for_the_same_replica_leaves_at_once(replica: Bench) -> None:
    control = replica.start(replica.app())
    control.status_where(is_ready)
    second = subprocess.run(
        (sys.executable, "-I", "-S", SHIM, str(replica.directory / "replica.json")), check=False
    )
    assert second.returncode == 75
    assert replica.get() == 200


def test_a_crashed_application_is_not_ready_and_comes_back(either: Bench) -> None:
    control = either.start(either.app())
    first = control.status_where(is_ready)
    os.kill(first["app_pid"], signal.SIGKILL)
    down = control.status_where(is_not_ready)
    assert (down["phase"], down["message"]) == ("failed", "was ended by signal 9 (SIGKILL)")
    assert (down["exit_code"], down["restarts"]) == (137, 1)
    again = control.status_where(is_ready)
    assert again["app_pid"] != first["app_pid"]
    assert again["envoy_pid"] == first["envoy_pid"]
    assert either.get() == 200


def test_a_killed_envoy_comes_back_beside_the_same_application(either: Bench) -> None:
    control = either.start(either.app())
    first = control.status_where(is_ready)
    os.kill(first["envoy_pid"], signal.SIGKILL)
    assert control.status_where(is_not_ready)["phase"] == "starting"
    again = control.status_where(is_ready)
    assert (again["envoy_restarts"], again["restarts"]) == (1, 0)
    assert again["app_pid"] == first["app_pid"]
    assert either.get() == 200


def test_an_envoy_that_cannot_run_is_said_and_tried_again(replica: Bench) -> None:
    control = replica.start(replica.app(), replica.envoy(command=("/no/such/envoy",)))
    status = control.status_where(has_failed)
    assert status["message"] == "Envoy was not started: command not found: /no/such/envoy"
    control.status_where(lambda status: status["envoy_restarts"] > 3)
    assert replica.events() == []


def test_readiness_by_http_follows_the_answers(replica: Bench) -> None:
    probe = ProbeSpec(kind=ProbeKind.HTTP, places=(replica.inside,), path="/health", interval=0.1)
    control = replica.start(replica.app(probe=probe))
    control.status_where(is_ready)
    (replica.work / "unhealthy").touch()
    assert control.status_where(is_not_ready)["message"] == "not ready: /health answers 503"
    (replica.work / "unhealthy").unlink()
    assert control.status_where(is_ready)["restarts"] == 0


def test_readiness_by_command_runs_in_the_applications_place(either: Bench) -> None:
    probe = ProbeSpec(
        kind=ProbeKind.COMMAND,
        command=("/bin/sh", "-c", 'test -e "$APP_DIRECTORY/fine" && test "$PWD" = "$APP_DIRECTORY"'),
        interval=0.1,
    )
    control = either.start(either.app(probe=probe))
    control.status_where(lambda status: status["message"] == "not ready: its probe exited with code 1")
    (either.work / "fine").touch()
    control.status_where(is_ready)


def test_a_probe_that_hangs_is_ended(either: Bench) -> None:
    probe = ProbeSpec(
        kind=ProbeKind.COMMAND, command=("/bin/sh", "-c", "exec sleep 1000"), interval=0.1, timeout=0.2
    )
    control = either.start(either.app(probe=probe))
    control.status_where(lambda status: "its probe took longer than 0.2 s" in status["message"])


@pytest.mark.parametrize(
    ("restart", "script", "code"),
    [
        (Restart.NEVER, "exit 0", 0),
        (Restart.NEVER, "exit 7", 7),
        (Restart.NEVER, "kill -TERM $$", 143),
        (Restart.ON_FAILURE, "exit 0", 0),
        (
            Restart.ON_FAILURE,
            'test -e "$APP_DIRECTORY/again" || { touch "$APP_DIRECTORY/again"; exit 1; }',
            0,
        ),
    ],
)
def test_a_job_takes_its_envoy_along_and_leaves_its_exit_code(
    either: Bench, restart: Restart, script: str, code: int
) -> None:
    either.start(
        either.job(f'while ! test -e "$APP_DIRECTORY/met"; do sleep 0.05; done; {script}', restart=restart)
    )
    (either.work / "met").touch()
    assert either.wait() == 0
    status = either.status()
    assert (status["phase"], status["exit_code"], status["over"]) == ("ended", code, True)
    assert status["restarts"] == ("again" in script)
    assert either.processes() == []
    assert not either.socket.exists()


def test_a_request_under_way_is_finished_before_the_application_is_told_to_stop(either: Bench) -> None:
    control = either.start(either.app())
    control.status_where(is_ready)
    answers: list[int] = []
    request = threading.Thread(target=lambda: answers.append(either.get("/slow")))
    request.start()
    either.event("slow begun")
    control.command(command="stop", drain_seconds=60)
    control.status_where(lambda status: status["phase"] == "draining")
    (either.work / "release").touch()
    request.join()
    assert answers == [200]
    assert either.wait() == 0
    assert either.events()[1:] == ["slow begun", "slow done", "told to stop"]
    assert (either.status()["phase"], either.status()["over"]) == ("stopped", True)
    assert either.processes() == []


def test_draining_ends_when_its_time_is_up(replica: Bench) -> None:
    control = replica.start(replica.app())
    control.status_where(is_ready)
    request = threading.Thread(target=lambda: replica.get("/slow"))
    request.start()
    replica.event("slow begun")
    control.command(command="stop", drain_seconds=0.5)
    replica.wait()
    request.join()
    assert replica.events()[1:] == ["slow begun", "told to stop"]


def test_a_stuck_application_is_killed_after_its_grace(either: Bench) -> None:
    control = either.start(either.app("stuck", grace=0.3))
    control.status_where(is_ready)
    control.command(command="stop", drain_seconds=1)
    either.wait()
    assert either.events()[1:] == ["told to stop, and staying"]
    assert either.status()["exit_code"] == 137
    assert either.processes() == []


def test_a_shim_that_is_told_to_terminate_stops_its_replica_first(either: Bench) -> None:
    control = either.start(either.app())
    control.status_where(is_ready)
    either.signal(signal.SIGTERM)
    assert either.wait() == 0
    assert either.events()[-1] == "told to stop"
    assert either.processes() == []


@linux
def test_what_went_into_the_background_ends_with_the_replica(either: Bench) -> None:
    control = either.start(either.app("daemon"))
    control.status_where(is_ready)
    daemon = either.seen(int(either.event("daemon").split()[1]))
    control.command(command="stop", drain_seconds=1)
    either.wait()
    assert not alive(daemon)


@linux
def test_what_a_crashed_application_left_behind_is_ended_before_its_next_start(either: Bench) -> None:
    control = either.start(either.app("daemon"))
    status = control.status_where(is_ready)
    daemon = either.seen(int(either.event("daemon").split()[1]))
    os.kill(status["app_pid"], signal.SIGKILL)
    control.status_where(is_not_ready)
    control.status_where(is_ready)
    assert not alive(daemon)


@linux
def test_a_killed_shim_takes_envoy_and_application_along(either: Bench) -> None:
    control = either.start(either.app())
    status = control.status_where(is_ready)
    either.signal(signal.SIGKILL)
    until("both are gone", lambda: not alive(status["app_pid"]) and not alive(status["envoy_pid"]))
    assert either.processes() == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": ("no-such-command", "x")}, "command not found: no-such-command"),
        ({"command": ("./no-such-command",)}, "command not found: ./no-such-command"),
        ({"command": ("./orphan",)}, "cannot run ./orphan: the interpreter it names was not found"),
        ({"command": ("./plain",)}, "cannot run ./plain: permission denied"),
        ({"directory": "/no/such/place"}, "cannot enter working directory /no/such/place: no such file"),
        ({"user": "no-such-user"}, "no such user: no-such-user"),
        ({"command": ("a\0b",)}, "invalid argument"),
    ],
)
def test_what_cannot_be_started_is_said_and_tried_again(
    replica: Bench, changes: dict[str, Any], message: str
) -> None:
    (replica.work / "orphan").write_text("#!/no/such/interpreter\n")
    (replica.work / "orphan").chmod(0o755)
    (replica.work / "plain").write_text("no program")
    control = replica.start(replica.app(restart=Restart.NEVER, **changes))
    status = control.status_where(has_failed)
    assert message in status["message"]
    assert (status["restarts"], status["exit_code"], status["app_pid"]) == (0, None, None)


def test_an_application_recovers_when_its_command_appears(either: Bench) -> None:
    control = either.start(either.app(command=("./late",)))
    control.status_where(has_failed)
    (either.work / "late").write_text(f"#!/bin/sh\nexec {' '.join(either.app().command)}\n")
    (either.work / "late").chmod(0o755)
    control.status_where(is_ready)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_application_runs_as_its_user_and_dies_with_the_shim_all_the_same(replica: Bench) -> None:
    replica.root.chmod(0o755)
    replica.work.chmod(0o777)
    script = 'id -un > "$APP_DIRECTORY/who"; id -G >> "$APP_DIRECTORY/who"; exec sleep 1000'
    control = replica.start(replica.job(script, user="nobody"))
    status = control.status_where(is_ready)
    told = replica.work / "who"
    who = until(
        "who it is", lambda: told.exists() and told.read_text().split()[1:] and told.read_text().split()
    )
    assert who[0] == "nobody"
    assert "0" not in who[1:]
    replica.signal(signal.SIGKILL)
    until("the application is gone", lambda: not alive(status["app_pid"]))


@linux
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::"])
def test_an_application_that_listens_elsewhere_is_told_so(replica: Bench, host: str) -> None:
    # An ephemeral port: it is only known once the application has it.
    script = (
        "import socket, sys, time\n"
        "s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET)\n"
        "s.bind((sys.argv[1], 0)); s.listen(); print(s.getsockname()[1], flush=True); time.sleep(1000)"
    )
    control = replica.start(replica.app(command=(sys.executable, "-I", "-S", "-c", script, host)))
    status = control.status_where(has_failed)
    port = (replica.directory / "app.log").read_text().strip()
    shown = f"[{host}]" if ":" in host else host
    address, number = replica.inside
    assert status["message"] == (
        f"listens on {shown}:{port}, but in explicit mode it must listen on $HOST:$PORT ({address}:{number})"
    )
    assert alive(status["app_pid"])


@linux
def test_listening_on_all_addresses_is_wrong_even_where_it_answers(replica: Bench) -> None:
    port = _free_port()
    place = (replica.inside[0], port)
    probe = ProbeSpec(kind=ProbeKind.TCP, places=(place,), interval=0.1)
    env = replica.env(LISTEN_PORT=str(port))
    control = replica.start(replica.app("wildcard", env=env, ports=(place,), probe=probe))
    status = control.status_where(has_failed)
    assert status["message"].startswith(f"listens on 0.0.0.0:{port}, but in explicit mode it must listen on")


def test_an_application_that_wants_all_addresses_learns_why_its_port_is_in_use(replica: Bench) -> None:
    control = replica.start(replica.app("wildcard"))
    status = control.status_where(has_failed)
    assert "Address already in use" in status["message"]
    assert f"must listen on $HOST:$PORT ({replica.inside[0]}:{replica.inside[1]})" in status["message"]


def test_a_command_runs_in_the_applications_place(either: Bench) -> None:
    control = either.start(either.app())
    control.status_where(is_ready)
    script = 'read word; echo "$word $HOST $PWD"; echo problem >&2; exit 5'
    answer, out, err = execute(either, "/bin/sh", "-c", script, given=b"hello\n")
    assert answer == {"exit": 5}
    assert out.decode() == f"hello {either.inside[0]} {either.work}\n"
    assert err == b"problem\n"
    assert execute(either, "/bin/sh", "-c", "kill -9 $$")[0] == {"exit": 137}
    assert execute(either, "no-such-command")[0] == {
        "exit": 127,
        "error": "command not found: no-such-command",
    }


def test_a_command_ends_with_whoever_asked_for_it(either: Bench) -> None:
    either.start(either.app()).status_where(is_ready)
    control = either.connect()
    with Path(os.devnull).open("r+b") as nowhere:
        line = json.dumps(
            {"command": "exec", "argv": ["/bin/sh", "-c", 'echo $$ > "$APP_DIRECTORY/pid"; exec sleep 1000']}
        )
        socket.send_fds(control.socket, [line.encode() + b"\n"], [nowhere.fileno()] * 3)
    path = either.work / "pid"
    pid = either.seen(int(until("the command's pid", lambda: path.exists() and path.read_text())))
    control.close()
    until("the command is gone", lambda: not alive(pid))
    assert either.get() == 200


def test_nonsense_on_the_control_socket_harms_nothing(replica: Bench) -> None:
    replica.start(replica.app()).status_where(is_ready)
    for nonsense in (
        b"\0\xff\n",
        b"[]\n",
        b'{"command":"exec","argv":["true"]}\n',
        b'{"command":"stop","drain_seconds":"x"}\n',
    ):
        control = replica.connect()
        control.next()
        control.socket.sendall(nonsense)
        answer = control.next()
        assert answer is not None
        assert "error" in answer
    flood = replica.connect()
    try:
        for _ in range(64):
            flood.socket.sendall(b"x" * 65536)
    except OSError:
        pass
    assert replica.get() == 200


def test_output_is_kept_in_order_and_the_log_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_bytes(b"old" * 100 + b"the end")
    with log.open("ab") as writer:
        assert not bound(str(log), 1000)
        assert log.stat().st_size == 307
        assert bound(str(log), 10)
        assert (log.stat().st_size, (tmp_path / "app.log.1").read_bytes()) == (0, b"oldthe end")
        writer.write(b"new")
    assert log.read_bytes() == b"new"


def test_a_status_that_cannot_be_written_is_told_all_the_same_and_written_later(replica: Bench) -> None:
    in_the_way = replica.directory / "status.json.new"
    in_the_way.mkdir()
    status = replica.start(replica.app()).status_where(is_ready)
    assert not (replica.directory / "status.json").exists()
    in_the_way.rmdir()
    path = replica.directory / "status.json"
    until("it is written", lambda: path.exists() and replica.status() == status)


def test_what_the_application_writes_is_in_its_log(either: Bench) -> None:
    either.start(either.job("echo out; echo err >&2", restart=Restart.NEVER))
    either.wait()
    assert (either.directory / "app.log").read_text() == "out\nerr\n"
    assert (either.directory / "app.log").stat().st_mode & 0o777 == 0o600


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
