"""Who may ask for what: authorization policies as two RBAC filters, what is denied before what is allowed.

Both wait in the listener and are enabled by the routes of a port that has policies.  Who may open a connection to
a port that is not HTTP says `admission`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from plait.envoy import api, names
from plait.envoy.filters.kind import HttpFilter
from plait.envoy.filters.rules import at_http
from plait.model.mesh import InboundPort
from plait.model.policy import Action, Operation, PolicyRule, Source

_HTTP = "envoy.extensions.filters.http.rbac.v3"
_SPIFFE = "spiffe://"

_Message = dict[str, Any]


def _empty() -> Any:
    return api.message(f"{_HTTP}.RBAC")()


def _filter(action: Action, name: str) -> HttpFilter:
    def on_inbound(port: InboundPort) -> Any | None:
        found = rules(port, action)
        return None if found is None else api.message(f"{_HTTP}.RBACPerRoute")(rbac={"rules": found})

    return HttpFilter(
        name=name,
        on_listener=_empty,
        outbound=False,
        inbound=True,
        waits=True,
        on_inbound=on_inbound,
    )


DENY = _filter(Action.DENY, names.RBAC_DENY)
ALLOW = _filter(Action.ALLOW, names.RBAC_ALLOW)


def rules(port: InboundPort, action: Action, then: str = "") -> Any | None:
    """Envoy's rules for all policies of one action, and what Envoy does where one holds; None without such a policy.

    An ALLOW policy without a rule that could hold leaves rules that match nothing: everything is shut out.
    """
    policies = [policy for policy in port.policies if policy.action is action]
    if not policies:
        return None
    entries = {}
    for policy in policies:
        for rule in policy.rules:
            entry = _policy(rule, port)
            if entry is not None:
                entries[names.policy_rule(policy, rule)] = entry
    return api.message("envoy.config.rbac.v3.RBAC")(action=then or action.value, policies=entries)


def _policy(rule: PolicyRule, port: InboundPort) -> Any | None:
    """One rule, or None when it can't hold at this port."""
    possible = at_http(rule, port.number)
    if possible is None:
        return None
    return api.message("envoy.config.rbac.v3.Policy")(
        permissions=[_permission(operation) for operation in possible] or [{"any": True}],
        principals=[_principal(source) for source in rule.sources] or [{"any": True}],
    )


def _permission(operation: Operation) -> _Message:
    parts = [
        *_part(operation.methods, _method, "or_rules", "rules"),
        *({"not_rule": part} for part in _part(operation.not_methods, _method, "or_rules", "rules")),
        *_part(operation.paths, _path, "or_rules", "rules"),
        *({"not_rule": part} for part in _part(operation.not_paths, _path, "or_rules", "rules")),
    ]
    return {"and_rules": {"rules": parts}} if parts else {"any": True}


def _principal(source: Source) -> _Message:
    parts = [
        *_part(source.principals, _identity, "or_ids", "ids"),
        *({"not_id": part} for part in _part(source.not_principals, _identity, "or_ids", "ids")),
        *_part(source.namespaces, _namespace, "or_ids", "ids"),
        *({"not_id": part} for part in _part(source.not_namespaces, _namespace, "or_ids", "ids")),
    ]
    return {"and_ids": {"ids": parts}} if parts else {"any": True}


def _part(values: Iterable[str], test: Any, any_of: str, inner: str) -> list[_Message]:
    """The test of one field, as a list of one; of none when the field is not given."""
    tests = [test(value) for value in values]
    if len(tests) <= 1:
        return tests
    return [{any_of: {inner: tests}}]


def _method(value: str) -> _Message:
    return {"header": {"name": ":method", "string_match": _wildcard(value)}}


def _path(value: str) -> _Message:
    """A path without its query."""
    return {"url_path": {"path": _wildcard(value)}}


def _identity(value: str) -> _Message:
    """A principal, written without `spiffe://`; `*` alone is anybody with a certificate."""
    if value == "*":
        return {"authenticated": {}}
    name = {"suffix": value[1:]} if value.startswith("*") else _wildcard(_SPIFFE + value)
    return {"authenticated": {"principal_name": name}}


def _namespace(value: str) -> _Message:
    pattern = re.escape(value).replace(r"\*", "[^/]*")
    return {
        "authenticated": {
            "principal_name": {"safe_regex": {"regex": f"{_SPIFFE}[^/]+/ns/{pattern}/sa/[^/]+"}}
        }
    }


def _wildcard(value: str) -> _Message:
    if value == "*":
        return {"safe_regex": {"regex": ".+"}}
    if value.startswith("*"):
        return {"suffix": value[1:]}
    if value.endswith("*"):
        return {"prefix": value[:-1]}
    return {"exact": value}
