"""What the life of a replica is told (events), what it orders (actions), and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """What the shim tells of a replica; all but `stopped` are states of the link too."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"
    ENDED = "ended"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What is known of the replica.  `over`: the shim ends with this and will say no more."""

    phase: Phase
    message: str = ""
    restarts: int = 0
    envoy_restarts: int = 0
    exit_code: int | None = None
    over: bool = False


# Events


@dataclass(frozen=True, slots=True)
class Tick:
    """Nothing but time has passed."""


@dataclass(frozen=True, slots=True)
class EnvoyChecked:
    ready: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EnvoyExited:
    """`code` is the exit code, 128 + N for signal N; also when Envoy could not be started at all."""

    code: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AppExited:
    code: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AppUnstartable:
    """The application did not come to run: no such command, user or directory."""

    detail: str


@dataclass(frozen=True, slots=True)
class Probed:
    """An answer to Probe.  `elsewhere` says that the application listens where it should not, and where."""

    ready: bool
    detail: str = ""
    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class IdleChecked:
    """How many requests Envoy is still handing to the application."""

    active: int


@dataclass(frozen=True, slots=True)
class StopAsked:
    """`drain` is how long requests may take to finish, in seconds; never more than a part of the grace."""

    drain: float


@dataclass(frozen=True, slots=True)
class KillAsked:
    """Everything is to end at once."""


@dataclass(frozen=True, slots=True)
class NoneLeft:
    """No descendant of the shim is left."""


Event = (
    Tick
    | EnvoyChecked
    | EnvoyExited
    | AppExited
    | AppUnstartable
    | Probed
    | IdleChecked
    | StopAsked
    | KillAsked
    | NoneLeft
)

# Actions


@dataclass(frozen=True, slots=True)
class StartEnvoy:
    """Answered by EnvoyExited when it can't be started, and whenever it exits."""


@dataclass(frozen=True, slots=True)
class CheckEnvoy:
    """Ask whether Envoy serves; answered by EnvoyChecked unless it exits before."""


@dataclass(frozen=True, slots=True)
class StartApp:
    """Answered by AppUnstartable when it can't be started, by AppExited when it exits."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask whether the application is ready; answered by Probed unless it exits before.

    `inspect`: also look where it listens.
    """

    inspect: bool


@dataclass(frozen=True, slots=True)
class DrainEnvoy:
    """Have Envoy tell its clients to go elsewhere, while it serves those who still come."""


@dataclass(frozen=True, slots=True)
class CheckIdle:
    """Ask how much Envoy still has to do; answered by IdleChecked unless it exits before."""


@dataclass(frozen=True, slots=True)
class SignalApp:
    kill: bool


@dataclass(frozen=True, slots=True)
class SignalEnvoy:
    kill: bool


@dataclass(frozen=True, slots=True)
class KillStrays:
    """End what an application left behind when it exited: everything but Envoy and the commands of exec."""


@dataclass(frozen=True, slots=True)
class KillAll:
    """End every descendant; answered by NoneLeft if there is none."""


@dataclass(frozen=True, slots=True)
class Leave:
    """The shim's work is done."""


Action = (
    StartEnvoy
    | CheckEnvoy
    | StartApp
    | Probe
    | DrainEnvoy
    | CheckIdle
    | SignalApp
    | SignalEnvoy
    | KillStrays
    | KillAll
    | Leave
)
