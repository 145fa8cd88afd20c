"""What happens in a mesh, told to whoever listens.  Telling never waits for a listener."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from plait.api.rollouts import CanaryView
from plait.api.views import FindingView, WorkloadStatus

_BACKLOG = 10_000
"""Events that a listener may be behind before it is sent away; it connects again and is told everything anew."""


@dataclass(frozen=True, slots=True)
class ReplicaChanged:
    """A replica is new or something about it has changed."""

    workload: WorkloadStatus


@dataclass(frozen=True, slots=True)
class ReplicaGone:
    """A replica is no more."""

    namespace: str
    name: str
    replica: int


@dataclass(frozen=True, slots=True)
class FindingAppeared:
    finding: FindingView


@dataclass(frozen=True, slots=True)
class FindingVanished:
    finding: FindingView


@dataclass(frozen=True, slots=True)
class CanaryChanged:
    """A Canary is new, or something about its rollout has changed; of one that is gone the phase is Terminated."""

    canary: CanaryView


@dataclass(frozen=True, slots=True)
class ConfigChanged:
    """The configuration was built anew, for the n-th time since the control plane started."""

    generation: int


Event = ReplicaChanged | ReplicaGone | FindingAppeared | FindingVanished | CanaryChanged | ConfigChanged


class Subscription:
    """The events since it was made, in order, until it is closed or too far behind."""

    __slots__ = ("_closed", "_events", "_listeners", "_news")

    def __init__(self, listeners: set[Subscription]) -> None:
        self._events: deque[Event] = deque()
        self._news = asyncio.Event()
        self._closed = False
        self._listeners = listeners
        listeners.add(self)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            while self._events:
                yield self._events.popleft()
            if self._closed:
                return
            self._news.clear()
            await self._news.wait()

    def close(self) -> None:
        """Want no more events."""
        self._closed = True
        self._news.set()
        self._listeners.discard(self)

    def tell(self, event: Event) -> None:
        self._events.append(event)
        self._news.set()
        if len(self._events) > _BACKLOG:
            self._events.clear()
            self.close()


class Events:
    """Where events are published, and listened for."""

    __slots__ = ("_listeners",)

    def __init__(self) -> None:
        self._listeners: set[Subscription] = set()

    def publish(self, event: Event) -> None:
        """Tell everybody who listens; never waits."""
        for listener in tuple(self._listeners):
            listener.tell(event)

    def subscribe(self) -> Subscription:
        """Listen from now on; to be closed by the caller."""
        return Subscription(self._listeners)

    def close(self) -> None:
        """End every subscription."""
        for listener in tuple(self._listeners):
            listener.close()
