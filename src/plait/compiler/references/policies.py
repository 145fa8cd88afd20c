"""Whether policies are over anybody, and name callers and ports that are there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from plait.compiler.protocols import spoken
from plait.compiler.references.findings import error, info, warning
from plait.compiler.selection import Selection, is_void, scope
from plait.model.catalog import Labels, Member, Protocol, Workload
from plait.model.finding import Finding
from plait.model.mesh import Mesh
from plait.model.names import Identity, service_host
from plait.model.policy import Action, Attribute, AuthorizationPolicy, PeerAuthentication, PolicyRule

_Port = tuple[Workload, int]
"""A port of a workload."""


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
    for name in policy.targets:
        if service_host(policy.namespace, name) not in mesh.services:
            message = f"there is no Service {name} in namespace {policy.namespace}: so the policy is over nobody behind it"
            yield warning("policy.unknown-target", message, policy.origin)
    for rule in policy.rules:
        yield from _callers(mesh, known, rule)
        yield from _policy_ports(selected, policy, rule)
        if policy.action is Action.DENY and any(one.paths for one in rule.operations):
            message = (
                "what it denies by path an application may know by other forms of it: "
                "an ALLOW policy for the paths that are meant is safer"
            )
            yield info("policy.deny-by-path", message, rule.origin)
    yield from _connections(selected, policy)


def _callers(mesh: Mesh, known: Known, rule: PolicyRule) -> Iterator[Finding]:
    for principal in _named(rule, Attribute.PRINCIPAL):
        problem = None if "*" in principal else _principal_problem(mesh, known, principal)
        if problem:
            yield warning("policy.unknown-principal", f"{principal}: {problem}", rule.origin)
    for namespace in _named(rule, Attribute.NAMESPACE):
        if "*" not in namespace and namespace not in known.namespaces:
            message = f"there is no namespace {namespace}"
            yield warning("policy.unknown-namespace", message, rule.origin)


def _named(rule: PolicyRule, attribute: Attribute) -> Iterator[str]:
    """The callers that a rule names, by their principals or their namespaces."""
    for source in rule.sources:
        if attribute is Attribute.PRINCIPAL:
            yield from (*source.principals, *source.not_principals)
        else:
            yield from (*source.namespaces, *source.not_namespaces)
    for condition in rule.conditions:
        if condition.attribute is attribute:
            yield from (*condition.values, *condition.not_values)


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
    named |= {int(port) for port in _named_ports(rule)}
    if not named:
        return
    declared = _declared_ports(selected, policy)
    for port in sorted(named - declared):
        message = f"no workload under this policy declares port {port}; ports are those of workloads, not of services"
        yield warning("policy.unknown-port", message, rule.origin)


def _named_ports(rule: PolicyRule) -> Iterator[str]:
    for condition in rule.conditions:
        if condition.attribute is Attribute.DESTINATION_PORT:
            yield from (*condition.values, *condition.not_values)


def _connections(selected: Selection, policy: AuthorizationPolicy) -> Iterator[Finding]:
    """What can't be looked at, or asked, at the ports of TCP that a policy is over."""
    if (
        policy.decides
        and policy.action is not Action.CUSTOM
        and not any(rule.http_fields for rule in policy.rules)
    ):
        return
    ports = tuple(_tcp_ports(selected, policy))
    if not ports:
        return
    if not policy.decides:
        message = (
            f"at {_listed(ports)} nothing is told of it: that is TCP, where it would be about connections"
        )
        yield warning("policy.tcp-untold", message, policy.origin)
        return
    for rule in policy.rules:
        yield from _rule_at(ports, policy.action, rule)


def _rule_at(ports: Sequence[_Port], action: Action, rule: PolicyRule) -> Iterator[Finding]:
    held = [(port, seen) for port in ports if (seen := rule.at(port[1])) is not None]
    if held and action is Action.CUSTOM:
        over = _listed([port for port, _ in held])
        message = f"at {over} nobody is asked, for that is TCP: what this rule names is denied there"
        yield warning("policy.tcp-custom", message, rule.origin)
        return
    asking = [(port, seen.http_fields) for port, seen in held if seen.http_fields]
    if asking:
        over = _listed([port for port, _ in asking])
        fields = ", ".join(dict.fromkeys(name for _, asked in asking for name in asked))
        allows = action is Action.ALLOW
        then = "it allows nothing there" if allows else "it denies there without looking at them"
        message = f"{fields} can't be seen at {over}, which is TCP: {then}"
        yield warning("policy.tcp-field", message, rule.origin)


def _tcp_ports(selected: Selection, policy: AuthorizationPolicy) -> Iterator[_Port]:
    for workload in selected.workloads_under(policy):
        services = selected.services.selecting(workload.namespace, workload.labels)
        for own in workload.process.ports:
            elsewhere = (
                port.protocol
                for service in services
                for port in service.ports
                if port.target in (own.number, own.name)
            )
            if spoken(own.protocol, elsewhere) is Protocol.TCP:
                yield workload, own.number


def _listed(ports: Sequence[_Port]) -> str:
    """The first of them, and how many there are."""
    workload, number = ports[0]
    more = f" and {len(ports) - 1} more" if len(ports) > 1 else ""
    return f"port {number} of {workload.key}{more}"


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
