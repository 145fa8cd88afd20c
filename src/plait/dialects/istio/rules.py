"""The rules of an AuthorizationPolicy, read so that what can't be read never opens anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.names import Origin, is_dns_label, is_dns_subdomain
from plait.model.policy import Operation, PolicyRule, Source

T = TypeVar("T", Source, Operation)
V = TypeVar("V", str, int)


def anything(index: int, origin: Origin) -> PolicyRule:
    """Anybody doing anything."""
    return PolicyRule(index=index, origin=origin)


def rules(cursor: Cursor, subject: Subject, *, denies: bool) -> tuple[PolicyRule, ...]:
    """The rules as far as they can be read, closed where they can't."""
    found = tuple(
        rule
        for index, item in enumerate(cursor.each())
        if (rule := _rule(item, index, subject, denies=denies)) is not None
    )
    if denies and cursor.error_count() and not isinstance(cursor.value, list):
        return (anything(0, subject.origin(cursor)),)
    return found


def _rule(item: Cursor, index: int, subject: Subject, *, denies: bool) -> PolicyRule | None:
    sources: tuple[Source, ...] = ()
    operations: tuple[Operation, ...] = ()
    if isinstance(item.value, Mapping):
        sources = _alternatives(item.at("from"), "source", lambda what: _source(what, subject))
        operations = _alternatives(item.at("to"), "operation", _operation)
    else:
        item.error("field.type", "expected an object: a rule")
    if item.error_count() or item.unread():
        if not denies:
            item.error("policy.rule-closed", "this rule can't be read whole, so it allows nothing")
            return None
        item.error(
            "policy.rule-closed", "this rule can't be read whole: it denies whatever the rest of it names"
        )
    return PolicyRule(index=index, sources=sources, operations=operations, origin=subject.origin(item))


def _alternatives(cursor: Cursor, inner: str, read: Callable[[Cursor], T]) -> tuple[T, ...]:
    """The sources or the operations of a rule; none when one of them asks for nothing, since any of them will do."""
    found: list[T] = []
    wide = False
    for item in cursor.each():
        if not isinstance(item.value, Mapping) or not isinstance(item.at(inner).value, Mapping):
            item.error("field.type", f"expected an object with {inner}")
            wide = True
            continue
        what = item.at(inner)
        value = read(what)
        if not what.value:
            what.error("policy.empty", f"an empty {inner} says nothing: leave it away to mean any")
        wide = wide or value == type(value)()
        found.append(value)
    if cursor.value == []:
        cursor.error("policy.empty", "an empty list says nothing: leave it away to mean any")
    return () if wide else tuple(found)


def _source(cursor: Cursor, subject: Subject) -> Source:
    accounts = _values(cursor.at("serviceAccounts"), lambda item: _account(item, subject.namespace))
    not_accounts = _values(cursor.at("notServiceAccounts"), lambda item: _account(item, subject.namespace))
    principals = _values(cursor.at("principals"), _principal)
    not_principals = _values(cursor.at("notPrincipals"), _principal)
    namespaces = _values(cursor.at("namespaces"), _pattern)
    not_namespaces = _values(cursor.at("notNamespaces"), _pattern)
    if (accounts or not_accounts) and (principals or not_principals or namespaces or not_namespaces):
        message = "service accounts can't be mixed with principals or namespaces"
        cursor.error("policy.mixed", message)
        accounts, not_accounts = (), ()
    return Source(
        principals=principals or accounts,
        not_principals=not_principals or not_accounts,
        namespaces=namespaces,
        not_namespaces=not_namespaces,
    )


def _operation(cursor: Cursor) -> Operation:
    return Operation(
        methods=_values(cursor.at("methods"), _method),
        not_methods=_values(cursor.at("notMethods"), _method),
        paths=_values(cursor.at("paths"), _path),
        not_paths=_values(cursor.at("notPaths"), _path),
        ports=_values(cursor.at("ports"), _port),
        not_ports=_values(cursor.at("notPorts"), _port),
    )


def _values(cursor: Cursor, read: Callable[[Cursor], V]) -> tuple[V, ...]:
    """The values of a part; none of them when any can't be read: half of a part may mean less or more."""
    found = tuple(read(item) for item in cursor.each())
    if cursor.value == []:
        cursor.error("policy.empty", "an empty list says nothing: leave it away to mean any")
    return () if cursor.error_count() else found


def _pattern(item: Cursor) -> str:
    """A value that may have a * at its start or its end."""
    text = item.text()
    if not text:
        if not item.error_count():
            item.error("policy.empty", "an empty value matches nothing")
    elif "*" in text[1:-1] or text == "**":
        item.error("policy.wildcard", "a * stands at the start or the end of a value, not within")
    elif text != "*" and text.startswith("*") and text.endswith("*"):
        item.error("policy.wildcard", "a * stands at the start or at the end of a value, not at both")
    return text


def _principal(item: Cursor) -> str:
    text = _pattern(item)
    if text.startswith("spiffe://"):
        message = f"a principal is written without spiffe://: {text.removeprefix('spiffe://')[:80]}"
        item.error("policy.principal", message)
    return text


def _account(item: Cursor, namespace: str) -> str:
    """A service account, as NAME or NAMESPACE/NAME, to the principals that it may be in any trust domain."""
    text = item.text()
    before, slash, name = text.rpartition("/")
    where = before if slash else namespace
    if not is_dns_label(where) or not is_dns_subdomain(name):
        if not item.error_count():
            item.error("policy.account", f"{text[:80]!r} is no service account: NAME or NAMESPACE/NAME")
        return ""
    return f"*/ns/{where}/sa/{name}"


def _method(item: Cursor) -> str:
    text = _pattern(item)
    if text != text.upper():
        item.error("policy.method", f"methods are upper case: {text[:40]!r} matches none")
    return text


def _path(item: Cursor) -> str:
    text = item.text()
    if "{*}" in text or "{**}" in text:
        item.error("policy.path-template", "Plait does not honour templates of paths yet")
        return text
    text = _pattern(item)
    if text and not text.startswith(("/", "*")):
        item.error("policy.path", f"paths begin with /: {text[:80]!r} matches none")
    return text


def _port(item: Cursor) -> int:
    text = item.text()
    if text.isascii() and text.isdecimal() and len(text) < 6 and 0 < int(text) < 65536:
        return int(text)
    if not item.error_count():
        item.error("field.range", f"{text[:80]!r} is no port from 1 to 65535")
    return 0
