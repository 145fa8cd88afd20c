"""The rules of an AuthorizationPolicy, read so that what can't be read never opens anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from plait.dialects.istio import policy_values as value
from plait.dialects.istio.conditions import conditions
from plait.dialects.istio.policy_values import values
from plait.dialects.kind import Subject
from plait.model.document import Cursor
from plait.model.names import Origin
from plait.model.policy import Condition, Operation, PolicyRule, Source

T = TypeVar("T", Source, Operation)


def anything(index: int, origin: Origin) -> PolicyRule:
    """Anybody doing anything."""
    return PolicyRule(index=index, origin=origin)


def rules(cursor: Cursor, subject: Subject, *, widens: bool) -> tuple[PolicyRule, ...]:
    """The rules as far as they can be read.

    One that can't be read whole holds for whatever the rest of it names (`widens`), or is left out.
    """
    found = tuple(
        rule
        for index, item in enumerate(cursor.each())
        if (rule := _rule(item, index, subject, widens=widens)) is not None
    )
    if widens and cursor.error_count() and not isinstance(cursor.value, list):
        return (anything(0, subject.origin(cursor)),)
    return found


def _rule(item: Cursor, index: int, subject: Subject, *, widens: bool) -> PolicyRule | None:
    sources: tuple[Source, ...] = ()
    operations: tuple[Operation, ...] = ()
    asked: tuple[Condition, ...] = ()
    if isinstance(item.value, Mapping):
        sources = _alternatives(item.at("from"), "source", lambda what: _source(what, subject))
        operations = _alternatives(item.at("to"), "operation", _operation)
        asked = conditions(item.at("when"), subject)
    else:
        item.error("field.type", "expected an object: a rule")
    if item.error_count() or item.unread():
        if not widens:
            item.error("policy.rule-closed", "this rule can't be read whole, so it allows nothing")
            return None
        item.error(
            "policy.rule-closed", "this rule can't be read whole: it holds for whatever the rest of it names"
        )
    return PolicyRule(
        index=index, sources=sources, operations=operations, conditions=asked, origin=subject.origin(item)
    )


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
        alternative = read(what)
        if not what.value:
            what.error("policy.empty", f"an empty {inner} says nothing: leave it away to mean any")
        wide = wide or alternative == type(alternative)()
        found.append(alternative)
    if cursor.value == []:
        cursor.error("policy.empty", "an empty list says nothing: leave it away to mean any")
    return () if wide else tuple(found)


def _source(cursor: Cursor, subject: Subject) -> Source:
    accounts, not_accounts = (
        values(cursor.at(field), lambda item: value.account(item, subject.namespace))
        for field in ("serviceAccounts", "notServiceAccounts")
    )
    principals = values(cursor.at("principals"), value.principal)
    not_principals = values(cursor.at("notPrincipals"), value.principal)
    namespaces = values(cursor.at("namespaces"), value.namespace)
    not_namespaces = values(cursor.at("notNamespaces"), value.namespace)
    if (accounts or not_accounts) and (principals or not_principals or namespaces or not_namespaces):
        message = "service accounts can't be mixed with principals or namespaces"
        cursor.error("policy.mixed", message)
        accounts, not_accounts = (), ()
    return Source(
        principals=principals or accounts,
        not_principals=not_principals or not_accounts,
        request_principals=values(cursor.at("requestPrincipals"), value.request_principal),
        not_request_principals=values(cursor.at("notRequestPrincipals"), value.request_principal),
        namespaces=namespaces,
        not_namespaces=not_namespaces,
        ip_blocks=values(cursor.at("ipBlocks"), value.block),
        not_ip_blocks=values(cursor.at("notIpBlocks"), value.block),
        remote_ip_blocks=values(cursor.at("remoteIpBlocks"), value.block),
        not_remote_ip_blocks=values(cursor.at("notRemoteIpBlocks"), value.block),
    )


def _operation(cursor: Cursor) -> Operation:
    return Operation(
        hosts=values(cursor.at("hosts"), value.host),
        not_hosts=values(cursor.at("notHosts"), value.host),
        methods=values(cursor.at("methods"), value.method),
        not_methods=values(cursor.at("notMethods"), value.method),
        paths=values(cursor.at("paths"), value.path),
        not_paths=values(cursor.at("notPaths"), value.path),
        ports=values(cursor.at("ports"), value.port),
        not_ports=values(cursor.at("notPorts"), value.port),
    )
