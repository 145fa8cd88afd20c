"""The targets of a security policy: services of its own namespace, and through them the workloads behind these.

Source: https://istio.io/latest/docs/reference/config/type/workload-selector/#PolicyTargetReference
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from plait.dialects.checks import dns_label
from plait.dialects.kind import Subject
from plait.model.document import Cursor

_CORE = ("", "core")
_FIELDS = ("targetRef", "targetRefs")


def targets(spec: Cursor, subject: Subject) -> tuple[str, ...] | None:
    """The names of the services; () when there are no targets, None and errors when they can't be read."""
    named = [field for field in _FIELDS if spec.has(field)]
    found = tuple(dict.fromkeys(_names(spec, subject)))
    if named and spec.has("selector"):
        spec.at(named[0]).error("policy.target", "a selector or targets say whom it is for, and not both")
    elif len(named) > 1:
        spec.at(named[0]).error("policy.target", "write targetRefs alone")
    cursors = [spec.at(field) for field in _FIELDS]
    unread = any(cursor.error_count() or cursor.unread() for cursor in cursors)
    return None if unread else found


def _names(spec: Cursor, subject: Subject) -> Iterator[str]:
    one, several = (spec.at(field) for field in _FIELDS)
    if one.present:
        yield _name(one, subject)
    for item in several.each():
        yield _name(item, subject)
    if several.value == []:
        several.error("policy.empty", "an empty list says nothing: leave it away to mean the namespace")


def _name(item: Cursor, subject: Subject) -> str:
    if not isinstance(item.value, Mapping):
        item.error("field.type", "expected an object: a target")
        return ""
    group, kind = item.at("group").text(), item.at("kind").text()
    namespace = item.at("namespace").text(subject.namespace)
    if (group not in _CORE or kind != "Service") and not item.error_count():
        message = (
            f"there is no {kind or 'kind'} here that policies could be for: name a Service, with group ''"
        )
        item.at("kind").error("policy.target", message)
    if namespace != subject.namespace:
        item.at("namespace").error("policy.target", "a policy is for services of its own namespace")
    return dns_label(item.at("name"), "name of a Service")
