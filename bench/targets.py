"""What Plait promises, and whether a run has kept it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from bench.results import Results
from bench.words import CONNECTIONS, CPU, ISTIO, PLAIT, UNOBSERVED, ratios

MESH = "1000 services, 1000 proxies"
"""The setting that the control plane's promises are for."""

NOT_MEASURED = "not measured in this run"

Values = Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`below`: the bound itself is too much already.  `measured` finds no values where nothing was measured."""

    name: str
    bound: float
    unit: str
    measured: Callable[[Results], Values]
    below: bool = False
    judged: Callable[[Values], float] = median

    @property
    def limit(self) -> str:
        return f"{'<' if self.below else '≤'} {self.bound:g} {self.unit}".rstrip()

    def verdict(self, values: Values) -> str:
        if not values:
            return NOT_MEASURED
        value = self.judged(values)
        return "met" if value < self.bound or (value == self.bound and not self.below) else "missed"


def _control_plane(case: str, metric: str) -> Callable[[Results], Values]:
    return _record("control plane", case, MESH, metric)


def _record(part: str, case: str, setting: str, metric: str) -> Callable[[Results], Values]:
    def values(results: Results) -> Values:
        found = results.find(part, case, setting, metric)
        return found.values if found else ()

    return values


def _telemetry(metric: str) -> Callable[[Results], Values]:
    def values(results: Results) -> Values:
        found = results.of("telemetry")
        return tuple(value for one in found if one.metric == metric for value in one.values)

    return values


def _memory(results: Results) -> Values:
    """Of the control plane, after each scenario."""
    return tuple(
        value
        for record in results.of("control plane")
        if (record.setting, record.metric) == (MESH, "memory")
        for value in record.values
    )


def _pair(other: str, protocol: str = "HTTP/1.1") -> Callable[[Results], Values]:
    """The CPU of Plait's pair, as a part of another's."""
    setting = f"{protocol}, {CONNECTIONS} connections"

    def values(results: Results) -> Values:
        ours, theirs = (results.find("data plane", case, setting, CPU) for case in (PLAIT, other))
        return ratios(ours, theirs) if ours and theirs else ()

    return values


TARGETS = (
    Target(
        name="CPU of a pair of sidecars a request, as a part of that of Istio's default shape without a file log",
        bound=0.75,
        unit="",
        measured=_pair(ISTIO),
    ),
    *(
        Target(
            name=f"CPU of a pair of sidecars a request, as a multiple of that of the same pair without metrics and traces, {protocol}",
            bound=1.1,
            unit="",
            measured=_pair(UNOBSERVED, protocol),
        )
        for protocol in ("HTTP/1.1", "gRPC")
    ),
    Target(
        name="from a changed route to the last of 1,000 ACKs",
        bound=500,
        unit="ms",
        measured=_control_plane("one route changed", "last ACK"),
    ),
    Target(
        name="from a changed route to the last of 1,000 ACKs, p99",
        bound=500,
        unit="ms",
        measured=_control_plane("one route changed", "last ACK p99"),
    ),
    Target(
        name="from a changed endpoint to the last of 1,000 ACKs, p99",
        bound=300,
        unit="ms",
        measured=_control_plane("one endpoint changed", "last ACK p99"),
    ),
    Target(
        name="CPU of the control plane a push, one route changed",
        bound=200,
        unit="µs",
        measured=_control_plane("one route changed", "CPU a push"),
        below=True,
    ),
    Target(
        name="CPU of the control plane a push, one endpoint changed",
        bound=200,
        unit="µs",
        measured=_control_plane("one endpoint changed", "CPU a push"),
        below=True,
    ),
    Target(
        name="memory of the control plane, the most that was seen",
        bound=300,
        unit="MB",
        measured=_memory,
        below=True,
        judged=max,
    ),
    Target(
        name="rebuild of 1,000 services after one document has changed",
        bound=100,
        unit="ms",
        measured=_record("rebuild", "one route changed", "1000 services", "CPU"),
        below=True,
    ),
    Target(
        name="CPU of the control plane for what 200 proxies report, as a part of a core",
        bound=0.3,
        unit="",
        measured=_telemetry("CPU"),
        below=True,
    ),
    Target(
        name="memory of the control plane for what 200 proxies report",
        bound=200,
        unit="MB",
        measured=_telemetry("peak memory"),
        below=True,
    ),
)
