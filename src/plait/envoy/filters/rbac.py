"""Who may ask for what: authorization policies as RBAC filters, what is denied before what is allowed.

All wait in the listener and are enabled by the routes of a port that has policies.  Policies that decide nothing are
evaluated as shadow rules: dry runs beside those of their action, AUDIT in a filter of its own.  What came of it is
counted, and told in the request's metadata (see names.RBAC_METADATA).  Who may open a connection to a port that is
not HTTP says `admission`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from plait.envoy import api, names
from plait.envoy.filters.kind import HttpFilter
from plait.envoy.filters.matchers import permission, principal
from plait.model.mesh import InboundPort
from plait.model.policy import Action, AuthorizationPolicy, Operation, PolicyRule, Source

_HTTP = "envoy.extensions.filters.http.rbac.v3"
_RBAC = "envoy.config.rbac.v3"

_Chosen = Callable[[AuthorizationPolicy], bool]
_Rules = Callable[[InboundPort], Any | None]

_SEVERAL_IDENTITIES = {
    "permissions": [{"any": True}],
    "principals": [
        {
            "header": {
                "name": "x-forwarded-client-cert",
                "string_match": {"safe_regex": {"regex": r"\C*;URI=\C*;URI=\C*"}},
            }
        }
    ],
}
"""Envoy takes every identity of a certificate for its holder's, and writes all of them into this header itself.
`\\C` is any byte: what is no UTF-8 would get round a dot.
"""


def _filter(name: str, prefix: str, *, enforced: _Rules, watched: _Rules) -> HttpFilter:
    def on_listener() -> Any:
        """Counters are named here, once."""
        return api.message(f"{_HTTP}.RBAC")(shadow_rules_stat_prefix=prefix)

    def on_inbound(port: InboundPort) -> Any | None:
        held, shadow = enforced(port), watched(port)
        if held is None and shadow is None:
            return None
        found = {} if held is None else {"rules": held}
        if shadow is not None:
            found |= {"shadow_rules": shadow, "shadow_rules_stat_prefix": prefix}
        return api.message(f"{_HTTP}.RBACPerRoute")(rbac=found)

    return HttpFilter(
        name=name,
        on_listener=on_listener,
        outbound=False,
        inbound=True,
        waits=True,
        on_inbound=on_inbound,
    )


def _denied(port: InboundPort) -> Any | None:
    """What the policies deny; where any policy asks who calls, also whoever might be several."""
    if not any(policy.decides for policy in port.policies):
        return None
    found = rules(port, Action.DENY, lambda policy: policy.decides and policy.action is Action.DENY)
    if found is None:
        found = api.message(f"{_RBAC}.RBAC")(action=Action.DENY.value)
    several = api.message(f"{_RBAC}.Policy")(**_SEVERAL_IDENTITIES)
    found.policies[names.SEVERAL_IDENTITIES].CopyFrom(several)
    return found


def _of(action: Action, chosen: _Chosen) -> _Rules:
    return lambda port: rules(port, action, chosen)


DENY = _filter(
    names.RBAC_DENY,
    names.DRY_RUN_DENY,
    enforced=_denied,
    watched=_of(Action.DENY, lambda policy: policy.dry_run and policy.action in (Action.DENY, Action.CUSTOM)),
)
"""A dry run of CUSTOM asks nobody: it tells what it would have asked about."""
ALLOW = _filter(
    names.RBAC_ALLOW,
    names.DRY_RUN_ALLOW,
    enforced=_of(Action.ALLOW, lambda policy: policy.decides and policy.action is Action.ALLOW),
    watched=_of(Action.ALLOW, lambda policy: policy.dry_run and policy.action is Action.ALLOW),
)
AUDIT = _filter(
    names.RBAC_AUDIT,
    names.AUDIT,
    enforced=lambda _: None,
    watched=_of(Action.DENY, lambda policy: policy.action is Action.AUDIT),
)


def rules(port: InboundPort, action: Action, chosen: _Chosen) -> Any | None:
    """Envoy's rules for the chosen policies, and what it does where one holds; None when there is no such policy.

    An ALLOW policy without a rule that could hold leaves rules that match nothing: everything is shut out.
    """
    policies = [policy for policy in port.policies if chosen(policy)]
    if not policies:
        return None
    entries = {}
    for policy in policies:
        for rule in policy.rules:
            entry = _policy(rule, port, wide=action is not Action.ALLOW)
            if entry is not None:
                entries[names.policy_rule(policy, rule)] = entry
    return api.message(f"{_RBAC}.RBAC")(action=action.value, policies=entries)


def _policy(rule: PolicyRule, port: InboundPort, *, wide: bool) -> Any | None:
    """One rule, or None when it can't hold at this port."""
    asked = rule.at(port.number)
    if asked is None:
        return None
    return api.message(f"{_RBAC}.Policy")(
        permissions=[
            permission(operation, asked.conditions, wide=wide)
            for operation in asked.operations or (Operation(),)
        ],
        principals=[
            principal(source, asked.conditions, wide=wide) for source in asked.sources or (Source(),)
        ],
    )
