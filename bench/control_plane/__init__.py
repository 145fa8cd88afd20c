"""What the control plane costs: from its start, and from each change, to the last proxy's acknowledgement.

The control plane is the process that `plait up` starts, on a core of its own.  The bench is its agent, over the
real link, and runs nothing.  Its proxies are simulated by one cheap process, and a few are real Envoys, so that
what is measured is also accepted: one rejection, and there are no figures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.control_plane.mesh import ENVOYS, mesh
from bench.control_plane.scenarios import SCENARIOS, Bench
from bench.records import Record

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A mesh, and how often it is changed; `seconds` of flapping, and at most so many of nothing."""

    services: int
    proxies: int
    repetitions: int
    seconds: int = 60
    envoys: int = ENVOYS


FULL = (
    Size(services=100, proxies=300, repetitions=50),
    Size(services=1000, proxies=1000, repetitions=50),
    Size(services=5000, proxies=1000, repetitions=20),
)
QUICK = (
    Size(services=100, proxies=100, repetitions=5, seconds=3),
    Size(services=1000, proxies=200, repetitions=5, seconds=3),
)


def measure(quick: bool, say: Say) -> Iterator[Record]:  # noqa: FBT001 - the form of every part of the benchmark
    """Every scenario at every size; what is under way is said a line at a time."""
    for size in QUICK if quick else FULL:
        yield from asyncio.run(measured(size, say))


async def measured(
    size: Size, say: Say, *, scenarios: Collection[str] = tuple(SCENARIOS), profile: Path | None = None
) -> list[Record]:
    """A cold start, then these scenarios; with a profile of all that the control plane did."""
    setting = f"{size.services} services, {size.proxies} proxies"
    async with mesh(size.services, size.proxies, say, envoys=size.envoys) as made:
        bench = Bench(made, setting, size.repetitions, size.seconds)
        say(f"{setting}: cold start")
        async with bench.cold_start(profile) as started:
            records = list(started)
            for name, scenario in SCENARIOS.items():
                if name in scenarios:
                    say(f"{setting}: {name}")
                    records += await scenario(bench)
            return records
