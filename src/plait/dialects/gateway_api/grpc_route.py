"""GRPCRoute: how gRPC calls to some Services are routed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from plait.dialects.gateway_api.bounds import bounded, items
from plait.dialects.gateway_api.filters import OF_GRPC, OF_GRPC_BACKEND
from plait.dialects.gateway_api.headers import LONGEST_VALUE
from plait.dialects.gateway_api.matches import TextKind, matches, named, regex
from plait.dialects.gateway_api.parents import parents
from plait.dialects.gateway_api.rules import RuleKind, is_whole, rule_of, tell_names_given_twice
from plait.dialects.gateway_api.services import GROUP
from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.reading import Fact
from plait.model.routing import AttachedRoutes, AttachedRule, MatchKind, RequestMatch, StringMatch

_MOST_RULES = 16
_MOST_MATCHES = 64
_LONGEST = 1024
_SHOWN = 80
_ANY = "[^/]+"
_SERVICE = re.compile(r"\.?[A-Za-z_][A-Za-z_0-9]*(?:\.[A-Za-z_][A-Za-z_0-9]*)*\Z")
_METHOD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*\Z")
_RULES = RuleKind(filters=OF_GRPC, backend_filters=OF_GRPC_BACKEND, nobody_status=503)
"""To a gRPC client 503 is UNAVAILABLE."""


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    attached = parents(spec, subject)
    rules = spec.at("rules")
    written = list(items(rules, _MOST_RULES))
    found = tuple(one for item in written for one in _attached_rules(item, subject))
    if not written and not rules.error_count():
        rules.warn("route.no-rules", "without rules it routes nothing")
    tell_names_given_twice((one.rule for one in found), {subject.origin(item): item for item in written})
    if not attached or not found:
        return ()
    return (
        AttachedRoutes(
            parents=attached, rules=found, grpc=True, created=subject.created, origin=subject.origin(root)
        ),
    )


def _attached_rules(item: Cursor, subject: Subject) -> Iterator[AttachedRule]:
    """A rule for each of the matches of an item."""
    alternatives = matches(item.at("matches"), partial(_match, subject=subject), _MOST_MATCHES)
    rule = rule_of(item, subject, _RULES, None)
    if not is_whole(item):
        return
    if alternatives is None:
        item.error("route.left-out", "this rule is left out: none of its matches can be read")
        return
    for match, specificity in alternatives or ((None, (0, 0, 0)),):
        everything = match is None or match == RequestMatch(origin=match.origin)
        yield AttachedRule(rule=replace(rule, match=None if everything else match), specificity=specificity)


def _match(item: Cursor, subject: Subject) -> tuple[RequestMatch, tuple[int, ...]]:
    """A match, and its place by the characters of service and method and the number of headers, in this order."""
    called = item.at("method")
    match = RequestMatch(
        path=_called(called),
        headers=tuple(named(item.at("headers"), LONGEST_VALUE, any_case=True)),
        origin=subject.origin(item),
    )
    lengths = (len(called.at(name).text()) for name in ("service", "method"))
    return match, (*lengths, len(match.headers))


def _called(cursor: Cursor) -> StringMatch | None:
    """The test of the path, /SERVICE/METHOD, for what is called; None for every call, and after an error."""
    if not cursor.present:
        return None
    kind = cursor.at("type").choice(TextKind, TextKind.EXACT)
    service, method = (bounded(cursor.at(name), _LONGEST) for name in ("service", "method"))
    if not service and not method:
        if not cursor.error_count():
            cursor.error("field.required", "a service, a method or both are missing")
        return None
    if kind is TextKind.REGEX:
        for name, pattern in (("service", service), ("method", method)):
            regex(cursor.at(name), pattern)
        parts = (f"(?:{pattern})" if pattern else _ANY for pattern in (service, method))
        return StringMatch(MatchKind.REGEX, f"/{'/'.join(parts)}")
    for name, text, form in (("service", service, _SERVICE), ("method", method, _METHOD)):
        if text and not form.match(text):
            cursor.at(name).error("match.name", f"{text[:_SHOWN]!r} is no name of a {name} of gRPC")
    if service and method:
        return StringMatch(MatchKind.EXACT, f"/{service}/{method}")
    if service:
        return StringMatch(MatchKind.PREFIX, f"/{service}/")
    return StringMatch(MatchKind.REGEX, f"/{_ANY}/{method}")


GRPC_ROUTE = Kind(
    group=GROUP,
    name="GRPCRoute",
    versions=("v1", "v1alpha2"),
    read=read,
    unsupported=(
        "spec.rules[].backendRefs[].filters[].requestMirror",
        "spec.useDefaultGateways",
    ),
)
