"""What share of a service's requests each version serves at this moment, by the mesh's tap while somebody looks.

Those who serve tell (see docs/guide/tap.md), so that each request is told of once.  Where there are more than RATE a
second they are a sample, in which each stands for those that were left out before it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from nicegui import ui

from plait.api import figures
from plait.api.client import ApiError, Client, NoMesh
from plait.api.services import ServiceView
from plait.api.views import TapFilter, TappedRequest
from plait.dashboard import parts
from plait.dashboard.elements.chart import Line
from plait.dashboard.service.looked import TRAFFIC, Choice, Looked, share, version_names
from plait.model.names import WorkloadKey
from plait.telemetry.queries import Group

LASTING = 3.0
"""Seconds that are this moment."""
RATE = 20
"""Requests a second that a workload is asked to tell of."""
_EVERY = 1.0
_TITLE = (
    f"Who served the requests of the last {LASTING:.0f} seconds, as the sidecars there tell it while this stands open; "
    f"of more than {RATE} a second for a workload it is a sample"
)


class Served:
    """The requests to a service that were told of lately."""

    def __init__(self) -> None:
        self._requests: deque[tuple[float, Group, int]] = deque()

    def count(self, one: TappedRequest, number: int, now: float) -> None:
        """A request that stands for so many; `now` in seconds, and never less than before."""
        namespace, _, workload = one.destination.partition("/")
        self._requests.append((now, group(one.service, namespace, workload, one.destination_version), number))

    def lately(self, host: str, now: float) -> dict[Group, int]:
        """How many of the last LASTING seconds were for a host, by who served them."""
        while self._requests and self._requests[0][0] <= now - LASTING:
            self._requests.popleft()
        found: dict[Group, int] = {}
        for _, to, number in self._requests:
            if to.service == host:
                found[to] = found.get(to, 0) + number
        return found


def group(host: str, namespace: str, workload: str, version: str) -> Group:
    return Group(
        service=host,
        destination_namespace=namespace,
        destination_workload=workload,
        destination_version=version,
    )


def standing(view: ServiceView) -> set[Group]:
    """Who may serve: each workload behind a service, in each version that runs."""
    workloads = ((WorkloadKey(*one.node.split("/")[:2]), one.version) for one in view.instances)
    return {group(view.host, key.namespace, key.name, version) for key, version in workloads}


@dataclass(frozen=True, slots=True)
class Part:
    """A version and its share; None where nothing was served."""

    name: str
    share: float | None


def served(behind: Iterable[Group], lately: Mapping[Group, int]) -> list[Part]:
    """Each version behind a service or seen of it lately, by name."""
    names = version_names([*behind, *lately])
    whole = sum(lately.values())
    return [
        Part(names[one], share(lately.get(one, 0), whole)) for one in sorted(names, key=names.__getitem__)
    ]


class LiveShares:
    """A row for each version, told once a second what has changed; the mesh is tapped while this is looked at."""

    def __init__(self, client: Client, choice: Choice) -> None:
        self._client = client
        self._choice = choice
        self._host = ""
        self._behind: frozenset[Group] = frozenset()
        self._colours: Mapping[str, str] = {}
        self._served = Served()
        self._taps: dict[str, asyncio.Task[None]] = {}
        self._rows: dict[str, ui.html] = {}
        with ui.element("div").classes("svc-live").props('role="group" aria-label="Live"') as box:
            box.props["title"] = _TITLE
            with ui.element("div").classes("svc-live-head"):
                ui.element("span").classes("svc-live-dot")
                ui.label("Live")
                ui.label(f"last {LASTING:.0f} s").classes("faint")
            self._box = ui.element("div").classes("svc-live-rows")
        self._looker = ui.context.client
        self._looker.on_disconnect(self._stop)
        ui.timer(_EVERY, self._tick)

    def show(self, looked: Looked, lines: Iterable[Line]) -> None:
        """These are behind the service from now on; `lines` are how its versions are drawn."""
        self._host, self._behind = looked.view.host, frozenset(standing(looked.view))
        self._colours = {line.name: line.colour for line in lines}
        self._tell()

    def _tick(self) -> None:
        wanted = {f"{one.destination_namespace}/{one.destination_workload}" for one in self._behind}
        if self._choice.tab != TRAFFIC or not self._looker.has_socket_connection:
            wanted = set()
        for gone in self._taps.keys() - wanted:
            self._taps.pop(gone).cancel()
        for workload in wanted:
            if workload not in self._taps or self._taps[workload].done():
                self._taps[workload] = asyncio.create_task(self._tap(workload))
        self._tell()

    def _stop(self) -> None:
        while self._taps:
            self._taps.popitem()[1].cancel()

    async def _tap(self, workload: str) -> None:
        """Count what a workload serves, until it or the control plane is gone."""
        before = 0
        with suppress(NoMesh, ApiError):
            async for line in self._client.tap(TapFilter(destination=workload), rate=RATE):
                if line.request is not None:
                    self._served.count(line.request, 1 + line.left_out - before, time.monotonic())
                    before = line.left_out

    def _tell(self) -> None:
        told = served(self._behind, self._served.lately(self._host, time.monotonic()))
        if [one.name for one in told] != list(self._rows):
            self._box.clear()
            with self._box:
                self._rows = {one.name: ui.html("", sanitize=False).classes("svc-live-row") for one in told}
        for one in told:
            self._rows[one.name].set_content(row(one, self._colours.get(one.name, "--idle")))


def row(one: Part, colour: str) -> str:
    """HTML of a version and its share."""
    return (
        f'<span class="svc-live-who">{parts.escaped(one.name)}</span>'
        f'<span class="svc-to-bar" aria-hidden="true"><i style="width: {(one.share or 0) * 100:.4g}%; background: var({colour})"></i></span>'
        f'<span class="svc-to-share">{figures.share(one.share)}</span>'
    )
