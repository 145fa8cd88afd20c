"""Each page of docs/tasks is done as it stands, in one running bistro: it shows what it says, and undoes itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from plait.api.client import Client
from plait.api.views import FindingView, ReplicaState
from plait.run.state_directory import StateDirectory
from tests.docs.tasks import INDEX, PAGES, ROLLOUTS, Save, Type, agrees, steps, ways
from tests.e2e.mesh import BISTRO, clean_environment, running, until, write

pytestmark = pytest.mark.asyncio(loop_scope="module")

PLAIT_UP = Type(script="plait up bistro\n")
TASKS = {page.stem: steps(page.read_text()) for page in PAGES}
WAYS = [
    pytest.param(way, name, id=f"{name}-{way + 1}")
    for way in range(max(map(ways, TASKS.values())))
    for name, todo in TASKS.items()
    if way < ways(todo) and name not in ROLLOUTS
]


@dataclass(slots=True)
class Reader:
    """Somebody at a terminal in the folder `place`, where `bistro` is watched once there is a `client`.

    `way`: which of the texts of a file is saved, where a page has several.
    """

    place: Path
    way: int
    environment: dict[str, str] = field(default_factory=clean_environment)
    client: Client | None = None

    def files(self) -> Mapping[Path, bytes]:
        """What stands in the watched folder."""
        return {path: path.read_bytes() for path in (self.place / "bistro").glob("*") if path.is_file()}

    def restore(self, files: Mapping[Path, bytes]) -> None:
        """Leave in the watched folder what stood in it before."""
        for path in self.files().keys() - files.keys():
            path.unlink()
        for path, content in files.items():
            if path.read_bytes() != content:
                write(path, content)

    async def take(self, step: Save | Type) -> None:
        """Do what a step says; what it changes is in force afterwards."""
        before, generation = self.files(), await self.generation()
        match step:
            case Save(file=file, texts=texts):
                write(self.place / file, texts[min(self.way, len(texts) - 1)])
            case Type(script=script, looks=True, shown=str(shown)):
                await until(partial(self._shows, script, shown), f"{script}to show\n{shown}", 60)
            case Type(script=script, shown=shown):
                assert await self.findings() == ()
                seen, code = await self._type(script)
                assert code == 0, f"{script}ends with {code}:\n{seen}"
                assert shown is None or agrees(shown, seen), f"{script}shows\n{seen}and should show\n{shown}"
        if self.client and self.files() != before:
            await self.settled(generation)

    async def generation(self) -> int:
        """How often the mesh has been told something new so far."""
        return (await self.client.status()).mesh.generation if self.client else 0

    async def findings(self) -> tuple[FindingView, ...]:
        """What is wrong with the files, as long as somebody looks at them."""
        return await self.client.findings() if self.client else ()

    async def settled(self, since: int) -> None:
        """Wait until something newer than a generation is in force, and nothing newer than that is to come."""
        seen = since

        async def same() -> bool:
            nonlocal seen
            last, seen = seen, await self._in_force()
            return seen == last > since

        await until(same, "what was changed to be in force")

    async def _in_force(self) -> int:
        """The generation that every Envoy has; 0 while some have not, or replicas come and go."""
        if not self.client:
            return 0
        status, proxies = await self.client.status(), await self.client.proxies()
        serve = [one.state is ReplicaState.READY for one in status.workloads]
        have = [one.synced for one in proxies]
        whole = len(serve) == len(have) == status.mesh.wanted and all(serve) and all(have)
        return status.mesh.generation if whole else 0

    async def _shows(self, script: str, shown: str) -> bool:
        seen, code = await self._type(script)
        return code == 0 and agrees(shown, seen)

    async def _type(self, script: str) -> tuple[str, int | None]:
        """What a script shows, and its exit code."""
        process = await asyncio.create_subprocess_exec(
            "/bin/sh",
            "-ec",
            script,
            cwd=self.place,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        shown, _ = await process.communicate()
        return shown.decode(), process.returncode


@asynccontextmanager
async def reading(place: Path, way: int) -> AsyncIterator[Reader]:
    """A reader who has done what the index says; the bistro runs until the end."""
    reader = Reader(place, way)
    reader.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shutil.copytree(BISTRO, place / "examples" / "bistro", ignore=shutil.ignore_patterns("__pycache__"))
    todo = steps(INDEX.read_text())
    start = todo.index(PLAIT_UP)
    for step in todo[:start]:
        await reader.take(step)
    async with running(place / "bistro") as mesh, Client(StateDirectory(mesh.state).api_socket) as client:
        reader.environment["PLAIT_STATE_DIR"] = str(mesh.state)
        reader.client = client
        await reader.settled(0)
        for step in todo[start + 1 :]:
            await reader.take(step)
        yield reader


@dataclass(slots=True)
class Readers:
    """One reader for all pages that are read in the same way, who makes room for the next one."""

    places: pytest.TempPathFactory
    reader: Reader | None = None
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def of(self, way: int) -> Reader:
        if self.reader is None or self.reader.way != way:
            await self.leave()
            self.reader = await self._stack.enter_async_context(reading(self.places.mktemp("terminal"), way))
        return self.reader

    async def leave(self) -> None:
        """End the bistro that runs."""
        self.reader = None
        await self._stack.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def readers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Readers]:
    made = Readers(tmp_path_factory)
    yield made
    await made.leave()


async def do(reader: Reader, name: str) -> None:
    """What a page says; it undoes all of it."""
    before = reader.files()
    try:
        for step in TASKS[name]:
            await reader.take(step)
        assert reader.files() == before, "the page does not undo all that it did"
    finally:
        if reader.files() != before:
            generation = await reader.generation()
            reader.restore(before)
            await reader.settled(generation)


@pytest.mark.parametrize(("way", "name"), WAYS)
async def test_a_task_shows_what_its_page_says_and_leaves_nothing(
    readers: Readers, way: int, name: str
) -> None:
    await do(await readers.of(way), name)
