"""Where contenders stand: the cores, the server that all of them call, and a folder for what they write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.data_plane import server
from bench.data_plane.load import Protocol, Target
from bench.data_plane.processes import LOOPBACK, Cores, free_ports, listens, started

AUTHORITY = "server.bench:8080"
"""What all contenders are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """One protocol, the port of its server, and the port of a collector of traces."""

    protocol: Protocol
    cores: Cores
    folder: Path
    server: int
    collector: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A contender that serves: where load goes, the processes that are counted, and files that it writes in a run."""

    target: Target
    proxies: tuple[int, ...] = ()
    logs: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """What is measured: its name in the tables, for which protocols, and how it is made to stand."""

    case: str
    stand: Callable[[Ground], AbstractContextManager[Standing]]
    protocols: tuple[Protocol, ...] = tuple(Protocol)
    missing: Callable[[], str] = str
    """What this machine lacks for it; nothing: it can be measured."""


@contextmanager
def ground(protocol: Protocol, cores: Cores, folder: Path) -> Iterator[Ground]:
    """A server and a collector that run."""
    at, collector = free_ports(2)
    serving = server.GRPC_SERVER if protocol is Protocol.GRPC else server.HTTP_SERVER
    with ExitStack() as stack:
        for name, command, port in (("server", serving, at), ("collector", server.GRPC_SERVER, collector)):
            log = folder / f"{name}.log"
            environment = server.place(LOOPBACK, port)
            pid = stack.enter_context(
                started(command, log, cores.load, environment=environment, folder=server.SERVED)
            )
            listens(port, pid, log)
        yield Ground(protocol=protocol, cores=cores, folder=folder, server=at, collector=collector)


@contextmanager
def direct(ground: Ground) -> Iterator[Standing]:
    """No proxy at all: what the load and the server can do."""
    yield Standing(target=at(ground.server))


def at(port: int) -> Target:
    """A port of the loopback."""
    return Target(place=f"{LOOPBACK}:{port}", authority=AUTHORITY)
