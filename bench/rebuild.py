"""What a change costs the control plane before anything is sent: `python -m bench.rebuild [SERVICES ...]`.

Measured in one process, one after the other: reading all files, the first build for some proxies, a build in
which nothing changed, one after a route changed, and one after an endpoint went away.  Times are the median of
some runs, CPU milliseconds of this process; beside them what is deterministic: resources and bytes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from statistics import median

from bench.meshes import files
from plait.compiler.endpoints import endpoints
from plait.compiler.view import view
from plait.envoy.render import Renderer
from plait.model.catalog import Replica
from plait.model.change import Located
from plait.model.settings import MeshSettings
from plait.resource import Snapshot
from plait.run import offline
from plait.run.compilation import Compilation
from plait.sources.files.parse import parse
from plait.sources.store import Store

RUNS = 5
PROXIES = 10
"""Whose snapshots are made at each build."""


class Bench:
    """One mesh, held in memory as the control plane holds it."""

    def __init__(self, services: int) -> None:
        self.texts = dict(files(services))
        self.store = Store()
        self.compilation = Compilation(MeshSettings())
        self.renderer = Renderer()
        self.replicas: tuple[Replica, ...] = ()

    def read(self) -> None:
        for name, text in self.texts.items():
            self.store.apply(parse(name, text.encode()))

    def build(self) -> list[Snapshot]:
        """As the control plane's loop does it, for the first few proxies."""
        documents: Iterable[Located] = self.store.documents()
        mesh = self.compilation.compile(documents, frozenset()).mesh
        self.replicas = self.replicas or offline.replicas(mesh)
        found = endpoints(mesh, self.replicas)
        made = [self.renderer.render(view(mesh, replica), found) for replica in self.replicas[:PROXIES]]
        self.renderer.sweep()
        return made

    def change_route(self, run: int) -> None:
        name = "service-0000.yaml"
        self.store.apply(parse(name, self.texts[name].replace("5s", f"{run + 6}s").encode()))

    def change_endpoint(self, run: int) -> None:
        first, *rest = self.replicas
        self.replicas = (replace(first, serving=run % 2 == 0), *rest)


def measure(act: Callable[[int], object], runs: int = RUNS) -> float:
    """The median CPU time of an act, in milliseconds."""
    times = []
    for run in range(runs):
        began = time.process_time()
        act(run)
        times.append((time.process_time() - began) * 1000)
    return median(times)


def differing(before: Snapshot, after: Snapshot) -> int:
    """How many resources one proxy would be sent."""
    return sum(
        resource != before[kind].get(name)
        for kind, named in after.items()
        for name, resource in named.items()
    )


def main() -> None:
    sizes = [int(text) for text in sys.argv[1:]] or [100, 1000]
    print(f"{'services':>8} {'read':>8} {'first':>8} {'nothing':>8} {'route':>8} {'endpoint':>8}   per proxy")
    for services in sizes:
        bench = Bench(services)
        reading = measure(lambda _, bench=bench: bench.read(), 1)  # type: ignore[misc]
        first = measure(lambda _, bench=bench: bench.build(), 1)  # type: ignore[misc]
        nothing = measure(lambda _, bench=bench: bench.build())  # type: ignore[misc]
        before = bench.build()[0]

        def route(run: int, bench: Bench = bench) -> None:
            bench.change_route(run)
            bench.build()

        def endpoint(run: int, bench: Bench = bench) -> None:
            bench.change_endpoint(run)
            bench.build()

        routes = measure(route)
        sent = differing(before, bench.build()[0])
        ends = measure(endpoint)
        count = sum(map(len, before.values()))
        size = sum(len(resource.framed) for named in before.values() for resource in named.values())
        print(
            f"{services:>8} {reading:>8.1f} {first:>8.1f} {nothing:>8.1f} {routes:>8.1f} {ends:>8.1f}   "
            f"{count} resources, {size / 1024:.0f} KiB; a changed route sends {sent}"
        )
    print(f"CPU ms in the control plane, median of {RUNS}; builds are for {PROXIES} proxies")


if __name__ == "__main__":
    main()
