"""A whole mesh in which kitchens are killed, replaced and taken ill while a guest keeps ordering; and what comes of it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from plait.agent.acts import Phase
from plait.agent.record import Record, ReplicaFiles, ShimStatus
from tests.e2e.mesh import Mesh, running, until, write

PROGRAM = Path(__file__).with_name("programs") / "kitchen.py"
DYING = 0.5
"""So long a process that was killed may still be there; in seconds."""
TEXT = """
apiVersion: v1
kind: Namespace
metadata: {{name: town}}
---
apiVersion: v1
kind: Service
metadata: {{name: kitchen, namespace: town}}
spec: {{selector: {{app: kitchen}}, ports: [{{name: http, port: 8080}}]}}
---
apiVersion: plait.dev/v1alpha1
kind: Workload
metadata: {{name: kitchen, namespace: town, labels: {{app: kitchen}}}}
spec:
  command: ["{python}", "{program}"]
  env: {{TURN: "{turn}", LEDGER: "{ledger}", ILL: "{ill}"}}
  replicas: {replicas}
  ports: [{{name: http, port: 8080}}]
  readiness: {{http: {{path: /healthz, port: 8080}}, interval: 200ms}}
---
apiVersion: plait.dev/v1alpha1
kind: Workload
metadata: {{name: guest, namespace: town, labels: {{app: guest}}}}
spec: {{command: [tail, -f, /dev/null]}}
"""


@dataclass(frozen=True, slots=True)
class Kill:
    """When what of a kitchen was killed, or a part of the mesh (no host)."""

    what: str
    host: str
    at: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A request without a good answer, from when it was sent until it was known to have failed."""

    method: str
    order: str
    answer: str
    sent: float
    ended: float

    def over(self, kill: Kill) -> bool:
        """Whether it may have been in the hands of who was killed."""
        return self.sent <= kill.at + DYING and kill.at <= self.ended


@dataclass(slots=True)
class Orders:
    """Everything that the guest has asked for."""

    answered: Counter[str] = field(default_factory=Counter)
    """By method."""
    done: set[str] = field(default_factory=set)
    """The POSTs that were answered well."""
    failures: list[Failure] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.answered.total() + len(self.failures)


@dataclass(slots=True)
class Storm:
    """A mesh of kitchens, and whatever has happened to it so far."""

    mesh: Mesh
    folder: Path
    replicas: int
    chance: random.Random
    orders: Orders = field(default_factory=Orders)
    kills: list[Kill] = field(default_factory=list)
    happened: Counter[str] = field(default_factory=Counter)
    turn: int = 0

    @property
    def ledger(self) -> list[tuple[str, str]]:
        """Every order that was begun, and the host of the kitchen."""
        lines = (self.folder / "ledger").read_text().splitlines()
        return [(order, host) for order, host in (line.split() for line in lines)]

    def kitchens(self) -> list[tuple[Record, ShimStatus]]:
        """Those that are ready, and were not killed a moment ago."""
        dying = {kill.host for kill in self.kills if time.monotonic() - kill.at < DYING}
        found = ((files.read(), files.last_status()) for files in ReplicaFiles.all(self.mesh.state))
        return [
            (record, status)
            for record, status in found
            if record is not None and status is not None
            if record.key.workload.name == "kitchen" and status.phase is Phase.READY
            if host_of(record) not in dying
        ]

    def nearly_all(self) -> bool:
        """Whether one at most is missing; what is sent to one of two that are then missing finds a third."""
        return len(self.kitchens()) >= self.replicas - 1

    def rolled(self) -> bool:
        """Whether nothing but the newest kitchens is there."""
        turns = [dict(record.shim.app.env)["TURN"] for record, _ in self.kitchens()]
        return turns == [str(self.turn)] * self.replicas

    async def kill(self, what: str) -> None:
        """Kill a kitchen's `application` or `Envoy`, once one of them at most is missing."""
        await until(self.nearly_all, "all kitchens but one to be ready")
        record, status = self.chance.choice(self.kitchens())
        pid = status.app_pid if what == "application" else status.envoy_pid
        assert pid is not None
        self.kills.append(Kill(what, host_of(record), time.monotonic()))
        os.kill(pid, signal.SIGKILL)
        self.happened[f"{what} killed"] += 1

    async def kill_part(self, role: str) -> None:
        """Kill the `control plane` or the `agent`, and wait for the next one."""
        pid = self.mesh.pid(role)
        self.kills.append(Kill(role, "", time.monotonic()))
        os.kill(pid, signal.SIGKILL)
        await until(lambda: self.mesh.pid(role) != pid, f"another {role}")
        self.happened[f"{role} killed"] += 1

    async def fall_ill(self) -> None:
        """A kitchen says that it is not ready, though it works, until it is left alone; then it is well again."""
        await until(self.nearly_all, "all kitchens but one to be ready")
        record, _ = self.chance.choice(self.kitchens())
        sign = self.folder / "ill" / host_of(record)
        sign.touch()
        await until(lambda: record.key not in {one.key for one, _ in self.kitchens()}, "it to be not ready")
        sign.unlink()
        self.happened["not ready for a while"] += 1

    def roll(self) -> None:
        """Have every kitchen replaced by another, one after the other."""
        self.turn += 1
        write(self.mesh.folder / "town.yaml", text(self.folder, self.replicas, self.turn))
        self.happened["rolled over"] += 1


def host_of(record: Record) -> str:
    return record.replica.bindings[0].app_address


def text(folder: Path, replicas: int, turn: int) -> str:
    return TEXT.format(
        python=sys.executable,
        program=PROGRAM,
        turn=turn,
        ledger=folder / "ledger",
        ill=folder / "ill",
        replicas=replicas,
    )


@asynccontextmanager
async def storm(folder: Path, replicas: int, rate: float, seed: int) -> AsyncIterator[Storm]:
    """The mesh, and a guest who sends so many requests a second, GET and POST by turns, as long as the context lasts.

    Afterwards every request has found its end.
    """
    (folder / "ledger").touch()
    (folder / "ill").mkdir()
    (folder / "town").mkdir()
    (folder / "town" / "town.yaml").write_text(text(folder, replicas, 0))
    async with running(folder / "town") as mesh:
        made = Storm(mesh, folder, replicas, random.Random(seed))
        await until(lambda: len(made.kitchens()) == replicas, "every kitchen to be ready")
        stop = asyncio.Event()
        asking = asyncio.create_task(_ask(made.orders, await mesh.sidecar("guest"), rate, stop))
        try:
            yield made
        finally:
            stop.set()
            await asking


async def _ask(orders: Orders, sidecar: str, rate: float, stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        asyncio.TaskGroup() as requests,
    ):
        began, number = loop.time(), 0
        while not stop.is_set():
            while number < (loop.time() - began) * rate:
                method = ("GET", "POST")[number % 2]
                requests.create_task(_one(orders, session, f"http://{sidecar}:15001", method))
                number += 1
            await asyncio.sleep(0.005)


async def _one(orders: Orders, session: aiohttp.ClientSession, proxy: str, method: str) -> None:
    order, sent = uuid.uuid4().hex, time.monotonic()
    try:
        async with session.request(
            method, "http://kitchen:8080/", proxy=proxy, data=order if method == "POST" else None
        ) as response:
            answer = f"{response.status} {await response.text()}".strip()
    except (aiohttp.ClientError, TimeoutError) as error:
        answer = repr(error)
    if answer == "200":
        orders.answered[method] += 1
        orders.done.update([order] if method == "POST" else [])
    else:
        orders.failures.append(Failure(method, order, answer, sent, time.monotonic()))
