"""RateLimit: how many requests workloads take in.

What can't be read is left out, for it might shut a workload or limit others than were meant: one limit, or the
whole object when it is not clear whom it is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from plait.dialects.checks import dns_label, seconds
from plait.dialects.fields import has_strangers
from plait.dialects.istio.matches import header_tests, part
from plait.dialects.istio.shared import selector
from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.limits import Limit, LimitScope, LimitTarget, RateLimit, TargetKind
from plait.model.reading import Fact
from plait.model.routing import MatchKind, RequestMatch, StringMatch

MOST_REQUESTS = 1_000_000_000
MOST_MATCHES = 10
"""Of one limit: each is weighed against all others before it."""
SHORTEST = 0.05
"""Seconds: Envoy fills no bucket in less."""

_GROUPS = {TargetKind.SERVICE: "", TargetKind.WORKLOAD: "plait.dev"}


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    selected, target = selector(spec), _target(spec.at("targetRef"))
    if spec.has("selector") and spec.has("targetRef"):
        message = "a selector or a targetRef says whom it is for, and not both"
        spec.at("targetRef").error("limit.target", message)
    limits = tuple(_limits(spec.at("limits"), subject))
    whom = spec.at("targetRef")
    if selected is None or whom.error_count() or whom.unread() or has_strangers(spec):
        spec.error("limit.left-out", "it can't be read whole whom it is for, so it limits nobody")
        return ()
    if not limits:
        return ()
    return (
        RateLimit(
            namespace=subject.namespace,
            name=subject.name,
            selector=selected,
            target=target,
            limits=limits,
            origin=subject.origin(root),
        ),
    )


def _target(cursor: Cursor) -> LimitTarget | None:
    """The object it is for; None when none is named, or it can't be read."""
    if not cursor.present:
        return None
    kind = cursor.at("kind").choice(TargetKind, TargetKind.SERVICE)
    if not cursor.has("kind"):
        cursor.at("kind").error("field.required", "a kind is missing: Service or Workload")
    name = dns_label(cursor.at("name"), f"name of a {kind}")
    group = cursor.at("group").text(_GROUPS[kind])
    if group != _GROUPS[kind]:
        message = f"{group[:80]!r} is not the group of a {kind}: write {_GROUPS[kind]!r}, or leave it away"
        cursor.at("group").error("limit.target", message)
    return None if cursor.error_count() else LimitTarget(kind, name)


def _limits(cursor: Cursor, subject: Subject) -> Iterator[Limit]:
    """Those that can be read."""
    items = tuple(cursor.each())
    for index, item in enumerate(items):
        limit = _limit(index, item, subject)
        if item.error_count() or item.unread():
            item.error("limit.left-out", "this limit is left out: it can't be read whole")
        elif limit is not None:
            yield limit
    if not items and not cursor.error_count():
        cursor.error("field.required", "limits are missing: without any it limits nothing")


def _limit(index: int, item: Cursor, subject: Subject) -> Limit | None:
    if not isinstance(item.value, Mapping):
        item.error("field.type", "expected an object: a limit")
        return None
    item.at("name").ignore()  # a name for people
    requests = item.at("requests").integer(0, least=1, most=MOST_REQUESTS)
    if not item.has("requests"):
        item.at("requests").error("field.required", "requests are missing: how many may come")
    return Limit(
        index=index,
        requests=requests,
        per=seconds(item.at("per"), 1.0, least=SHORTEST) or 1.0,
        burst=item.at("burst").integer(requests, least=1, most=MOST_REQUESTS),
        scope=item.at("scope").choice(LimitScope, LimitScope.EVERYBODY),
        matches=tuple(_matches(item.at("matches"), subject)),
        origin=subject.origin(item),
    )


def _matches(cursor: Cursor, subject: Subject) -> Iterator[RequestMatch]:
    items = tuple(cursor.each())
    for item in items:
        path, method = _path(item.at("path")), part(item.at("method"))
        headers = tuple(header_tests(item.at("headers")))
        if path is None and method is None and not headers and not item.error_count():
            item.error("match.empty", "an empty match: leave matches away to count every request")
        yield RequestMatch(path=path, method=method, headers=headers, origin=subject.origin(item))
    if cursor.present and not items and not cursor.error_count():
        cursor.error("match.empty", "no match: leave matches away to count every request")
    if len(items) > MOST_MATCHES:
        cursor.error("field.range", f"a limit has at most {MOST_MATCHES} matches: write another limit")


def _path(cursor: Cursor) -> StringMatch | None:
    """A test of the path, which has no query."""
    match = part(cursor)
    if match is not None and match.kind is not MatchKind.REGEX and "?" in match.value:
        cursor.error("path.invalid", f"{match.value[:80]!r} is no path: a query is not looked at")
    return match


RATE_LIMIT = Kind(group="plait.dev", name="RateLimit", versions=("v1alpha1",), read=read)
