"""Whether policies are over anybody, and name callers and ports that are there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from plait.compiler.references.findings import error, warning
from plait.compiler.selection import Selection, is_void, scope
from plait.model.catalog import Labels, Member
from plait.model.finding import Finding
from plait.model.mesh import Mesh
from plait.model.names import Identity
from plait.model.policy import AuthorizationPolicy, PeerAuthentication, PolicyRule


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What policies may name."""

    namespaces: frozenset[str]
    accounts: frozenset[tuple[str, str]]
    """(namespace, service account)"""


def check(mesh: Mesh, selected: Selection, known: Known) -> Iterator[Finding]:
    """Authorization policies over nobody, and callers and ports that are not there."""
    for policy in mesh.policies:
        yield from _policy(mesh, selected, known, policy)


def _policy(mesh: Mesh, selected: Selection, known: Known, policy: AuthorizationPolicy) -> Iterator[Finding]:
    if policy.selector and not selected.under(policy):
        message = "no workload has the labels that this policy selects"
        yield warning("policy.no-workloads", message, policy.origin)
    for rule in policy.rules:
        yield from _sources(mesh, known, rule)
        yield from _policy_ports(selected, policy, rule)


def _sources(mesh: Mesh, known: Known, rule: PolicyRule) -> Iterator[Finding]:
    for source in rule.sources:
        for principal in (*source.principals, *source.not_principals):
            problem = None if "*" in principal else _principal_problem(mesh, known, principal)
            if problem:
                yield warning("policy.unknown-principal", f"{principal}: {problem}", rule.origin)
        for namespace in (*source.namespaces, *source.not_namespaces):
            if "*" not in namespace and namespace not in known.namespaces:
                message = f"there is no namespace {namespace}"
                yield warning("policy.unknown-namespace", message, rule.origin)


def _principal_problem(mesh: Mesh, known: Known, principal: str) -> str | None:
    identity = Identity.parse(f"spiffe://{principal}")
    if identity is None:
        return "not of the form TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT"
    if identity.trust_domain in mesh.settings.trust_domain_aliases:
        return None  # what is said of it is said of the mesh's own as well, and told there
    if identity.trust_domain != mesh.settings.trust_domain:
        return f"the trust domain of this mesh is {mesh.settings.trust_domain}"
    if (identity.namespace, identity.service_account) not in known.accounts:
        return f"there is no service account {identity.service_account} in namespace {identity.namespace}"
    return None


def _policy_ports(selected: Selection, policy: AuthorizationPolicy, rule: PolicyRule) -> Iterator[Finding]:
    named = {port for operation in rule.operations for port in (*operation.ports, *operation.not_ports)}
    if not named:
        return
    declared = _declared_ports(selected, policy)
    for port in sorted(named - declared):
        message = f"no workload under this policy declares port {port}; ports are those of workloads, not of services"
        yield warning("policy.unknown-port", message, rule.origin)


def _order(member: Member) -> tuple[str, Labels, str]:
    """That of Members, told in what is compared faster."""
    return member.namespace, member.labels, member.service_account


def _declared_ports(selected: Selection, policy: AuthorizationPolicy | PeerAuthentication) -> set[int]:
    return {port.number for workload in selected.workloads_under(policy) for port in workload.process.ports}


def check_peers(mesh: Mesh, selected: Selection) -> Iterator[Finding]:
    """Modes of mutual TLS for nobody, or said twice."""
    root = mesh.settings.root_namespace
    scopes: dict[object, PeerAuthentication] = {}
    for one in mesh.peer_authentications:
        if is_void(one, root):
            message = (
                f"it has no effect: in {root} a selector is not looked at, say it where the workloads are"
            )
            yield error("mtls.selector-in-root", message, one.origin)
            continue
        over = sorted(selected.under(one), key=_order) if one.selector else []
        if one.selector and not over:
            message = "no workload has the labels that this policy selects"
            yield warning("policy.no-workloads", message, one.origin)
        if over:
            declared = _declared_ports(selected, one)
            for port in sorted(port for port, _ in one.ports if port not in declared):
                message = f"no workload under this policy declares port {port}"
                yield warning("policy.unknown-port", message, one.origin)
        taken = over if one.selector else [(scope(one, root), one.namespace)]
        for place in taken:
            first = scopes.setdefault(place, one)
            if first is not one:
                message = (
                    f"{first.origin.ref} already says the mode for the same workloads and stays in force"
                )
                yield error("mtls.said-twice", message, one.origin)
                break
