"""What agents tell of what their proxies do: kept as far as it is of a replica that they run, and can be so."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from plait.agent.observing import EVERY
from plait.envoy.labels import GROUP, GROUPS
from plait.model.names import ReplicaKey
from plait.run.registry import Registry
from plait.telemetry.histogram import bin_of
from plait.telemetry.reports import Pool, ProxyReport, Takes, Traffic, Usage

log = logging.getLogger(__name__)

_SKEW = 60.0
"""Seconds that an agent's clock may be away from ours."""
_LONGEST = 3600.0
"""Seconds that a report may be about."""
_MOST = 2**53
"""The most of anything that is believed: beyond that numbers are not whole any more for everybody who reads them."""
_LAST_BIN = bin_of(2.0**64)
"""Envoy can't count what takes longer."""

_MOST_EJECTED = 10_000
_LONGEST_PLACE = 64
"""How many endpoints a proxy may leave alone, and characters of each."""
_HELD = 2 * EVERY
"""Seconds for which whom a proxy leaves alone is believed: two looks."""

STRANGER, UNSOUND = "stranger", "unsound"


@dataclass(slots=True)
class Intake:
    """Where the reports of proxies come in.  `refused` counts by why: of no replica of that agent's, or nonsense."""

    registry: Registry
    telemetry: Takes
    taken: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    _ejected: dict[ReplicaKey, tuple[float, tuple[str, ...]]] = field(default_factory=dict)
    """When which proxies said last whom they leave alone, where that is anybody; the oldest first."""
    _told: set[tuple[str, str]] = field(default_factory=set)

    def take(self, agent: str, report: ProxyReport, now: float) -> None:
        """Have a report kept, or refused; `now` in seconds since the epoch."""
        reason = self._refusal(agent, report, now)
        if not reason:
            self.telemetry.take(report)
            self.taken += 1
            self._keep_ejected(report, now)
            return
        self.refused[reason] += 1
        if (agent, reason) not in self._told:
            self._told.add((agent, reason))
            log.warning("agent %s is not believed what %s does (%s)", agent, report.node, reason)

    def ejections(self, now: float) -> Mapping[str, tuple[str, ...]]:
        """Each replica (its node) that others leave alone for now, and who they are, sorted; `now` as above."""
        self._forget(now)
        if not self._ejected:
            return {}
        running = self.registry.replicas()
        places = {
            f"{one.address}:{one.port}": node for node, replica in running.items() for one in replica.bindings
        }
        found: defaultdict[str, set[str]] = defaultdict(set)
        for by, (_, avoided) in self._ejected.items():
            for place in avoided if str(by) in running else ():
                if place in places:  # not somebody outside
                    found[places[place]].add(str(by))
        return {node: tuple(sorted(by)) for node, by in sorted(found.items())}

    def _keep_ejected(self, report: ProxyReport, now: float) -> None:
        self._forget(now)
        if report.ejected is not None:
            self._ejected.pop(report.node, None)
        if report.ejected:
            self._ejected[report.node] = (now, report.ejected)

    def _forget(self, now: float) -> None:
        """Believe no more what was said too long ago."""
        while self._ejected:
            node, (at, _) = next(iter(self._ejected.items()))
            if now - at <= _HELD:
                return
            del self._ejected[node]

    def _refusal(self, agent: str, report: ProxyReport, now: float) -> str:
        found = self.registry.find(report.node)
        if found is None or found[0] != agent:
            return STRANGER
        return "" if sound(report, now) else UNSOUND


def sound(report: ProxyReport, now: float) -> bool:
    """Whether a proxy can have done this by now."""
    return (
        abs(report.at - now) <= _SKEW
        and 0 <= report.seconds <= _LONGEST
        and all(map(_is_traffic, report.traffic))
        and all(map(_is_pool, report.pools))
        and _are_places(report.ejected or ())
        and all(used is None or _is_usage(used) for used in (report.sidecar, report.application))
    )


def _is_traffic(one: Traffic) -> bool:
    family, separator, _ = one.packed.partition(GROUP)
    numbers = [number for number, _ in one.durations]
    return (
        bool(separator)
        and family in GROUPS
        and _are_counts(one.count, one.closed, one.received, one.sent, *(count for _, count in one.durations))
        and all(0 <= number <= _LAST_BIN for number in numbers)
        and all(number < later for number, later in pairwise(numbers))
    )


def _is_pool(one: Pool) -> bool:
    return _are_counts(one.connections, one.requests, one.overflowed, one.retried, one.unreached)


def _is_usage(one: Usage) -> bool:
    return one.cpu >= 0 and _are_counts(one.memory)


def _are_places(found: tuple[str, ...]) -> bool:
    return len(found) <= _MOST_EJECTED and all(len(one) <= _LONGEST_PLACE for one in found)


def _are_counts(*numbers: int) -> bool:
    return all(0 <= number < _MOST for number in numbers)
