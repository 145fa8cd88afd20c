"""Routes that are attached to services: whom they may send to, and in which order those of several objects come.

The rules of the Gateway API for a mesh (GEP-1426): routes from the namespace of the service are for all of its
clients (producer routes); those from another namespace for the clients of that one alone (consumer routes).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from plait.compiler.hosts import hint
from plait.model.catalog import Service
from plait.model.finding import Finding, Severity
from plait.model.names import Export, Origin
from plait.model.routing import (
    AttachedRoutes,
    Backend,
    Grant,
    MatchKind,
    Mirror,
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
    table: RouteTable
    export: Export


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """What one object attaches to one service; `port` 0: at all of its ports."""

    routes: AttachedRoutes
    rules: tuple[RouteRule, ...]
    port: int


def attached(
    stated: Iterable[AttachedRoutes], services: Mapping[str, Service], grants: Iterable[Grant]
) -> tuple[tuple[Attached, ...], Found]:
    """What is attached to each service, once for all clients and once for those of each consumer's namespace."""
    granted = tuple(grants)
    findings: list[Finding] = []
    shares: dict[tuple[str, str], list[_Share]] = {}
    for routes in stated:
        namespace = routes.origin.ref.namespace
        rules = tuple(_permitted(rule, routes.origin, granted, services, findings) for rule in routes.rules)
        for parent in routes.parents:
            service = services.get(parent.host)
            port = _port(service, parent, services, findings)
            if service is not None and port is not None:
                clients = "" if service.namespace == namespace else namespace
                shares.setdefault((parent.host, clients), []).append(
                    _Share(routes=routes, rules=rules, port=port)
                )
    joined = tuple(
        Attached(host=host, table=_joined(some), export=frozenset((clients,)) if clients else None)
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
    ports = ", ".join(f"{one.name} {one.number}".strip() for one in service.ports)
    for one in service.ports:
        if parent.port in (0, one.number) and parent.section in ("", one.name):
            if one.protocol.may_be_http:
                return one.number
            message = f"port {one.number} of {parent.host} is {one.protocol}, not HTTP"
            findings.append(_error("parent.port-not-http", message, parent.origin))
            return None
    wanted = " ".join(str(part) for part in (parent.section, parent.port) if part)
    findings.append(
        _error("parent.unknown-port", f"{parent.host} has no port {wanted}; it has {ports}", parent.origin)
    )
    return None


def _permitted(
    rule: RouteRule,
    routes: Origin,
    grants: Iterable[Grant],
    services: Mapping[str, Service],
    findings: list[Finding],
) -> RouteRule:
    """A rule that sends nothing into another namespace that has not granted it."""

    def allowed(backend: Backend) -> bool:
        service = services.get(backend.host)
        if service is None or service.namespace == routes.ref.namespace:
            return True
        if any(_grants(one, routes, service) for one in grants):
            return True
        message = (
            f"no ReferenceGrant in namespace {service.namespace} lets a {routes.ref.kind} of namespace "
            f"{routes.ref.namespace} send to service {service.name}"
        )
        findings.append(_error("route.not-granted", message, backend.origin))
        return False

    backends = tuple(one if allowed(one) else replace(one, host="", port=0) for one in rule.backends)
    mirrors: tuple[Mirror, ...] = tuple(one for one in rule.mirrors if allowed(one.backend))
    if (backends, mirrors) == (rule.backends, rule.mirrors):
        return rule
    return replace(rule, backends=backends, mirrors=mirrors)


def _grants(one: Grant, routes: Origin, service: Service) -> bool:
    return (
        one.namespace == service.namespace
        and (routes.ref.group, routes.ref.kind, routes.ref.namespace) in one.sources
        and not {"", service.name}.isdisjoint(one.names)
    )


def _joined(shares: list[_Share]) -> RouteTable:
    ordered = sorted(_places(shares), key=lambda place: place[0])
    ports = {share.port for share in shares}
    origins = sorted({share.routes.origin for share in shares})
    return RouteTable(
        rules=tuple(rule for _, rule in ordered),
        ports=() if 0 in ports else tuple(sorted(ports)),
        origins=tuple(origins),
    )


def _places(shares: Iterable[_Share]) -> Iterator[tuple[tuple[object, ...], RouteRule]]:
    """Every rule, and what it is sorted by: how specific it is; then the oldest object, its name, and its own order."""
    for share in shares:
        ref, created = share.routes.origin.ref, share.routes.created
        for index, rule in enumerate(share.rules):
            place = (
                *_specificity(rule.match),
                not created,
                created,
                ref.namespace,
                ref.name,
                ref.kind,
                index,
            )
            yield place, rule if not share.port else replace(rule, match=_at(rule, share.port))


def _at(rule: RouteRule, port: int) -> RequestMatch:
    match = rule.match or RequestMatch(origin=rule.origin)
    return replace(match, port=port)


_EVERYTHING = (1, -1, True, 0, 0)
"""How specific it is to match each request: a prefix of one letter."""


def _specificity(match: RequestMatch | None) -> tuple[int, int, bool, int, int]:
    """Less is more specific: an exact path, a long prefix, a regex; a method; many headers; many parameters."""
    if match is None:
        return _EVERYTHING
    kind, length = _EVERYTHING[:2]
    if match.path is not None:
        kind = {MatchKind.EXACT: 0, MatchKind.REGEX: 2}.get(match.path.kind, 1)
        length = -len(match.path.value)
    return kind, length, match.method is None, -len(match.headers), -len(match.query)


def _error(code: str, message: str, origin: Origin) -> Finding:
    return Finding(Severity.ERROR, code, message, origin.ref, origin.field)
