"""HTTPRoute: how HTTP requests to some Services are routed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from plait.dialects.checks import seconds
from plait.dialects.gateway_api.bounds import items
from plait.dialects.gateway_api.cors import Method
from plait.dialects.gateway_api.filters import OF_HTTP, OF_HTTP_BACKEND, no_effect
from plait.dialects.gateway_api.headers import LONGEST_VALUE
from plait.dialects.gateway_api.matches import matches, named
from plait.dialects.gateway_api.parents import parents
from plait.dialects.gateway_api.paths import path_match
from plait.dialects.gateway_api.rules import RuleKind, is_whole, rule_of, tell_names_given_twice
from plait.dialects.gateway_api.services import GROUP
from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.reading import Fact
from plait.model.routing import (
    AttachedRoutes,
    AttachedRule,
    MatchKind,
    RequestMatch,
    Retries,
    RouteRule,
    StringMatch,
)

_MOST_RULES = 16
_MOST_MATCHES = 64
_LONGEST_PARAMETER = 1024
_MOST_ATTEMPTS = 100
_DEFAULT_ATTEMPTS = 2
_RULES = RuleKind(filters=OF_HTTP, backend_filters=OF_HTTP_BACKEND, nobody_status=500)

_NOT_TAKEN = ("connect-failure", "refused-stream", "unavailable", "reset-before-request", "retriable-headers")
"""What is retried whatever the codes are: who was asked has not begun with the request."""
_TRY_TIMED_OUT = ("reset",)
"""Envoy knows no condition for a try that takes too long but this one."""

_PATH_RANKS = {MatchKind.EXACT: 2, MatchKind.REGEX: 1, MatchKind.SEGMENTS: 0}
"""The specification leaves open where a regular expression stands: before prefixes, or none beside / was ever reached."""


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    attached = parents(spec, subject)
    rules = spec.at("rules")
    written = list(items(rules, _MOST_RULES))
    found = tuple(one for item in written for one in _attached_rules(item, subject))
    if not written and not rules.error_count():
        rules.warn("route.no-backends", "without rules every request is answered 500")
        found = (_attached(RouteRule(nobody_status=500, origin=subject.origin(rules))),)
    tell_names_given_twice((one.rule for one in found), {subject.origin(item): item for item in written})
    if not attached or not found:
        return ()
    return (
        AttachedRoutes(parents=attached, rules=found, created=subject.created, origin=subject.origin(root)),
    )


def _attached_rules(item: Cursor, subject: Subject) -> Iterator[AttachedRule]:
    """A rule for each of the matches of an item."""
    cursor = item.at("matches")
    alternatives = matches(cursor, partial(_match, subject=subject), _MOST_MATCHES)
    rule = rule_of(item, subject, _RULES, _prefix(alternatives))
    rule = _timed(item, rule)
    if not is_whole(item):
        return
    if alternatives is None:
        item.error("route.left-out", "this rule is left out: none of its matches can be read")
        return
    for match in alternatives or (None,):
        everything = match is None or match == RequestMatch(origin=match.origin)
        yield _attached(replace(rule, match=None if everything else match))


def _prefix(alternatives: tuple[RequestMatch, ...] | None) -> str | None:
    """What the only match of a rule looks at, where that is a prefix."""
    if not alternatives:
        return "/"
    if len(alternatives) > 1:
        return None
    path = alternatives[0].path
    if path is None:
        return "/"
    return path.value if path.kind is MatchKind.SEGMENTS else None


def _match(item: Cursor, subject: Subject) -> RequestMatch:
    method = item.at("method")
    verb = method.choice(Method, Method.GET) if method.present else None
    return RequestMatch(
        path=path_match(item.at("path")),
        method=StringMatch(MatchKind.EXACT, verb.value) if verb is not None else None,
        headers=tuple(named(item.at("headers"), LONGEST_VALUE, any_case=True)),
        query=tuple(named(item.at("queryParams"), _LONGEST_PARAMETER, any_case=False)),
        origin=subject.origin(item),
    )


def _attached(rule: RouteRule) -> AttachedRule:
    """A rule, and its place by path, method, number of headers and number of parameters, in this order."""
    match = rule.match or RequestMatch(origin=rule.origin)
    path = match.path or StringMatch(MatchKind.SEGMENTS, "/")
    return AttachedRule(
        rule=rule,
        specificity=(
            _PATH_RANKS[path.kind],
            len(path.value),
            int(match.method is not None),
            len(match.headers),
            len(match.query),
        ),
    )


def _timed(item: Cursor, rule: RouteRule) -> RouteRule:
    """A rule with its timeouts and retries, which concern backends alone."""
    timeouts, retry = item.at("timeouts"), item.at("retry")
    request, each = seconds(timeouts.at("request")), seconds(timeouts.at("backendRequest")) or None
    if request and each and each > request:
        message = "never reached: request is shorter, and that is the time of all tries together"
        timeouts.at("backendRequest").warn("timeout.never", message)
    retries = _retries(retry, each)
    if rule.answer is not None:
        for cursor in (timeouts, retry):
            if cursor.present:
                no_effect(cursor)
        return rule
    if retries is not None and not retries.attempts and each is not None:
        request = min(request or each, each)
    return replace(rule, timeout=request, retries=retries, try_timeout=each if retries is None else None)


def _retries(cursor: Cursor, each: float | None) -> Retries | None:
    """The retries that are asked for, None (the default) when they can't be read; `each`: the time of a try."""
    if not cursor.present:
        return None
    codes = tuple(str(item.integer(0, least=400, most=599)) for item in cursor.at("codes").each())
    attempts = cursor.at("attempts").integer(_DEFAULT_ATTEMPTS, least=0, most=_MOST_ATTEMPTS)
    back_off = seconds(cursor.at("backoff"), least=0.001)
    if cursor.error_count():
        return None
    if not attempts:
        return Retries(attempts=0)
    conditions = _NOT_TAKEN if each is None else _NOT_TAKEN + _TRY_TIMED_OUT
    return Retries(attempts=attempts, per_try_timeout=each, on=conditions + codes, back_off=back_off)


HTTP_ROUTE = Kind(
    group=GROUP,
    name="HTTPRoute",
    versions=("v1", "v1beta1"),
    read=read,
    unsupported=(
        "spec.rules[].backendRefs[].filters[].cors",
        "spec.rules[].backendRefs[].filters[].externalAuth",
        "spec.rules[].backendRefs[].filters[].requestMirror",
        "spec.rules[].backendRefs[].filters[].requestRedirect",
        "spec.rules[].backendRefs[].filters[].urlRewrite.path",
        "spec.rules[].filters[].externalAuth",
        "spec.useDefaultGateways",
    ),
)
