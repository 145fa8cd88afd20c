"""What is done to a mesh, and what comes of it as records."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from bench.control_plane.mesh import Mesh
from bench.control_plane.proxies import Counted
from bench.control_plane.simulated.proxy import PROBE
from bench.records import Record
from plait.envoy import names
from plait.model.mesh import ClusterKey
from plait.model.names import ReplicaKey, WorkloadKey, service_host
from plait.resource import ENDPOINTS, ROUTES

_PORT = 8080
_REPLICAS = 3
_TIMEOUT, _OPERATION = re.compile(r"timeout: \d+s"), re.compile(r"operation: {[^}]*}")
"""What is changed in a VirtualService, and in an AuthorizationPolicy."""

_FLAPS = 100
_IDLE = 5.0
_CALM = 3.0
"""Seconds from the end of a scenario until the memory is looked at."""
_WITHIN, _STARTED = 120.0, 900.0
"""Seconds after which a change, or a start, counts as failed."""


@dataclass(frozen=True, slots=True)
class Happened:
    """What came of one event: when proxies had acknowledged it (ms), and what it cost the control plane."""

    times: Sequence[float]
    cpu: float
    """In seconds."""
    counted: Counted


@dataclass(frozen=True, slots=True)
class Bench:
    """Scenarios at one mesh: `repetitions` of each single change, `seconds` of flapping."""

    mesh: Mesh
    setting: str
    repetitions: int
    seconds: int

    @asynccontextmanager
    async def cold_start(self, profile: Path | None = None) -> AsyncIterator[list[Record]]:
        """The control plane from its start to its end; the records are of the time until everyone was in sync."""
        mesh = self.mesh
        await mesh.simulated.mark()
        await mesh.simulated.do("dial")
        began = time.monotonic_ns()
        async with mesh.started(profile):
            times = await mesh.simulated.acknowledged(mesh.simulated.count, _STARTED, complete=True)
            happened = await self._happened(began, 0.0, times)
            await self._calm()
            yield self._records("cold start", [happened])

    async def nothing(self) -> list[Record]:
        """What a mesh costs that nobody touches."""
        await self.mesh.simulated.mark()
        cpu = self.mesh.plane.cpu
        idle = min(_IDLE, self.seconds)
        await asyncio.sleep(idle)
        share = (self.mesh.plane.cpu - cpu) / idle * 100
        return [self._record("nothing changes", "CPU", "%", share), *self._memory("nothing changes")]

    async def route(self) -> list[Record]:
        """Every proxy knows it."""
        return await self._each("one route changed", self._route)

    async def endpoint(self) -> list[Record]:
        """Every proxy knows it."""
        return await self._each("one endpoint changed", self._endpoint)

    async def policy(self) -> list[Record]:
        """Only the proxies of one workload know it."""
        return await self._each("one policy changed", self._policy)

    async def flapping(self) -> list[Record]:
        """Endpoints go and come back, one each hundredth of a second; after them one more goes, and is awaited."""
        mesh, case = self.mesh, "100 endpoints flapping a second"
        *flapping, last = [replica.key for replica in mesh.replicas if replica.key.number == 1][: _FLAPS + 1]
        await mesh.simulated.mark(ENDPOINTS, _endpoints(last))
        cpu, began = mesh.plane.cpu, time.monotonic()
        for number in range(self.seconds * _FLAPS):
            await asyncio.sleep(began + number / _FLAPS - time.monotonic())
            mesh.agent.toggle(flapping[number % len(flapping)])
        share = (mesh.plane.cpu - cpu) / (time.monotonic() - began) * 100
        ended = time.monotonic_ns()
        mesh.agent.toggle(last)
        times = await mesh.simulated.acknowledged(mesh.simulated.count, _WITHIN)
        happened = await self._happened(ended, cpu, times)
        await self._calm()
        return [self._record(case, "CPU while it lasts", "%", share), *self._records(case, [happened])]

    async def reconnecting(self) -> list[Record]:
        """All connections are dropped, and made again by proxies that say what they have."""
        mesh, case = self.mesh, "all proxies reconnecting"
        await mesh.simulated.mark(ROUTES, PROBE)
        await mesh.simulated.do("prepare")
        cpu, began = mesh.plane.cpu, time.monotonic_ns()
        await mesh.simulated.do("redial")
        times = await mesh.simulated.acknowledged(mesh.simulated.count, _WITHIN)
        happened = await self._happened(began, cpu, times)
        await self._calm()
        handshakes = self._record(case, "handshakes", "", happened.counted.handshakes)
        return [handshakes, *self._records(case, [happened])]

    async def _each(self, case: str, change: Callable[[int], Awaitable[Happened]]) -> list[Record]:
        happened = [await change(repetition) for repetition in range(self.repetitions)]
        await self._calm()
        return self._records(case, happened)

    async def _route(self, repetition: int) -> Happened:
        workload = self._written(_TIMEOUT, repetition)
        return await self._changed(
            ROUTES,
            names.routes(_host(workload), _PORT),
            self.mesh.simulated.count,
            lambda: self._rewrite(workload, _TIMEOUT, f"timeout: {6 + repetition}s"),
        )

    async def _endpoint(self, repetition: int) -> Happened:
        """One goes, and the next time comes back."""
        key = self.mesh.proxied[repetition // 2 * _REPLICAS % len(self.mesh.proxied)]
        return await self._changed(
            ENDPOINTS, _endpoints(key), self.mesh.simulated.count, lambda: self.mesh.agent.toggle(key)
        )

    async def _policy(self, repetition: int) -> Happened:
        """Of a workload whose proxies are all simulated: nobody else is told."""
        workload = self._written(_OPERATION, repetition)
        return await self._changed(
            ROUTES,
            names.inbound(_PORT),
            _REPLICAS,
            lambda: self._rewrite(workload, _OPERATION, f"operation: {{paths: [/{repetition}]}}"),
        )

    async def _changed(self, type_url: str, name: str, proxies: int, act: Callable[[], None]) -> Happened:
        """Do something that gives a resource a new version at so many simulated proxies."""
        mesh = self.mesh
        await mesh.simulated.mark(type_url, name)
        cpu, began = mesh.plane.cpu, time.monotonic_ns()
        act()
        return await self._happened(began, cpu, await mesh.simulated.acknowledged(proxies, _WITHIN))

    async def _happened(self, began: int, cpu: float, times: Sequence[int]) -> Happened:
        """What has come of it, once the control plane has nothing more to do."""
        plane = self.mesh.plane
        await plane.quiet()
        counted = await self.mesh.simulated.counted()
        return Happened([(when - began) / 1e6 for when in times], plane.cpu - cpu, counted)

    async def _calm(self) -> None:
        """Everybody is in sync, and the control plane has had the time to tidy up."""
        await self.mesh.in_sync()
        await asyncio.sleep(_CALM)

    def _written(self, words: re.Pattern[str], repetition: int) -> WorkloadKey:
        """A workload that all runs behind simulated proxies, and whose file says this; another each time."""
        found = [
            workload
            for workload, count in Counter(key.workload for key in self.mesh.proxied).items()
            if count == _REPLICAS and words.search(self.mesh.texts[_file(workload)])
        ]
        return found[repetition % len(found)]

    def _rewrite(self, workload: WorkloadKey, before: re.Pattern[str], after: str) -> None:
        file = _file(workload)
        self.mesh.write(file, before.sub(after, self.mesh.texts[file]))

    def _records(self, case: str, happened: Sequence[Happened]) -> list[Record]:
        def record(metric: str, unit: str, value: Callable[[Happened], float]) -> Record:
            return self._record(case, metric, unit, *map(value, happened))

        first = record("first ACK", "ms", lambda one: one.times[0])
        last = record("last ACK", "ms", lambda one: one.times[-1])
        return [
            first,
            last,
            *(
                self._record(case, f"{one.metric} p99", "ms", p99(one.values))
                for one in (first, last)
                if len(happened) > 1
            ),
            record("CPU", "ms", lambda one: one.cpu * 1e3),
            record("CPU a push", "µs", lambda one: one.cpu * 1e6 / one.counted.pushes),
            record("pushes", "", lambda one: one.counted.pushes),
            record("bytes", "", lambda one: one.counted.bytes),
            record("proxies touched", "", lambda one: one.counted.touched),
            record("client CPU a push", "µs", lambda one: one.counted.cpu * 1e6 / one.counted.pushes),
            *self._memory(case),
        ]

    def _memory(self, case: str) -> tuple[Record, Record]:
        """What is resident now, and the most that was since this was last asked."""
        plane = self.mesh.plane
        records = (
            self._record(case, "memory", "MB", plane.memory),
            self._record(case, "peak memory", "MB", plane.peak),
        )
        plane.forget_peak()
        return records

    def _record(self, case: str, metric: str, unit: str, *values: float) -> Record:
        return Record(
            part="control plane", case=case, setting=self.setting, metric=metric, unit=unit, values=values
        )


def p99(values: Sequence[float]) -> float:
    """The least of them that 99 of 100 do not exceed."""
    return sorted(values)[ceil(len(values) * 0.99) - 1]


def _file(workload: WorkloadKey) -> str:
    return f"{workload.name}.yaml"


def _host(workload: WorkloadKey) -> str:
    return service_host(workload.namespace, workload.name)


def _endpoints(key: ReplicaKey) -> str:
    """The resource that names a replica as an endpoint."""
    return names.cluster(ClusterKey(_host(key.workload), _PORT, ""))


SCENARIOS: dict[str, Callable[[Bench], Awaitable[list[Record]]]] = {
    "nothing": Bench.nothing,
    "route": Bench.route,
    "endpoint": Bench.endpoint,
    "policy": Bench.policy,
    "flapping": Bench.flapping,
    "reconnecting": Bench.reconnecting,
}
"""What can happen to a mesh that is in sync, in the order to measure in."""
