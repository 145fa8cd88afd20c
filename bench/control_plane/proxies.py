"""Both kinds of proxies as processes: the simulated ones, spoken to in lines of JSON, and real Envoys."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.control_plane.agent import Identities
from bench.control_plane.plane import BenchError, end
from plait.agent.secrets import IDENTITY, ROOTS
from plait.envoy import names
from plait.envoy.bootstrap import bootstrap, log_bound
from plait.envoy.secrets import identity_secret, roots_secret
from plait.identity.files import private_directory, write_private
from plait.local.addresses import OwnPorts
from plait.model.catalog import Replica
from plait.model.names import ReplicaKey
from plait.run.agent import envoy

_LINE = 1 << 20
_HERE = Path(__file__).parents[2]
"""Where Python finds the package `bench`."""
_HOSTS = "127.66.0."


@dataclass(frozen=True, slots=True)
class Counted:
    """What came to the simulated proxies since the last mark, and what CPU (seconds) that cost them."""

    pushes: int
    bytes: int
    resources: int
    touched: int
    handshakes: int
    cpu: float


@dataclass(frozen=True, slots=True)
class Simulated:
    """The process of the simulated proxies; see `simulated.__main__` for what it is told."""

    process: asyncio.subprocess.Process
    count: int

    async def do(self, what: str, **said: Any) -> dict[str, Any]:
        """Tell it something, and wait for its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": what, **said}).encode() + b"\n")
        line = await self.process.stdout.readline()
        if not line:
            raise BenchError("the simulated proxies have ended; they said why")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()

    async def mark(self, type_url: str = "", name: str = "") -> None:
        await self.do("mark", type=type_url, name=name)

    async def acknowledged(self, proxies: int, within: float, *, complete: bool = False) -> list[int]:
        """When each of so many proxies had the change that was awaited, in order; BenchError."""
        answer = await self.do("complete" if complete else "await", proxies=proxies, within=within)
        times: list[int] = answer["times"]
        if len(times) < proxies:
            raise BenchError(f"{len(times)} of {proxies} proxies have acknowledged a change in {within:g} s")
        return times

    async def counted(self) -> Counted:
        return Counted(**await self.do("count"))


@asynccontextmanager
async def simulated(
    folder: Path, socket: Path, keys: Iterable[ReplicaKey], identities: Identities
) -> AsyncIterator[Simulated]:
    """Proxies of these replicas, that wait to be told to connect."""
    private_directory(folder)
    proxies = []
    for number, key in enumerate(keys):
        identity = folder / f"{number}.pem"
        write_private(identity, (identities.chains[key] + identities.key).encode())
        proxies.append((str(key), str(identity)))
    roots, said = folder / "roots.pem", folder / "proxies.json"
    roots.write_text(identities.roots)
    said.write_text(
        json.dumps(
            {
                "path": str(socket),
                "server_name": names.CONTROL_PLANE_NAME,
                "roots": str(roots),
                "proxies": proxies,
            }
        )
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.control_plane.simulated", str(said)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=_LINE,
        cwd=_HERE,
        start_new_session=True,
    )
    try:
        yield Simulated(process, len(proxies))
    finally:
        await end(process)


def real(replica: Replica, number: int, *, transparent: bool = True) -> Replica:
    """The same replica where a real Envoy can listen without a network namespace of its own."""
    host = f"{_HOSTS}{number + 1}"
    sidecar = replace(OwnPorts().choose((), ()).sidecar, address=host, transparent=transparent)
    bindings = tuple(replace(binding, address=host) for binding in replica.bindings)
    return replace(replica, sidecar=sidecar, bindings=bindings)


@asynccontextmanager
async def running_envoy(
    folder: Path, socket: Path, replica: Replica, identities: Identities
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The Envoy of a replica, killed at the end."""
    private_directory(folder)
    secrets = folder / names.SECRETS_FOLDER
    private_directory(secrets)
    identity = identity_secret(identities.chains[replica.key], identities.key)
    write_private(secrets / IDENTITY, identity.encode())
    write_private(secrets / ROOTS, roots_secret(identities.roots).encode())
    config = bootstrap(
        node=replica.key,
        trust_domain="cluster.local",
        sidecar=replica.sidecar,
        admin_socket=str(folder / "admin"),
        stats_socket=str(folder / "stats"),
        control_plane=str(socket),
    )
    write_private(folder / "bootstrap.json", json.dumps(config).encode())
    write_private(folder / names.LOG_BOUND_FILE, json.dumps(log_bound()).encode())
    with (folder / "envoy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(envoy(), "-c", "bootstrap.json", "--disable-hot-restart", "--concurrency", "1"),
            *("--log-level", "error"),
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
        if process.returncode is not None:
            raise BenchError(f"an Envoy has ended:\n{(folder / 'envoy.log').read_text()[-2000:]}")
    finally:
        await end(process)
