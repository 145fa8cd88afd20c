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


def _filter(name: str, action: Action, prefix: str, *, enforced: _Chosen, watched: _Chosen) -> HttpFilter:
    def on_listener() -> Any:
        """Counters are named here, once."""
        return api.message(f"{_HTTP}.RBAC")(shadow_rules_stat_prefix=prefix)

    def on_inbound(port: InboundPort) -> Any | None:
        found, shadow = rules(port, action, enforced), rules(port, action, watched)
        if found is None and shadow is None:
            return None
        said = {} if found is None else {"rules": found}
        if shadow is not None:
            said |= {"shadow_rules": shadow, "shadow_rules_stat_prefix": prefix}
        return api.message(f"{_HTTP}.RBACPerRoute")(rbac=said)

    return HttpFilter(
        name=name,
        on_listener=on_listener,
        outbound=False,
        inbound=True,
        waits=True,
        on_inbound=on_inbound,
    )


DENY = _filter(
    names.RBAC_DENY,
    Action.DENY,
    names.DRY_RUN_DENY,
    enforced=lambda policy: policy.decides and policy.action is Action.DENY,
    watched=lambda policy: policy.dry_run and policy.action in (Action.DENY, Action.CUSTOM),
)
"""A dry run of CUSTOM asks nobody: it tells what it would have asked about."""
ALLOW = _filter(
    names.RBAC_ALLOW,
    Action.ALLOW,
    names.DRY_RUN_ALLOW,
    enforced=lambda policy: policy.decides and policy.action is Action.ALLOW,
    watched=lambda policy: policy.dry_run and policy.action is Action.ALLOW,
)
AUDIT = _filter(
    names.RBAC_AUDIT,
    Action.DENY,
    names.AUDIT,
    enforced=lambda _: False,
    watched=lambda policy: policy.action is Action.AUDIT,
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
