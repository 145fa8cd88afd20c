"""All facts become one Mesh: who wins when two speak of one thing, and what was lost."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar, get_args

from plait.compiler.hosts import service_of_host
from plait.compiler.protocols import joined
from plait.compiler.references import Known, check
from plait.compiler.sharing import Made
from plait.model.catalog import Member, Service, Workload
from plait.model.finding import Finding, Severity
from plait.model.mesh import Mesh
from plait.model.names import Origin, WorkloadKey
from plait.model.policy import AuthorizationPolicy, PeerAuthentication
from plait.model.reading import Fact, Namespace, ServiceAccount
from plait.model.routing import DestinationSettings, HostRoutes, PortPolicies, Subset
from plait.model.settings import MeshSettings

S = TypeVar("S", Service, Workload, HostRoutes, DestinationSettings, AuthorizationPolicy, PeerAuthentication)
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

Found = tuple[Finding, ...]


def merge(
    facts: Iterable[Fact],
    settings: MeshSettings,
    running: frozenset[Member] = frozenset(),
    made: Made | None = None,
) -> tuple[Mesh, tuple[Finding, ...]]:
    """One Mesh of all facts, and what is wrong between them; the order of the facts changes nothing.

    `running` are the members of replicas that run, though no document may speak of them any more; `made` is what
    was made of other facts before, of which most are the same.
    """
    shared = made if made is not None else Made()
    of: dict[type[Fact], list[Fact]] = {kind: [] for kind in get_args(Fact)}
    for fact in facts:
        of[type(fact)].append(fact)
    findings: list[Finding] = []

    def part(name: str, inputs: tuple[object, ...], make: Callable[..., tuple[T, Found]]) -> T:
        value, found = shared.of(name, inputs, make)
        findings.extend(found)
        return value

    def stated(kind: type[S], key: Callable[[S], K]) -> Mapping[K, S]:
        return part(kind.__name__, (tuple(of[kind]),), partial(_unique, key))

    services = stated(Service, lambda one: one.host)
    workloads = stated(Workload, lambda one: one.key)
    routes = stated(HostRoutes, _origin)
    destinations = stated(DestinationSettings, _origin)
    policies = stated(AuthorizationPolicy, _origin)
    peer_authentications = stated(PeerAuthentication, _origin)
    members = shared.same("members", shared.of("documented", (workloads,), _members) | running)
    mesh = Mesh(
        settings=settings,
        services=shared.of("joined", (services, workloads), joined),
        workloads=workloads,
        routes=part("owners", (routes,), _owners),
        destinations=part("destinations", (destinations, settings), _destinations),
        policies=tuple(policies.values()),
        peer_authentications=tuple(peer_authentications.values()),
        members=members,
    )
    namespaces, accounts = tuple(of[Namespace]), tuple(of[ServiceAccount])
    known = shared.of("known", (namespaces, accounts, services, members), _known)
    findings.extend(check(mesh, known, shared))
    return mesh, _in_order(findings)


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


def _unique(key: Callable[[S], K], stated: Iterable[S]) -> tuple[Mapping[K, S], Found]:
    """The first of each; whatever is stated again is a Finding."""
    found: dict[K, S] = {}
    findings = []
    for fact in _sorted(stated):
        first = found.setdefault(key(fact), fact)
        if first is not fact:
            message = f"{fact.origin.ref} is defined more than once; only one definition is in force"
            findings.append(_error("object.duplicate", message, fact.origin))
    return found, tuple(findings)


def _sorted(facts: Iterable[S]) -> Iterator[S]:
    """By namespace and name; of one object stated twice, by content."""
    stated: dict[tuple[str, str, str, str], list[S]] = {}
    for fact in facts:
        ref = fact.origin.ref
        stated.setdefault((ref.namespace, ref.name, ref.kind, fact.origin.field), []).append(fact)
    for place in sorted(stated):
        yield from stated[place] if len(stated[place]) == 1 else sorted(stated[place], key=repr)


def _members(workloads: Mapping[WorkloadKey, Workload]) -> frozenset[Member]:
    return frozenset(workload.member for workload in workloads.values())


def _owners(stated: Mapping[Origin, HostRoutes]) -> tuple[Mapping[str, HostRoutes], Found]:
    """Each host's routes; the first object that speaks of a host owns it."""
    owners: dict[str, HostRoutes] = {}
    findings = []
    for routes in stated.values():
        for host in routes.hosts:
            owner = owners.setdefault(host, routes)
            if owner is not routes:
                message = f"{host} is already routed by {owner.origin.ref}, which stays in force"
                findings.append(_error("route.host-owned-twice", message, routes.origin))
    return dict(sorted(owners.items())), tuple(findings)


def _destinations(
    stated: Mapping[Origin, DestinationSettings], settings: MeshSettings
) -> tuple[Mapping[str, DestinationSettings], Found]:
    """The settings of each host, from one namespace: the service's own before the root namespace before others.

    Within that namespace the subsets of several objects are joined, the first of a name holds, and so does the first
    traffic policy (Istio's rules).
    """
    by_host: dict[str, list[DestinationSettings]] = {}
    for one in stated.values():
        by_host.setdefault(one.host, []).append(one)
    findings: list[Finding] = []
    joined = {}
    for host, several in sorted(by_host.items()):
        namespace = _speaker(host, several, settings)
        for other in (one for one in several if one.origin.ref.namespace != namespace):
            message = f"{host} is already described in namespace {namespace}, which stays in force"
            findings.append(_error("destination.other-namespace", message, other.origin))
        inside = [one for one in several if one.origin.ref.namespace == namespace]
        both = (_subsets(inside, findings), _policies(inside, findings))
        first = inside[0]
        kept = both == (first.subsets, first.policies)
        joined[host] = first if kept else replace(first, subsets=both[0], policies=both[1])
    return joined, tuple(findings)


def _speaker(host: str, several: Iterable[DestinationSettings], settings: MeshSettings) -> str:
    service = service_of_host(host)
    preferred = (service[0] if service else "", settings.root_namespace)
    namespaces = sorted({one.origin.ref.namespace for one in several})
    return next((name for name in preferred if name in namespaces), namespaces[0])


def _policies(inside: Iterable[DestinationSettings], findings: list[Finding]) -> PortPolicies:
    """The first traffic policy; one more is a Finding."""
    told = [one for one in inside if one.policies != PortPolicies()]
    for other in told[1:]:
        message = (
            f"the trafficPolicy of this host is already given by {told[0].origin.ref}, which stays in force"
        )
        findings.append(_error("destination.policy-twice", message, other.origin))
    return told[0].policies if told else PortPolicies()


def _subsets(inside: Iterable[DestinationSettings], findings: list[Finding]) -> tuple[Subset, ...]:
    found: dict[str, Subset] = {}
    for subset in (subset for one in inside for subset in one.subsets):
        first = found.setdefault(subset.name, subset)
        if first is not subset:
            message = f"subset {subset.name} is already defined by {first.origin.ref}, which stays in force"
            findings.append(_error("destination.subset-twice", message, subset.origin))
    return tuple(found.values())


def _known(
    stated: Iterable[Namespace],
    stated_accounts: Iterable[ServiceAccount],
    services: Mapping[str, Service],
    members: frozenset[Member],
) -> Known:
    accounts = {(one.namespace, one.service_account) for one in members}
    accounts |= {(one.namespace, one.name) for one in stated_accounts}
    namespaces = {one.name for one in stated} | {one.namespace for one in members}
    namespaces |= {one.namespace for one in services.values()}
    accounts |= {(namespace, "default") for namespace in namespaces}
    return Known(namespaces=frozenset(namespaces), accounts=frozenset(accounts))
