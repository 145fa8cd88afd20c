"""Whether telemetry is over anybody, and whoever is to be told of requests is there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from plait.compiler.hosts import hint
from plait.compiler.references.findings import error, warning
from plait.compiler.scopes import scopes
from plait.compiler.selection import Selection
from plait.compiler.telemetry import Providers, alike, may_tell, observing
from plait.model.catalog import Member
from plait.model.finding import Finding
from plait.model.mesh import Mesh
from plait.model.names import Origin, service_host
from plait.model.telemetry import Collector, FileSink, OtlpSink, Telemetry


def check_providers(mesh: Mesh) -> Iterator[Finding]:
    """Collectors that nobody can tell, names that stand for several, and defaults that name nobody."""
    known = observing(mesh).providers
    first: dict[str, FileSink | OtlpSink | Collector] = {}
    for config in mesh.mesh_configs:
        said = config.telemetry
        for collector in (
            *(one.collector for one in said.sinks if isinstance(one, OtlpSink)),
            *said.collectors,
        ):
            problem = _problem(mesh, collector)
            if problem:
                message = f"{problem}: nothing is told to it"
                yield error("provider.unreachable", message, collector.origin)
        for one in (*said.sinks, *said.collectors):
            before = first.setdefault(one.name, one)
            if one.name in known.counting or not alike((before, one)):
                message = f"{one.name} is said elsewhere to be something else: nothing is told by this name"
                yield error("provider.twice", message, config.origin)
        for names, of in (
            (said.default_sinks, known.sinks),
            (said.default_collectors, known.collectors),
            (said.default_metrics, known.counting),
        ):
            for name in names:
                if name not in of and name not in known.left_out:
                    yield error("telemetry.unknown-provider", _unknown(name, of), config.origin)


def check(mesh: Mesh, selected: Selection) -> Iterator[Finding]:
    """Objects over nobody, beside others of the same reach, or with providers that are not there."""
    known = observing(mesh).providers
    for one in mesh.telemetries:
        if one.selector and not selected.members.selected(one.namespace, one.selector):
            yield warning("policy.no-workloads", "no workload has the labels that this selects", one.origin)
        for name in one.targets:
            if service_host(one.namespace, name) not in mesh.services:
                message = f"there is no Service {name} in namespace {one.namespace}"
                yield warning("policy.unknown-target", message, one.origin)
        yield from _unknown_providers(known, one)
    yield from _together(mesh, known)


def _together(mesh: Mesh, known: Providers) -> Iterator[Finding]:
    """What is not in force, or not for all: found by looking at each that may be told of once."""
    seen = observing(mesh)
    losing: dict[Origin, Telemetry] = {}
    blind: dict[tuple[Origin, str], set[str]] = {}
    silent: dict[Origin, None] = {}
    for member in sorted(mesh.members, key=_order):
        levels = seen.said(member)
        for holding, *others in (level for level in levels if level):
            for one in others:
                losing.setdefault(one.origin, holding)
            if holding.logs and not holding.logs[0].providers and not _inherits(known, levels, holding):
                silent.setdefault(holding.logs[0].origin)
            for origin, collector in _told(known, holding):
                services = scopes(mesh).of(member.namespace, member.labels).sight.services
                if not may_tell(services, collector) and not _problem(mesh, collector):
                    blind.setdefault((origin, collector.host), set()).add(member.namespace)
    for origin, holding in losing.items():
        message = f"{holding.origin.ref} already says it for the same workloads and stays in force"
        yield error("telemetry.said-twice", message, origin)
    for origin in silent:
        message = "it names no provider, and neither does anything wider: it has no effect"
        yield warning("telemetry.no-provider", message, origin)
    for (origin, host), namespaces in blind.items():
        message = f"workloads in {', '.join(sorted(namespaces))} don't see {host}: it is told nothing by them"
        yield warning("telemetry.hidden-provider", message, origin)


def _order(member: Member) -> tuple[str, object, str]:
    return member.namespace, member.labels, member.service_account


def _inherits(known: Providers, levels: Iterable[tuple[Telemetry, ...]], holding: Telemetry) -> bool:
    """Whether somebody wider says to whom requests are told."""
    if known.defaults.default_sinks:
        return True
    for level in levels:
        if level and level[0] is holding:
            return False
        if level and any(rule.providers for rule in level[0].logs):
            return True
    return False


def _told(known: Providers, one: Telemetry) -> Iterator[tuple[Origin, Collector]]:
    """The collectors that an object names."""
    for rule in one.logs:
        for name in rule.providers:
            sink = known.sinks.get(name)
            if isinstance(sink, OtlpSink):
                yield rule.origin, sink.collector
    for span in one.tracing:
        found = known.collectors.get(span.provider)
        if found is not None:
            yield span.origin, found


def _unknown_providers(known: Providers, one: Telemetry) -> Iterator[Finding]:
    named = [
        *((name, known.sinks, rule.origin) for rule in one.logs for name in rule.providers),
        *((rule.provider, known.collectors, rule.origin) for rule in one.tracing if rule.provider),
        *((name, known.counting, rule.origin) for rule in one.metrics for name in rule.providers),
    ]
    for name, of, origin in named:
        if name in of or name in known.left_out:
            continue
        if name in known.names:
            message = f"{name} is told of something else; here {_there(of)}"
            yield error("telemetry.provider-kind", message, origin)
        else:
            yield error("telemetry.unknown-provider", _unknown(name, of), origin)


def _unknown(name: str, of: Iterable[str]) -> str:
    return f"there is no provider {name[:80]!r} in a meshConfig: {_there(of)}"


def _there(of: Iterable[str]) -> str:
    names = ", ".join(sorted(of))
    return f"there are {names}" if names else "there is none"


def _problem(mesh: Mesh, one: Collector) -> str:
    """Why nobody could tell a collector; "" when it can be told."""
    service = mesh.services.get(one.host)
    if service is None:
        return f"there is no service {one.host}{hint(one.host, mesh.services)}"
    if service.port(one.port) is None:
        return (
            f"{one.host} has no port {one.port}, but {', '.join(str(port.number) for port in service.ports)}"
        )
    if may_tell(mesh.services, one):
        return ""
    wanted = "HTTP" if one.path else "gRPC"
    return f"port {one.port} of {one.host} is not declared to be {wanted}"
