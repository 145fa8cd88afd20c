"""VirtualService: how requests to some hosts are routed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Literal

from plait.dialects.checks import dns_label, port_number, seconds
from plait.dialects.exports import export
from plait.dialects.istio.answers import direct_response, millionths, percent, redirect, rewrite
from plait.dialects.istio.cors import cors
from plait.dialects.istio.faults import fault
from plait.dialects.istio.gateways import reaches_mesh
from plait.dialects.istio.headers import changes
from plait.dialects.istio.matches import matches
from plait.dialects.istio.retries import retries_of
from plait.dialects.istio.shared import VERSIONS, host
from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.names import ObjectRef
from plait.model.reading import Fact
from plait.model.routing import (
    Backend,
    DelegateRoutes,
    DirectResponse,
    HeaderChanges,
    HostRoutes,
    Mirror,
    Redirect,
    RequestMatch,
    RouteRule,
)

MOST_WEIGHT = 2**31 - 1
MOST_WEIGHTS = 2**32 - 1
"""Of all destinations of one rule together: Envoy adds them up in 32 bits."""

_OF_DESTINATIONS = ("route", "rewrite", "timeout", "retries", "mirror", "mirrors")
"""What says something of destinations alone."""


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    here = reaches_mesh(spec.at("gateways"))
    hosts = tuple(_hosts(spec.at("hosts"), subject))
    http = spec.at("http")
    items = list(http.each())
    rules = tuple(rule for item in items for rule in _rules(item, subject))
    if not items and not http.error_count() and not (spec.has("tcp") or spec.has("tls")):
        http.error("field.required", "a VirtualService has at least one route")
    _warn_about_unreachable(rules, {subject.origin(item): item for item in items})
    exported = export(spec.at("exportTo"), subject.namespace)
    origin = subject.origin(root)
    if not here or not rules:
        return ()
    if not spec.has("hosts"):
        return (DelegateRoutes(rules=_own(rules, items), export=exported, origin=origin),)
    return (HostRoutes(hosts=hosts, rules=rules, export=exported, origin=origin),) if hosts else ()


def _own(rules: Iterable[RouteRule], items: Iterable[Cursor]) -> tuple[RouteRule, ...]:
    """The rules of a delegate that say themselves what is done."""
    for item in items:
        if item.has("delegate"):
            item.at("delegate").error("delegate.twice", "what others delegate to does not delegate itself")
    return tuple(rule for rule in rules if rule.delegate is None)


def _hosts(cursor: Cursor, subject: Subject) -> Iterator[str]:
    seen: set[str] = set()
    for item in cursor.each():
        name = host(item, subject.namespace)
        if name == "*":
            item.error("host.invalid", "the host * is too wide for sidecars: name the hosts")
        elif name in seen:
            item.error("host.duplicate", f"{name} is named twice")
        elif name:
            seen.add(name)
            yield name
    if cursor.present and not cursor.value and not cursor.error_count():
        cursor.error("field.required", "hosts are missing")


def _rules(item: Cursor, subject: Subject) -> Iterator[RouteRule]:
    """A rule for each of the matches of an item."""
    rule, alternatives = _rule(item, subject) or (None, ())
    if rule is not None:
        yield from (replace(rule, match=match) for match in alternatives or (None,))


def _rule(item: Cursor, subject: Subject) -> tuple[RouteRule, tuple[RequestMatch, ...]] | None:
    if not isinstance(item.value, Mapping):
        item.error("field.type", "expected an object: a route")
        return None
    name = item.at("name").text()
    alternatives = matches(item.at("match"), subject)
    answer = _answer(item)
    delegate = _delegate(item, subject)
    backends = () if answer is not None or item.has("delegate") else _backends(item, subject)
    path, authority = rewrite(item.at("rewrite"))
    changed = changes(item.at("headers"), authority)
    if answer and changed.request != HeaderChanges():
        message = "has no effect: the rule answers by itself, and nobody is sent the request"
        item.at("headers").at("request").warn("header.no-effect", message)
    mirrors = tuple(_mirrors(item, subject))
    injected = fault(item.at("fault"))
    shared = cors(item.at("corsPolicy"))
    timeout = seconds(item.at("timeout"))
    retries = retries_of(item.at("retries"))
    if alternatives is None and item.at("match").error_count():
        item.error("route.left-out", "this rule is left out: none of its matches can be read")
    if alternatives is None or not (backends or delegate or isinstance(answer, (Redirect, DirectResponse))):
        return None
    rule = RouteRule(
        name=name,
        answer=answer or None,
        backends=backends,
        mirrors=mirrors,
        path=path,
        changes=changed,
        fault=injected,
        cors=shared,
        timeout=timeout,
        retries=retries,
        delegate=delegate,
        origin=subject.origin(item),
    )
    return rule, alternatives


def _answer(item: Cursor) -> Redirect | DirectResponse | Literal[False] | None:
    """What a rule answers by itself; None when it asks a destination, False when its answer can't be read."""
    elsewhere, direct = item.at("redirect"), item.at("directResponse")
    asked = [name for name in _OF_DESTINATIONS if item.has(name)]
    for cursor in (elsewhere, direct):
        if cursor.present and asked:
            message = f"this rule answers by itself: {', '.join(asked)} beside it would have no effect"
            cursor.error("route.answers", message)
    if elsewhere.present and direct.present:
        direct.error("route.answers", "only one of redirect and directResponse can be given")
    if not elsewhere.present and not direct.present:
        return None
    found = redirect(elsewhere) if elsewhere.present else direct_response(direct)
    if found is None or elsewhere.error_count() or direct.error_count():
        item.error("route.left-out", "this rule is left out: what it answers can't be read")
        return False
    return found


def _delegate(item: Cursor, subject: Subject) -> ObjectRef | None:
    """The VirtualService whose rules stand in the place of this one."""
    cursor = item.at("delegate")
    if not cursor.present:
        return None
    name, namespace = cursor.at("name").text(), cursor.at("namespace").text() or subject.namespace
    beside = [field for field in ("route", "redirect", "directResponse") if item.has(field)]
    if not name and not cursor.error_count():
        cursor.at("name").error("field.required", "the name of a VirtualService is missing")
    if beside:
        message = f"only one of delegate and {beside[0]} can be given"
        cursor.error("delegate.answers", message)
    if cursor.error_count():
        item.error("route.left-out", "this rule is left out: whom it delegates to can't be read")
        return None
    return ObjectRef(subject.ref.group, subject.ref.kind, namespace, name)


def _mirrors(item: Cursor, subject: Subject) -> Iterator[Mirror]:
    """Who gets copies, each and how many; none of those that would get none."""
    first = item.at("mirror")
    shares = [
        share
        for name in ("mirrorPercentage", "mirrorPercent", "mirror_percent")
        if (share := item.at(name)).present
    ]
    for share in shares[1:]:
        share.error("mirror.percentage", "the percentage is given twice")
    if shares and not first.present:
        shares[0].error("mirror.percentage", "there is no mirror beside it: those of mirrors have their own")
    if first.present:
        amount = 1_000_000
        if shares:
            amount = millionths(shares[0], 0) if shares[0].path.endswith("age") else percent(shares[0])
        backend = _destination(first, first, subject, weight=100)
        if backend is not None and amount:
            yield Mirror(backend=backend, millionths=amount)
    for one in item.at("mirrors").each():
        amount = millionths(one.at("percentage"), 1_000_000)
        backend = _destination(one, one.at("destination"), subject, weight=100)
        if backend is not None and amount:
            yield Mirror(backend=backend, millionths=amount)


def _backends(item: Cursor, subject: Subject) -> tuple[Backend, ...]:
    """Where a rule sends to; () when it can't send anywhere, and an error that says so."""
    cursor = item.at("route")
    destinations = list(cursor.each())
    several = len(destinations) > 1
    backends = tuple(
        backend
        for destination in destinations
        if (backend := _backend(destination, subject, several=several)) is not None
    )
    if not destinations and not cursor.error_count():
        message = "this rule is left out: it has no route to a destination, no redirect and no directResponse"
        cursor.error("route.no-destination", message)
    elif destinations and not backends:
        cursor.error("route.left-out", "this rule is left out: none of its destinations can be read")
    elif backends and not sum(backend.weight for backend in backends):
        cursor.error("route.weights", "this rule is left out: its weights add up to 0")
        return ()
    elif sum(backend.weight for backend in backends) > MOST_WEIGHTS:
        message = f"this rule is left out: its weights add up to more than {MOST_WEIGHTS}"
        cursor.error("route.weights", message)
        return ()
    return backends


def _backend(item: Cursor, subject: Subject, *, several: bool) -> Backend | None:
    weight = item.at("weight").integer(0, least=0, most=MOST_WEIGHT)
    changed = changes(item.at("headers"))
    # A single destination gets everything, whatever its weight.
    found = _destination(item, item.at("destination"), subject, weight=weight if several else 100)
    return replace(found, changes=changed) if found is not None else None


def _destination(item: Cursor, destination: Cursor, subject: Subject, *, weight: int) -> Backend | None:
    """A destination; None and errors when it, or what stands beside it, can't be read."""
    name = host(destination.at("host"), subject.namespace)
    if name.startswith("*"):
        destination.at("host").error("host.invalid", "a destination is one host, not many")
    subset = destination.at("subset")
    subset_name = dns_label(subset, "name of a subset") if subset.value else subset.text()
    port = destination.at("port")
    number = port_number(port.at("number")) if port.present else 0
    if item.error_count():
        return None
    return Backend(
        host=name,
        subset=subset_name,
        port=number,
        weight=weight,
        origin=subject.origin(item),
    )


def _warn_about_unreachable(rules: tuple[RouteRule, ...], items: Mapping[object, Cursor]) -> None:
    for rule, following in pairwise(rules):
        if rule.match is None:
            message = "never reached: the rule before it takes every request"
            items[following.origin].warn("route.unreachable", message)
            return


VIRTUAL_SERVICE = Kind(
    group="networking.istio.io",
    name="VirtualService",
    versions=VERSIONS,
    read=read,
    unsupported=(
        "spec.tcp",
        "spec.tls",
        "spec.http[].fault.abort.http2Error",
        "spec.http[].fault.delay.exponentialDelay",
        "spec.http[].match[].statPrefix",
        "spec.http[].retries.retryRemoteLocalities",
    ),
)
