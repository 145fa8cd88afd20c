"""AuthorizationPolicy: who may call whom.

What can't be read whole is closed.  Of ALLOW a rule is left out, so that it allows nothing.  Of the others the
part that can't be read is dropped, so that the rule holds for more; CUSTOM without
somebody to ask is DENY.  An ALLOW policy of which it can't be read
whom it is for allows nothing in its whole namespace: with its rules it would open workloads that it was never
meant for.
"""

from __future__ import annotations

from plait.dialects.fields import has_strangers
from plait.dialects.istio.policy_targets import targets
from plait.dialects.istio.rules import anything, rules
from plait.dialects.istio.shared import SECURITY_VERSIONS, selector
from plait.dialects.kind import Kind, Subject
from plait.model.catalog import Labels
from plait.model.document import Cursor
from plait.model.names import Origin
from plait.model.policy import Action, AuthorizationPolicy, PolicyRule
from plait.model.reading import Fact

_DRY_RUN = "istio.io/dry-run"
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")
"""What Go takes for a boolean, and so Istio in an annotation."""


def read(root: Cursor, subject: Subject) -> tuple[Fact, ...]:
    spec = root.at("spec")
    action = spec.at("action").choice(Action, Action.ALLOW)
    selected, targeted = _selector(spec), _targets(spec, subject)
    stated = rules(spec.at("rules"), subject, widens=action is not Action.ALLOW)
    provider = _provider(spec, action)
    everywhere = selected is None or targeted is None
    unread = everywhere or has_strangers(spec) or bool(spec.at("action").error_count())
    policy = AuthorizationPolicy(
        namespace=subject.namespace,
        name=subject.name,
        action=Action.DENY if action is Action.CUSTOM and not provider else action,
        selector=() if everywhere else selected or (),
        targets=() if everywhere else targeted or (),
        rules=_closed(spec, action, stated, subject, unread=unread),
        provider=provider,
        dry_run=_is_dry_run(root, subject),
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


def _closed(
    spec: Cursor, action: Action, stated: tuple[PolicyRule, ...], subject: Subject, *, unread: bool
) -> tuple[PolicyRule, ...]:
    """The rules that hold, when all of the policy is looked at; `unread`: not all of it can be read."""
    if action is Action.ALLOW:
        if unread:
            spec.error("policy.closed", "it can't be read whole, so it allows nothing")
        return () if unread else stated
    written = spec.at("rules")
    if written.value or written.error_count():
        return stated
    written.error(
        "policy.no-rules", "without rules it holds for nothing; one empty rule holds for everything"
    )
    # The rules may be what a mistyped key hides.
    return (anything(0, subject.origin(spec)),) if unread else ()


def _selector(spec: Cursor) -> Labels | None:
    """The labels it is for; None, and errors that say so, when that can't be read."""
    found = selector(spec)
    if found is None and spec.at("selector").present:
        spec.at("selector").error(
            "policy.selector", "it can't be read, so the policy is for the whole namespace"
        )
    return found


def _targets(spec: Cursor, subject: Subject) -> tuple[str, ...] | None:
    """The services it is for; None, and errors that say so, when that can't be read."""
    found = targets(spec, subject)
    if found is None:
        message = "not every target can be read, so the policy is for the whole namespace"
        spec.error("policy.target", message)
    return found


def _provider(spec: Cursor, action: Action) -> str:
    """The name of who is asked; "", and errors that say so, when there is none: then what the rules name is denied."""
    provider = spec.at("provider")
    name = provider.at("name").text()
    if action is not Action.CUSTOM:
        if provider.present:
            provider.error("policy.provider", "only the action CUSTOM has a provider")
        return ""
    if not name and not provider.error_count():
        provider.at("name").error("policy.custom", "no provider is named: what its rules name is denied")
    return "" if provider.error_count() or provider.unread() else name


def _is_dry_run(root: Cursor, subject: Subject) -> bool:
    said = subject.annotations.get(_DRY_RUN, "")
    if said and said not in (*_TRUE, *_FALSE):
        annotation = root.at("metadata").at("annotations").at(_DRY_RUN)
        annotation.error("policy.dry-run", f"{said[:80]!r} is neither true nor false: the policy is in force")
    return said in _TRUE


AUTHORIZATION_POLICY = Kind(
    group="security.istio.io",
    name="AuthorizationPolicy",
    versions=SECURITY_VERSIONS,
    read=read,
    closed=closed,
)
