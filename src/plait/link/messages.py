"""The messages of the link.

One stream joins each agent to the control plane.  The agent opens it with Hello (its whole truth) and then
sends a ReplicaReport for each change, AgentHolds for its own certificate, and ReplicaGone when a replica and its
files are no more.  The control plane sends Trust and Assignments (its whole wish, each time it changes), Withdrawn,
and OpenSession.  A session (exec, logs, metrics) is a stream of its own that the agent opens when asked, so that
each has its own flow control.  What proxies do goes over another, one message of `telemetry.reports` after the other,
for as long as the agent is connected: however much that is, nothing else waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from plait.identity.trust import Held, Trust
from plait.model.catalog import Labels, Process, Replica
from plait.model.names import ReplicaKey, WorkloadKey


class State(StrEnum):
    """Where a replica stands in its life.

    starting: its Envoy or its application is not ready.  ready: it serves.  draining: it asks to be withdrawn,
    then stops.  failed: it can't run as things are (the message says why), or waits to be restarted.
    ended: a job that is over, with its exit code.
    """

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadAssignment:
    """A workload to run.

    `revision` is a hash of what must be rolled over when it changes (process, labels, service account); the
    number of replicas is not part of it.  `process.working_dir` is absolute here.
    """

    key: WorkloadKey
    revision: str
    labels: Labels
    service_account: str
    replicas: int
    process: Process


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAddress:
    """A host of the mesh (a Service's full name, or another that is routed) and the virtual address it resolves to."""

    host: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignments:
    """Everything that this agent should run, and nothing else; `hosts` are the names that workloads can resolve."""

    trust_domain: str
    workloads: tuple[WorkloadAssignment, ...]
    hosts: tuple[HostAddress, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReport:
    """All there is to know of one replica.  `replica.serving` is true exactly in state ready."""

    replica: Replica
    revision: str
    state: State
    identity: str
    restarts: int = 0
    exit_code: int | None = None
    message: str = ""
    held: Held | None = None
    """Its certificate and the roots that it trusts; None while, or once, it has none."""

    @property
    def certificate_expires(self) -> float | None:
        """Seconds since the epoch."""
        return self.held.expires if self.held else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """The first message of an agent: what runs under it right now, found again after a restart of its own."""

    agent: str
    replicas: tuple[ReplicaReport, ...]
    held: Held | None = None
    """The agent's own certificate and roots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentHolds:
    """The agent has another certificate of its own, or other roots."""

    held: Held


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaGone:
    """A replica and everything made for it is gone."""

    key: ReplicaKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """Every proxy has acknowledged that this draining replica is no endpoint any more (or had its time)."""

    key: ReplicaKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """Run a command in the place of a replica: its user, its environment, its proxy."""

    replica: ReplicaKey
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsRequest:
    """The log of a replica's application or of its Envoy: the last `tail` lines (-1: all), then what follows."""

    replica: ReplicaKey
    envoy: bool = False
    tail: int = -1
    follow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsRequest:
    """What a replica's Envoy tells Prometheus, as its port for metrics does."""

    replica: ReplicaKey


Asked = ExecRequest | LogsRequest | MetricsRequest
"""What an agent serves in a session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """Asks the agent to open the session stream `session` and to serve the request on it."""

    session: str
    request: Asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Bytes of a session: from the agent `stream` 1 or 2 (stdout, stderr), to the agent 0 (stdin; empty: its end)."""

    stream: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Exited:
    """The last message of a session: the command's exit code (128 + N for signal N), or why there was none."""

    code: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequest:
    """An agent's first proof: a join token and a certificate request (PEM) made with its own new key."""

    agent: str
    token: str
    csr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignRequest:
    """A certificate request (PEM) for one replica, or for the agent itself when `replica` is None."""

    csr: str
    replica: ReplicaKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A certificate with its chain (PEM), and whom to trust; `error` says why there is none."""

    chain: str = ""
    trust: Trust | None = None
    expires: float = 0.0
    error: str = ""

    @property
    def roots(self) -> str:
        """The roots to trust (PEM)."""
        return self.trust.roots if self.trust else ""


FromAgent = Hello | ReplicaReport | ReplicaGone | AgentHolds
ToAgent = Assignments | Trust | Withdrawn | OpenSession
InSession = Output | Exited
