"""Routes that are attached to services: whom they may send to, and in which order those of several objects come.

The rules of the Gateway API for a mesh (GEP-1294): routes from the namespace of the service are for all of its
clients (producer routes); those from another namespace for the clients of that one alone (consumer routes).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from plait.compiler.hosts import hint, service_of_host
from plait.model.catalog import Service
from plait.model.finding import Finding, Severity
from plait.model.names import Export, Origin
from plait.model.routing import (
    AttachedRoutes,
    AttachedRule,
    Backend,
    Grant,
    Parent,
    RequestMatch,
    RouteRule,
    RouteTable,
)

Found = tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """What all objects together attach to a service, for the same clients."""

    host: str
    tables: tuple[RouteTable, ...]
    """Those for gRPC first: where they hold others do not."""
    export: Export

    @property
    def origin(self) -> Origin:
        """That of any of its objects: they are of one namespace."""
        return self.tables[0].origins[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """What one object attaches to one service; `port` 0: at all of its ports."""

    routes: AttachedRoutes
    rules: tuple[AttachedRule, ...]
    port: int
    origin: Origin


def attached(
    stated: Iterable[AttachedRoutes], services: Mapping[str, Service], grants: Iterable[Grant]
) -> tuple[tuple[Attached, ...], Found]:
    """What is attached to each service, once for all clients and once for those of each consumer's namespace."""
    granted = tuple(grants)
    findings: list[Finding] = []
    shares: dict[tuple[str, str], list[_Share]] = {}
    for routes in stated:
        namespace = routes.origin.ref.namespace
        for parent in routes.parents:
            service = services.get(parent.host)
            port = _port(service, parent, services, findings)
            if service is None or port is None:
                continue
            clients = "" if service.namespace == namespace else namespace
            share = _Share(
                routes=routes,
                rules=tuple(_permitted(one, routes, parent, granted, findings) for one in routes.rules),
                port=port,
                origin=parent.origin,
            )
            shares.setdefault((parent.host, clients), []).append(share)
    joined = tuple(
        Attached(
            host=host,
            tables=tuple(_tables(some, findings)),
            export=frozenset((clients,)) if clients else None,
        )
        for (host, clients), some in sorted(shares.items())
    )
    return joined, tuple(findings)


def _port(
    service: Service | None, parent: Parent, services: Mapping[str, Service], findings: list[Finding]
) -> int | None:
    """The port of a service that something is attached to, 0 for all; None and an error when there is none."""
    if service is None:
        message = f"there is no service {parent.host}{hint(parent.host, services)}"
        findings.append(_error("parent.unknown-service", message, parent.origin))
        return None
    if not parent.port and not parent.section:
        return 0
    for one in service.ports:
        if parent.port in (0, one.number) and parent.section in ("", one.name):
            if one.protocol.may_be_http:
                return one.number
            message = f"port {one.number} of {parent.host} is {one.protocol}, not HTTP"
            findings.append(_error("parent.port-not-http", message, parent.origin))
            return None
    ports = ", ".join(f"{one.name} {one.number}".strip() for one in service.ports)
    wanted = " ".join(str(part) for part in (parent.section, parent.port) if part)
    findings.append(
        _error("parent.unknown-port", f"{parent.host} has no port {wanted}; it has {ports}", parent.origin)
    )
    return None


def _permitted(
    attached_rule: AttachedRule,
    routes: AttachedRoutes,
    parent: Parent,
    grants: Iterable[Grant],
    findings: list[Finding],
) -> AttachedRule:
    """A rule that sends nothing into another namespace that has not granted it."""
    rule = attached_rule.rule

    def allowed(backend: Backend) -> bool:
        if _is_allowed(backend, routes.origin, parent, grants):
            return True
        namespace, name = service_of_host(backend.host) or ("", backend.host)
        message = (
            f"no ReferenceGrant in namespace {namespace} lets a {routes.origin.ref.kind} of namespace "
            f"{routes.origin.ref.namespace} send to service {name}"
        )
        findings.append(_error("route.not-granted", message, backend.origin))
        return False

    backends = tuple(one if allowed(one) else replace(one, host="", port=0) for one in rule.backends)
    mirrors = tuple(one for one in rule.mirrors if allowed(one.backend))
    if (backends, mirrors) == (rule.backends, rule.mirrors):
        return attached_rule
    return replace(attached_rule, rule=replace(rule, backends=backends, mirrors=mirrors))


def _is_allowed(backend: Backend, routes: Origin, parent: Parent, grants: Iterable[Grant]) -> bool:
    """Whether routes may send to a backend, which need not exist.  The parent itself is what its clients have called."""
    service = service_of_host(backend.host)
    if service is None or service[0] == routes.ref.namespace or backend.host == parent.host:
        return True
    source = (routes.ref.group, routes.ref.kind, routes.ref.namespace)
    return any(
        grant.namespace == service[0]
        and source in grant.sources
        and not {"", service[1]}.isdisjoint(grant.names)
        for grant in grants
    )


def _tables(shares: Iterable[_Share], findings: list[Finding]) -> Iterator[RouteTable]:
    """The rules for gRPC, and then, for the ports that these leave, those for HTTP."""
    grpc: list[_Share] = []
    http: list[_Share] = []
    for share in shares:
        (grpc if share.routes.grpc else http).append(share)
    taken = {share.port for share in grpc}
    if grpc:
        yield _joined(grpc)
    left = []
    for share in http:
        if taken and (0 in taken or share.port == 0 or share.port in taken):
            findings.append(_superseded(share, taken))
        if 0 not in taken and share.port not in taken:
            left.append(share)
    if left:
        yield _joined(left)


def _superseded(share: _Share, taken: set[int]) -> Finding:
    ports = {share.port} if share.port else taken
    where = "every port" if 0 in taken else " and ".join(f"port {port}" for port in sorted(ports))
    message = f"has no effect at {where}: routes for gRPC are attached there, and hold alone"
    return Finding(Severity.WARNING, "parent.superseded", message, share.origin.ref, share.origin.field)


def _joined(shares: list[_Share]) -> RouteTable:
    ports = {share.port for share in shares}
    ordered = sorted(_places(shares, alike=len(ports) == 1), key=lambda place: place[0])
    return RouteTable(
        rules=tuple(rule for _, rule in ordered),
        ports=() if 0 in ports else tuple(sorted(ports)),
        origins=tuple(sorted({share.routes.origin for share in shares})),
    )


def _places(shares: Iterable[_Share], *, alike: bool) -> Iterator[tuple[tuple[object, ...], RouteRule]]:
    """Every rule, and what it is sorted by: how specific it is; then the oldest object, its name, and its own order.

    `alike`: all of them are for the same ports, which the table says.
    """
    for share in shares:
        name, created = share.routes.origin.ref.name, share.routes.created
        for index, one in enumerate(share.rules):
            place = (
                tuple(-part for part in one.specificity),
                not created,
                created,
                name,
                index,
                share.port,
            )
            everywhere = alike or not share.port
            yield place, one.rule if everywhere else replace(one.rule, match=_at(one.rule, share.port))


def _at(rule: RouteRule, port: int) -> RequestMatch:
    match = rule.match or RequestMatch(origin=rule.origin)
    return replace(match, port=port)


def _error(code: str, message: str, origin: Origin) -> Finding:
    return Finding(Severity.ERROR, code, message, origin.ref, origin.field)
