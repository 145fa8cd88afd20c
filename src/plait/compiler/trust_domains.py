"""Trust domains that mean the same: a policy that names one of them is about the identities of all.

As with Istio: `cluster.local` in a policy always stands for the mesh's own trust domain and its aliases.  What names
none of them is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from plait.model.names import CLUSTER_DOMAIN
from plait.model.policy import Attribute, AuthorizationPolicy, Condition, PolicyRule, Source


def widened(
    policies: Iterable[AuthorizationPolicy], domains: tuple[str, ...]
) -> tuple[AuthorizationPolicy, ...]:
    """The policies with each principal said for every one of `domains`; a policy that this leaves alone is the same."""
    if domains == (CLUSTER_DOMAIN,):
        return tuple(policies)
    return tuple(_policy(policy, domains) for policy in policies)


def principals(values: tuple[str, ...], domains: tuple[str, ...]) -> tuple[str, ...]:
    """Principals (without `spiffe://`, perhaps with a wildcard) said for every one of `domains`."""
    return tuple(dict.fromkeys(one for value in values for one in _principal(value, domains)))


def _policy(policy: AuthorizationPolicy, domains: tuple[str, ...]) -> AuthorizationPolicy:
    rules = tuple(_rule(rule, domains) for rule in policy.rules)
    return policy if rules == policy.rules else replace(policy, rules=rules)


def _rule(rule: PolicyRule, domains: tuple[str, ...]) -> PolicyRule:
    return replace(
        rule,
        sources=tuple(_source(source, domains) for source in rule.sources),
        conditions=tuple(_condition(one, domains) for one in rule.conditions),
    )


def _source(source: Source, domains: tuple[str, ...]) -> Source:
    return replace(
        source,
        principals=principals(source.principals, domains),
        not_principals=principals(source.not_principals, domains),
    )


def _condition(condition: Condition, domains: tuple[str, ...]) -> Condition:
    if condition.attribute is not Attribute.PRINCIPAL:
        return condition
    return replace(
        condition,
        values=principals(condition.values, domains),
        not_values=principals(condition.not_values, domains),
    )


def _principal(value: str, domains: tuple[str, ...]) -> tuple[str, ...]:
    domain, slash, rest = value.partition("/")
    if not slash or domain == "*":
        return (value,)
    if domain.startswith("*"):  # which is about some of them already, by how they end
        covered = [one for one in domains if one.endswith(domain[1:])]
        if not covered:
            return (value,)
        return (value, *(f"{one}/{rest}" for one in domains if one not in covered))
    if domain == CLUSTER_DOMAIN or domain in domains:
        return tuple(f"{one}/{rest}" for one in domains)
    return (value,)
