"""What the rules of HTTPRoute and GRPCRoute share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from plait.dialects.gateway_api.backends import backends
from plait.dialects.gateway_api.bounds import bounded
from plait.dialects.gateway_api.filters import FilterKind, filters
from plait.dialects.gateway_api.session_persistence import session
from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.names import Origin
from plait.model.routing import RouteRule

_LONGEST_NAME = 253


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleKind:
    """What tells the rules of one kind of route from those of another."""

    filters: tuple[FilterKind, ...]
    backend_filters: tuple[FilterKind, ...]
    nobody_status: int
    """The answer when there is nobody to send to."""


def rule_of(item: Cursor, subject: Subject, kind: RuleKind, prefix: str | None) -> RouteRule:
    """A rule without its match; one whose filters can't be read sends to nobody.

    `prefix` is what its only match looks at, None when it is another kind of match, or several.
    """
    status = kind.nobody_status
    said = filters(item.at("filters"), subject, kind.filters, prefix)
    sent = tuple(backends(item.at("backendRefs"), subject, kind.backend_filters, status))
    name = bounded(item.at("name"), _LONGEST_NAME)
    origin = subject.origin(item)
    kept = session(item.at("sessionPersistence"), _session_name(origin))
    if said is not None and said.answer is not None and sent:
        message = "a rule that redirects sends to nobody: take the backendRefs or the RequestRedirect away"
        item.at("filters").error("route.answers", message)
        said = None
    if said is None:
        message = f"this rule answers {status}: not all of its filters can be read, and none may be left out"
        item.at("filters").error("filter.left-out", message)
        return RouteRule(name=name, nobody_status=status, origin=origin)
    if not sent and said.answer is None and not item.at("backendRefs").error_count():
        message = f"without backendRefs this rule answers {status}"
        item.at("backendRefs").warn("route.no-backends", message)
    return RouteRule(
        name=name,
        answer=said.answer,
        backends=sent,
        mirrors=said.mirrors if said.answer is None else (),
        path=said.path,
        changes=said.changes,
        cors=said.cors,
        session=kept if said.answer is None else None,
        nobody_status=status,
        origin=origin,
    )


def _session_name(rule: Origin) -> str:
    """The name of a cookie or header that no other rule has."""
    place = f"{rule.ref.kind} {rule.ref.namespace}/{rule.ref.name} {rule.field}"
    return f"plait-session-{blake2b(place.encode(), digest_size=4).hexdigest()}"


def is_whole(item: Cursor) -> bool:
    """Whether every field of a rule is known; an error when not: it may be one that says which requests it is for."""
    if not isinstance(item.value, Mapping):
        item.error("field.type", "expected an object: a rule")
        return False
    strangers = set(item.value) - set(item.asked(item.path))
    if strangers:
        message = f"this rule is left out: nobody knows what {', '.join(sorted(strangers))[:80]} means"
        item.error("route.left-out", message)
    return not strangers


def tell_names_given_twice(rules: Iterable[RouteRule], items: Mapping[object, Cursor]) -> None:
    """The names of the rules of a route are different ones."""
    seen: dict[str, object] = {}
    for rule in rules:
        if rule.name and seen.setdefault(rule.name, rule.origin) != rule.origin:
            items[rule.origin].at("name").warn("rule.name-twice", f"another rule is named {rule.name}")
