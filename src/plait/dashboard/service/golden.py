"""How a service goes: its golden signals, as numbers and over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nicegui import ui

from plait.api import figures
from plait.api.views import Traffic
from plait.dashboard import parts
from plait.dashboard.elements.chart import Chart, Line
from plait.dashboard.service.looked import WINDOWS, Looked, steps, until
from plait.telemetry.graph import ProcessUse
from plait.telemetry.queries import Signals


def a_second(value: float) -> str:
    """A rate where nothing is a number, too."""
    return figures.rate(value) or "0/s"


class Golden:
    """A row of numbers, and a chart for each of traffic, errors and latency."""

    def __init__(self) -> None:
        (
            self._traffic, self._errors, self._p50, self._p90, self._p99, self._open, self._cpu, self._memory,
        ) = parts.stats(
            "Traffic", "Errors", "Latency p50", "Latency p90", "Latency p99", "Open connections", "CPU", "Memory"
        )  # fmt: skip
        with ui.element("div").classes("columns svc-row"):
            with parts.panel("Traffic", classes="span-4 svc-chart"):
                self._traffic_chart = Chart(label="Traffic", height=150, write=a_second)
            with parts.panel("Errors", classes="span-4 svc-chart"):
                self._errors_chart = Chart(label="Errors", height=150, write=figures.share)
            with parts.panel("Latency", classes="span-4 svc-chart"):
                self._latency_chart = Chart(label="Latency", height=150, write=_duration)

    def show(self, looked: Looked) -> None:
        signals, lasting = looked.signals, WINDOWS[looked.window][0]
        self._traffic.tell(a_second(signals.rate + signals.connections), traffic_note(signals, lasting))
        tone = parts.tone_of_errors(signals.error_share)
        self._errors.tell(
            figures.share(signals.error_share),
            f"{a_second(signals.refused)} refused" if signals.refused else "none refused",
            tone if tone != parts.IDLE else parts.PLAIN,
        )
        for stat, value, note in (
            (self._p50, signals.p50_ms, "the median"),
            (self._p90, signals.p90_ms, "1 in 10 is slower"),
            (self._p99, signals.p99_ms, "1 in 100 is slower"),
        ):
            stat.tell(figures.duration(value), note if value is not None else "")
        self._saturation(looked)
        end, step = until(looked.total), looked.total.step
        self._traffic_chart.show(end, step, traffic_lines(looked.total))
        self._errors_chart.show(end, step, error_lines(looked.total))
        self._latency_chart.show(end, step, latency_lines(looked.total))

    def _saturation(self, looked: Looked) -> None:
        host = looked.view.host
        node = next((one for one in looked.graph.services if one.host == host), None)
        under_way = node.pool_requests if node else 0
        self._open.tell(str(node.pool_connections if node else 0), f"requests now: {under_way}")
        behind = [one for one in looked.graph.workloads if host in one.services]
        application, sidecar = used(one.application for one in behind), used(one.sidecar for one in behind)
        self._cpu.tell(figures.cores(application.cpu), f"sidecars {figures.cores(sidecar.cpu)}")
        self._memory.tell(_bytes(application.memory), f"sidecars {_bytes(sidecar.memory)}")


def traffic_note(signals: Signals, lasting: str) -> str:
    """How much it was, and of what."""
    if signals.connections and not signals.requests:
        return f"{figures.size(signals.received + signals.sent)}/s of TCP"
    return f"{signals.requests:,} in {lasting}"


def used(some: Iterable[ProcessUse]) -> ProcessUse:
    """What several processes use together; None where nothing was told of any."""
    known = tuple(some)
    cpu = [one.cpu for one in known if one.cpu is not None]
    memory = [one.memory for one in known if one.memory is not None]
    return ProcessUse(cpu=sum(cpu) if cpu else None, memory=sum(memory) if memory else None)


def traffic_lines(traffic: Traffic) -> list[Line]:
    """Requests; connections and what is refused where there were any."""
    signals = traffic.groups[0].signals if traffic.groups else Signals()
    lines = []
    if signals.requests or not signals.connections:
        lines.append(Line("requests", _points(traffic, lambda one: one.rate), area=True))
    if signals.connections:
        lines.append(
            Line("connections", _points(traffic, lambda one: one.connections), "--series-5", area=True)
        )
    if signals.refused:
        lines.append(Line("refused", _points(traffic, lambda one: one.refused), "--series-4", dashed=True))
    return lines


def error_lines(traffic: Traffic) -> list[Line]:
    return [Line("errors", _points(traffic, lambda one: one.error_share), "--bad", area=True)]


def latency_lines(traffic: Traffic) -> list[Line]:
    return [
        Line("p50", _points(traffic, lambda one: one.p50_ms), "--series-1"),
        Line("p90", _points(traffic, lambda one: one.p90_ms), "--series-5"),
        Line("p99", _points(traffic, lambda one: one.p99_ms), "--series-2"),
    ]


def _points(traffic: Traffic, of: Callable[[Signals], float | None]) -> tuple[float | None, ...]:
    if not traffic.groups:
        return ((of(Signals()) if traffic.heard else None),) * steps(traffic)
    return tuple(None if point is None else of(point) for point in traffic.groups[0].points)


def _duration(milliseconds: float) -> str:
    return figures.duration(milliseconds) if milliseconds else "0ms"


def _bytes(value: int | None) -> str:
    return figures.NOTHING if value is None else figures.size(value)
