"""All facts become one Mesh: who wins when two speak of one thing, and what was lost."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from plait.compiler.hosts import service_of_host
from plait.compiler.protocols import joined
from plait.compiler.references import Known, check
from plait.model.catalog import Member, Service, Workload
from plait.model.finding import Finding, Severity
from plait.model.mesh import Mesh
from plait.model.names import Origin
from plait.model.policy import AuthorizationPolicy, PeerAuthentication
from plait.model.reading import Fact, Namespace, ServiceAccount
from plait.model.routing import DestinationSettings, HostRoutes, Subset
from plait.model.settings import MeshSettings

S = TypeVar("S", Service, Workload, HostRoutes, DestinationSettings, AuthorizationPolicy, PeerAuthentication)
K = TypeVar("K", bound=Hashable)


def merge(
    facts: Iterable[Fact], settings: MeshSettings, running: frozenset[Member] = frozenset()
) -> tuple[Mesh, tuple[Finding, ...]]:
    """One Mesh of all facts, and what is wrong between them; the order of the facts changes nothing.

    `running` are the members of replicas that run, though no document may speak of them any more.
    """
    facts = tuple(facts)
    findings: list[Finding] = []
    services = _unique(_of(facts, Service), lambda one: one.host, findings)
    workloads = _unique(_of(facts, Workload), lambda one: one.key, findings)
    members = frozenset(workload.member for workload in workloads.values()) | running
    routes = _unique(_of(facts, HostRoutes), _origin, findings).values()
    destinations = _unique(_of(facts, DestinationSettings), _origin, findings).values()
    policies = _unique(_of(facts, AuthorizationPolicy), _origin, findings).values()
    peer_authentications = _unique(_of(facts, PeerAuthentication), _origin, findings).values()
    mesh = Mesh(
        settings=settings,
        services=joined(services, workloads),
        workloads=workloads,
        routes=_owners(routes, findings),
        destinations=_destinations(destinations, settings, findings),
        policies=tuple(policies),
        peer_authentications=tuple(peer_authentications),
        members=members,
    )
    findings.extend(check(mesh, _known(facts, members)))
    return mesh, _in_order(findings)


def _of(facts: Iterable[Fact], kind: type[S]) -> list[S]:
    """The facts of one kind by namespace and name; of one object stated twice, by content."""
    stated: dict[tuple[str, str, str, str], list[S]] = {}
    for fact in facts:
        if isinstance(fact, kind):
            ref = fact.origin.ref
            stated.setdefault((ref.namespace, ref.name, ref.kind, fact.origin.field), []).append(fact)
    return [
        fact
        for place in sorted(stated)
        for fact in (stated[place] if len(stated[place]) == 1 else sorted(stated[place], key=repr))
    ]


def _in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each finding once, by object, field and what is said."""
    said = {
        (str(one.ref), one.field, one.code, one.message, one.severity, one.ref.group if one.ref else ""): one
        for one in findings
    }
    return tuple(said[key] for key in sorted(said))


def _origin(fact: HostRoutes | DestinationSettings | AuthorizationPolicy | PeerAuthentication) -> Origin:
    return fact.origin


def _error(code: str, message: str, origin: Origin) -> Finding:
    return Finding(Severity.ERROR, code, message, origin.ref, origin.field)


def _unique(stated: Iterable[S], key: Callable[[S], K], findings: list[Finding]) -> dict[K, S]:
    """The first of each; whatever is stated again is a Finding."""
    found: dict[K, S] = {}
    for fact in stated:
        first = found.setdefault(key(fact), fact)
        if first is not fact:
            message = f"{fact.origin.ref} is defined more than once; only one definition is in force"
            findings.append(_error("object.duplicate", message, fact.origin))
    return found


def _owners(stated: Iterable[HostRoutes], findings: list[Finding]) -> Mapping[str, HostRoutes]:
    """Each host's routes; the first object that speaks of a host owns it."""
    owners: dict[str, HostRoutes] = {}
    for routes in stated:
        for host in routes.hosts:
            owner = owners.setdefault(host, routes)
            if owner is not routes:
                message = f"{host} is already routed by {owner.origin.ref}, which stays in force"
                findings.append(_error("route.host-owned-twice", message, routes.origin))
    return dict(sorted(owners.items()))


def _destinations(
    stated: Iterable[DestinationSettings], settings: MeshSettings, findings: list[Finding]
) -> Mapping[str, DestinationSettings]:
    """The settings of each host, from one namespace: the service's own before the root namespace before others.

    Within that namespace the subsets of several objects are joined, the first of a name holds (Istio's rules).
    """
    by_host: dict[str, list[DestinationSettings]] = {}
    for one in stated:
        by_host.setdefault(one.host, []).append(one)
    joined = {}
    for host, several in sorted(by_host.items()):
        namespace = _speaker(host, several, settings)
        for other in (one for one in several if one.origin.ref.namespace != namespace):
            message = f"{host} is already described in namespace {namespace}, which stays in force"
            findings.append(_error("destination.other-namespace", message, other.origin))
        inside = [one for one in several if one.origin.ref.namespace == namespace]
        subsets = _subsets(inside, findings)
        joined[host] = inside[0] if subsets == inside[0].subsets else replace(inside[0], subsets=subsets)
    return joined


def _speaker(host: str, several: Iterable[DestinationSettings], settings: MeshSettings) -> str:
    service = service_of_host(host)
    preferred = (service[0] if service else "", settings.root_namespace)
    namespaces = sorted({one.origin.ref.namespace for one in several})
    return next((name for name in preferred if name in namespaces), namespaces[0])


def _subsets(inside: Iterable[DestinationSettings], findings: list[Finding]) -> tuple[Subset, ...]:
    found: dict[str, Subset] = {}
    for subset in (subset for one in inside for subset in one.subsets):
        first = found.setdefault(subset.name, subset)
        if first is not subset:
            message = f"subset {subset.name} is already defined by {first.origin.ref}, which stays in force"
            findings.append(_error("destination.subset-twice", message, subset.origin))
    return tuple(found.values())


def _known(facts: Iterable[Fact], members: frozenset[Member]) -> Known:
    accounts = {(member.namespace, member.service_account) for member in members}
    namespaces = {member.namespace for member in members}
    for fact in facts:
        match fact:
            case Namespace():
                namespaces.add(fact.name)
            case ServiceAccount():
                accounts.add((fact.namespace, fact.name))
            case Service():
                namespaces.add(fact.namespace)
            case _:
                pass
    accounts |= {(namespace, "default") for namespace in namespaces}
    return Known(namespaces=frozenset(namespaces), accounts=frozenset(accounts))
