"""What one shim has to run, as it stands under "shim" in replica.json."""

# pathlib would cost the shim memory.
# ruff: noqa: PTH123

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from plait.model.catalog import Restart

LOCK = "shim.lock"
"""Held by a living shim in its replica's directory, so that there is never a second one."""
ALREADY_RUNNING = 75
"""Exit code of a second one."""
Place = tuple[str, int]
"""An address and a port."""


class ProbeKind(StrEnum):
    HTTP = "http"
    TCP = "tcp"
    COMMAND = "command"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSpec:
    """How to ask the application whether it is ready; times in seconds.  TCP asks every place, HTTP the first."""

    kind: ProbeKind
    places: tuple[Place, ...] = ()
    path: str = ""
    command: tuple[str, ...] = ()
    interval: float = 1.0
    timeout: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvoySpec:
    """`admin`: path of its admin socket.  `listeners`: what it must serve before the application may start."""

    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    admin: str
    listeners: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppSpec:
    """`ports`: where it has to listen; `exactly`: not on all addresses instead (in explicit mode)."""

    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    directory: str
    user: str = ""
    ports: tuple[Place, ...] = ()
    exactly: bool = True
    restart: Restart = Restart.ALWAYS
    grace: float = 30.0
    probe: ProbeSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whom a process runs as, by number."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Visible:
    """A path that a process has to see, even below a folder that its user may not enter; read-only unless `writable`."""

    path: str
    writable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """How a replica is shut in (transparent mode): whom its processes run as, and what they see of the machine.

    `files`: pairs of a file and the path that it is laid over, read-only, such as /etc/hosts.  What the application
    needs for its command is found when its view is made; `app_sees` is more that it is to see.
    """

    envoy: Account
    app: Account
    envoy_sees: tuple[Visible, ...] = ()
    app_sees: tuple[Visible, ...] = ()
    files: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShimSpec:
    """`directory`: the replica's own, where its logs and its status go.  `socket`: where the shim is spoken to.

    `confinement` None: nothing is shut in, and everything runs as the shim's own user unless it says otherwise.
    """

    directory: str
    socket: str
    envoy: EnvoySpec
    app: AppSpec
    confinement: Confinement | None = None


def read(path: str) -> ShimSpec:
    """The spec inside a replica.json; the agent wrote it, so anything missing is an error of ours."""
    with open(path, encoding="utf-8") as file:
        shim = json.load(file)["shim"]
    envoy, app = shim["envoy"], shim["app"]
    return ShimSpec(
        directory=shim["directory"],
        socket=shim["socket"],
        envoy=EnvoySpec(
            command=tuple(envoy["command"]),
            env=_pairs(envoy["env"]),
            admin=envoy["admin"],
            listeners=_places(envoy["listeners"]),
        ),
        app=AppSpec(
            command=tuple(app["command"]),
            env=_pairs(app["env"]),
            directory=app["directory"],
            user=app["user"],
            ports=_places(app["ports"]),
            exactly=app["exactly"],
            restart=Restart(app["restart"]),
            grace=app["grace"],
            probe=_probe(app["probe"]),
        ),
        confinement=_confinement(shim.get("confinement")),
    )


def _confinement(confinement: Any) -> Confinement | None:
    if confinement is None:
        return None
    return Confinement(
        envoy=_account(confinement["envoy"]),
        app=_account(confinement["app"]),
        envoy_sees=_visible(confinement["envoy_sees"]),
        app_sees=_visible(confinement["app_sees"]),
        files=_pairs(confinement["files"]),
    )


def _account(account: Any) -> Account:
    return Account(uid=account["uid"], gid=account["gid"], groups=tuple(account["groups"]))


def _visible(paths: Any) -> tuple[Visible, ...]:
    return tuple(Visible(path=path["path"], writable=path["writable"]) for path in paths)


def _probe(probe: Any) -> ProbeSpec | None:
    if probe is None:
        return None
    return ProbeSpec(
        kind=ProbeKind(probe["kind"]),
        places=_places(probe["places"]),
        path=probe["path"],
        command=tuple(probe["command"]),
        interval=probe["interval"],
        timeout=probe["timeout"],
    )


def _pairs(pairs: Any) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in pairs)


def _places(places: Any) -> tuple[Place, ...]:
    return tuple((address, port) for address, port in places)
