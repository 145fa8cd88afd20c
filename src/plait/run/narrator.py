"""What `plait up` says while the mesh runs: a line for whatever changes, from the control plane's events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from plait.api.client import Client, NoMesh
from plait.api.events import (
    CanaryChanged,
    ConfigChanged,
    Event,
    FindingAppeared,
    FindingVanished,
    ReplicaChanged,
    ReplicaGone,
)
from plait.api.rollouts import CanaryView
from plait.api.views import FindingView, ReplicaState, WorkloadStatus
from plait.rollout.status import Phase

_SERVES = (ReplicaState.READY, ReplicaState.ENDED)
_SYNCED_WITHIN, _PAUSE = 5.0, 0.02
"""Seconds: as long as that a proxy that does not answer is waited for, and between two looks."""


async def narrate(socket: Path, say: Callable[[str], None], began: float) -> None:
    """Say what happens until cancelled; the control plane may come and go.  `began` is on the monotonic clock."""
    narrator = _Narrator(say, began)
    while True:
        try:
            async with Client(socket) as client:
                await narrator.listen(client)
        except NoMesh:
            await asyncio.sleep(0.1)


@dataclass(slots=True)
class _Narrator:
    say: Callable[[str], None]
    began: float
    ready: bool = False
    built: bool = False
    """Whether the configuration was built since a replica has changed."""
    states: dict[str, str] = field(default_factory=dict)
    rollouts: dict[str, str] = field(default_factory=dict)
    findings: dict[FindingView, None] = field(default_factory=dict)

    async def listen(self, client: Client) -> None:
        """Follow the events, which begin with everything as it is."""
        async for event in client.events():
            self.tell(event)
            await self.tell_ready(client)

    def tell(self, event: Event) -> None:
        match event:
            case ReplicaChanged(workload):
                self.built = False
                self.tell_state(workload)
            case ReplicaGone(namespace, name, replica):
                self.states.pop(f"{namespace}/{name}/{replica}", None)
                self.say(f"{namespace}/{name}/{replica} is gone")
            case CanaryChanged(canary):
                self.tell_rollout(canary)
            case FindingAppeared(finding) if finding not in self.findings:
                self.findings[finding] = None
                self.say(f"{finding.severity}: {finding.text}")
            case FindingVanished(finding) if finding in self.findings:
                del self.findings[finding]
                self.say(f"no more: {finding.text}")
            case ConfigChanged():
                self.built = True
            case FindingAppeared() | FindingVanished():
                pass

    def tell_state(self, workload: WorkloadStatus) -> None:
        """A line for each change of state; how far a start has come is for `plait status` to tell."""
        told = workload.message and workload.state is not ReplicaState.STARTING
        text = f"{workload.state}: {workload.message}" if told else str(workload.state)
        if self.states.get(workload.node) != text:
            self.states[workload.node] = text
            self.say(f"{workload.node} {text}")

    def tell_rollout(self, canary: CanaryView) -> None:
        """A line for each step, with the reason where it waits for somebody or has failed."""
        told = canary.message and (canary.gate or canary.phase == Phase.FAILED)
        text = f"{canary.progress}: {canary.message}" if told else canary.progress
        if self.rollouts.get(canary.key) != text:
            self.rollouts[canary.key] = text
            self.say(f"rollout {canary.key} {text}")

    async def tell_ready(self, client: Client) -> None:
        """Once all serve, and every proxy knows of all the others: whoever reads it may call them."""
        if self.ready or not self.built:
            return
        mesh = (await client.status()).mesh
        if self.states and not mesh.wanted:  # everything is told to stop before it was ready
            return
        heard = sum(
            text.startswith(_SERVES) for text in self.states.values()
        )  # or their lines would come after
        if min(mesh.ready, heard) >= mesh.wanted:
            await _synced(client)
            self.ready = True
            if not mesh.wanted:
                self.say(
                    "ready: there is no workload yet; the folder is watched, and Ctrl-C stops everything"
                )
                return
            took = time.monotonic() - self.began
            self.say(
                f"ready: {mesh.ready} of {mesh.wanted} replicas serve after {took:.1f} s; Ctrl-C stops everything"
            )


async def _synced(client: Client) -> None:
    """Wait until every proxy has answered what it was told, if it does in time: what is wrong is told elsewhere."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_SYNCED_WITHIN):
            while not all(one.synced for one in await client.proxies() if one.connected):  # noqa: ASYNC110
                await asyncio.sleep(_PAUSE)
