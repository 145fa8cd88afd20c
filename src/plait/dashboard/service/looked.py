"""What is looked at of a service, and what the API says of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from plait.api.client import Client
from plait.api.rollouts import CanaryView
from plait.api.services import RefusalView, ServiceView
from plait.api.views import Traffic, TrafficGroup
from plait.dashboard import parts
from plait.model.names import service_host
from plait.telemetry.graph import Graph
from plait.telemetry.queries import By, Group, Signals, Where

TRAFFIC, ROUTES, POLICIES, INSTANCES, CANARY = "traffic", "routes", "policies", "instances", "canary"
TABS = {
    TRAFFIC: "Traffic",
    ROUTES: "Routes",
    POLICIES: "Policies",
    INSTANCES: "Instances",
    CANARY: "Canary",
}
WINDOWS = {300: ("5 min", 5), 900: ("15 min", 15), 3600: ("1 h", 60)}
"""Seconds that are looked at, how they are called, and how many of them are a point of a chart."""
WINDOW = 300
NOW = 10
"""Seconds that are now, where a share of traffic is told."""
NOBODY = "nobody"
"""Who served what reached no workload."""


@dataclass(slots=True)
class Choice:
    """What is chosen on the page; `opened` is what is shown as it is written, as `key_of` has it."""

    window: int = WINDOW
    tab: str = TRAFFIC
    opened: str = ""

    @staticmethod
    def of(window: str, tab: str, opened: str) -> Choice:
        """As a query says; what makes no sense is as if it were not there."""
        seconds = int(window) if window.isascii() and window.isdigit() and len(window) < 10 else 0
        return Choice(
            window=seconds if seconds in WINDOWS else WINDOW,
            tab=tab if tab in TABS else TRAFFIC,
            opened=opened,
        )

    @property
    def step(self) -> int:
        return WINDOWS[self.window][1]

    def to(self, path: str) -> str:
        """The address of what is chosen."""
        return parts.to(
            path,
            window=self.window if self.window != WINDOW else "",
            tab=self.tab if self.tab != TRAFFIC else "",
            open=self.opened,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A service as it is now and as it went; what no open section shows was not asked for."""

    window: int
    """The seconds that were asked for; what is told may begin a little earlier."""
    view: ServiceView
    total: Traffic
    graph: Graph
    canary: CanaryView | None
    versions: Traffic | None = None
    now: Traffic | None = None
    """By version, of the last seconds."""
    callers: Traffic | None = None
    refusals: tuple[RefusalView, ...] | None = None

    @property
    def signals(self) -> Signals:
        """Of all that the service was called for."""
        return self.total.groups[0].signals if self.total.groups else Signals()


async def look(client: Client, namespace: str, name: str, choice: Choice) -> Looked:
    """Ask for what is shown; ApiError (not_found) when there is no such service."""
    host = service_host(namespace, name)
    where, window, step = Where(service=host), float(choice.window), float(choice.step)
    wants_callers = choice.tab in {TRAFFIC, POLICIES}
    view, total, graph, canaries = await asyncio.gather(
        client.service(namespace, name),
        client.traffic(By.SERVICE, where, window=window, step=step),
        client.graph(window=window, namespace=namespace),
        client.canaries(),
    )
    versions, now, callers, refusals = await asyncio.gather(
        client.traffic(By.VERSION, where, window=window, step=step) if choice.tab == TRAFFIC else _nothing(),
        client.traffic(By.VERSION, where, window=NOW) if choice.tab == TRAFFIC else _nothing(),
        client.traffic(By.EDGE, where, window=window, step=step) if wants_callers else _nothing(),
        client.refusals(window=window, service=host) if choice.tab == POLICIES else _nothing(),
    )
    return Looked(
        window=choice.window,
        view=view,
        total=total,
        graph=graph,
        canary=next((one for one in canaries if one.host == host), None),
        versions=versions,
        now=now,
        callers=callers,
        refusals=refusals,
    )


async def _nothing() -> None:
    return None


def until(traffic: Traffic) -> float:
    """When the last point ends, in seconds since the epoch."""
    return datetime.fromisoformat(traffic.since).timestamp() + steps(traffic) * traffic.step


def steps(traffic: Traffic) -> int:
    """How many points each line has."""
    longest = max((len(one.points) for one in traffic.groups), default=0)
    return longest or round(traffic.window / traffic.step)


def rates(traffic: Traffic, groups: tuple[TrafficGroup, ...]) -> tuple[float | None, ...]:
    """What some groups together were asked a second, point by point: requests and, where it is TCP, connections."""
    if not groups:
        return ((0.0 if traffic.heard else None),) * steps(traffic)
    return tuple(
        None
        if all(point is None for point in points)
        else sum(busy(point) for point in points if point is not None)
        for points in zip(*(group.points for group in groups), strict=True)
    )


def busy(signals: Signals) -> float:
    """Requests and connections a second."""
    return signals.rate + signals.connections


def version_names(groups: Sequence[Group]) -> dict[Group, str]:
    """What each version is called: with its workload's name where the version alone does not tell it from others."""
    versions = Counter(group.destination_version for group in set(groups))
    return {
        group: group.destination_version
        if group.destination_version and versions[group.destination_version] == 1
        else " ".join(filter(None, (group.destination_workload, group.destination_version))) or NOBODY
        for group in groups
    }


def share(part: float, whole: float) -> float | None:
    """None of nothing."""
    return part / whole if whole else None
