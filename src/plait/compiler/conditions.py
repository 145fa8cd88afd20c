"""Status conditions of routes that are attached to services, in the words of the Gateway API.

https://gateway-api.sigs.k8s.io/reference/spec/#routeparentstatus: per parent, whether the route is Accepted,
whether all that it refers to is there (ResolvedRefs), and whether the proxies have it (Programmed).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from plait.model.finding import Finding, Severity
from plait.model.names import ObjectRef
from plait.model.routing import AttachedRoutes, Parent


class ConditionType(StrEnum):
    ACCEPTED = "Accepted"
    RESOLVED_REFS = "ResolvedRefs"
    PROGRAMMED = "Programmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition; `reason` is a word for programs, `message` a sentence for people."""

    type: ConditionType
    holds: bool
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentStatus:
    """How a route stands with one of its parents."""

    route: ObjectRef
    parent: Parent
    conditions: tuple[Condition, ...]


_PARENT_REASONS = {
    "parent.unknown-service": "NoMatchingParent",
    "parent.unknown-port": "NoMatchingParent",
    "parent.port-not-http": "NoMatchingParent",
}
_REFERENCE_REASONS = {
    "route.unknown-host": "BackendNotFound",
    "route.unknown-port": "BackendNotFound",
    "route.ambiguous-port": "BackendNotFound",
    "route.hidden-host": "BackendNotFound",
    "route.not-granted": "RefNotPermitted",
    "backend.kind": "InvalidKind",
    "route.port-not-http": "UnsupportedProtocol",
}


def statuses(
    stated: Iterable[AttachedRoutes],
    findings: Iterable[Finding],
    refusals: Iterable[Finding],
    *,
    synced: bool,
) -> tuple[ParentStatus, ...]:
    """The conditions of every route at each of its parents.

    `refusals` are findings that proxies refuse something; `synced`: every proxy has all that it should have.
    """
    errors, refused = _errors(findings), _errors(refusals)
    return tuple(
        ParentStatus(
            route=routes.origin.ref,
            parent=parent,
            conditions=tuple(
                _conditions(
                    routes,
                    parent,
                    errors.get(routes.origin.ref, ()),
                    refused.get(routes.origin.ref, ()),
                    synced=synced,
                )
            ),
        )
        for routes in sorted(stated, key=lambda one: one.origin)
        for parent in routes.parents
    )


def _errors(findings: Iterable[Finding]) -> Mapping[ObjectRef, Sequence[Finding]]:
    found: dict[ObjectRef, list[Finding]] = {}
    for one in findings:
        if one.severity is Severity.ERROR and one.ref is not None:
            found.setdefault(one.ref, []).append(one)
    return found


def _conditions(
    routes: AttachedRoutes,
    parent: Parent,
    errors: Sequence[Finding],
    refused: Sequence[Finding],
    *,
    synced: bool,
) -> Iterator[Condition]:
    others = {one.origin.field for one in routes.parents} - {parent.origin.field}
    mine = [one for one in errors if one.field not in others]
    references = [one for one in mine if one.code in _REFERENCE_REASONS]
    rest = [one for one in mine if one.code not in _REFERENCE_REASONS]
    accepted = _condition(ConditionType.ACCEPTED, rest, _PARENT_REASONS, "UnsupportedValue")
    yield accepted
    yield _condition(ConditionType.RESOLVED_REFS, references, _REFERENCE_REASONS, "")
    if not accepted.holds:
        yield Condition(type=ConditionType.PROGRAMMED, holds=False, reason="NotAccepted")
    elif not refused and not synced:
        yield Condition(
            type=ConditionType.PROGRAMMED,
            holds=False,
            reason="Pending",
            message="not every proxy has told that it has all it should have",
        )
    else:
        yield _condition(ConditionType.PROGRAMMED, refused, {}, "Invalid")


def _condition(
    kind: ConditionType, against: Sequence[Finding], reasons: Mapping[str, str], otherwise: str
) -> Condition:
    """A condition that holds unless something speaks against it."""
    if not against:
        return Condition(type=kind, holds=True, reason=str(kind))
    first = against[0]
    return Condition(
        type=kind,
        holds=False,
        reason=reasons.get(first.code, otherwise),
        message=f"{first.field}: {first.message}",
    )
