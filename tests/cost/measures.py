"""What is counted: work that a change makes, and what proxies are sent for it.

Nothing here is a time.  Calls are those of our own named functions, so that neither the version of Python nor the
machine changes them; `python -m tests.cost.measures` prints everything as JSON, from a process of its own, since
what a process has made before is shared.
"""

from __future__ import annotations

import gc
import json
import sys
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType

import plait
from bench.rebuild import Bench
from plait import dialects
from plait.compiler.endpoints import endpoints
from plait.compiler.view import view
from plait.envoy import build
from plait.model.catalog import selects
from plait.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    LISTENER,
    ROUTES,
    RUNTIME,
    SCOPED_ROUTES,
    Snapshot,
)
from plait.xds.messages import Request
from plait.xds.stream import Stream
from plait.xds.wire import encode

SERVICES = 200
_OURS = str(Path(plait.__file__).parent)
_WILDCARD = (CLUSTER, LISTENER, SCOPED_ROUTES)
_NAMED = (RUNTIME, ENDPOINTS, EXTENSION, ROUTES)

Costs = dict[str, int]


class Calls:
    """How often each of our named functions was called, and how often a frozen value was hashed."""

    def __init__(self) -> None:
        self.by_code: Counter[CodeType] = Counter()
        self.hashes = 0

    @property
    def total(self) -> int:
        return self.by_code.total()

    def of(self, function: Callable[..., object]) -> int:
        return self.by_code[function.__code__]


@contextmanager
def counted() -> Iterator[Calls]:
    calls = Calls()

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call":
            return
        if code.co_name == "__hash__":
            calls.hashes += 1
        elif code.co_name[0] != "<" and code.co_filename.startswith(_OURS):
            calls.by_code[code] += 1

    sys.setprofile(note)
    try:
        yield calls
    finally:
        sys.setprofile(None)


def reading() -> Costs:
    """Reading all files, and all documents in them, for the first time."""
    bench = Bench(SERVICES)
    with counted() as parsing:
        bench.read()
    with counted() as compiling:
        bench.compile()
    return {"parse-calls": parsing.total, "first-compile-calls": compiling.total}


def compiling() -> Costs:
    """A build without rendering, after one route changed, for every replica."""
    bench = _built(Bench(SERVICES))
    bench.change_route(0)
    with counted() as compiled:
        mesh = bench.compile()
    with counted() as found:
        endpoints(mesh, bench.replicas)
    with counted() as seen:
        for replica in bench.replicas:
            view(mesh, replica)
    return {
        "readings": compiled.of(dialects.read),
        "compile-calls": compiled.total,
        "endpoints-calls": found.total,
        "views-calls": seen.total,
        "selector-tests": sum(calls.of(selects) for calls in (compiled, found, seen)),
        "hashes": sum(calls.hashes for calls in (compiled, found, seen)),
    }


def crowding() -> Costs:
    """The same in one namespace with twice as many services: what grows faster than they do shows here."""
    bench = _built(Bench(2 * SERVICES, namespaces=1))
    bench.change_route(0)
    with counted() as calls:
        mesh = bench.compile()
        endpoints(mesh, bench.replicas)
        for replica in bench.replicas:
            view(mesh, replica)
    return {"calls": calls.total, "selector-tests": calls.of(selects)}


def allocating() -> Costs:
    """The most memory that a build takes beside what is there before, after one route changed."""
    bench = _built(Bench(SERVICES))
    bench.change_route(0)
    gc.collect()
    tracemalloc.start()
    try:
        bench.build()
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return {"peak-kib": most // 1024}


def rendering() -> Costs:
    """Resources made anew, by what changed; and all the work of a build for ten proxies, after one route changed."""
    bench = Bench(SERVICES)
    bench.read()
    with counted() as calls:
        bench.build()
    found = {"first": calls.of(build.resource)}
    for name, change in _changes(bench):
        with counted() as calls:
            change(0)
            bench.build()
        found[name] = calls.of(build.resource)
        if name == "route":
            found |= {"build-calls": calls.total, "build-hashes": calls.hashes}
        bench.restore()
        bench.build()
    return found


class Proxy:
    """One that asks for everything, and takes whatever it is sent."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.stream = Stream(snapshot, 1)
        self.generation = 1
        self.pushes = self.resources = self.bytes = 0
        for type_url in _WILDCARD:
            self.stream.receive(Request(type_url=type_url), 0)
        for type_url in _NAMED:
            if names := tuple(snapshot[type_url]):
                self.stream.receive(Request(type_url=type_url, subscribe=names), 0)
        self._drain()

    def publish(self, snapshot: Snapshot) -> None:
        self.pushes = self.resources = self.bytes = 0
        self.generation += 1
        self.stream.publish(snapshot, self.generation)
        self._drain()

    def _drain(self) -> None:
        while (response := self.stream.pull(0)) is not None:
            self.pushes += 1
            self.resources += len(response.resources) + len(response.removed)
            self.bytes += sum(map(len, encode(response)))
            self.stream.receive(Request(type_url=response.type_url, nonce=response.nonce), 0)
        assert self.stream.synced(self.generation)


def sending() -> Costs:
    """What goes to ten proxies, by what changed; of a proxy that connects, to the first of them."""
    bench = Bench(SERVICES)
    bench.read()
    proxies = [Proxy(snapshot) for snapshot in bench.build()]
    first = proxies[0]
    found = {
        "connect-pushes": first.pushes,
        "connect-resources": first.resources,
        "connect-bytes": first.bytes,
    }
    for name, change in _changes(bench):
        change(0)
        _publish(bench, proxies)
        found |= {
            f"{name}-proxies": sum(proxy.pushes > 0 for proxy in proxies),
            f"{name}-pushes": sum(proxy.pushes for proxy in proxies),
            f"{name}-resources": sum(proxy.resources for proxy in proxies),
            f"{name}-bytes": sum(proxy.bytes for proxy in proxies),
        }
        bench.restore()
        _publish(bench, proxies)
    return found


def _publish(bench: Bench, proxies: list[Proxy]) -> None:
    for proxy, snapshot in zip(proxies, bench.build(), strict=True):
        proxy.publish(snapshot)


def _built(bench: Bench) -> Bench:
    """After some builds, as a control plane is that has run for a while."""
    bench.read()
    for _ in range(2):
        bench.build()
        mesh = bench.compile()
        for replica in bench.replicas:
            view(mesh, replica)
    return bench


def _changes(bench: Bench) -> Iterator[tuple[str, Callable[[int], None]]]:
    yield "nothing", bench.change_nothing
    yield "comment", bench.change_comment
    yield "route", bench.change_route
    yield "endpoint", bench.change_endpoint
    yield "policy", bench.change_policy
    yield "tap", bench.change_tap


@dataclass(frozen=True, slots=True)
class Part:
    """Some numbers that are measured together; what they are is said by the docstring of `measure`."""

    name: str
    measure: Callable[[], Costs]
    margin: float = 0.0
    """The part by which a bound is more than what was measured, where Python's versions differ."""


PARTS = (
    Part("reading", reading),
    Part("compiling", compiling),
    Part("crowding", crowding),
    Part("allocating", allocating, margin=0.1),
    Part("rendering", rendering),
    Part("sending", sending),
)


def main() -> None:
    """Every part by name as JSON."""
    sys.stdout.write(json.dumps({part.name: part.measure() for part in PARTS}))


if __name__ == "__main__":
    main()
