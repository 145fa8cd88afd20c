"""Plait's own pair of sidecars, as `plait up` runs it: a client and a server, and a policy that lets only the one in.

In transparent mode the load comes from inside the client's namespaces.  It then crosses links between namespaces
and the kernel's redirection at both ends, which nothing on the loopback does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

from bench.control_plane.plane import BenchError
from bench.data_plane import server
from bench.data_plane.ground import AUTHORITY, Ground, Standing
from bench.data_plane.load import Protocol, Target
from bench.data_plane.processes import pin
from plait.agent.record import ReplicaFiles
from plait.local.network import rights
from plait.model.names import ReplicaKey, WorkloadKey
from plait.model.settings import Mode, OutboundTrafficPolicy

_PLAIT = (sys.executable, "-m", "plait.cli.main")
_UNOBSERVED = (sys.executable, "-m", "bench.data_plane.unobserved")
_START, _END = 60.0, 60.0
_PAUSE = 0.1
_PORTS = {Protocol.HTTP: "http", Protocol.GRPC: "grpc-echo", Protocol.TCP: "tcp-bytes"}
_NAMESPACE = "bench"


def missing() -> str:
    """What transparent mode lacks here."""
    return "; ".join(rights.missing(OutboundTrafficPolicy.REGISTRY_ONLY))


@contextmanager
def explicit(ground: Ground, *, observed: bool = True) -> Iterator[Standing]:
    with _mesh(ground, Mode.EXPLICIT, _PLAIT if observed else _UNOBSERVED) as state:
        record = _files(state, "client").read()
        if record is None:
            raise BenchError("Plait keeps no record of the client")
        sidecar = record.replica.sidecar
        target = Target(place=f"{sidecar.address}:{sidecar.outbound}", authority=AUTHORITY)
        yield Standing(target=target, proxies=_envoys(state, ground))


@contextmanager
def transparent(ground: Ground) -> Iterator[Standing]:
    with _mesh(ground, Mode.TRANSPARENT, _PLAIT) as state:
        inside = (*_PLAIT, "exec", f"{_NAMESPACE}/client", "--state-dir", str(state), "--")
        target = Target(place=AUTHORITY, authority=AUTHORITY, prefix=inside)
        yield Standing(target=target, proxies=_envoys(state, ground))


@contextmanager
def _mesh(ground: Ground, mode: Mode, plait: Sequence[str]) -> Iterator[Path]:
    """The state directory of a mesh that serves; in the end it is taken down, whatever has happened."""
    base = Path(tempfile.mkdtemp(prefix="plait-data-"))
    state, folder, output = base / "s", base / "mesh", base / "output"
    folder.mkdir()
    (folder / "mesh.yaml").write_text(mesh(ground.protocol))
    with output.open("wb") as log:
        process = subprocess.Popen(
            (
                *("taskset", "--cpu-list", str(ground.cores.load), *plait),
                *("up", str(folder), "--state-dir", str(state), "--mode", str(mode)),
            ),
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _ready(process, output)
        yield state
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        down = (*_PLAIT, "down", "--state-dir", str(state))
        subprocess.run(down, env=_environment(), capture_output=True, check=False, timeout=_END)
        rmtree(base, ignore_errors=True)


def mesh(protocol: Protocol) -> str:
    """The documents of the mesh: JSON, which is YAML."""
    serving = server.GRPC_SERVER if protocol is Protocol.GRPC else server.HTTP_SERVER
    ports = [{"name": _PORTS[protocol], "port": 8080}]
    return "\n---\n".join(
        json.dumps(document)
        for document in (
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}},
            *_workload("server", serving, ports),
            *_workload("client", ("tail", "-f", "/dev/null"), []),
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "server", "namespace": _NAMESPACE},
                "spec": {"selector": {"app": "server"}, "ports": ports},
            },
            {
                "apiVersion": "security.istio.io/v1",
                "kind": "AuthorizationPolicy",
                "metadata": {"name": "server", "namespace": _NAMESPACE},
                "spec": {
                    "selector": {"matchLabels": {"app": "server"}},
                    "rules": [{"from": [{"source": {"principals": ["cluster.local/ns/bench/sa/client"]}}]}],
                },
            },
        )
    )


def _workload(name: str, command: Sequence[str], ports: list[dict[str, object]]) -> Iterator[object]:
    yield {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": _NAMESPACE},
    }
    yield {
        "apiVersion": "plait.dev/v1alpha1",
        "kind": "Workload",
        "metadata": {"name": name, "namespace": _NAMESPACE, "labels": {"app": name, "version": "v1"}},
        "spec": {
            "command": list(command),
            "workingDir": str(server.SERVED),
            "serviceAccount": name,
            "ports": ports,
        },
    }


def _ready(process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + _START
    while not any(line.startswith("ready: ") for line in output.read_text().splitlines()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise BenchError(f"Plait's mesh does not become ready:\n{output.read_text()[-2000:]}")
        time.sleep(_PAUSE)


def _envoys(state: Path, ground: Ground) -> tuple[int, ...]:
    """The sidecars of client and server, from now on where the other proxies are."""
    found = []
    for name in ("client", "server"):
        status = _files(state, name).last_status()
        if status is None or status.envoy_pid is None:
            raise BenchError(f"Plait does not say which process the sidecar of {name} is")
        pin(status.envoy_pid, ground.cores.proxies)
        found.append(status.envoy_pid)
    return tuple(found)


def _files(state: Path, name: str) -> ReplicaFiles:
    return ReplicaFiles.of(state, ReplicaKey(WorkloadKey(_NAMESPACE, name), 0))


def _environment() -> dict[str, str]:
    """Without anything of a mesh that may run around the bench."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PLAIT_")}
