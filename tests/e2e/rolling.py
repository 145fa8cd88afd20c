"""A mesh with one service to roll out: `tables`, called by a client; its Workload and its Canary are written anew."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.e2e.mesh import BISTRO, Load, Mesh, loading, running, until, write

RATE = 120
"""Requests a second."""
TABLES = "http://tables:8080/"
ENDED = frozenset({"Succeeded", "Failed"})
_WORKLOAD, _CANARY = "tables.yaml", "canary.yaml"
_RUN = re.compile(r"a new version is started .*\(run (\d+)\)")

_AROUND = """
apiVersion: v1
kind: Namespace
metadata: {name: bistro}
---
apiVersion: v1
kind: Service
metadata: {name: tables, namespace: bistro}
spec:
  selector: {app: tables}
  ports: [{name: http, port: 8080, targetPort: http}]
---
apiVersion: plait.dev/v1alpha1
kind: Workload
metadata: {name: client, namespace: bistro, labels: {app: client}}
spec:
  command: [python3, bistro.py, frontend]
  ports: [{name: http, port: 8080}]
  readiness: {http: {path: /healthz, port: 8080}}
"""

_LEAKY = """
import collections, sys, time
import bistro

recent, plain = collections.deque(maxlen=1000), bistro.misbehave

def misbehave(request):
    now = time.monotonic()
    recent.append(now)
    if sum(now - one < 1 for one in tuple(recent)) > {most}:
        raise bistro.Failed(500, "too many requests a second")
    plain(request)

bistro.misbehave = misbehave
bistro.main(sys.argv[1:])
"""

SUCCESS: Mapping[str, Any] = {
    "name": "request-success-rate",
    "interval": "10s",
    "minRequests": 50,
    "thresholdRange": {"min": 99},
}
DURATION: Mapping[str, Any] = {
    "name": "request-duration",
    "interval": "10s",
    "minRequests": 50,
    "thresholdRange": {"max": 280},
}


def serving(version: str, **env: str) -> dict[str, Any]:
    """The spec of a version that answers with its name."""
    return {
        "command": ["python3", "bistro.py", "reservations", version],
        "env": env,
    }


def leaking(version: str, most: int) -> dict[str, Any]:
    """A version that answers no more than so many requests a second."""
    return {"command": ["python3", "-c", _LEAKY.replace("{most}", str(most)), "reservations", version]}


def crashing() -> dict[str, Any]:
    return {"command": ["python3", "-c", "raise SystemExit(3)"]}


def deaf() -> dict[str, Any]:
    """A version that never listens."""
    return {"command": ["python3", "-c", "import time; time.sleep(1000)"]}


def workload_of(spec: Mapping[str, Any]) -> str:
    whole = {
        **spec,
        "ports": [{"name": "http", "port": 8080}],
        "readiness": {"http": {"path": "/healthz", "port": 8080}},
    }
    metadata = {"name": "tables", "namespace": "bistro", "labels": {"app": "tables"}}
    return _document("plait.dev/v1alpha1", "Workload", metadata, whole)


def canary_of(analysis: Mapping[str, Any], more: Mapping[str, Any]) -> str:
    target = {"apiVersion": "plait.dev/v1alpha1", "kind": "Workload", "name": "tables"}
    spec = {"targetRef": target, "service": {"port": 8080}, "analysis": dict(analysis), **more}
    return _document("flagger.app/v1beta1", "Canary", {"name": "tables", "namespace": "bistro"}, spec)


def _document(version: str, kind: str, metadata: Mapping[str, Any], spec: Mapping[str, Any]) -> str:
    return yaml.safe_dump({"apiVersion": version, "kind": kind, "metadata": dict(metadata), "spec": spec})


@dataclass(slots=True)
class Rolling:
    """The mesh, and a word with its API about the Canary."""

    mesh: Mesh

    def version(self, spec: Mapping[str, Any]) -> None:
        """Have the Workload written so; what every version has in common is added."""
        write(self.mesh.folder / _WORKLOAD, workload_of(spec))

    def canary(self, analysis: Mapping[str, Any], more: Mapping[str, Any] = {}) -> None:
        """Have the Canary written so; `more` of its spec."""
        write(self.mesh.folder / _CANARY, canary_of(analysis, more))

    def uncanary(self) -> None:
        """Delete it."""
        (self.mesh.folder / _CANARY).unlink()

    async def status(self) -> dict[str, Any]:
        """Where the rollout stands; {} when there is none, or nobody to tell."""
        try:
            found = await self._get("/v1/canaries")
        except (aiohttp.ClientError, OSError):
            return {}
        return next(iter(found["canaries"]), {})

    async def history(self) -> list[dict[str, Any]]:
        """What has happened, the oldest first; [] when there is nobody to tell."""
        try:
            found: list[dict[str, Any]] = (await self._get("/v1/canaries/bistro/tables/history"))["events"]
        except (aiohttp.ClientError, OSError):
            return []
        return found

    async def say(self, command: str) -> int:
        """Say something to the rollout; the status of the answer."""
        async with self._session() as session, session.post(f"/v1/canaries/bistro/tables/{command}") as told:
            return told.status

    async def at(self, what: str, *, seconds: float = 120.0, **wanted: Any) -> dict[str, Any]:
        """Wait until the status says all of this."""
        last: dict[str, Any] = {}

        async def so() -> bool:
            nonlocal last
            last = await self.status()
            return bool(last) and all(last[name] == value for name, value in wanted.items())

        try:
            await until(so, what, seconds)
        except AssertionError:
            raise AssertionError(f"waited in vain for {what}: {last}") from None
        return last

    async def ended(self, phase: str, *, runs: int, seconds: float = 180.0) -> dict[str, Any]:
        """Wait for the end of the run that is the n-th to begin, which must be of this phase."""
        last: dict[str, Any] = {}

        async def so() -> bool:
            nonlocal last
            begun = await self.runs()
            last = await self.status()
            return begun >= runs and last.get("phase") in ENDED

        await until(so, f"the end of run {runs}", seconds)
        assert (last["phase"], await self.runs()) == (phase, runs), (last, await self.history())
        return last

    async def runs(self) -> int:
        """The number of the last trial, by the history."""
        numbers = [_RUN.search(one["text"]) for one in await self.history()]
        return max((int(found[1]) for found in numbers if found), default=0)

    async def phases(self) -> list[str]:
        """The phases that the history has gone through."""
        return _each_once(one["phase"] for one in await self.history())

    async def weights(self) -> list[int]:
        return _each_once(one["weight"] for one in await self.history())

    async def names(self) -> set[str]:
        """The workloads that run."""
        return {one["name"] for one in await self.mesh.workloads()}

    async def alone(self) -> None:
        """Wait until nothing is left of a trial."""

        async def so() -> bool:
            found = [one for one in await self.mesh.workloads() if one["name"].startswith("tables")]
            return [(one["name"], one["state"]) for one in found] == [("tables", "ready")]

        await until(so, "one replica of tables")

    async def _get(self, path: str) -> Any:
        async with self._session() as session, session.get(path) as told:
            assert told.status == 200, (path, await told.text())
            return await told.json()

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.UnixConnector(str(self.mesh.state / "run" / "api.sock"))
        return aiohttp.ClientSession("http://plait", connector=connector)


def _each_once(values: Any) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if found[-1:] != [value]:
            found.append(value)
    return found


@asynccontextmanager
async def rolling(
    tmp_path: Path,
    analysis: Mapping[str, Any],
    more: Mapping[str, Any] = {},
    *,
    documents: Sequence[str] = (),
) -> AsyncIterator[tuple[Rolling, Load]]:
    """A mesh in which v1 of `tables` serves by a Canary, and is called all the time; `more` of its spec, other documents."""
    folder = tmp_path / "mesh"
    folder.mkdir()
    shutil.copy(BISTRO / "bistro.py", folder)
    write(folder / "around.yaml", "\n---\n".join((_AROUND, *documents)))
    write(folder / _WORKLOAD, workload_of(serving("v1")))
    write(folder / _CANARY, canary_of(analysis, more))
    async with running(folder) as mesh:
        one = Rolling(mesh)
        await one.at("v1 to serve", phase="Initialized")
        await one.alone()
        async with loading(await mesh.sidecar("client"), TABLES, rate=RATE) as load:
            yield one, load


async def answered(load: Load, number: int = 2 * RATE) -> dict[str, int]:
    """How so many more requests are answered, by version."""
    before, seen = dict(load.answers), load.total
    await until(lambda: load.total >= seen + number, "more answers")
    return {
        version: count - before.get(version, 0)
        for version, count in load.answers.items()
        if count > before.get(version, 0)
    }
