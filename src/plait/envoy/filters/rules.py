"""What of a policy's rule can be looked at where no HTTP is seen."""

from __future__ import annotations

from dataclasses import replace

from plait.model.policy import Action, PolicyRule, Source


def at_tcp(rule: PolicyRule, action: Action, port: int) -> PolicyRule | None:
    """The rule at a port of TCP: sources and conditions of connections; None when it can't hold there.

    What it says of HTTP can't be looked at: an ALLOW rule then allows nothing, any other holds without looking at
    it (Istio's reading).  Of several alternatives those of an ALLOW rule are left that say nothing of HTTP.
    """
    seen = rule.at(port)
    if seen is None:
        return None
    if action is Action.ALLOW:
        return _narrowed(seen)
    return replace(
        seen,
        sources=tuple(_unasked(one) for one in seen.sources),
        operations=(),
        conditions=tuple(one for one in seen.conditions if not one.attribute.of_requests),
    )


def _narrowed(rule: PolicyRule) -> PolicyRule | None:
    sources = tuple(one for one in rule.sources if not one.http_fields)
    operations = tuple(one for one in rule.operations if not one.http_fields)
    if len(sources) < len(rule.sources) and not sources:
        return None
    if len(operations) < len(rule.operations) and not operations:
        return None
    if any(one.attribute.of_requests for one in rule.conditions):
        return None
    return replace(rule, sources=sources, operations=())


def _unasked(source: Source) -> Source:
    return replace(source, request_principals=(), not_request_principals=())
