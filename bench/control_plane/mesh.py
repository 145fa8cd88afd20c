"""A mesh to measure: its files, its control plane, its agent, and its proxies."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.control_plane.agent import Agent, Identities
from bench.control_plane.plane import BenchError, Plane, running
from bench.control_plane.proxies import Simulated, real, running_envoy, simulated
from bench.meshes import files
from plait.model.catalog import Replica
from plait.model.names import ReplicaKey
from plait.model.settings import MeshSettings
from plait.run import offline
from plait.run.state_directory import StateDirectory

ENVOYS = 2
_SYNC = 120.0
_MOST_DESCRIPTORS = 65_536


@dataclass(slots=True)
class Mesh:
    """Services with three replicas each, of which the first have a simulated proxy, and some a real one.

    The other replicas are known to the control plane as endpoints, and have no proxy.
    """

    root: Path
    folder: Path
    texts: dict[str, str]
    """Of its files, by name, as they are."""
    replicas: tuple[Replica, ...]
    proxied: tuple[ReplicaKey, ...]
    """Of the simulated proxies."""
    envoys: tuple[ReplicaKey, ...]
    core: set[int]
    state: StateDirectory
    agent: Agent
    simulated: Simulated = field(init=False)
    plane: Plane = field(init=False)

    @property
    def connected(self) -> int:
        """How many proxies there are, of both kinds."""
        return len(self.proxied) + len(self.envoys)

    def write(self, name: str, text: str) -> None:
        """Give a file a new content at once, as editors do."""
        aside = self.root / "aside"
        aside.write_text(text)
        self.texts[name] = text
        aside.replace(self.folder / name)

    @asynccontextmanager
    async def started(self, profile: Path | None) -> AsyncIterator[None]:
        """The control plane of the whole mesh with its agent; proxies dial as soon as they can."""
        async with AsyncExitStack() as stack:
            log = self.root / "control-plane.log"
            plane = running(self.state, self.folder, log, self.core, profile)
            self.plane = await stack.enter_async_context(plane)
            await stack.enter_async_context(self.agent.connected())
            try:
                yield
            except BaseException:
                self.simulated.kill()  # it would only add that the control plane has gone
                raise
            await self.simulated.do("hang up")

    async def in_sync(self) -> None:
        """Wait until the control plane says that every proxy has taken everything; BenchError."""
        deadline = time.monotonic() + _SYNC
        expected = {str(key) for key in (*self.proxied, *self.envoys)}
        while True:
            proxies = await self.plane.proxies()
            refused = [(proxy.node, one.nack) for proxy in proxies for one in proxy.types if one.nack]
            if refused:
                raise BenchError(f"refused: {refused[:3]}")
            behind = expected - {proxy.node for proxy in proxies if proxy.synced}
            if not behind:
                break
            if time.monotonic() > deadline:
                raise BenchError(f"{len(behind)} proxies are not in sync: {', '.join(sorted(behind)[:5])}")
            await asyncio.sleep(0.2)
        counts = {
            # Envoys ask for extensions that are there for few, and simulated proxies do not.
            proxy.node: tuple((one.type, one.wanted, one.acknowledged) for one in proxy.types if one.wanted)
            for proxy in proxies
        }
        if len(kinds := {tuple(sorted(count)) for count in counts.values()}) > 1:
            raise BenchError(f"not every proxy wants and has as much as the others: {kinds}")
        await self.plane.check()


@asynccontextmanager
async def mesh(
    services: int, proxies: int, say: Callable[[str], None], *, envoys: int = ENVOYS
) -> AsyncIterator[Mesh]:
    """A mesh with every certificate signed, its proxies running and its control plane not."""
    async with AsyncExitStack() as stack:
        stack.enter_context(ended_in_order())
        core = stack.enter_context(own_core())
        root = stack.enter_context(short_folder())
        made = _lay_out(root, core, services, proxies, envoys)
        say(f"{services} services, {proxies} proxies: signing certificates")
        identities = await _signed(made)
        socket = made.state.xds_socket
        own = simulated(root / "simulated", socket, made.proxied, identities)
        made.simulated = await stack.enter_async_context(own)
        for number, replica in enumerate(made.replicas[len(made.proxied) : proxies]):
            folder = root / f"envoy-{number}"
            await stack.enter_async_context(running_envoy(folder, socket, replica, identities))
        yield made


def _lay_out(root: Path, core: set[int], services: int, proxies: int, envoys: int) -> Mesh:
    folder = root / "mesh"
    folder.mkdir()
    texts = dict(files(services))
    for name, text in texts.items():
        (folder / name).write_text(text)
    replicas = list(offline.replicas(offline.read([folder], MeshSettings()).mesh))
    first = proxies - envoys
    for index in range(first, proxies):
        replicas[index] = real(replicas[index], index - first)
    keys = [replica.key for replica in replicas[:proxies]]
    state = StateDirectory(root / "state")
    return Mesh(
        root=root,
        folder=folder,
        texts=texts,
        replicas=tuple(replicas),
        proxied=tuple(keys[:first]),
        envoys=tuple(keys[first:]),
        core=core,
        state=state,
        agent=Agent(state, replicas),
    )


async def _signed(made: Mesh) -> Identities:
    """Certificates for every proxy, by a control plane that remembers the replicas."""
    made.agent.is_remembered()
    async with running(made.state, made.folder, made.root / "signing.log", made.core) as plane:
        await plane.answers()
        await made.agent.enrol()
        async with made.agent.connected():
            await made.agent.attached()
            return await made.agent.identities([*made.proxied, *made.envoys])


@contextmanager
def ended_in_order() -> Iterator[None]:
    """SIGTERM is taken as Ctrl-C is: nothing is left of what we started."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)


@contextmanager
def own_core() -> Iterator[set[int]]:
    """A core for the control plane alone, if there are two; we, and all that we start, stay off it."""
    before = os.sched_getaffinity(0)
    first, *others = sorted(before)
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.sched_setaffinity(0, others or before)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, max(limit, _MOST_DESCRIPTORS)), most))
    try:
        yield {first}
    finally:
        os.sched_setaffinity(0, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))


@contextmanager
def short_folder() -> Iterator[Path]:
    """A private folder; the paths of sockets in it are short."""
    path = Path(tempfile.mkdtemp(prefix="plait-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)
