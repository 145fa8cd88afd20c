"""What a change costs the control plane before anything is sent: `python -m bench.rebuild [SERVICES ...]`.

Measured in one process, one after the other: reading all files, the first build for some proxies, a build in
which nothing changed, and one after one thing did.  Times are CPU milliseconds of this process: no more than
one core is used, and whatever else runs on the machine is left out.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from bench.meshes import NAMESPACES, files
from bench.records import Record
from plait.compiler.endpoints import endpoints
from plait.compiler.view import view
from plait.envoy.render import Renderer
from plait.envoy.runtime import NOT_TAPPED, Tapped
from plait.model.catalog import Replica
from plait.model.mesh import Mesh
from plait.model.names import ReplicaKey
from plait.model.settings import MeshSettings
from plait.resource import Snapshot
from plait.run import offline
from plait.run.compilation import Compilation
from plait.sources.files.parse import parse
from plait.sources.store import Store

SIZES = (100, 1000)
SIZES_IN_FULL = (*SIZES, 5000)
"""Services."""

PROXIES = 10
"""Whose snapshots are made at each build."""

_CHANGED = "service-0000.yaml"


class Bench:
    """One mesh, held in memory as the control plane holds it."""

    def __init__(self, services: int, namespaces: int = NAMESPACES) -> None:
        self.texts = dict(files(services, namespaces))
        self.store = Store()
        self.compilation = Compilation(MeshSettings())
        self.renderer = Renderer()
        self.replicas: tuple[Replica, ...] = ()
        self.tapped: dict[ReplicaKey, Tapped] = {}

    def read(self) -> None:
        for name, text in self.texts.items():
            self.store.apply(parse(name, text.encode()))

    def compile(self) -> Mesh:
        mesh = self.compilation.compile(self.store.documents()).mesh
        self.replicas = self.replicas or offline.replicas(mesh)
        return mesh

    def build(self) -> list[Snapshot]:
        """As the control plane's loop does it, for the first few proxies."""
        mesh = self.compile()
        found = endpoints(mesh, self.replicas)
        made: list[Snapshot] = [
            self.renderer.render(view(mesh, replica), found, self.tapped.get(replica.key, NOT_TAPPED))
            for replica in self.replicas[:PROXIES]
        ]
        self.renderer.sweep()
        return made

    def restore(self) -> None:
        """Take every change back."""
        self._write(lambda text: text)
        self.replicas = tuple(replace(replica, serving=True) for replica in self.replicas)
        self.tapped = {}

    def change_nothing(self, _run: int) -> None:
        pass

    def change_comment(self, run: int) -> None:
        self._write(lambda text: f"# {run}\n{text}")

    def change_route(self, run: int) -> None:
        self._write(lambda text: text.replace("timeout: 5s", f"timeout: {run + 6}s"))

    def change_policy(self, run: int) -> None:
        self._write(lambda text: text.replace("methods: [GET, POST]", f"methods: [GET, OTHER{run}]"))

    def change_endpoint(self, run: int) -> None:
        first, *rest = self.replicas
        self.replicas = (replace(first, serving=run % 2 == 1), *rest)

    def change_tap(self, run: int) -> None:
        self.tapped = {self.replicas[0].key: Tapped(server=run + 1)}

    def _write(self, change: Callable[[str], str]) -> None:
        self.store.apply(parse(_CHANGED, change(self.texts[_CHANGED]).encode()))


def measure(quick: bool, say: Callable[[str], None]) -> Iterator[Record]:  # noqa: FBT001  # one form for all parts
    """Every case at every size; fewer runs and no large mesh when it has to be quick."""
    for services in SIZES if quick else SIZES_IN_FULL:
        say(f"{services} services")
        yield from of(services, runs=3 if quick else 5)


def of(services: int, runs: int) -> Iterator[Record]:
    """Every case of one mesh."""
    reads, builds = [], []
    for _ in range(runs):
        bench = Bench(services)
        reads.append(_cpu(bench.read))
        builds.append(_cpu(bench.build))
    yield _record(services, "read all files", reads)
    yield _record(services, "first build", builds)
    changes = {
        "nothing changed": bench.change_nothing,
        "one route changed": bench.change_route,
        "one endpoint changed": bench.change_endpoint,
        "one policy changed": bench.change_policy,
    }
    for case, change in changes.items():
        yield _record(services, case, [_cpu(partial(_changed, bench, change, run)) for run in range(runs)])


def _changed(bench: Bench, change: Callable[[int], None], run: int) -> None:
    change(run)
    bench.build()


def _cpu(act: Callable[[], object]) -> float:
    """The CPU time of an act, in milliseconds."""
    began = time.process_time()
    act()
    return (time.process_time() - began) * 1000


def _record(services: int, case: str, times: list[float]) -> Record:
    return Record(
        part="rebuild",
        case=case,
        setting=f"{services} services",
        metric="CPU",
        unit="ms",
        values=tuple(times),
    )


def main() -> None:
    for services in [int(text) for text in sys.argv[1:]] or SIZES:
        for one in of(services, runs=5):
            least, most = one.spread
            print(
                f"{one.setting:>15}  {one.case:<22} {one.median:8.1f} {one.unit}  ({least:.1f} to {most:.1f})"
            )
    print(f"CPU of the control plane, median of 5 runs; builds are for {PROXIES} proxies")


if __name__ == "__main__":
    main()
