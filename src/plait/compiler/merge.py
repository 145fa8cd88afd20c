"""All facts become one Mesh: who wins when two speak of one thing, and what was lost."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, get_args

from plait.compiler.attachment import attached
from plait.compiler.delegation import delegated
from plait.compiler.protocols import joined
from plait.compiler.references import Known, check
from plait.compiler.rollouts import PLANNED, Rolled, rolled
from plait.compiler.sharing import Made
from plait.compiler.shifting import moved_routes, moved_tables, offers, untouched
from plait.compiler.sights import Stated, sights
from plait.compiler.trust_domains import widened
from plait.model.authentication import RequestAuthentication
from plait.model.authorizer import MeshConfig
from plait.model.catalog import Member, Service, Workload
from plait.model.finding import Finding, Severity
from plait.model.limits import RateLimit
from plait.model.mesh import Mesh
from plait.model.names import Origin, WorkloadKey
from plait.model.policy import AuthorizationPolicy, PeerAuthentication
from plait.model.reading import Fact, Namespace, ServiceAccount
from plait.model.rollout import Shifts
from plait.model.routing import AttachedRoutes, DelegateRoutes, Grant, HostRoutes
from plait.model.scope import EgressScope
from plait.model.settings import MeshSettings
from plait.model.telemetry import Telemetry
from plait.model.traffic import DestinationSettings

_Stated = (
    HostRoutes
    | DelegateRoutes
    | AttachedRoutes
    | Grant
    | DestinationSettings
    | EgressScope
    | AuthorizationPolicy
    | PeerAuthentication
    | RateLimit
    | RequestAuthentication
    | MeshConfig
    | Telemetry
)
S = TypeVar("S", bound=Service | Workload | _Stated)
K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

Found = tuple[Finding, ...]
NO_SHIFTS: Shifts = {}


def merge(
    facts: Iterable[Fact],
    settings: MeshSettings,
    running: frozenset[Member] = frozenset(),
    made: Made | None = None,
    shifts: Shifts = NO_SHIFTS,
) -> tuple[Mesh, tuple[Finding, ...]]:
    """One Mesh of all facts, and what is wrong between them; the order of the facts changes nothing.

    `running` are the members of replicas that run, though no document may speak of them any more; `made` is what
    was made of other facts before, of which most are the same.  `shifts`: where the rollouts stand.
    """
    shared = made if made is not None else Made()
    facts = tuple(facts)
    planned = any(type(fact) in PLANNED for fact in facts)
    now = rolled(facts, shifts, shared) if planned else Rolled(facts=facts)
    of: dict[type, list[Any]] = {kind: [] for kind in get_args(Fact)}
    for fact in now.facts:
        of[type(fact)].append(fact)
    findings: list[Finding] = [*now.findings]

    def part(name: str, inputs: tuple[object, ...], make: Callable[..., tuple[T, Found]]) -> T:
        value, found = shared.of(name, inputs, make)
        findings.extend(found)
        return value

    def stated(kind: type[S], key: Callable[[S], K]) -> Mapping[K, S]:
        return part(kind.__name__, (tuple(of[kind]),), partial(_unique, key))

    services = stated(Service, lambda one: one.host)
    workloads = stated(Workload, lambda one: one.key)
    hosts = stated(HostRoutes, _origin)
    delegates = stated(DelegateRoutes, _origin)
    attaching = stated(AttachedRoutes, _origin)
    grants = stated(Grant, _origin)
    destinations = stated(DestinationSettings, _origin)
    egress = stated(EgressScope, _origin)
    policies = stated(AuthorizationPolicy, _origin)
    peer_authentications = stated(PeerAuthentication, _origin)
    rate_limits = stated(RateLimit, _origin)
    authentications = stated(RequestAuthentication, _origin)
    mesh_configs = stated(MeshConfig, _origin)
    telemetries = stated(Telemetry, _origin)
    settings = shared.of("settings", (settings, mesh_configs), _settings)
    members = shared.same("members", shared.of("documented", (workloads,), _members) | running)
    joint = shared.of("joined", (services, workloads), joined)
    owned = part("delegated", (hosts, delegates), lambda *_: delegated(hosts.values(), delegates))
    tables = part(
        "attached",
        (attaching, joint, grants),
        lambda *_: attached(attaching.values(), joint, grants.values()),
    )
    if now.moves:
        findings += shared.of("untouched", (now.canaries, owned, tables), untouched)
        owned = moved_routes(owned, now.moves, shared)
        tables = moved_tables(tables, now.moves, shared)
    said = Stated(
        services=joint,
        owned=owned,
        attached=tables,
        destinations=shared.same("for all", tuple(one for one in destinations.values() if not one.clients)),
        offers=offers(now.moves, shared) if now.moves else (),
        root_namespace=settings.root_namespace,
    )
    common, others, lost = sights(said, shared)
    findings.extend(lost)
    mesh = Mesh(
        settings=settings,
        services=joint,
        workloads=workloads,
        common=common,
        sights=others,
        egress=tuple(egress.values()),
        for_clients=tuple(one for one in destinations.values() if one.clients),
        policies=shared.of(
            "widened",
            (policies, settings.trust_domains),
            lambda *_: widened(policies.values(), settings.trust_domains),
        ),
        peer_authentications=tuple(peer_authentications.values()),
        rate_limits=tuple(rate_limits.values()),
        request_authentications=tuple(authentications.values()),
        mesh_configs=tuple(mesh_configs.values()),
        telemetries=tuple(sorted(telemetries.values(), key=lambda one: (not one.created, one.created))),
        members=members,
        plans=now.plans,
    )
    namespaces, accounts = tuple(of[Namespace]), tuple(of[ServiceAccount])
    known = shared.of("known", (namespaces, accounts, services, members), _known)
    findings.extend(check(mesh, said, known, shared))
    return mesh, _in_order(findings)


def _in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each finding once, by object, field and what is said."""
    said = {
        (str(one.ref), one.field, one.code, one.message, one.severity, one.ref.group if one.ref else ""): one
        for one in findings
    }
    return tuple(said[key] for key in sorted(said))


def _settings(given: MeshSettings, configs: Mapping[Origin, MeshConfig]) -> MeshSettings:
    """With what the first object says of it; the trust domain itself can't be said in one."""
    aliases = next((one.trust_domain_aliases for one in configs.values() if one.trust_domain_aliases), ())
    return replace(given, trust_domain_aliases=(*given.trust_domain_aliases, *aliases)) if aliases else given


def _origin(fact: _Stated) -> Origin:
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
