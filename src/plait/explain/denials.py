"""Why somebody was kept out, in plain words, and what says so: by what their denial is counted by.

Envoy tells a rule by its name, and of all else only what kind of thing it was.  Where one object alone can have said
it of the workload, that is named; what is written may have changed since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from plait.envoy import names
from plait.model.authentication import RequestAuthentication
from plait.model.names import Origin
from plait.model.policy import Action, AuthorizationPolicy

_TOKEN = "jwt_authn_access_denied{"  # noqa: S105 - how Envoy begins to tell of a token
_AUTHORIZER = "ext_authz_"
_TOKENS = {
    "Jwt is missing": "what it shows in place of a token is none that is taken here",
    "Jwt is expired": "its token has expired",
    "Jwt not yet valid": "its token does not hold yet",
    "Jwt verification fails": "its token is not signed by its issuer",
    "Jwt issuer is not configured": "its token is of an issuer that is not taken here",
    "Audiences in Jwt are not allowed": "its token is meant for somebody else",
    "Jwks doesn't have key to match kid or alg from Jwt": "its issuer has no key that its token is signed by",
    "Jwks remote fetch is failed": "the keys of its token's issuer can't be fetched",
}
"""By Envoy's words for them."""
_WORDS = {
    "": "its proxy does not say why",
    names.SEVERAL_IDENTITIES: "its certificate has several identities, and whose rights count can't be told",
    names.TOO_LONG: "the policies over this port are too long for Envoy: it lets nobody in",
    "upgrade_failed": "it asks for a change of protocol that is not taken here",
    f"{_AUTHORIZER}denied": "the authorizer says no",
    f"{_AUTHORIZER}error": "the authorizer can't be asked, or does not answer in time",
    f"{_AUTHORIZER}invalid": "the authorizer answers what can't be done",
}
_ASKED = "an authorizer keeps it out"
_SHOWN = 3
"""Policies that are named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """What is written over a workload, and holds of what it is called as."""

    policies: tuple[AuthorizationPolicy, ...] = ()
    authentications: tuple[RequestAuthentication, ...] = ()


NOTHING_OVER = Over()


@dataclass(frozen=True, slots=True)
class Denial:
    """Why, and where that is written; None where no object alone says it."""

    words: str
    origin: Origin | None = None


def denial(told: str, over: Over) -> Denial:
    """Why somebody was kept out of a workload, by the `reason` of plait_denied_total ("": none was told)."""
    rule = names.rule_origin(told)
    if rule is not None:
        return _by_rule(told, rule, over)
    if told == names.NO_ALLOW:
        return _by_none(over)
    if told.startswith(_TOKEN):
        return Denial(_of_token(told), _only(_jwt_rules(one) for one in over.authentications if one.rules))
    if told.startswith(_AUTHORIZER):
        asking = (one for one in over.policies if one.decides and one.action is Action.CUSTOM)
        return Denial(_WORDS.get(told, _ASKED), _only(Origin(one.origin.ref, "spec.rules") for one in asking))
    return Denial(_WORDS.get(told, f"Envoy says: {told}"))


def _by_rule(told: str, named: Origin, over: Over) -> Denial:
    """A rule that keeps out whom it is for."""
    found = next(
        (
            (policy, rule)
            for policy in over.policies
            for rule in policy.rules
            if names.policy_rule(policy, rule) == told
        ),
        None,
    )
    if found is None:
        return Denial(f"{_rule(named)} denied it, and is over it no more", named)
    policy, rule = found
    if policy.action is Action.CUSTOM:
        return Denial(f"{_rule(named)} names it, and nobody can be asked about it here", rule.origin)
    return Denial(f"{_rule(named)} denies it", rule.origin)


def _rule(origin: Origin) -> str:
    return f"{origin.field.removeprefix('spec.')} of {origin.ref}"


def _by_none(over: Over) -> Denial:
    """Of the policies that may let it in, the narrowest is where one would write it."""
    allowing = [one for one in over.policies if one.decides and one.action is Action.ALLOW]
    if not allowing:
        return Denial("no ALLOW rule let it in")
    narrow = [one for one in allowing if one.selector or one.targets]
    named = _named((*narrow, *(one for one in allowing if one not in narrow)))
    where = _only(Origin(one.origin.ref, "spec.rules") for one in narrow or allowing)
    return Denial(f"no rule of AuthorizationPolicy {named} allows it", where)


def _named(policies: Sequence[AuthorizationPolicy]) -> str:
    """Some of them, in few words."""
    shown = [f"{one.namespace}/{one.name}" for one in policies[:_SHOWN]]
    if len(policies) > _SHOWN:
        shown.append(f"{len(policies) - _SHOWN} more")
    return " or ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)


def _of_token(told: str) -> str:
    said = told.removeprefix(_TOKEN).removesuffix("}").replace("_", " ")
    return _TOKENS.get(said, f"its token does not hold: {said}")


def _jwt_rules(one: RequestAuthentication) -> Origin:
    return one.rules[0].origin if len(one.rules) == 1 else Origin(one.origin.ref, "spec.jwtRules")


def _only(origins: Iterable[Origin]) -> Origin | None:
    """The one there is; None of several."""
    found = tuple(origins)
    return found[0] if len(found) == 1 else None
