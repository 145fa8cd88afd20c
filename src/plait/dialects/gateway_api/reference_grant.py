"""ReferenceGrant: which routes of other namespaces may send to Services of this one."""

from __future__ import annotations

from collections.abc import Iterator

from plait.dialects.checks import dns_label
from plait.dialects.gateway_api.bounds import items
from plait.dialects.gateway_api.services import GROUP, SERVICE, kind_of, told
from plait.dialects.kind import Kind, Subject
from plait.model.document import Cursor
from plait.model.reading import Fact
from plait.model.routing import Grant

_MOST = 16
_ROUTES = ((GROUP, "HTTPRoute"), (GROUP, "GRPCRoute"))


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    for name in ("from", "to"):
        if not spec.at(name).value and not spec.error_count():
            spec.at(name).error("field.required", "at least one entry is needed")
    sources = tuple(_sources(spec.at("from")))
    names = tuple(_names(spec.at("to")))
    if not sources or not names:
        return ()
    return (Grant(namespace=subject.namespace, sources=sources, names=names, origin=subject.origin(root)),)


def _sources(cursor: Cursor) -> Iterator[tuple[str, str, str]]:
    for item in items(cursor, _MOST):
        group, kind = _kind(item)
        namespace = dns_label(item.at("namespace"), "name of a namespace")
        if _is_whole(item):
            if (group, kind) in _ROUTES:
                yield group, kind, namespace
            else:
                message = f"has no effect: a {told((group, kind))} refers to no Service here"
                item.warn("grant.no-effect", message)


def _names(cursor: Cursor) -> Iterator[str]:
    for item in items(cursor, _MOST):
        kind, name = _kind(item), item.at("name")
        text = dns_label(name, "name of a Service") if name.present and kind == SERVICE else name.text()
        if _is_whole(item):
            if kind == SERVICE:
                yield text
            else:
                item.warn("grant.no-effect", f"has no effect: no route sends to a {told(kind)} here")


def _kind(item: Cursor) -> tuple[str, str]:
    if not item.at("kind").value and not item.error_count():
        item.at("kind").error("field.required", "the kind is missing")
    if not item.at("group").present and not item.error_count():
        item.at("group").error("field.required", "the group is missing: '' is that of Services")
    return kind_of(item, ("", ""))


def _is_whole(item: Cursor) -> bool:
    """Whether an entry can be read whole; one that can't grants nothing."""
    if item.error_count() or item.unread():
        item.error("grant.left-out", "this entry grants nothing: it can't be read whole")
        return False
    return True


REFERENCE_GRANT = Kind(
    group=GROUP,
    name="ReferenceGrant",
    versions=("v1", "v1beta1", "v1alpha2"),
    read=read,
)
