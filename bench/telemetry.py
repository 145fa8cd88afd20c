"""What it costs the control plane to be told what proxies do: `python -m bench.telemetry [SECONDS]`.

Nothing is simulated of the control plane: it is the process that `plait up` starts, told over the real link.  One
agent tells of 200 proxies, each of which has traffic with ten others, as often and at such moments as agents do.
What the same process uses while it is told nothing is measured first, and taken off.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from bench.control_plane.agent import Agent
from bench.control_plane.mesh import ended_in_order, own_core, short_folder
from bench.control_plane.plane import BenchError, Plane, running
from bench.meshes import files
from bench.records import Record
from plait.agent.observing import EVERY
from plait.envoy.labels import packed, workload
from plait.model.catalog import Replica
from plait.model.names import Identity, WorkloadKey, service_host
from plait.model.settings import MeshSettings
from plait.run import offline
from plait.run.state_directory import StateDirectory
from plait.telemetry.histogram import bin_of
from plait.telemetry.reports import Pool, ProxyReport, Traffic, Usage

PART = "telemetry"
PROXIES, EDGES = 200, 10
CASE = f"{PROXIES} proxies, each with traffic on {EDGES} edges"
_REQUESTS = 50
"""On each edge, between two reports."""
_SECONDS, _SECONDS_WHEN_QUICK = 60, 15
_IDLE = 10.0
_VARIANTS = 4
"""So many reports of each proxy take turns."""

Say = Callable[[str], None]


def measure(quick: bool, say: Say) -> Iterator[Record]:  # noqa: FBT001  # one form for all parts
    """CPU and memory that are used for being told."""
    yield from asyncio.run(_measured(_SECONDS_WHEN_QUICK if quick else _SECONDS, say))


async def _measured(seconds: float, say: Say) -> list[Record]:
    async with _mesh(say) as (plane, agent, replicas):
        say("being told nothing")
        idle = await _used(plane, _IDLE)
        before = plane.memory
        chance = random.Random(7)
        reports = [[_report(one, replicas, chance) for _ in range(_VARIANTS)] for one in replicas]
        say(f"being told for {seconds} s")
        plane.forget_peak()
        began = plane.cpu
        told = await _tell(agent, reports, seconds)
        used = (plane.cpu - began) / seconds - idle
        await plane.quiet()
        await plane.check()
        if (taken := await _taken(plane)) != told:
            raise BenchError(f"{told} reports were told, and {taken} were taken in")
        return [
            _record("CPU", "of a core", used),
            _record("CPU a report", "µs", used * seconds / told * 1e6),
            _record("memory", "MB", plane.memory - before),
            _record("peak memory", "MB", plane.peak - before),
        ]


@asynccontextmanager
async def _mesh(say: Say) -> AsyncIterator[tuple[Plane, Agent, Sequence[Replica]]]:
    """A control plane with an agent that is connected, and whose replicas are to do something."""
    with ended_in_order(), own_core() as core, short_folder() as root:
        folder = root / "mesh"
        folder.mkdir()
        for name, text in files(-(-PROXIES // 3)):
            (folder / name).write_text(text)
        replicas = list(offline.replicas(offline.read([folder], MeshSettings()).mesh))
        state = StateDirectory(root / "state")
        agent = Agent(state, replicas)
        agent.is_remembered()
        say("starting")
        async with running(state, folder, root / "control-plane.log", core) as plane:
            await plane.answers()
            await agent.enrol()
            async with agent.connected():
                await agent.attached()
                await plane.quiet()
                yield plane, agent, replicas[:PROXIES]


async def _tell(agent: Agent, reports: Sequence[Sequence[ProxyReport]], seconds: float) -> int:
    """Report of every proxy, again and again, all within a second; how many reports that were."""
    told, loop = 0, asyncio.get_running_loop()
    began = loop.time()
    for turn in range(round(seconds / EVERY)):
        for number, of_one in enumerate(reports):
            due = began + turn * EVERY + number / len(reports)
            await asyncio.sleep(max(0.0, due - loop.time()))
            agent.observed(replace(of_one[turn % len(of_one)], at=time.time()))
            told += 1
    await asyncio.sleep(max(0.0, began + seconds - loop.time()))
    return told


async def _used(plane: Plane, seconds: float) -> float:
    """The part of a core that the control plane uses."""
    began = plane.cpu
    await asyncio.sleep(seconds)
    return (plane.cpu - began) / seconds


async def _taken(plane: Plane) -> int:
    """How many reports the control plane says that it has taken in."""
    connector = aiohttp.UnixConnector(str(plane.state.api_socket))
    async with (
        aiohttp.ClientSession("http://plait", connector=connector) as http,
        http.get("/v1/metrics") as response,
    ):
        page = await response.text()
    families = text_string_to_metric_families(page)
    samples = (one for family in families for one in family.samples)
    return int(next(one.value for one in samples if one.name == "plait_telemetry_reports_taken_total"))


def _report(one: Replica, others: Sequence[Replica], chance: random.Random) -> ProxyReport:
    """Half of its traffic is called by it, and half calls it."""
    called = chance.sample(others, EDGES)
    outbound, inbound = called[: EDGES // 2], called[EDGES // 2 :]
    return ProxyReport(
        node=one.key,
        at=0.0,
        seconds=EVERY,
        traffic=(
            *(_traffic("source", one, other, chance) for other in outbound),
            *(_traffic("destination", other, one, chance) for other in inbound),
        ),
        pools=tuple(
            Pool(
                cluster=f"outbound|8080||{_host(other.key.workload)}",
                connections=2,
                requests=chance.randrange(3),
                overflowed=0,
                retried=0,
            )
            for other in outbound
        ),
        sidecar=Usage(cpu=chance.random(), memory=80_000_000),
        application=Usage(cpu=chance.random(), memory=50_000_000),
    )


def _traffic(reporter: str, client: Replica, server: Replica, chance: random.Random) -> Traffic:
    """What real sidecars would tell of some requests; they take some 20 ms each, most of them."""
    key = server.key.workload
    bins = Counter(bin_of(chance.lognormvariate(3, 0.8)) for _ in range(_REQUESTS))
    groups = {
        "reporter": reporter,
        "security": "mutual_tls",
        "source_principal": _principal(client),
        "destination": workload(
            name=key.name, namespace=key.namespace, app=key.name, version="v1", principal=_principal(server)
        ),
        "destination_principal": _principal(server),
        "service": _host(key),
        "response_flags": "-",
        "response_code": "200",
        "other_end": f"CN={client.key.workload.name}"
        if reporter == "destination"
        else f"outbound|80||{_host(key)}",
    }
    return Traffic(packed=packed("http", groups), count=_REQUESTS, durations=tuple(sorted(bins.items())))


def _principal(one: Replica) -> str:
    return Identity("cluster.local", one.key.workload.namespace, one.service_account).uri


def _host(key: WorkloadKey) -> str:
    return service_host(key.namespace, key.name)


def _record(metric: str, unit: str, value: float) -> Record:
    return Record(
        part=PART, case=CASE, setting=f"a report every {EVERY:g} s", metric=metric, unit=unit, values=(value,)
    )


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else _SECONDS
    for one in asyncio.run(_measured(seconds, lambda line: print(line, file=sys.stderr))):
        print(f"{one.metric:<15} {one.median:10.3f} {one.unit}")


if __name__ == "__main__":
    main()
