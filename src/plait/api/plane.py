"""What the API asks of the control plane that it speaks for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from plait.api.events import Subscription
from plait.api.proxies import ProxyView
from plait.api.rollouts import CanaryEvent, CanaryView
from plait.api.services import ObjectView, RefusalView, ServiceView
from plait.api.views import (
    AuthorityStatus,
    FindingView,
    MeshStatus,
    ProxyStatus,
    RouteStatus,
    TapFilter,
    TapLine,
    TokenStatus,
    TokenView,
    TraceSummary,
    TraceView,
    WorkloadStatus,
)
from plait.model.names import ReplicaKey, WorkloadKey
from plait.rollout.status import Command
from plait.telemetry.graph import Graph
from plait.telemetry.queries import Queries
from plait.telemetry.spans import Search


class Unavailable(Exception):  # noqa: N818 - what it says of the thing asked for
    """It can't be done at the moment (the agent is away); the message says why."""


class Session(Protocol):
    """A command or a log being read; `code` and `error` hold once `output` has ended."""

    code: int
    error: str

    async def write(self, data: bytes) -> None:
        """Give the command something to read; b"" is the end of its input."""

    def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """What it writes (1: stdout, 2: stderr) until it is over."""

    async def close(self) -> None:
        """Want no more of it; what still runs is ended."""


class Looking(Protocol):
    """Somebody looks at requests."""

    def __aiter__(self) -> AsyncIterator[TapLine]:
        """What is seen, and a line without a request now and then."""

    def close(self) -> None:
        """Want to see no more."""


class Plane(Protocol):
    """The control plane.  What it answers is how things are now."""

    def mesh(self) -> MeshStatus: ...

    def workloads(self) -> tuple[WorkloadStatus, ...]: ...

    def proxies(self) -> tuple[ProxyStatus, ...]: ...

    def routes(self) -> tuple[RouteStatus, ...]: ...

    def findings(self) -> tuple[FindingView, ...]: ...

    async def graph(self, window: float, namespace: str, until: float | None) -> Graph:
        """Who calls whom, over `window` seconds; of one namespace, or ("") of all; up to a time, or (None) now."""

    def service(self, namespace: str, name: str) -> ServiceView:
        """A service as it is routed and guarded now; NotFound."""

    async def refusals(self, window: float, service: str, until: float | None) -> tuple[RefusalView, ...]:
        """Who was kept out over `window` seconds, most first; of one service (its host), or ("") of all."""

    def object(self, kind: str, namespace: str, name: str) -> ObjectView:
        """An object as it stands in its file; NotFound, ValueError for a Secret."""

    def proxy(self, replica: ReplicaKey) -> ProxyView:
        """One proxy, and what it was sent last; NotFound."""

    def queries(self) -> Queries:
        """Who is asked about traffic."""

    def events(self) -> Subscription:
        """What happens from now on; the caller closes it."""

    def create_token(self, agent: str, lifetime: float) -> TokenView:
        """A join token; ValueError when there can be none for such an agent or so long."""

    def authority(self) -> AuthorityStatus: ...

    def rotate(self, what: str) -> None:
        """Have root, intermediate or leaves made anew; ValueError when that can't be now."""

    def tokens(self) -> tuple[TokenStatus, ...]:
        """Every join token that may still be used."""

    def revoke_token(self, token_id: str) -> bool:
        """Make a join token worthless; False when there is none of this id."""

    def exec(self, replica: ReplicaKey, command: tuple[str, ...]) -> Session:
        """Run a command in the place of a replica; Unavailable.  The caller closes the session."""

    def logs(self, replica: ReplicaKey, *, envoy: bool, tail: int, follow: bool) -> Session:
        """Read a replica's log: its last `tail` lines (-1: all of it), then what follows; Unavailable."""

    async def traces(self, search: Search) -> tuple[TraceSummary, ...]:
        """The traces that fit, the newest first; Unavailable."""

    async def trace(self, prefix: str) -> TraceView | None:
        """The trace whose id begins so; None when there is none, ValueError when there are several.  Unavailable."""

    def tap(self, wanted: TapFilter, *, rate: int) -> Looking:
        """Look at requests as they happen, so many a second at most; NotFound, ValueError.  The caller closes it."""

    def canaries(self) -> tuple[CanaryView, ...]:
        """Every Canary, and where its rollout stands."""

    def canary_history(self, key: WorkloadKey) -> tuple[CanaryEvent, ...]:
        """What happened to the rollouts of a Canary, the oldest first; NotFound."""

    async def canary_command(self, key: WorkloadKey, command: Command) -> None:
        """Say something to a rollout; NotFound, ValueError (why not) when it makes no sense as it stands."""

    def proxy_metrics(self, replica: ReplicaKey) -> Session:
        """What a replica's Envoy tells Prometheus, in its text format; Unavailable.  The caller closes the session."""

    def metrics(self) -> bytes:
        """The control plane's own metrics, in the same format."""

    def shutdown(self) -> None:
        """Have every workload drained and stopped; returns at once."""
