"""Whether what is said of a destination concerns anybody."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from plait.compiler.hosts import (
    covers,
    hint,
    is_wildcard,
)
from plait.compiler.references.findings import warning
from plait.compiler.selection import Selection, mtls_mode
from plait.compiler.sights import speaks_for_clients
from plait.model.catalog import Service
from plait.model.finding import Finding, Severity
from plait.model.mesh import Mesh
from plait.model.policy import MtlsMode
from plait.model.traffic import DestinationSettings, Subset


def check(mesh: Mesh, selected: Selection, stated: Iterable[DestinationSettings]) -> Iterator[Finding]:
    """Settings of what is not there, and those that have no effect."""
    for settings in stated:
        yield from _destination(mesh, selected, settings)


def _heeded(mesh: Mesh, selected: Selection, settings: DestinationSettings) -> Iterator[Finding]:
    """Whether only some clients heed settings, or none."""
    namespace = settings.origin.ref.namespace
    if settings.clients and not selected.members.selected(namespace, settings.clients):
        message = "no workload of its namespace has the labels that workloadSelector names: nobody heeds it"
        yield warning("destination.no-clients", message, settings.origin)
    elif not settings.clients and namespace != mesh.settings.root_namespace and speaks_for_clients(settings):
        message = f"said outside the namespace of the service: it holds for clients in {namespace} alone"
        yield Finding(
            Severity.INFO, "destination.clients", message, settings.origin.ref, settings.origin.field
        )


def _destination(mesh: Mesh, selected: Selection, settings: DestinationSettings) -> Iterator[Finding]:
    yield from _heeded(mesh, selected, settings)
    service = mesh.services.get(settings.host)
    if service is None:
        known = is_wildcard(settings.host) and any(covers(settings.host, host) for host in mesh.services)
        if not known:
            message = f"there is no service {settings.host}{hint(settings.host, mesh.services)}"
            yield warning("destination.unknown-host", message, settings.origin)
        return
    ports = ", ".join(str(port.number) for port in service.ports)
    told = ((settings.origin, settings.policies), *((one.origin, one.policies) for one in settings.subsets))
    for origin, policies in told:
        for number, _ in policies.ports:
            if service.port(number) is None:
                message = f"a policy for port {number}, and {settings.host} has {ports}"
                yield warning("destination.unknown-port", message, origin)
    yield from _without_effect(selected, service, settings)
    yield from _refused(selected, service, settings)
    if not selected.behind(service):
        return
    for subset in settings.subsets:
        if not selected.behind(service, subset.labels):
            message = f"no workload of {settings.host} has the labels of subset {subset.name}"
            yield warning("destination.empty-subset", message, subset.origin)


def _refused(selected: Selection, service: Service, settings: DestinationSettings) -> Iterator[Finding]:
    """Calls in the clear to those who take none."""
    parts: tuple[DestinationSettings | Subset, ...] = (settings, *settings.subsets)
    for part in parts:
        name, labels = (part.name, part.labels) if isinstance(part, Subset) else ("", ())
        clear = [port for port in service.ports if settings.policy(name, port.number).clear]
        if not clear:
            continue
        strict = {
            f"{one.key} at port {there.number}"
            for one in selected.workloads_behind(service, labels)
            for port in clear
            for there in one.process.ports
            if port.target in (there.number, there.name)
            and mtls_mode(selected.peer_authentications_over(one.member), there.number) is MtlsMode.STRICT
        }
        if strict:
            who = f"{min(strict)}{f' and {len(strict) - 1} more' if len(strict) > 1 else ''}"
            message = f"called in the clear, which {who} takes from nobody: a PeerAuthentication has to say PERMISSIVE there"
            yield warning("traffic.tls-refused", message, part.origin)


def _without_effect(
    selected: Selection, service: Service, settings: DestinationSettings
) -> Iterator[Finding]:
    """What the policies of a destination ask for, and what can't be for those whom they reach."""
    parts: tuple[DestinationSettings | Subset, ...] = (settings, *settings.subsets)
    for part in parts:
        name, labels = (part.name, part.labels) if isinstance(part, Subset) else ("", ())
        reached = [(port, settings.policy(name, port.number)) for port in service.ports]
        streams = [port for port, policy in reached if policy.connections and policy.connections.is_of_http]
        if streams and not any(port.protocol.may_be_http for port in streams):
            message = "no port that it reaches is HTTP: maxConcurrentStreams and maxRequestsPerConnection have no effect"
            yield warning("destination.not-http", message, part.origin)
        replicas = sum(one.replicas for one in selected.workloads_behind(service, labels))
        for most in sorted({policy.outliers.most_ejected for _, policy in reached if policy.outliers}):
            if replicas > 1 and replicas * most < 100:
                message = (
                    f"nobody is left alone, for one of {replicas} replicas is more than {most} %: "
                    f"set maxEjectionPercent to {-(-100 // replicas)} at least"
                )
                yield warning("destination.too-few-to-eject", message, part.origin)
