"""The control plane's own metrics, for Prometheus.

What is known or counted anyway is read when somebody asks; only what leaves no trace is counted as it happens: how
long something took, what was refused.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from plait.link.messages import Signed, SignRequest
from plait.link.server import Link
from plait.model.finding import Severity
from plait.run.intake import STRANGER, UNSOUND, Intake
from plait.xds.server import Server

_MOMENTS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds."""


class OwnMetrics:
    """Counts what happens, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(namespace="plait", registry=registry)
        self.rebuild_seconds = Histogram(
            "plait_rebuild_seconds",
            "What it took to compile the mesh again and to render it for every proxy that is connected.",
            buckets=_MOMENTS,
            registry=registry,
        )
        self.change_to_last_ack_seconds = Histogram(
            "plait_change_to_last_ack_seconds",
            "From the first of some changes until the last connected proxy had acknowledged what follows from them.",
            buckets=_MOMENTS,
            registry=registry,
        )
        self.rejections = Counter(
            "plait_xds_rejections", "Responses that a proxy has refused.", ["type"], registry=registry
        )
        self._signed = Counter(
            "plait_certificates_signed", "Certificates that were signed.", ["of"], registry=registry
        )
        self._refused = Counter(
            "plait_certificates_refused", "Certificates that were refused.", ["of"], registry=registry
        )
        self._joins = Counter(
            "plait_joins", "Agents that have asked to join.", ["outcome"], registry=registry
        )
        for of in ("agent", "replica"):
            self._signed.labels(of)
            self._refused.labels(of)
        for outcome in ("accepted", "refused"):
            self._joins.labels(outcome)

    def watch(self, server: Server, link: Link, intake: Intake, findings: Callable[[], Tally[str]]) -> None:
        """From now on what these know is told too; `findings` are how many there are by severity."""
        self._registry.register(_Known(server, link, intake, findings))

    def signed(self, request: SignRequest, answer: Signed) -> None:
        """Somebody has asked for a certificate."""
        family = self._refused if answer.error else self._signed
        family.labels("replica" if request.replica else "agent").inc()

    def joined(self, answer: Signed) -> None:
        """An agent has asked to join."""
        self._joins.labels("refused" if answer.error else "accepted").inc()

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self._registry)


class _Known(Collector):
    def __init__(
        self, server: Server, link: Link, intake: Intake, findings: Callable[[], Tally[str]]
    ) -> None:
        self._server = server
        self._link = link
        self._intake = intake
        self._findings = findings

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("plait_build_info", "The version that runs; always 1.", labels=["version"])
        build.add_metric([version("plait")], 1)
        yield build
        yield from self._sent()
        connected, behind = self._server.standing()
        yield GaugeMetricFamily("plait_proxies_connected", "Proxies that are connected.", value=connected)
        yield GaugeMetricFamily(
            "plait_proxies_behind",
            "Connected proxies that have not acknowledged all that they should have.",
            value=behind,
        )
        agents = len(self._link.connected())
        yield GaugeMetricFamily("plait_agents_connected", "Agents that are connected.", value=agents)
        yield CounterMetricFamily(
            "plait_telemetry_reports_taken",
            "Reports of what proxies do that were taken in.",
            value=self._intake.taken,
        )
        refused = CounterMetricFamily(
            "plait_telemetry_reports_refused",
            "Reports of what proxies do that were not believed: of no replica of the agent's, or nonsense.",
            labels=["reason"],
        )
        for reason in (STRANGER, UNSOUND):
            refused.add_metric([reason], self._intake.refused[reason])
        yield refused
        found = GaugeMetricFamily(
            "plait_findings", "What is wrong with what was written.", labels=["severity"]
        )
        severities = self._findings()
        for severity in Severity:
            found.add_metric([severity], severities[severity])
        yield found

    def _sent(self) -> Iterator[Metric]:
        """What was sent to proxies, by type of resource."""
        pushes = CounterMetricFamily("plait_xds_pushes", "Responses that were sent.", labels=["type"])
        resources = CounterMetricFamily("plait_xds_resources", "Resources in them.", labels=["type"])
        removed = CounterMetricFamily("plait_xds_removed", "Resources that they took away.", labels=["type"])
        size = CounterMetricFamily("plait_xds_sent_bytes", "The size of them.", labels=["type"])
        for type_url, sent in self._server.sent.items():
            label = [type_name(type_url)]
            pushes.add_metric(label, sent.pushes)
            resources.add_metric(label, sent.resources)
            removed.add_metric(label, sent.removed)
            size.add_metric(label, sent.bytes)
        yield from (pushes, resources, removed, size)


def type_name(type_url: str) -> str:
    """`Cluster`, `Listener`, ..."""
    return type_url.rpartition(".")[2]
