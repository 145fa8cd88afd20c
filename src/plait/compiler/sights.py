"""Who sees what: the hosts that clients of a namespace may call, whose routes hold there, and how they are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from plait.compiler.attachment import Attached
from plait.compiler.hosts import ByHost, is_wildcard, service_of_host
from plait.compiler.sharing import Made
from plait.compiler.shifting import Offer, accepted
from plait.model.catalog import Service
from plait.model.finding import Finding, Severity
from plait.model.names import Export, Origin
from plait.model.routing import HostRoutes, RouteTable
from plait.model.scope import Sight
from plait.model.traffic import DestinationSettings, PortPolicies, Subset

Found = tuple[Finding, ...]
T = TypeVar("T")
_Table = tuple[str, RouteTable]
"""Of a host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """All that is said of services, their routes and how they are called, each with whom it is said to."""

    services: Mapping[str, Service]
    owned: tuple[HostRoutes, ...]
    """By namespace and name."""
    attached: tuple[Attached, ...]
    destinations: tuple[DestinationSettings, ...]
    """By namespace and name."""
    offers: tuple[Offer, ...] = ()
    """What rollouts add of their hosts; for all."""
    root_namespace: str


def sights(stated: Stated, made: Made) -> tuple[Sight, Mapping[str, Sight], Found]:
    """What everybody sees, what clients of some namespaces see instead, and what is lost on the way."""
    findings: list[Finding] = []
    owned = tuple((one, made.of(("table", one.origin), (one,), _table)) for one in stated.owned)
    common, found = _sight(stated, owned, "", made)
    findings += found
    others = {}
    inputs = (
        stated.services,
        stated.owned,
        stated.attached,
        stated.destinations,
        stated.root_namespace,
    )
    for namespace in made.of("apart", inputs, lambda *_: sorted(_apart(stated))):
        seen, found = _sight(stated, owned, namespace, made)
        others[namespace] = seen
        findings += found
    return common, others, tuple(findings)


def _apart(stated: Stated) -> frozenset[str]:
    """The namespaces whose clients may see something else than all others."""
    exports: Iterable[Export] = (
        *(one.export for one in stated.services.values()),
        *(one.export for one in stated.owned),
        *(one.export for one in stated.attached),
        *(one.export for one in stated.destinations),
    )
    named = frozenset(name for export in exports if export for name in export)
    return named | frozenset(
        one.origin.ref.namespace
        for one in stated.destinations
        if one.origin.ref.namespace != stated.root_namespace and speaks_for_clients(one)
    )


def speaks_for_clients(one: DestinationSettings) -> bool:
    """Whether settings of a namespace are about services of another one, so that only its own clients heed them."""
    service = service_of_host(one.host.removeprefix("*.") if is_wildcard(one.host) else one.host)
    if service is None and one.host.endswith(f".{one.origin.ref.namespace}.svc.cluster.local"):
        return False
    return service is None or service[0] != one.origin.ref.namespace


def _table(routes: HostRoutes) -> RouteTable:
    return RouteTable(rules=routes.rules, origins=(routes.origin,))


def _sight(
    stated: Stated, owned: tuple[tuple[HostRoutes, RouteTable], ...], namespace: str, made: Made
) -> tuple[Sight, Found]:
    """What clients of a namespace see; "": those of all namespaces that nothing is said of."""

    def part(name: str, inputs: tuple[object, ...], make: Callable[..., T]) -> T:
        return made.of((name, namespace), inputs, make)

    services = part("seen", (stated.services,), partial(_services, namespace))
    offered = tuple(one for one in stated.offers if one.host in services)
    tables = tuple((one.host, one.table) for one in offered if one.table is not None)
    routes, first = part("owners", (owned, stated.attached, tables), partial(_owners, namespace))
    destinations, then = part(
        "destinations",
        (stated.destinations, tuple(one.settings for one in offered), services, stated.root_namespace),
        partial(_destinations, namespace),
    )
    found = made.same(
        ("sight", namespace), Sight(services=services, routes=routes, destinations=destinations)
    )
    return found, first + then


def _rank(export: Export, origin: Origin, namespace: str) -> int | None:
    """How near something is to clients: 0 their own alone, 1 said to them by name, 2 to all; None: not to them."""
    if export is None:
        return 2
    if namespace not in export:
        return None
    return 0 if export == {origin.ref.namespace} else 1


def _services(namespace: str, services: Mapping[str, Service]) -> Mapping[str, Service]:
    if all(one.export is None for one in services.values()):
        return services
    return {
        host: one for host, one in services.items() if _rank(one.export, one.origin, namespace) is not None
    }


def _owners(
    namespace: str,
    owned: Iterable[tuple[HostRoutes, RouteTable]],
    attached: Iterable[Attached],
    offered: Sequence[_Table],
) -> tuple[Mapping[str, tuple[RouteTable, ...]], Found]:
    """The tables of each host, the first one for a port holds there; who owns a host twice is told.

    What is nearer to the clients comes first.  Of what is equally near an object that owns its host alone stands
    before what is attached, and otherwise the first by namespace and name.  What is offered comes last.
    """
    found: dict[str, dict[int, tuple[RouteTable, ...]]] = {}
    findings = []
    for one, table in owned:
        rank = _rank(one.export, one.origin, namespace)
        if rank is None:
            continue
        mine = (table,)
        for host in one.hosts:
            first = found.setdefault(host, {}).setdefault(rank, mine)
            if first is not mine:
                findings.append(_taken(host, first[0], one.origin))
    for joined in attached:
        rank = _rank(joined.export, joined.origin, namespace)
        if rank is None:
            continue
        first = found.setdefault(joined.host, {}).setdefault(rank, joined.tables)
        if first is not joined.tables:
            origins = (origin for table in joined.tables for origin in table.origins)
            findings += [_taken(joined.host, first[0], origin) for origin in origins]
    owners = {
        host: next(iter(ranked.values())) if len(ranked) == 1 else tuple(_reached(ranked))
        for host, ranked in sorted(found.items())
    }
    more = dict(_left(owners, offered)) if offered else {}
    return owners | more, tuple(findings)


def _left(
    owners: Mapping[str, tuple[RouteTable, ...]], offered: Iterable[_Table]
) -> Iterator[tuple[str, tuple[RouteTable, ...]]]:
    """The tables of hosts of which some port is left to what is offered."""
    by_host = ByHost.of(owners)
    for host, table in offered:
        tables = by_host.get(host) or ()
        if all(one.ports for one in tables):
            yield host, (*tables, table)


def _reached(ranked: Mapping[int, tuple[RouteTable, ...]]) -> Iterator[RouteTable]:
    """Those tables that are the first at any port, the nearest to the clients first."""
    for table in (table for rank in sorted(ranked) for table in ranked[rank]):
        yield table
        if not table.ports:
            return


def _taken(host: str, owner: RouteTable, origin: Origin) -> Finding:
    message = f"{host} is already routed by {owner.origins[0].ref}, which stays in force"
    return Finding(Severity.ERROR, "route.host-owned-twice", message, origin.ref, origin.field)


def _destinations(
    namespace: str,
    stated: Iterable[DestinationSettings],
    offered: Iterable[DestinationSettings],
    services: Mapping[str, Service],
    root_namespace: str,
) -> tuple[Mapping[str, DestinationSettings], Found]:
    """The settings of each service, from one namespace: the client's, the service's own, or the root namespace.

    Within that namespace the most specific host counts, the subsets of several objects for it are joined, the first
    of a name holds, and so does the first traffic policy (Istio's rules).
    """
    said: dict[str, dict[str, list[DestinationSettings]]] = {}
    for one in stated:
        if _rank(one.export, one.origin, namespace) is not None:
            said.setdefault(one.origin.ref.namespace, {}).setdefault(one.host, []).append(one)
    findings: list[Finding] = []
    joined = {
        place: ByHost.of({host: _joined(several, findings) for host, several in sorted(by_host.items())})
        for place, by_host in sorted(said.items())
    }
    nearest = joined.get(namespace) if namespace != root_namespace else None
    root = joined.get(root_namespace)
    found: dict[str, DestinationSettings] = {}
    for host, service in services.items():
        for place in (nearest, joined.get(service.namespace), root):
            settings = place.get(host) if place is not None else None
            if settings is not None:
                found[host] = settings
                break
    for one in offered:
        found[one.host] = accepted(one, found.get(one.host))
    return found, tuple(findings)


def _joined(several: list[DestinationSettings], findings: list[Finding]) -> DestinationSettings:
    first = several[0]
    both = (_subsets(several, findings), _policies(several, findings))
    kept = both == (first.subsets, first.policies)
    return first if kept else replace(first, subsets=both[0], policies=both[1])


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


def _error(code: str, message: str, origin: Origin) -> Finding:
    return Finding(Severity.ERROR, code, message, origin.ref, origin.field)
