"""Rules of authorization policies in words: who, what and when; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from plait.explain.phrases import either, quoted
from plait.model.names import Identity
from plait.model.policy import Action, Attribute, Condition, Operation, PolicyRule, Source

ORDER = (Action.CUSTOM, Action.DENY, Action.ALLOW, Action.AUDIT)
"""In which order actions are asked for a request; AUDIT only tells."""

_Part = tuple[str, tuple[str, ...]]
"""What is looked at, and the values of which any will do."""

_ATTRIBUTES = {
    Attribute.REQUEST_PRINCIPAL: "issuer and subject of the token",
    Attribute.AUDIENCE: "audience of the token",
    Attribute.PRESENTER: "presenter of the token",
    Attribute.SOURCE_IP: "address of the connection",
    Attribute.REMOTE_IP: "address of the client",
    Attribute.NAMESPACE: "namespace of the caller",
    Attribute.PRINCIPAL: "identity of the caller",
    Attribute.DESTINATION_IP: "address that is called",
    Attribute.DESTINATION_PORT: "port",
    Attribute.SERVER_NAME: "server name",
}
"""Those that need no path to say what is looked at."""


def who(rule: PolicyRule, trust_domain: str) -> tuple[str, ...]:
    """Who calls, any of these; (): anybody.  Accounts of the trust domain are told without it."""
    return tuple(phrase for one in rule.sources for phrase in _source(one, trust_domain))


def what(rule: PolicyRule) -> tuple[str, ...]:
    """What is asked for, any of these; (): anything."""
    return tuple(phrase for one in rule.operations for phrase in _operation(one))


def when(rule: PolicyRule) -> tuple[str, ...]:
    """What must hold besides, all of these."""
    return tuple(phrase for one in rule.conditions for phrase in _condition(one))


def _source(source: Source, trust_domain: str) -> Iterator[str]:
    def accounts(principals: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_account(one, trust_domain) for one in principals)

    asked = (
        ("", accounts(source.principals)),
        ("namespace ", source.namespaces),
        ("token of ", source.request_principals),
        ("address ", source.ip_blocks),
        ("client address ", source.remote_ip_blocks),
    )
    but = (
        ("", accounts(source.not_principals)),
        ("namespace ", source.not_namespaces),
        ("token of ", source.not_request_principals),
        ("address ", source.not_ip_blocks),
        ("client address ", source.not_remote_ip_blocks),
    )
    return _together(asked, but, "anybody")


def _account(principal: str, trust_domain: str) -> str:
    if principal == "*":
        return "any identity"
    found = Identity.parse(f"spiffe://{principal}")
    if found is None or "*" in principal:
        return f"identity {principal}"
    place = "" if found.trust_domain == trust_domain else f" of {found.trust_domain}"
    return f"service account {found.namespace}/{found.service_account}{place}"


def _operation(operation: Operation) -> Iterator[str]:
    methods, paths = operation.methods, operation.paths
    if methods and paths:
        methods, paths = (), tuple(f"{either(methods)} {path}" for path in paths)
    asked = (
        ("" if operation.methods else "path ", paths),
        ("", methods),
        ("host ", operation.hosts),
        ("port ", tuple(map(str, operation.ports))),
    )
    but = (
        ("", operation.not_methods),
        ("path ", operation.not_paths),
        ("host ", operation.not_hosts),
        ("port ", tuple(map(str, operation.not_ports))),
    )
    return _together(asked, but, "anything")


def _together(asked: Iterable[_Part], but: Iterable[_Part], everything: str) -> Iterator[str]:
    """A phrase for each value where one thing alone is looked at, and otherwise one for all."""
    given = [part for part in asked if part[1]]
    refused = [f"{name}{either(values)}" for name, values in but if values]
    if len(given) == 1 and not refused:
        name, values = given[0]
        yield from (f"{name}{quoted(value)}" for value in values)
        return
    phrase = ", ".join(f"{name}{either(values)}" for name, values in given)
    if not refused:
        yield phrase or everything
    else:
        yield (
            f"{phrase} but not {' nor '.join(refused)}"
            if phrase
            else f"{everything} but {' or '.join(refused)}"
        )


def _condition(condition: Condition) -> Iterator[str]:
    name = _attribute(condition)
    if condition.values:
        yield f"{name} is {either(condition.values)}"
    if condition.not_values:
        yield f"{name} is not {either(condition.not_values)}"


def _attribute(condition: Condition) -> str:
    match condition.attribute:
        case Attribute.HEADER:
            return f"header {'.'.join(condition.path)}"
        case Attribute.CLAIM:
            return f"claim {'.'.join(condition.path)}"
        case Attribute.METADATA:
            return f"metadata {'.'.join(condition.path)}"
        case attribute:
            return _ATTRIBUTES[attribute]
