"""AuthorizationPolicy: who may call whom.

What can't be read whole is closed.  Of ALLOW a rule is left out, so that it allows nothing.  Of DENY the part
that can't be read is dropped, so that the rule denies more; so it is of CUSTOM, which then asks about more, and
without somebody to ask is DENY.  An ALLOW policy whose selector can't be read allows nothing in its whole namespace: with its rules it
would open workloads that it was never meant for.
"""

from __future__ import annotations

from enum import StrEnum

from plait.dialects.fields import has_strangers
from plait.dialects.istio.rules import anything, rules
from plait.dialects.istio.shared import SECURITY_VERSIONS, selector
from plait.dialects.kind import Kind, Subject
from plait.model.catalog import Labels
from plait.model.document import Cursor
from plait.model.names import Origin
from plait.model.policy import Action, AuthorizationPolicy
from plait.model.reading import Fact

_DRY_RUN = "istio.io/dry-run"


class _Action(StrEnum):
    ALLOW = "ALLOW"
    DENY = "DENY"
    AUDIT = "AUDIT"
    CUSTOM = "CUSTOM"


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    action = spec.at("action").choice(_Action, _Action.ALLOW)
    denies = action in (_Action.DENY, _Action.CUSTOM)
    selected = _selector(spec)
    stated = rules(spec.at("rules"), subject, denies=denies)
    provider = _provider(spec, action)
    unread = selected is None or has_strangers(spec) or bool(spec.at("action").error_count())
    if denies and not spec.at("rules").value and not spec.at("rules").error_count():
        message = "without rules it denies nothing; one empty rule denies everything"
        spec.at("rules").error("policy.no-rules", message)
        # The rules may be what a mistyped key hides.
        stated = (anything(0, subject.origin(spec)),) if unread else ()
    if not denies and unread:
        spec.error("policy.closed", "it can't be read whole, so it allows nothing")
        stated = ()
    if _only_watches(root, spec, action, subject):
        return ()
    policy = AuthorizationPolicy(
        namespace=subject.namespace,
        name=subject.name,
        action=(Action.CUSTOM if provider else Action.DENY) if denies else Action.ALLOW,
        selector=selected or (),
        rules=stated,
        provider=provider,
        origin=subject.origin(root),
    )
    return (policy,)


def closed(subject: Subject) -> tuple[Fact, ...]:
    """Nothing is allowed in the whole namespace."""
    return (
        AuthorizationPolicy(
            namespace=subject.namespace, name=subject.name, action=Action.ALLOW, origin=Origin(subject.ref)
        ),
    )


def _selector(spec: Cursor) -> Labels | None:
    """The labels it is for; None, and errors that say so, when that can't be read."""
    found = selector(spec)
    for field in ("targetRef", "targetRefs"):
        cursor = spec.at(field)
        if cursor.value:
            cursor.ignore()
            message = "Plait does not honour targets yet: it is taken to be for the whole namespace"
            cursor.error("policy.target", message)
            found = None
    if found is None and spec.at("selector").present:
        spec.at("selector").error(
            "policy.selector", "it can't be read, so the policy is for the whole namespace"
        )
    return found


def _provider(spec: Cursor, action: _Action) -> str:
    """Who is asked; "", and errors that say so, when nobody is: then CUSTOM denies."""
    provider = spec.at("provider")
    name = provider.at("name").text()
    if action is not _Action.CUSTOM:
        if provider.present:
            provider.error("policy.provider", "only the action CUSTOM has a provider")
        return ""
    if not name and not provider.error_count():
        provider.at("name").error("policy.custom", "no provider is named: what its rules name is denied")
    return "" if provider.error_count() or provider.unread() else name


def _only_watches(root: Cursor, spec: Cursor, action: _Action, subject: Subject) -> bool:
    """Whether the policy is there to be observed, not to be enforced: no effect until that is honoured."""
    if action is _Action.AUDIT:
        spec.at("action").warn("policy.audit", "Plait does not honour AUDIT yet: it has no effect")
        return True
    if subject.annotations.get(_DRY_RUN, "").lower() in ("true", "t", "1"):
        annotation = root.at("metadata").at("annotations").at(_DRY_RUN)
        annotation.warn("policy.dry-run", "Plait does not honour dry runs yet: the policy has no effect")
        return True
    return False


AUTHORIZATION_POLICY = Kind(
    group="security.istio.io",
    name="AuthorizationPolicy",
    versions=SECURITY_VERSIONS,
    read=read,
    closed=closed,
    unsupported=(
        "spec.rules[].when",
        "spec.rules[].from[].source.requestPrincipals",
        "spec.rules[].from[].source.notRequestPrincipals",
        "spec.rules[].from[].source.ipBlocks",
        "spec.rules[].from[].source.notIpBlocks",
        "spec.rules[].from[].source.remoteIpBlocks",
        "spec.rules[].from[].source.notRemoteIpBlocks",
        "spec.rules[].to[].operation.hosts",
        "spec.rules[].to[].operation.notHosts",
    ),
)
