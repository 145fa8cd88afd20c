"""Who may open a connection to a port that is not, or not surely, HTTP: authorization policies before any byte.

Envoy's own RBAC filter for connections waits for the first byte of the client; by then the application would have
been called, or a protocol in which the server speaks first would hang.  So policies are written as one expression
(CEL) over the caller's identity.  It is evaluated when the TLS handshake is over (without TLS at once), and where
it holds it tells the TCP proxy the way to the application; otherwise that leads to the black hole.  Whatever goes
wrong with it closes.

The expression is a resource of its own (ECDS): to change a policy changes no listener and ends no connection.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from plait.envoy import api, build, names
from plait.envoy.filters.rules import holds_at_tcp
from plait.model.mesh import InboundPort
from plait.model.policy import Action, AuthorizationPolicy, PolicyRule, Source

_STATE = "envoy.extensions.filters.network.set_filter_state.v3.Config"
_SPIFFE = "spiffe://"

_PEER = "(connection.mtls ? connection.uri_san_peer_certificate : '')"
"""The caller's SPIFFE ID; empty when it showed no certificate."""
_ANYBODY = f"({_PEER} != '')"
_ALWAYS, _NEVER = "true", "false"
_LONGEST = 90_000
"""Characters of an expression; Envoy's parser takes 100,000.  What would be longer allows nothing."""
_SAFE = re.compile(r"[A-Za-z0-9/:|._-]\Z")


def listener_filter(port: InboundPort) -> dict[str, Any]:
    """Stands before the TCP proxy of a port, and asks for the expression by the port's name."""
    return {
        "name": names.inbound(port.number),
        "config_discovery": {"config_source": build.ADS, "type_urls": [api.TYPE_PREFIX + _STATE]},
    }


def extension(port: InboundPort) -> Any:
    """The policies of a port: the way to the application for whom they let in."""
    admitted = expression(port)
    if len(admitted) > _LONGEST:
        admitted = _NEVER
    way = f"%CEL({admitted} ? {_text(names.inbound(port.number))} : '')%"
    state = {
        "object_key": names.CHOSEN_CLUSTER,
        "format_string": {"text_format_source": {"inline_string": way}},
        "skip_if_empty": True,
    }
    return api.message("envoy.config.core.v3.TypedExtensionConfig")(
        **build.extension(names.inbound(port.number), _STATE, on_downstream_tls_handshake=[state])
    )


def expression(port: InboundPort) -> str:
    """Whether a caller may connect: no rule of DENY or CUSTOM holds, and where there are ALLOW policies one of their rules does."""
    denied = _any([*_rules(port, Action.DENY), *_rules(port, Action.CUSTOM)])
    allowed = _any(_rules(port, Action.ALLOW)) if _policies(port, Action.ALLOW) else _ALWAYS
    if denied == _ALWAYS or allowed == _NEVER:
        return _NEVER
    return _all([f"!{denied}"] * (denied != _NEVER) + [allowed] * (allowed != _ALWAYS))


def _policies(port: InboundPort, action: Action) -> list[AuthorizationPolicy]:
    return [policy for policy in port.policies if policy.action is action]


def _rules(port: InboundPort, action: Action) -> list[str]:
    """What each rule that can hold at this port asks of the caller."""
    return [
        _rule(rule)
        for policy in _policies(port, action)
        for rule in policy.rules
        if holds_at_tcp(rule, action, port.number)
    ]


def _rule(rule: PolicyRule) -> str:
    return _any(_source(source) for source in rule.sources) if rule.sources else _ALWAYS


def _source(source: Source) -> str:
    return _all(
        [
            *_part(source.principals, _principals),
            *(f"!{part}" for part in _part(source.not_principals, _principals)),
            *_part(source.namespaces, _namespaces),
            *(f"!{part}" for part in _part(source.not_namespaces, _namespaces)),
        ]
    )


def _part(values: tuple[str, ...], test: Callable[[tuple[str, ...]], str]) -> list[str]:
    return [test(values)] if values else []


def _any(tests: Iterable[str]) -> str:
    found = tuple(dict.fromkeys(tests))
    if _ALWAYS in found:
        return _ALWAYS
    return _joined(" || ", found) if found else _NEVER


def _all(tests: list[str]) -> str:
    return _joined(" && ", tests) if tests else _ALWAYS


def _joined(between: str, tests: Sequence[str]) -> str:
    """In parentheses, so that `!` and other operators may stand around it."""
    return f"({between.join(tests)})" if len(tests) > 1 else tests[0]


def _principals(values: tuple[str, ...]) -> str:
    """Principals, written without `spiffe://`; `*` alone is anybody with a certificate."""
    exact = [_text(_SPIFFE + one) for one in values if not one.startswith("*") and not one.endswith("*")]
    tests = [f"({_PEER} in [{', '.join(exact)}])"] if exact else []
    for value in values:
        if value == "*":
            tests.append(_ANYBODY)
        elif value.startswith("*"):
            tests.append(f"{_PEER}.endsWith({_text(value[1:])})")
        elif value.endswith("*"):
            tests.append(f"{_PEER}.startsWith({_text(_SPIFFE + value[:-1])})")
    return _any(tests)


def _namespaces(values: tuple[str, ...]) -> str:
    """Namespaces of SPIFFE IDs: spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT, in which no part has a slash."""
    return _any(_namespace(value) for value in values)


def _namespace(value: str) -> str:
    if value == "*":
        return _ANYBODY
    if value.startswith("*"):
        return f"{_PEER}.matches({_text(f'{re.escape(value[1:])}/sa/[^/]+$')})"
    if value.endswith("*"):
        return f"{_PEER}.matches({_text(f'^{_SPIFFE}[^/]+/ns/{re.escape(value[:-1])}')})"
    return f"{_PEER}.contains({_text(f'/ns/{value}/sa/')})"


def _text(value: str) -> str:
    """A string of CEL, in which nothing can end it, or the format string around it."""
    inner = "".join(letter if _SAFE.match(letter) else f"\\U{ord(letter):08x}" for letter in value)
    return f"'{inner}'"
