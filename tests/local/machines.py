"""A machine with real shims and Envoys, and a control plane that is a few lists."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from plait.agent.record import ReplicaFiles
from plait.envoy import api
from plait.envoy.filters import stats
from plait.identity.authority import Authority, Subject
from plait.link.client import LinkError
from plait.link.messages import (
    Assignments,
    ReplicaReport,
    Signed,
    SignRequest,
    State,
    Withdrawn,
    WorkloadAssignment,
)
from plait.local.blueprint import Site
from plait.local.machine import Machine
from plait.local.sweep import belonging, sweep
from plait.model.catalog import Process, Protocol, Restart, SidecarAddresses, WorkloadPort
from plait.model.names import Identity, ReplicaKey, WorkloadKey
from plait.telemetry.reports import ProxyReport
from tests.agent.shims import APP, BOUND, ENVOY, static_bootstrap

TRUST_DOMAIN = "cluster.local"
WEB = WorkloadKey("bistro", "web")
FLUSH = 0.1
"""Seconds between two times that an Envoy adds up its histograms."""
T = TypeVar("T")


async def until(what: str, condition: Callable[[], T | Literal[False] | None], pause: float = 0.02) -> T:
    """The first true answer of a condition."""
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        await asyncio.sleep(pause)  # the pause between two looks, not a wait for anything
    raise AssertionError(f"never came true: {what}")


@dataclass
class Plane:
    """The control plane's end: takes reports, signs, withdraws at once unless told otherwise."""

    authority: Authority
    reports: dict[ReplicaKey, ReplicaReport] = field(default_factory=dict)
    history: list[ReplicaReport] = field(default_factory=list)
    seen: list[ProxyReport] = field(default_factory=list)
    machine: Machine | None = None
    away: bool = False
    withdraws: bool = True
    lifetime: float = 3600.0
    signed: int = 0
    withdrawals: list[asyncio.Task[None]] = field(default_factory=list)

    def report(self, report: ReplicaReport) -> None:
        key = report.replica.key
        self.reports[key] = report
        self.history.append(report)
        if report.state is State.DRAINING and self.withdraws and self.machine is not None:
            self.withdrawals.append(asyncio.create_task(self.machine.deliver(Withdrawn(key=key))))

    def observed(self, report: ProxyReport) -> None:
        self.seen.append(report)

    def gone(self, key: ReplicaKey) -> None:
        del self.reports[key]

    async def sign(self, request: SignRequest) -> Signed:
        if self.away:
            raise LinkError("the control plane does not answer")
        assert request.replica is not None
        replica = self.reports[request.replica].replica
        identity = Identity(TRUST_DOMAIN, replica.key.workload.namespace, replica.service_account)
        certificate = self.authority.sign(
            request.csr,
            uri=identity.uri,
            now=time.time(),
            subject=Subject(workload=replica.key.workload.name),
            lifetime=self.lifetime,
        )
        self.signed += 1
        return Signed(chain=certificate.chain, trust=self.authority.trust, expires=certificate.expires)

    def states(self, workload: WorkloadKey = WEB) -> dict[int, str]:
        return {
            key.number: report.state.value
            for key, report in sorted(self.reports.items())
            if key.workload == workload
        }


def bootstrap(
    *, sidecar: SidecarAddresses, admin_socket: str, state: Path, node: ReplicaKey, **_: Any
) -> dict[str, Any]:
    record = ReplicaFiles.of(state, node).read()
    assert record is not None
    ports = [
        ((binding.address, binding.port), (binding.app_address, binding.app_port))
        for binding in record.replica.bindings
    ]
    config = static_bootstrap(admin_socket, (sidecar.address, sidecar.outbound), ports)
    config["stats_flush_interval"] = f"{FLUSH}s"
    _, *inbound = config["static_resources"]["listeners"]
    for listener in inbound:
        (http,) = listener["filter_chains"][0]["filters"]
        http["typed_config"]["access_log"] = [_counts()]
    return config


def _counts() -> dict[str, Any]:
    """What counts the requests that a sidecar serves, as real ones have it."""
    log = api.message("envoy.config.accesslog.v3.AccessLog")
    return api.to_dict(log(**stats.at_destination(mtls=False)))


def site(state: Path) -> Site:
    return Site(
        state=state,
        envoy=ENVOY,
        control_plane="/nowhere",
        around=os.environ,
        bootstrap=lambda **given: bootstrap(state=state, **given),
    )


def web(
    *words: str, revision: str = "1", replicas: int = 1, work: Path | None = None, **process: Any
) -> WorkloadAssignment:
    """The test application of tests/agent, as a workload."""
    values: dict[str, Any] = {
        "command": (sys.executable, "-I", "-S", APP, *words),
        "env": (("APP_DIRECTORY", str(work)),),
        "working_dir": str(work),
        "ports": (WorkloadPort(name="http", number=8080, protocol=Protocol.HTTP),),
        **process,
    }
    return WorkloadAssignment(
        key=WEB,
        revision=revision,
        labels=(("app", "web"), ("version", revision)),
        service_account="waiter",
        replicas=replicas,
        process=Process(**values),
    )


def job(
    script: str, *, work: Path, revision: str = "1", restart: Restart = Restart.NEVER
) -> WorkloadAssignment:
    return web(revision=revision, work=work, command=("/bin/sh", "-c", script), ports=(), restart=restart)


def wishes(*workloads: WorkloadAssignment) -> Assignments:
    return Assignments(trust_domain=TRUST_DOMAIN, workloads=workloads)


class Mesh:
    """A state directory, the machine on it, and its control plane."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = root / "state"
        for part in ("agent", "ca", "control-plane", "replicas", "run"):
            (self.state / part).mkdir(mode=0o700, parents=True)
        self.work = root / "work"
        self.work.mkdir()
        self.plane = Plane(Authority.open(self.state / "ca", trust_domain=TRUST_DOMAIN, now=time.time()))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Machine]:
        """An agent, for as long as the context lasts; it says Hello first, as the link's client does."""
        machine = Machine(site(self.state))
        await machine.adopt()
        self.plane.machine = machine
        self.plane.reports = {report.replica.key: report for report in machine.hello()}
        task = asyncio.create_task(machine.run(self.plane))
        try:
            yield machine
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            if not task.cancelled():
                task.result()

    def files(self, number: int = 0, workload: WorkloadKey = WEB) -> ReplicaFiles:
        return ReplicaFiles.of(self.state, ReplicaKey(workload, number))

    async def states(self, **wanted: str) -> None:
        """Waits until the replicas of `web` are in exactly these states: n0="ready"."""
        expected = {int(name[1:]): state for name, state in wanted.items()}
        try:
            await until("", lambda: self.plane.states() == expected)
        except AssertionError:
            raise AssertionError(f"wanted {expected}, but: {self.plane.reports}") from None

    async def reported(self, condition: Callable[[ReplicaReport], bool], number: int = 0) -> ReplicaReport:
        """Waits for a report of one replica of `web` that fulfils a condition."""

        def found() -> ReplicaReport | None:
            report = self.plane.reports.get(ReplicaKey(WEB, number))
            return report if report and condition(report) else None

        try:
            return await until("", found)
        except AssertionError:
            raise AssertionError(f"never reported; last: {self.plane.reports}") from None

    def processes(self) -> tuple[int, ...]:
        return belonging(self.state)


@asynccontextmanager
async def mesh() -> AsyncIterator[Mesh]:
    root = Path(tempfile.mkdtemp(prefix="plait-"))  # sockets want a short path
    made = Mesh(root)
    try:
        yield made
    finally:
        await asyncio.to_thread(sweep, made.state)
        shutil.rmtree(root)
