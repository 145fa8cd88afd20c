"""Whom proxies call themselves: those who have the keys of tokens, and those who are asked whether a request may pass.

A proxy calls as its application does: whom that does not see, it can't ask.  Then tokens don't hold, and what would
have been asked about is denied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from plait.model.authentication import KeysAt, RequestAuthentication, TokenRule
from plait.model.authorizer import Authorizer, MeshConfig
from plait.model.catalog import Protocol, Service, ServicePort
from plait.model.policy import Action, AuthorizationPolicy
from plait.model.scope import Sight


def authorizers(configs: Iterable[MeshConfig]) -> Mapping[str, Authorizer]:
    """Those who may be asked, by name; none of a name by which different ones are meant."""
    configs = tuple(configs)
    said: dict[str, list[Authorizer]] = {}
    for one in (one for config in configs for one in config.authorizers):
        said.setdefault(one.name, []).append(one)
    lost = {name for config in configs for name in config.unread}
    return {name: found[0] for name, found in said.items() if name not in lost and alike(found)}


def alike(several: Iterable[Authorizer]) -> bool:
    """Whether all of these say the same."""
    first, *others = several
    return all(replace(one, origin=first.origin) == first for one in others)


def port_of(services: Mapping[str, Service], host: str, port: int) -> ServicePort | None:
    """A port that a proxy can call itself: of HTTP, of a service among these."""
    service = services.get(host)
    found = service.port(port) if service is not None else None
    return found if found is not None and found.protocol.is_http else None


def may_ask(services: Mapping[str, Service], one: Authorizer) -> bool:
    """Whether a proxy that sees these services can ask somebody."""
    found = port_of(services, one.host, one.port)
    return found is not None and (not one.grpc or found.protocol is not Protocol.HTTP)


def custom(policies: Iterable[AuthorizationPolicy]) -> tuple[AuthorizationPolicy, ...]:
    """The policies by which somebody is asked."""
    return tuple(one for one in policies if one.action is Action.CUSTOM and not one.dry_run)


def asked(
    policies: tuple[AuthorizationPolicy, ...],
    known: Mapping[str, Authorizer],
    sight: Sight,
    own: Iterable[Service],
) -> tuple[tuple[AuthorizationPolicy, ...], Authorizer | None]:
    """Policies over a workload, and who is asked by them; where that can't be one, what they name is denied.

    `own` are the services that it stands behind: nobody asks himself, who would then ask himself about that.
    """
    asking = custom(policies)
    wanted = {one.provider for one in asking}
    if not wanted:
        return policies, None
    found = known.get(wanted.pop()) if len(wanted) == 1 else None
    itself = found is not None and any(one.host == found.host for one in own)
    if found is not None and may_ask(sight.services, found) and not itself:
        return policies, found
    return tuple(replace(one, action=Action.DENY) if one in asking else one for one in policies), None


def reaching(over: Iterable[RequestAuthentication], sight: Sight) -> tuple[RequestAuthentication, ...]:
    """The same, without the keys that a proxy with this sight can't fetch."""
    return tuple(replace(one, rules=tuple(_reaching(rule, sight) for rule in one.rules)) for one in over)


def _reaching(rule: TokenRule, sight: Sight) -> TokenRule:
    keys = rule.keys
    lost = isinstance(keys, KeysAt) and port_of(sight.services, keys.host, keys.port) is None
    return replace(rule, keys=None) if lost else rule


def tokens(over: Iterable[RequestAuthentication], services: Iterable[str]) -> tuple[TokenRule, ...]:
    """The rules that hold of tokens at a port to which these services lead."""
    leading = frozenset(services)
    return tuple(
        rule for one in over if not one.targets or not leading.isdisjoint(one.targets) for rule in one.rules
    )
