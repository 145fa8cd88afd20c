"""Delegation: rules of one object that stand, of some requests, in the rules of another one (Istio's delegates)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from plait.model.finding import Finding, Severity
from plait.model.names import ObjectRef, Origin
from plait.model.routing import (
    NO_CHANGES,
    Changes,
    Clients,
    DelegateRoutes,
    HostRoutes,
    MatchKind,
    RequestMatch,
    RouteRule,
    StringMatch,
)

Found = tuple[Finding, ...]


def delegated(
    owned: Iterable[HostRoutes], delegates: Mapping[Origin, DelegateRoutes]
) -> tuple[tuple[HostRoutes, ...], Found]:
    """The routes with the rules of others in the places that were left to these."""
    by_ref = {one.origin.ref: one for one in delegates.values()}
    findings: list[Finding] = []
    used: set[ObjectRef] = set()
    whole = []
    for routes in owned:
        if all(rule.delegate is None for rule in routes.rules):
            whole.append(routes)
            continue
        rules = tuple(
            one for rule in routes.rules for one in _in_place_of(rule, routes, by_ref, used, findings)
        )
        if rules:
            whole.append(replace(routes, rules=rules))
    for ref in sorted(by_ref.keys() - used):
        message = "it has no hosts, and no other VirtualService delegates to it: nothing is routed by it"
        findings.append(_finding(Severity.WARNING, "delegate.unused", message, by_ref[ref].origin))
    return tuple(whole), tuple(findings)


def _in_place_of(
    rule: RouteRule,
    routes: HostRoutes,
    delegates: Mapping[ObjectRef, DelegateRoutes],
    used: set[ObjectRef],
    findings: list[Finding],
) -> Iterator[RouteRule]:
    if rule.delegate is None:
        yield rule
        return
    found = delegates.get(rule.delegate)
    namespace = routes.origin.ref.namespace
    if found is None:
        message = f"this rule is left out: there is no {rule.delegate} without hosts to delegate to"
        findings.append(_finding(Severity.ERROR, "delegate.unknown", message, rule.origin))
        return
    used.add(rule.delegate)
    if found.export is not None and namespace not in found.export:
        message = f"this rule is left out: {rule.delegate} is not exported to namespace {namespace}"
        findings.append(_finding(Severity.ERROR, "delegate.not-exported", message, rule.origin))
        return
    for inner in found.rules:
        match, possible = both(rule.match, inner.match)
        if possible:
            yield _filled(inner, rule, match)
        else:
            message = (
                f"never matches where {routes.origin.ref} delegates to it: {rule.origin.field} is for others"
            )
            findings.append(_finding(Severity.WARNING, "delegate.never", message, inner.origin))


def _filled(inner: RouteRule, outer: RouteRule, match: RequestMatch | None) -> RouteRule:
    """A delegate's rule; what it leaves open is said by the rule that it stands for."""
    asked = inner.answer is None
    return replace(
        inner,
        name="-".join(name for name in (outer.name, inner.name) if name),
        match=match,
        mirrors=inner.mirrors or (outer.mirrors if asked else ()),
        path=inner.path or (outer.path if asked else None),
        changes=_changes(inner.changes, outer.changes),
        fault=inner.fault or outer.fault,
        cors=inner.cors or outer.cors,
        timeout=inner.timeout if inner.timeout is not None or not asked else outer.timeout,
        retries=inner.retries or (outer.retries if asked else None),
    )


def _changes(inner: Changes, outer: Changes) -> Changes:
    headers = outer if (inner.request, inner.response) == (NO_CHANGES.request, NO_CHANGES.response) else inner
    return replace(headers, authority=inner.authority or outer.authority)


def both(outer: RequestMatch | None, inner: RequestMatch | None) -> tuple[RequestMatch | None, bool]:
    """What matches both, and whether anything can, as far as that can be told."""
    if outer is None or inner is None:
        return outer or inner, True
    path, *parts = (
        _text(getattr(outer, part), getattr(inner, part))
        for part in ("path", "method", "scheme", "authority")
    )
    clients = _clients(outer.clients, inner.clients)
    ports = {outer.port, inner.port} - {0}
    alike = outer.path is None or inner.path is None or outer.ignore_path_case == inner.ignore_path_case
    possible = all(part[1] for part in (path, *parts, clients)) and len(ports) < 2 and alike
    return RequestMatch(
        path=path[0],
        ignore_path_case=outer.ignore_path_case or inner.ignore_path_case,
        method=parts[0][0],
        scheme=parts[1][0],
        authority=parts[2][0],
        port=max(ports, default=0),
        headers=_union(outer.headers, inner.headers),
        without_headers=_union(outer.without_headers, inner.without_headers),
        query=_union(outer.query, inner.query),
        clients=clients[0],
        origin=inner.origin,
    ), possible


def _union(
    outer: tuple[tuple[str, StringMatch], ...], inner: tuple[tuple[str, StringMatch], ...]
) -> tuple[tuple[str, StringMatch], ...]:
    return tuple(dict.fromkeys((*outer, *inner)))


def _text(outer: StringMatch | None, inner: StringMatch | None) -> tuple[StringMatch | None, bool]:
    """The narrower of two tests of one text, and whether a text can pass both; of regexes only equal ones can be told."""
    if outer is None or inner is None or outer == inner:
        return outer or inner, True
    for wide, narrow in ((outer, inner), (inner, outer)):
        if (
            wide.kind is MatchKind.PREFIX
            and narrow.kind in (MatchKind.PREFIX, MatchKind.EXACT)
            and narrow.value.startswith(wide.value)
        ):
            return narrow, True
    return None, False


def _clients(outer: Clients | None, inner: Clients | None) -> tuple[Clients | None, bool]:
    if outer is None or inner is None:
        return outer or inner, True
    namespaces = {outer.namespace, inner.namespace} - {""}
    labels = {*outer.labels, *inner.labels}
    possible = len(namespaces) < 2 and len(dict(labels)) == len(labels)
    return Clients(namespace=max(namespaces, default=""), labels=tuple(sorted(labels))), possible


def _finding(severity: Severity, code: str, message: str, origin: Origin) -> Finding:
    return Finding(severity, code, message, origin.ref, origin.field)
