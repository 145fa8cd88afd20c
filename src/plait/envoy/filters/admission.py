"""Who may open a connection to a port that is not, or not surely, HTTP: authorization policies before any byte.

Envoy's own RBAC filter for connections waits for the first byte of the client; by then the application would have
been called, or a protocol in which the server speaks first would hang.  So policies are written as one expression
(CEL) over the caller's identity.  It is evaluated when the TLS handshake is over (without TLS at once), and where
it holds it tells the TCP proxy the way to the application; otherwise that leads to the black hole.  Whatever goes
wrong with it closes.

The expression is a resource of its own (ECDS).  It judges connections that are made; those that are open end when it
changes, since the filter chain of the port carries a mark of it: see `mark` and `listeners.inbound`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from plait.envoy import api, build, names
from plait.envoy.filters.networks import pattern
from plait.envoy.filters.rules import at_tcp
from plait.model.mesh import InboundPort
from plait.model.policy import Action, Attribute, AuthorizationPolicy, Condition, PolicyRule, Source

_STATE = "envoy.extensions.filters.network.set_filter_state.v3.Config"
_SPIFFE = "spiffe://"

_PEER = "(connection.mtls ? connection.uri_san_peer_certificate : '')"
"""The caller's SPIFFE ID; empty when it showed no certificate."""
_ANYBODY = f"({_PEER} != '')"
ALONE = f"(!connection.mtls || size(filter_state['{names.IDENTITIES}']) == size(connection.uri_san_peer_certificate))"
"""Whether the caller's certificate has one identity: CEL is told the first, and this state holds all of them."""
_CALLER, _CALLED = "source.address", "destination.address"
_SERVER_NAME = "connection.requested_server_name"
_ALWAYS, _NEVER = "true", "false"
_LONGEST = 90_000
"""Characters of an expression; Envoy's parser takes 100,000.  What would be longer allows nothing."""
_IDENTITIES = {
    "object_key": names.IDENTITIES,
    "factory_key": "envoy.string",
    "format_string": {"text_format_source": {"inline_string": "%DOWNSTREAM_PEER_URI_SAN%"}},
}
_SAFE = re.compile(r"[A-Za-z0-9/:|._-]\Z")

Values = tuple[str, ...]
_Test = Callable[[Values], str]


def listener_filter(port: InboundPort) -> dict[str, Any]:
    """Stands before the TCP proxy of a port, and asks for the expression by the port's name."""
    return {
        "name": names.inbound(port.number),
        "config_discovery": {"config_source": build.ADS, "type_urls": [api.TYPE_PREFIX + _STATE]},
    }


def extension(port: InboundPort) -> Any:
    """The policies of a port: the way to the application for whom they let in."""
    admitted, otherwise = expression(port), names.NO_ALLOW
    if len(admitted) > _LONGEST:
        admitted, otherwise = _NEVER, names.TOO_LONG
    if admitted not in (_ALWAYS, _NEVER):
        admitted = _all([ALONE, admitted])
    way = _state(names.CHOSEN_CLUSTER, admitted, names.inbound(port.number), "")
    states = [_IDENTITIES, way, *_reasons(port, admitted, otherwise)] if admitted != _ALWAYS else [way]
    return api.message("envoy.config.core.v3.TypedExtensionConfig")(
        **build.extension(names.inbound(port.number), _STATE, on_downstream_tls_handshake=states)
    )


def mark(port: InboundPort) -> str:
    """What tells the admission of a port from another; empty where everybody is let in."""
    admitted = expression(port)
    return "" if admitted == _ALWAYS else blake2b(admitted.encode(), digest_size=8).hexdigest()


def _reasons(port: InboundPort, admitted: str, otherwise: str) -> Iterator[dict[str, Any]]:
    """Why a caller is not let in, for the log of denials.  The last that says something counts."""
    yield _state(names.DENIED_BY, admitted, "", otherwise)
    denying = _rules(port, Action.DENY, Action.CUSTOM)
    for name, held in sorted(denying.items(), reverse=True):
        if len(held) <= _LONGEST:
            yield _state(names.DENIED_BY, held, name, "")
    yield _state(names.DENIED_BY, ALONE, "", names.SEVERAL_IDENTITIES)


def _state(key: str, condition: str, then: str, otherwise: str) -> dict[str, Any]:
    """A state of the connection; none where it would be empty, or where the condition can't be evaluated."""
    factory = {} if key == names.CHOSEN_CLUSTER else {"factory_key": "envoy.string"}
    said = f"%CEL({condition} ? {_text(then)} : {_text(otherwise)})%"
    return {
        "object_key": key,
        **factory,
        "format_string": {"text_format_source": {"inline_string": said}},
        "skip_if_empty": True,
    }


def expression(port: InboundPort) -> str:
    """Whether a caller may connect: no rule of DENY or CUSTOM holds, and where there are ALLOW policies one of theirs does."""
    denied = _any(_rules(port, Action.DENY, Action.CUSTOM).values())
    allowed = _any(_rules(port, Action.ALLOW).values()) if _policies(port, Action.ALLOW) else _ALWAYS
    return _all([_not(denied), allowed])


def _policies(port: InboundPort, *actions: Action) -> list[AuthorizationPolicy]:
    return [policy for policy in port.policies if policy.decides and policy.action in actions]


def _rules(port: InboundPort, *actions: Action) -> dict[str, str]:
    """What each rule that can hold at this port asks of the caller, by the name that it is told by."""
    return {
        names.policy_rule(policy, rule): _rule(asked)
        for policy in _policies(port, *actions)
        for rule in policy.rules
        if (asked := at_tcp(rule, policy.action, port.number)) is not None
    }


def _rule(rule: PolicyRule) -> str:
    sources = _any(map(_source, rule.sources)) if rule.sources else _ALWAYS
    return _all([sources, *(test for one in rule.conditions for test in _condition(one))])


def _source(source: Source) -> str:
    fields: tuple[tuple[Values, Values, _Test], ...] = (
        (source.principals, source.not_principals, _principals),
        (source.namespaces, source.not_namespaces, _namespaces),
        (source.ip_blocks, source.not_ip_blocks, _caller),
        (source.remote_ip_blocks, source.not_remote_ip_blocks, _caller),
    )
    return _all([part for values, not_values, test in fields for part in _part(values, not_values, test)])


def _condition(condition: Condition) -> Iterator[str]:
    return _part(condition.values, condition.not_values, _CONDITIONS[condition.attribute])


def _part(values: Values, not_values: Values, test: _Test) -> Iterator[str]:
    if values:
        yield test(values)
    if not_values:
        yield _not(test(not_values))


def _not(test: str) -> str:
    return {_ALWAYS: _NEVER, _NEVER: _ALWAYS}.get(test, f"!{test}")


def _any(tests: Iterable[str]) -> str:
    found = tuple(dict.fromkeys(test for test in tests if test != _NEVER))
    if _ALWAYS in found:
        return _ALWAYS
    return _joined(" || ", found) if found else _NEVER


def _all(tests: Iterable[str]) -> str:
    found = [test for test in tests if test != _ALWAYS]
    if _NEVER in found:
        return _NEVER
    return _joined(" && ", found) if found else _ALWAYS


def _joined(between: str, tests: Sequence[str]) -> str:
    """In parentheses, so that `!` and other operators may stand around it."""
    return f"({between.join(tests)})" if len(tests) > 1 else tests[0]


def _principals(values: Values) -> str:
    """Principals, written without `spiffe://`; `*` alone is anybody with a certificate."""
    return _strings(_PEER, values, _SPIFFE)


def _namespaces(values: Values) -> str:
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


def _caller(networks: Values) -> str:
    return _addresses(_CALLER, networks)


def _called(networks: Values) -> str:
    return _addresses(_CALLED, networks)


def _addresses(address: str, networks: Values) -> str:
    """Addresses are of IPv4, for sidecars have no others."""
    tests = []
    for network in networks:
        found = pattern(network)
        if found is not None:
            tests.append(f"{address}.matches({_text(found)})")
    return _any(tests)


def _server_names(values: Values) -> str:
    return _strings(_SERVER_NAME, values)


def _strings(text: str, values: Values, scheme: str = "") -> str:
    """Whether a text is one of these, which are written without their scheme; `*` alone is any that is not empty."""
    exact = [_text(scheme + one) for one in values if not one.startswith("*") and not one.endswith("*")]
    tests = [f"({text} in [{', '.join(exact)}])"] if exact else []
    for value in values:
        if value == "*":
            tests.append(f"({text} != '')")
        elif value.startswith("*"):
            tests.append(f"{text}.endsWith({_text(value[1:])})")
        elif value.endswith("*"):
            tests.append(f"{text}.startsWith({_text(scheme + value[:-1])})")
    return _any(tests)


_CONDITIONS: Mapping[Attribute, _Test] = {
    Attribute.PRINCIPAL: _principals,
    Attribute.NAMESPACE: _namespaces,
    Attribute.SOURCE_IP: _caller,
    Attribute.REMOTE_IP: _caller,
    Attribute.DESTINATION_IP: _called,
    Attribute.SERVER_NAME: _server_names,
}


def _text(value: str) -> str:
    """A string of CEL, in which nothing can end it, or the format string around it."""
    inner = "".join(letter if _SAFE.match(letter) else f"\\U{ord(letter):08x}" for letter in value)
    return f"'{inner}'"
