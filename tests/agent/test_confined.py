"""A replica that is shut in: who runs in there, what they see, what they can do, and what they are told."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plait.agent import shims
from plait.agent.shim.processes import children
from plait.agent.shim.spec import Account, ProbeKind, ProbeSpec, Visible
from plait.model.catalog import Restart
from tests.agent.shims import APP, ENVOY, ConfinedBench, alive, bench, needs_rights, status, until
from tests.agent.test_shim import execute, has_failed, is_ready

pytestmark = needs_rights

INQUIRY = str(Path(APP).with_name("inquiry.py"))
NOTHING = "0" * 16
PYTHON = (sys.executable, "-I", "-S")


@pytest.fixture
def replica() -> Iterator[ConfinedBench]:
    mounts = Path("/proc/self/mountinfo").read_text()
    with bench(ConfinedBench) as made:
        yield made
    assert Path("/proc/self/mountinfo").read_text() == mounts


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder as /root is one: nobody but root may enter it, and it is in no folder that a replica has of its own."""
    folder = Path(tempfile.mkdtemp(dir="/var/lib", prefix="plait-test-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def asked(replica: ConfinedBench, *folders: Path | str) -> dict[str, Any]:
    """What a program in the application's place says of itself."""
    words = (*PYTHON, INQUIRY, str(replica.envoys.uid), *map(str, folders))
    answer, out, err = execute(replica, *words)
    assert (answer, err) == ({"exit": 0}, b"")
    told: dict[str, Any] = json.loads(out)
    return told


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def rights_of(pid: int) -> tuple[list[str], str, list[str], list[str]]:
    told = status(pid)
    capabilities = [told[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")]
    return capabilities, told["NoNewPrivs"], told["Uid"].split(), told["Gid"].split()


def links_of(pid: int) -> list[str]:
    """What a process has open; it may close some of it while it is looked at."""
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(str(path.readlink()))
    return found


def namespace_of(pid: int | str, kind: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


def test_envoy_and_application_are_two_users_without_any_right(replica: ConfinedBench) -> None:
    told = replica.start(replica.app()).status_where(is_ready)
    for pid, account in ((told["envoy_pid"], replica.envoys), (told["app_pid"], replica.apps)):
        expected = [NOTHING] * 5, "1", [str(account.uid)] * 4, [str(account.gid)] * 4
        assert rights_of(pid) == expected
        assert status(pid)["Groups"] == ""


def test_what_a_command_or_a_probe_runs_has_no_more_rights_than_the_application(
    replica: ConfinedBench,
) -> None:
    script = 'grep -E "Cap|NoNew|Uid|Groups" /proc/self/status > "$APP_DIRECTORY/$1"'
    probe = ProbeSpec(kind=ProbeKind.COMMAND, command=("/bin/sh", "-c", script, "", "probe"), interval=0.1)
    replica.start(replica.app(probe=probe)).status_where(is_ready)
    execute(replica, "/bin/sh", "-c", script, "", "command")
    by_probe, by_command = ((replica.work / name).read_text() for name in ("probe", "command"))
    assert by_probe == by_command
    assert f"CapBnd:\t{NOTHING}\nCapAmb:\t{NOTHING}\nNoNewPrivs:\t1\n" in by_command
    assert f"Uid:\t{replica.apps.uid}" in by_command


def test_an_application_can_do_nothing_to_its_envoy_or_to_the_shim(
    replica: ConfinedBench, closed: Path
) -> None:
    needed = program(closed / "needed" / "tool", "#!/bin/sh\n")
    control = replica.start(
        replica.app(), app_sees=(*replica.confinement().app_sees, Visible(path=str(needed)))
    )
    before = control.status_where(is_ready)
    told = asked(replica, "/tmp", closed)
    assert (len(told["others"].pop("refusing")) >= 2, told["others"].pop("signalled")) == (
        True,
        [replica_pid(before)],
    )
    own = {"traced", "read", "listed"}
    assert {name: told["others"][name] for name in own} == {name: [replica_pid(before)] for name in own}
    assert 1 not in told["seen"]
    assert {name: what for name, what in told["attempts"].items() if not what} == {}
    assert set(told["in a user namespace"].values()).isdisjoint({"done"})
    assert replica.get() == 200
    assert replica.status() == before


def replica_pid(told: dict[str, Any]) -> int:
    """The application's id in its own namespace: whatever runs in its place is the same user, and may look at it."""
    return int(status(told["app_pid"])["NSpid"].split()[1])


def test_a_shim_keeps_no_right_that_it_does_not_need_and_hands_nothing_on(replica: ConfinedBench) -> None:
    told = replica.start(replica.app()).status_where(is_ready)
    shim = status(told["shim_pid"])
    assert (shim["CapInh"], shim["CapAmb"]) == (NOTHING, NOTHING)
    assert shim["CapPrm"] == shim["CapEff"] == shim["CapBnd"] == f"{0x2C01EF:016x}"
    assert namespace_of(told["shim_pid"], "net") not in links_of(told["shim_pid"])
    assert [link for link in links_of(told["shim_pid"]) if link.startswith("net:")] == [
        f"net:[{os.fstat(replica.fabric).st_ino}]"
    ]
    for pid in (told["envoy_pid"], told["app_pid"]):
        special = [
            link for link in links_of(pid) if link.startswith(("net:", "mnt:", "/proc")) or ".lock" in link
        ]
        assert special == []
    _, out, _ = execute(replica, "/bin/ls", "/proc/self/fd")
    assert out.split() == [b"0", b"1", b"2", b"3"]  # 3 is the folder that ls reads


def test_everything_of_a_replica_is_in_its_namespaces_and_named_by_what_we_call_it(
    replica: ConfinedBench,
) -> None:
    told = replica.start(replica.app()).status_where(is_ready)
    assert replica.shim is not None
    assert told["shim_pid"] == replica.shim.pid
    pids = [told[name] for name in ("shim_pid", "envoy_pid", "app_pid")]
    assert sorted(replica.processes()) == sorted(pids)
    assert status(pids[0])["NSpid"].split()[1:] == ["1"]
    for kind in ("pid", "ipc", "net"):
        inside = {namespace_of(pid, kind) for pid in pids}
        assert len(inside) == 1
        assert namespace_of("self", kind) not in inside
    assert len({namespace_of(pid, "mnt") for pid in (*pids, "self")}) == 4


def test_a_killed_shim_takes_everything_along(replica: ConfinedBench) -> None:
    control = replica.start(replica.app("daemon"))
    control.status_where(is_ready)
    everything = replica.processes()
    assert len(everything) == 4
    assert replica.shim is not None
    assert replica.shim.poll() is None
    replica.signal(signal.SIGKILL)
    assert replica.wait() == 0
    assert not any(map(alive, everything))
    assert not shims.alive(replica.files)


def test_the_first_process_reaps_what_others_leave_to_it(replica: ConfinedBench) -> None:
    told = replica.start(replica.app()).status_where(is_ready)
    execute(replica, "/bin/sh", "-c", "for _ in 1 2 3; do (sleep 0.1 &) ; done")
    ours = {told["envoy_pid"], told["app_pid"]}
    until("they have come and gone", lambda: set(children(told["shim_pid"])) == ours)


def test_the_folders_that_everybody_writes_to_are_a_replicas_own(replica: ConfinedBench) -> None:
    replica.start(replica.app()).status_where(is_ready)
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as ours:
        told = asked(replica, "/tmp", "/var/tmp", "/dev/shm")
        assert told["folders"] == {"/tmp": [replica.root.name], "/var/tmp": [], "/dev/shm": []}
        execute(replica, "touch", "/tmp/theirs", ours.name)
        assert asked(replica, "/tmp")["folders"]["/tmp"] == sorted([replica.root.name, "theirs"])
        assert execute(replica, "ls", ours.name)[1].decode().strip() == ours.name
    assert not Path("/tmp/theirs").exists()


def test_only_what_is_needed_is_seen_of_a_closed_folder(replica: ConfinedBench, closed: Path) -> None:
    for name in ("secret", "shown/inside", "tool/share/secret", "tool/lib/library"):
        (closed / name).parent.mkdir(parents=True, exist_ok=True)
        (closed / name).write_text(name)
    line = f'set -e; test "$(cat {closed}/shown/inside)" = shown/inside; exec {closed}/tool/bin/run "$@"'
    command = ("/bin/sh", "-c", line, "sh", *replica.app().command)
    program(closed / "tool/bin/run", '#!/bin/sh\nexec "$@"\n')
    sees = (*replica.confinement().app_sees, Visible(path=str(closed / "shown")))
    replica.start(replica.app(command=command), app_sees=sees).status_where(is_ready)
    told = asked(replica, closed / "tool", closed / "tool/lib", closed / "shown", closed)
    assert told["folders"] == {
        str(closed): ["shown", "tool"],
        str(closed / "tool"): ["bin", "lib"],
        str(closed / "tool/lib"): ["library"],
        str(closed / "shown"): ["inside"],
    }
    assert execute(replica, "touch", str(closed / "shown" / "more"))[0] == {"exit": 1}
    _, out, _ = execute(replica, "/bin/sh", "-c", f"cat /proc/mounts | grep {closed}")
    assert all("ro,nosuid" in line for line in out.decode().splitlines())


def test_what_envoy_sees_of_a_closed_folder_is_its_own_affair(replica: ConfinedBench, closed: Path) -> None:
    for name in ("secrets/identity", "others/identity"):
        (closed / name).parent.mkdir()
        (closed / name).write_text("")
    sees = (*replica.confinement().envoy_sees, Visible(path=str(closed / "secrets")))
    told = replica.start(replica.app(), envoy_sees=sees).status_where(is_ready)
    seen = Path(f"/proc/{told['envoy_pid']}/root{closed}")
    assert [path.name for path in seen.iterdir()] == ["secrets"]
    assert asked(replica, closed)["folders"] == {str(closed): "PermissionError"}


def test_an_envoy_in_a_closed_folder_is_found(replica: ConfinedBench, closed: Path) -> None:
    (closed / "_bin").mkdir()
    (closed / "_bin" / "beside").touch()
    (closed / "_bin" / "envoy").symlink_to(ENVOY)
    envoy = replica.envoy()
    command = (str(closed / "_bin" / "envoy"), *envoy.command[1:])
    told = replica.start(replica.app(), replace(envoy, command=command)).status_where(is_ready)
    seen = Path(f"/proc/{told['envoy_pid']}/root{closed}/_bin")
    assert {path.name for path in seen.iterdir()} == {"beside", "envoy"}


def test_an_interpreter_in_a_closed_folder_is_found_through_scripts_and_links(
    replica: ConfinedBench, closed: Path
) -> None:
    environment = closed / "home" / "environment"
    subprocess.run((sys.executable, "-m", "venv", "--copies", "--without-pip", environment), check=True)
    (environment / "share").mkdir()
    (closed / "home" / "diary").write_text("")
    (environment / "lib" / "mine.py").write_text("")
    text = Path(APP).read_text()
    real = program(
        environment / "bin" / "server", f"#!/usr/bin/env -S reader -I\nimport sys\nsys.argv = ['x']\n{text}"
    )
    (environment / "bin" / "reader").symlink_to("python3")
    (closed / "home" / "bin").mkdir()
    (closed / "home" / "bin" / "serve").symlink_to(closed / "link")
    (closed / "link").symlink_to("home/environment/bin/../bin/server")
    path = f"{closed}/home/bin:{environment}/bin:{os.environ['PATH']}"
    assert real.exists()
    told = replica.start(
        replica.app(command=("/bin/sh", "-c", "umask 0; exec serve stuck"), env=replica.env(PATH=path))
    ).status_where(lambda told: is_ready(told) or has_failed(told))
    assert (told["phase"], told["message"]) == ("ready", "")
    folders = asked(replica, closed / "home", environment, closed)["folders"]
    assert folders[str(closed)] == ["home", "link"]
    assert folders[str(closed / "home")] == ["bin", "environment"]
    assert set(folders[str(environment)]) <= {"bin", "lib", "lib64", "pyvenv.cfg"}


def test_files_are_laid_over_others_wherever_those_really_are(replica: ConfinedBench, closed: Path) -> None:
    open_to_all = closed.with_name(closed.name + "-open")
    open_to_all.mkdir()
    try:
        (closed / "new").write_text("new")
        (open_to_all / "real").write_text("old")
        (open_to_all / "link").symlink_to("real")
        targets = (
            "/etc/hosts",
            str(open_to_all / "link"),
            "/tmp/made",
            "/no/such/place",
            f"{replica.work}/made",
        )
        files = tuple((str(closed / "new"), target) for target in targets)
        told = replica.start(replica.app(), files=files).status_where(is_ready)
        for target in targets[:3]:
            assert execute(replica, "cat", target)[1] == b"new"
        assert Path(f"/proc/{told['envoy_pid']}/root/etc/hosts").read_text() == "new"
        (closed / "new").write_text("newer")  # changed in place, as the agent does
        assert execute(replica, "cat", "/etc/hosts")[1] == b"newer"
        assert (open_to_all / "real").read_text() == "old"
        assert not (replica.work / "made").exists()  # what is the host's own is not added to
    finally:
        shutil.rmtree(open_to_all)


def _closed_directory(replica: ConfinedBench, closed: Path) -> dict[str, Any]:
    return {"directory": str(closed)}


def _unreadable_file(replica: ConfinedBench, closed: Path) -> dict[str, Any]:
    path = replica.work / "config"
    path.write_text("")
    path.chmod(0o600)
    return {"command": ("/bin/cat", "config")}


def _unrunnable(replica: ConfinedBench, closed: Path) -> dict[str, Any]:
    program(replica.work / "run", "#!/bin/sh\n").chmod(0o700)
    return {"command": ("./run",)}


def _unrunnable_interpreter(replica: ConfinedBench, closed: Path) -> dict[str, Any]:
    program(replica.work / "interpreter", "#!/bin/sh\n").chmod(0o750)
    return {"command": (str(program(replica.work / "run", f"#!{replica.work}/interpreter\n")),)}


def _hidden_file(replica: ConfinedBench, closed: Path) -> dict[str, Any]:
    (closed / "data").write_text("")
    return {"command": ("/bin/cat", str(closed / "data"))}


def _file_in_tmp(replica: ConfinedBench, closed: Path) -> dict[str, Any]:
    (replica.root / "data").write_text("")
    return {"command": ("/bin/cat", f"{replica.root}/data")}


@pytest.mark.parametrize(
    ("arrange", "message"),
    [
        (
            _closed_directory,
            "cannot enter working directory {closed} as user {uid}: its mode is 0700 and its owner 0:0; chmod o+x {closed}",
        ),
        (
            _unreadable_file,
            "cannot read {work}/config as user {uid}: its mode is 0600 and its owner 0:0; chmod o+r {work}/config",
        ),
        (
            _unrunnable,
            "cannot run {work}/./run as user {uid}: its mode is 0700 and its owner 0:0; chmod o+rx {work}/run",
        ),
        (
            _unrunnable_interpreter,
            "cannot run {work}/interpreter as user {uid}: its mode is 0750 and its owner 0:0; chmod o+rx {work}/interpreter",
        ),
        (
            _hidden_file,
            (
                "cannot read {closed}/data as user {uid}: the mode of {closed} is 0700 and its owner 0:0; "
                "keep it in the working directory, or chmod o+x {closed}"
            ),
        ),
        (
            _file_in_tmp,
            (
                "cannot read {root}/data as user {uid}: "
                "a replica has a /tmp of its own; keep it elsewhere, or in the working directory"
            ),
        ),
    ],
)
def test_what_an_application_cannot_see_is_named_with_what_to_do(
    replica: ConfinedBench, closed: Path, arrange: Any, message: str
) -> None:
    told = replica.start(replica.app(restart=Restart.NEVER, **arrange(replica, closed))).status_where(
        has_failed
    )
    expected = message.format(closed=closed, uid=replica.apps.uid, work=replica.work, root=replica.root)
    assert told["message"].partition("; it is started again")[0] == expected
    assert (told["restarts"], told["exit_code"], told["app_pid"]) == (0, None, None)


def test_what_was_missing_is_seen_once_it_is_there(replica: ConfinedBench, closed: Path) -> None:
    tool = closed / "bin" / "late"
    control = replica.start(replica.app(command=(str(tool), *replica.app().command)))
    assert control.status_where(has_failed)["message"] == f"command not found: {tool}"
    program(tool, '#!/bin/sh\nexec "$@"\n')
    control.status_where(is_ready)


def test_a_command_that_is_typed_may_name_what_it_cannot_read(replica: ConfinedBench) -> None:
    replica.start(replica.app()).status_where(is_ready)
    answer, _, err = execute(replica, "cat", "/etc/shadow")
    assert (answer, err) == ({"exit": 1}, b"cat: /etc/shadow: Permission denied\n")


@pytest.mark.parametrize("whose", ["envoy", "app"])
def test_nothing_that_is_shut_in_runs_as_root(replica: ConfinedBench, whose: str) -> None:
    control = replica.start(replica.app(), **{whose: Account(uid=0, gid=0)})
    told = control.status_where(has_failed)
    assert "nothing that is shut in runs as root" in told["message"]


def test_an_application_that_stops_what_is_to_run_beside_it_does_not_stop_the_shim(
    replica: ConfinedBench,
) -> None:
    script = (
        "import os, signal, sys\n"
        "own = {os.getpid()}\n"
        "os.fork() or signal.pause()\n"
        "own |= {os.getpid()}\n"
        "while True:\n"
        "  for pid in set(range(2, 100)) - own:\n"
        "    try: os.kill(pid, signal.SIGSTOP)\n"
        "    except OSError: pass\n"
    )
    told = replica.start(replica.app(command=(*PYTHON, "-c", script))).status_where(
        lambda told: told["app_pid"]
    )
    control = replica.connect()
    control.next()
    with Path(os.devnull).open("r+b") as nowhere:
        line = json.dumps({"command": "exec", "argv": ["true"]}).encode() + b"\n"
        socket.send_fds(control.socket, [line], [nowhere.fileno()] * 3)
    replica.connect().command(command="kill")
    assert replica.wait() == 0
    assert not alive(told["app_pid"])


def test_a_users_groups_go_with_it(replica: ConfinedBench) -> None:
    account = replace(replica.apps, groups=(replica.apps.gid, 0x70000001))
    replica.start(replica.app(), app=account).status_where(is_ready)
    assert asked(replica, "/tmp")["groups"] == sorted(account.groups)


def _python_listening(place: str, port: int) -> tuple[str, ...]:
    family = "AF_INET6" if ":" in place else "AF_INET"
    script = (
        f"import socket, time; s = socket.socket(socket.{family}); "
        f"s.bind(({place!r}, {port})); s.listen(); time.sleep(1000)"
    )
    return (*PYTHON, "-c", script)


@pytest.mark.parametrize(
    ("place", "port", "wrong"),
    [
        ("127.0.0.1", 9000, ""),
        ("0.0.0.0", 9000, ""),
        ("::", 9000, ""),
        ("::1", 9000, "listens on [::1]:9000, but is reached at 127.0.0.1:9000"),
        ("127.0.0.2", 9000, "listens on 127.0.0.2:9000, but is reached at 127.0.0.1:9000"),
        ("0.0.0.0", 9001, "listens on 0.0.0.0:9001, but is reached at 127.0.0.1:9000"),
    ],
)
def test_an_application_is_reached_at_the_loopback_whatever_else_it_listens_on(
    replica: ConfinedBench, place: str, port: int, wrong: str
) -> None:
    here = (("127.0.0.1", 9000),)
    probe = ProbeSpec(kind=ProbeKind.TCP, places=here, interval=0.1)
    command = _python_listening(place, port)
    control = replica.start(replica.app(command=command, ports=here, exactly=False, probe=probe))
    told = control.status_where(has_failed if wrong else is_ready)
    assert told["message"] == wrong


def test_a_second_shim_of_a_replica_is_refused(replica: ConfinedBench) -> None:
    replica.start(replica.app()).status_where(is_ready)
    with pytest.raises(OSError, match="an earlier shim of this replica still runs"):
        shims.start(replica.files, {}, shims.Entry(network=replica.network))
    assert replica.get() == 200


def test_an_application_does_not_run_as_its_envoys_user(replica: ConfinedBench) -> None:
    with pytest.raises(OSError, match="an application cannot run as its Envoy's user"):
        replica.start(replica.app(), app=replica.envoys)


def test_an_application_cannot_widen_its_own_view(replica: ConfinedBench, closed: Path) -> None:
    secret = program(closed / "bin" / "secret", "#!/bin/sh\n")
    for name, make in (("link", None), ("script", f"#!{secret}\n")):
        path = replica.work / name
        program(path, make) if make else path.symlink_to(secret)
        os.chown(path, replica.apps.uid, replica.apps.gid, follow_symlinks=False)
    command = ("/bin/sh", "-c", "exec ./link ./script; exec ./script", "./link", "./script")
    replica.start(replica.app(command=command))
    assert asked(replica, closed)["folders"] == {str(closed): "PermissionError"}


def test_what_the_kernel_refuses_reaches_the_agent_in_words(replica: ConfinedBench) -> None:
    replica.start(replica.app()).status_where(is_ready)
    replica.signal(signal.SIGKILL)
    replica.wait()
    with Path(os.devnull).open() as nowhere, pytest.raises(OSError, match="setns: invalid argument"):
        shims.start(replica.files, {}, shims.Entry(network=nowhere.fileno()))


def test_a_view_that_cannot_be_made_reaches_the_agent_in_words(replica: ConfinedBench) -> None:
    with pytest.raises(OSError, match="No such file or directory: '/no/such/file'"):
        replica.start(replica.app(), files=(("/no/such/file", "/etc/hosts"),))
    until("it is gone", lambda: not replica.processes())
    assert not shims.alive(replica.files)
